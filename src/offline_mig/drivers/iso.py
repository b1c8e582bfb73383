"""ISO images of drivers, read in place through libarchive: no mount, nothing unpacked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.listing import (
    INF_TOO_LARGE,
    MAX_ENTRIES,
    MAX_FILE_SIZE,
    MAX_INFS_SIZE,
    MAX_PACKAGE_SIZE,
    Listing,
    MediaInf,
    file_too_large,
    is_inf,
    safe_path,
    too_many_files,
)
from offline_mig.errors import HostNotReadyError, SourceUnreadableError

#: ECMA-119: volume descriptors start at sector 16, each with "CD001" behind its type byte; the
#: primary one, which is the first, has the volume's size in sectors at byte 80.
_SECTOR = 2048
_DESCRIPTOR = 16 * _SECTOR
_IDENTIFIER = b"CD001"
_VOLUME_SIZE = slice(80, 84)

#: Bytes that are asked of libarchive at a time.
_BLOCK = 64 * 1024


def is_iso(path: Path) -> bool:
    """Tell whether a file has the mark of an ISO 9660 image. Raises OSError."""
    return _descriptor(path)[1:6] == _IDENTIFIER


def scan_iso(path: Path) -> Listing:
    """List an ISO and read its INF files, in one pass.

    Raises SourceUnreadableError when it is damaged, HostNotReadyError without libarchive.
    """
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    infs: dict[str, MediaInf] = {}
    total = 0
    with _reading(path) as entries:
        for name, entry in entries:
            key = name.lower()
            if key in files:
                continue  # A name that differs in letter case only: Windows sees the first.
            files[key] = name
            # Names for the same extent come as hard links to the first of them, without data.
            target = _link_target(entry)
            if target is not None:
                target = links.get(target, target)
                links[key] = target
            if not is_inf(name):
                continue
            if target is None:
                infs[key] = _inf(name, entry)
            elif target in infs:
                infs[key] = MediaInf(name, infs[target].data, infs[target].problem)
            else:
                infs[key] = MediaInf(name, None, f"it is {target} under another name")
            total += len(infs[key].data or b"")
            if total > MAX_INFS_SIZE:
                raise too_many_files(path)
    return Listing(files, tuple(infs.values()), links)


def read_from_iso(
    path: Path, links: Mapping[str, str], wanted: Collection[str]
) -> dict[str, bytes]:
    """Read files by their paths as listed, in one pass that ends with the last of them.

    Raises SourceUnreadableError when one is too large, or when the ISO is damaged or changed.
    """
    needed = {links.get(name.lower(), name.lower()) for name in wanted}
    found: dict[str, bytes] = {}
    left = MAX_PACKAGE_SIZE
    with _reading(path) as entries:
        for name, entry in entries if needed else ():
            if name.lower() not in needed or name.lower() in found:
                continue
            data = _content(entry, min(MAX_FILE_SIZE, left))
            if data is None:
                raise file_too_large(path, name)
            if short := _shortfall(entry, data):
                raise SourceUnreadableError(
                    f"{path.name}: {name} cannot be read: {short}.",
                    "Give an untouched virtio-win ISO or a directory with its contents.",
                )
            left -= len(data)
            found[name.lower()] = data
            if len(found) == len(needed):
                break
    for name in wanted:
        if links.get(name.lower(), name.lower()) not in found:
            raise SourceUnreadableError(
                f"{path.name}: {name} is no longer there.",
                "Leave the ISO alone while it is being read.",
            )
    return {name: found[links.get(name.lower(), name.lower())] for name in wanted}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Iterator[tuple[str, Any]]]:
    """Open an ISO; what comes out are the regular files, each readable until the next."""
    libarchive = _libarchive()
    try:
        with libarchive.file_reader(str(path), "iso9660", "none") as archive:
            yield _regular_files(path, archive)
    except libarchive.ArchiveError as error:
        raise _damaged(path, str(error.msg)) from error


def _regular_files(path: Path, archive: Any) -> Iterator[tuple[str, Any]]:
    for count, entry in enumerate(archive):
        if count >= MAX_ENTRIES:
            raise too_many_files(path)
        if not entry.isreg:
            continue  # Symbolic links of an ISO lead anywhere; virtio-win has none.
        name = safe_path(_text(entry.pathname))
        if name is not None:
            yield name, entry


def _link_target(entry: Any) -> str | None:
    return _text(entry.linkpath).lower() if entry.islnk else None


def _text(name: str | bytes | None) -> str:
    if isinstance(name, bytes):  # What the locale cannot hold comes as it is.
        return name.decode("utf-8", "replace")
    return name or ""


def _inf(name: str, entry: Any) -> MediaInf:
    data = _content(entry, MAX_INF_SIZE)
    if data is None:
        return MediaInf(name, None, INF_TOO_LARGE)
    if short := _shortfall(entry, data):
        return MediaInf(name, None, short)
    return MediaInf(name, data)


def _shortfall(entry: Any, data: bytes) -> str | None:
    """Say what is missing of a file, None when it is whole.

    libarchive 3.6 ends compressed files (zisofs) silently at their first block of zeros.
    """
    if entry.size is None or entry.size == len(data):
        return None
    return f"it has {entry.size} bytes, of which {len(data)} came"


def _content(entry: Any, limit: int) -> bytes | None:
    """Return the bytes of a file, None when they are more than ``limit``."""
    # The size is only what the ISO says: a compressed file (zisofs) has what it has.
    if (entry.size or 0) > limit:
        return None
    blocks: list[bytes] = []
    size = 0
    for block in entry.get_blocks(_BLOCK):
        blocks.append(block)
        size += len(block)
        if size > limit:
            return None
    return b"".join(blocks)


def _damaged(path: Path, reason: str) -> SourceUnreadableError:
    try:
        expected = int.from_bytes(_descriptor(path)[_VOLUME_SIZE], "little") * _SECTOR
        size = path.stat().st_size
    except OSError:
        expected = size = 0
    if expected > size > 0:
        return SourceUnreadableError(
            f"The ISO image {path} is incomplete: it has {size} of {expected} bytes.",
            "Download it again and compare its checksum.",
        )
    return SourceUnreadableError(
        f"The ISO image {path} is damaged: {reason}.",
        "Download it again and compare its checksum.",
    )


def _descriptor(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(_DESCRIPTOR)
        return file.read(_SECTOR)


def _libarchive() -> ModuleType:
    try:
        import libarchive
    # Without the C library the binding fails to load in one of these ways, by its version.
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise HostNotReadyError(
            "ISO images cannot be read: the library libarchive is not installed.",
            "Install libarchive13 (Debian, Ubuntu) or libarchive (Fedora, Arch), or give a "
            "directory with the ISO's contents.",
        ) from error
    # It logs what libarchive only warns of, such as names that the locale cannot hold.
    logging.getLogger("libarchive").addHandler(logging.NullHandler())
    module: ModuleType = libarchive
    return module
