"""What is common to archives of drivers that libarchive reads in place."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.listing import INF_TOO_LARGE, MediaInf
from offline_mig.errors import HostNotReadyError

#: Bytes that are asked of libarchive at a time.
BLOCK = 64 * 1024


def load_libarchive() -> ModuleType:
    """Return the binding of libarchive. Raises HostNotReadyError without it."""
    try:
        import libarchive
    # Without the C library the binding fails to load in one of these ways, by its version.
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise HostNotReadyError(
            "ISO images and RPM packages cannot be read: the library libarchive is not installed.",
            "Install libarchive13 (Debian, Ubuntu) or libarchive (Fedora, Arch), or give a "
            "directory with the contents.",
        ) from error
    # It logs what libarchive only warns of, such as names that the locale cannot hold.
    logging.getLogger("libarchive").addHandler(logging.NullHandler())
    module: ModuleType = libarchive
    return module


def entry_text(name: str | bytes | None) -> str:
    """Return a name of an entry as text."""
    if isinstance(name, bytes):  # What the locale cannot hold comes as it is.
        return name.decode("utf-8", "replace")
    return name or ""


def entry_content(entry: Any, limit: int) -> bytes | None:
    """Return the bytes of a file, None when they are more than ``limit``."""
    # The size is only what the archive says: a compressed file (zisofs) has what it has.
    if (entry.size or 0) > limit:
        return None
    blocks: list[bytes] = []
    size = 0
    for block in entry.get_blocks(BLOCK):
        blocks.append(block)
        size += len(block)
        if size > limit:
            return None
    return b"".join(blocks)


def shortfall(entry: Any, data: bytes) -> str | None:
    """Say what is missing of a file, None when it is whole.

    libarchive 3.6 ends compressed files (zisofs) silently at their first block of zeros.
    """
    if entry.size is None or entry.size == len(data):
        return None
    return f"it has {entry.size} bytes, of which {len(data)} came"


def entry_inf(name: str, entry: Any) -> MediaInf:
    """Read an INF, whole or not at all."""
    data = entry_content(entry, MAX_INF_SIZE)
    if data is None:
        return MediaInf(name, None, INF_TOO_LARGE)
    if short := shortfall(entry, data):
        return MediaInf(name, None, short)
    return MediaInf(name, data)
