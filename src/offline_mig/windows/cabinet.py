"""Cabinets (driver.cab, sp3.cab) read with libarchive, which knows MSZIP and LZX."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from offline_mig.errors import HostNotReadyError

#: A driver of the NT 5 era has some hundred KiB; anything beyond this is no driver.
_MAX_MEMBER_SIZE = 16 * 1024 * 1024
#: Bytes of all members that are asked for; those of an agent have some ten million.
_MAX_TOTAL_SIZE = 256 * 1024 * 1024


class CabinetError(Exception):
    """The cabinet is damaged or of a kind that libarchive cannot read."""


def extract_members(cabinet: bytes, names: Collection[str]) -> dict[str, bytes]:
    """Return the wanted members of a cabinet by their lower-case name; absent ones are left out.

    Raises CabinetError, HostNotReadyError.
    """
    libarchive = _binding()
    wanted = {name.lower() for name in names}
    found: dict[str, bytes] = {}
    total = 0
    try:
        with libarchive.memory_reader(cabinet, format_name="cab") as archive:
            for entry in archive:
                path = entry.pathname
                if isinstance(path, bytes):  # No text in the cabinet's encoding.
                    continue
                name = path.replace("\\", "/").rsplit("/", 1)[-1].lower()
                if name not in wanted or entry.size > _MAX_MEMBER_SIZE:
                    continue
                total += entry.size
                if total > _MAX_TOTAL_SIZE:
                    raise CabinetError(f"its files have more than {_MAX_TOTAL_SIZE} bytes")
                found[name] = b"".join(entry.get_blocks())
                if len(found) == len(wanted):
                    break
    except libarchive.ArchiveError as error:
        raise CabinetError(str(error)) from error
    return found


def require_libarchive() -> str:
    """Return the version of libarchive; raises HostNotReadyError when it is not installed."""
    number = int(_binding().ffi.version_number())
    # 3006002 is 3.6.2, see archive_version_number(3).
    return f"version {number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _binding() -> Any:
    try:
        import libarchive
    except (ImportError, AttributeError, OSError, TypeError) as error:
        # The binding loads the C library at import; without it ctypes raises one of these.
        raise HostNotReadyError(
            "The library libarchive is not installed.",
            "Install libarchive13 (Debian, Ubuntu) or libarchive (Fedora, Arch).",
        ) from error
    # It logs what libarchive only warns of, such as a cabinet that goes on in another one.
    logging.getLogger("libarchive").addHandler(logging.NullHandler())
    return libarchive
