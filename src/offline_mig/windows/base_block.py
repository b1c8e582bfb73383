"""The base block at the beginning of a registry hive and of each of its transaction logs.

The layout is that of the regf format as published in msuhanov's "Windows registry file format
specification", section "Base block"; all numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from offline_mig.errors import GuestRefusedError

#: Size of the base block that precedes the bins of a hive.
BASE_BLOCK_SIZE = 4096
#: A bin, and the hive bins data as a whole, are multiples of this.
BIN_ALIGNMENT = 4096
#: The least that a log holds of its base block: its first sector.
SECTOR_SIZE = 512
#: The base block's checksum covers this many bytes and follows them.
_CHECKSUM_SPAN = 508
#: Signature, both sequence numbers, timestamp, versions, file type, file format, root cell,
#: hive bins data size, clustering factor, file name.
_FIELDS = struct.Struct("<4sIIQIIIIIII64s")
_FLAGS_AT = 144
#: From 1601 to 1970 (Microsoft, "Converting a time_t value to a FILETIME").
_SECONDS_TO_1970 = 11_644_473_600
#: Hive versions: NT 4 writes 1.2 and 1.3, Windows 2000 and later 1.3 to 1.6.
_KNOWN_MINOR_VERSIONS = range(2, 7)


class DamagedHiveError(GuestRefusedError):
    """A hive that no Windows would load."""


class DirtyHiveError(GuestRefusedError):
    """A hive with changes waiting in its logs, which only Windows can put into it."""


@dataclass(frozen=True, slots=True)
class BaseBlock:
    """What a sound base block says.

    ``primary`` and ``secondary`` are the sequence numbers, ``timestamp`` the time of the last
    write in 100 ns since 1601, ``bins_size`` the bytes of all bins, ``clustering_factor`` the
    disk's sectors in units of 512 bytes, ``name`` the end of the path that Windows knew it by.
    """

    primary: int
    secondary: int
    timestamp: int
    file_type: int
    bins_size: int
    clustering_factor: int
    name: str

    @property
    def dirty(self) -> bool:
        """Whether a write was begun and not ended."""
        return self.primary != self.secondary


def read_base_block(data: bytes) -> BaseBlock | None:
    """Return what a base block says, None when there is none or its checksum is wrong."""
    if len(data) < SECTOR_SIZE or base_block_checksum(data) != _stored_checksum(data):
        return None
    (
        signature, primary, secondary, timestamp, _, _, file_type, _, _, bins_size, factor, name,
    ) = _FIELDS.unpack_from(data)  # fmt: skip
    if signature != b"regf":
        return None
    text = name.decode("utf-16-le", "replace").partition("\0")[0]
    return BaseBlock(primary, secondary, timestamp, file_type, bins_size, factor, text)


def written_cleanly(
    hive: bytearray, *, sequence: int, bins_size: int, timestamp: int | None, locked: bool | None
) -> None:
    """Make the base block of ``hive`` that of a finished write.

    ``locked`` is the one flag that logs keep (0x1: the hive has pending transactions); None leaves
    it and None for ``timestamp`` leaves that.
    """
    struct.pack_into("<II", hive, 4, sequence, sequence)
    if timestamp is not None:
        struct.pack_into("<Q", hive, 12, timestamp)
    struct.pack_into("<I", hive, 28, 0)  # File type: a primary file.
    struct.pack_into("<I", hive, 40, bins_size)
    if locked is not None:
        (flags,) = struct.unpack_from("<I", hive, _FLAGS_AT)
        struct.pack_into("<I", hive, _FLAGS_AT, flags & ~1 | int(locked))
    struct.pack_into("<I", hive, _CHECKSUM_SPAN, base_block_checksum(hive))


def stamped(hive: bytes, moment: int) -> bytes:
    """Return a hive as one that was last written at ``moment``, in seconds since 1970."""
    stamped_hive = bytearray(hive)
    struct.pack_into("<Q", stamped_hive, 12, filetime(moment))
    struct.pack_into("<I", stamped_hive, _CHECKSUM_SPAN, base_block_checksum(stamped_hive))
    return bytes(stamped_hive)


def filetime(moment: int) -> int:
    """Return seconds since 1970 as Windows counts, in 100 ns since 1601."""
    return (moment + _SECONDS_TO_1970) * 10_000_000


def check_base_block(name: str, data: bytes) -> None:
    """Refuse a hive whose base block says that it is damaged or dirty.

    ``data`` is the whole hive, ``name`` what to call it in messages. hivex itself opens dirty
    hives and marks them clean on writing, by which Windows would lose what is only in the
    transaction logs; hence this check comes first.

    Raises DamagedHiveError, DirtyHiveError, GuestRefusedError for an unknown format.
    """
    damaged = "Restore it from a backup or have Windows repair it (chkdsk, then a clean shutdown)."
    if len(data) < BASE_BLOCK_SIZE or data[:4] != b"regf":
        raise DamagedHiveError(f"The hive {name} is damaged: it has no regf header.", damaged)
    primary, secondary = struct.unpack_from("<II", data, 4)
    major, minor = struct.unpack_from("<II", data, 20)
    (bins_size,) = struct.unpack_from("<I", data, 40)
    if base_block_checksum(data) != _stored_checksum(data):
        raise DamagedHiveError(
            f"The hive {name} is damaged: the checksum of its header is wrong.", damaged
        )
    if major != 1 or minor not in _KNOWN_MINOR_VERSIONS:
        raise GuestRefusedError(
            f"The hive {name} has the unknown format version {major}.{minor}.",
            "Only hives of Windows 2000 and later can be edited.",
        )
    if bins_size == 0 or bins_size % BIN_ALIGNMENT or BASE_BLOCK_SIZE + bins_size > len(data):
        raise DamagedHiveError(
            f"The hive {name} is damaged: its header promises {bins_size} bytes of data, "
            f"the file holds {len(data) - BASE_BLOCK_SIZE}.",
            damaged,
        )
    if primary != secondary:
        raise DirtyHiveError(
            f"The hive {name} is dirty: its sequence numbers are {primary} and {secondary}, so "
            "changes of Windows wait in its transaction logs and would be lost.",
            "Start the guest once where it still runs, shut it down completely, and try again.",
        )


def base_block_checksum(data: bytes | bytearray) -> int:
    """Return the checksum that a base block should hold (XOR of its first 127 words)."""
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[:_CHECKSUM_SPAN]):
        checksum ^= word
    # The format reserves the two extremes, see the specification's section on the base block.
    return {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(checksum, checksum)


def _stored_checksum(data: bytes) -> int:
    stored: int = struct.unpack_from("<I", data, _CHECKSUM_SPAN)[0]
    return stored
