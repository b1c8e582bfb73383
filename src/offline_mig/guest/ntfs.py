"""The state of an NTFS volume, read from its own metadata before anything mounts it.

Drivers that mount NTFS fall back to read-only, or repair, without saying so; whether a volume
may be written is decided here. Layouts: the boot sector (BPB) as in Microsoft's "NTFS boot
sector" and the MFT records as in the Linux-NTFS project's documentation of $Volume and $LogFile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

#: MFT record of $Volume; its attribute $VOLUME_INFORMATION holds the flags.
_VOLUME_RECORD = 3
_ATTRIBUTE_VOLUME_INFORMATION = 0x70
_ATTRIBUTE_END = 0xFFFFFFFF
#: Bit 0 of the volume flags: chkdsk is due.
_FLAG_DIRTY = 0x0001

Reader = Callable[[int, int], bytes]


class VolumeKind(StrEnum):
    """What a volume's boot sector says that it is."""

    NTFS = "ntfs"
    BITLOCKER = "bitlocker"
    FAT = "fat"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NtfsState:
    """``dirty`` is the volume's own flag; ``readable`` is false when the metadata is damaged."""

    dirty: bool
    readable: bool = True


def volume_kind(boot_sector: bytes) -> VolumeKind:
    """Tell the kind of a volume by its first sector."""
    oem = boot_sector[3:11]
    if oem == b"NTFS    ":
        return VolumeKind.NTFS
    if oem == b"-FVE-FS-":
        return VolumeKind.BITLOCKER
    if boot_sector[54:57] == b"FAT" or boot_sector[82:87] == b"FAT32":
        return VolumeKind.FAT
    return VolumeKind.OTHER


def read_state(read: Reader) -> NtfsState:
    """Return the state of the NTFS volume that ``read(offset, size)`` reads."""
    boot = read(0, 512)
    if volume_kind(boot) is not VolumeKind.NTFS:
        return NtfsState(dirty=False, readable=False)
    sector_size, cluster_factor = struct.unpack_from("<HB", boot, 11)
    (mft_cluster,) = struct.unpack_from("<Q", boot, 48)
    (record_factor,) = struct.unpack_from("<b", boot, 64)
    if sector_size not in (512, 1024, 2048, 4096):
        return NtfsState(dirty=False, readable=False)
    # Above 128 the factor is a negative power of two (clusters beyond 64 KiB, Windows 10).
    sectors = cluster_factor if cluster_factor <= 128 else 1 << (256 - cluster_factor)
    cluster = sector_size * sectors
    size = record_factor * cluster if record_factor > 0 else 1 << -record_factor
    if not cluster or not 512 <= size <= 65536:
        return NtfsState(dirty=False, readable=False)
    record = _with_fixups(read(mft_cluster * cluster + _VOLUME_RECORD * size, size), sector_size)
    flags = None if record is None else _volume_flags(record)
    if flags is None:
        return NtfsState(dirty=False, readable=False)
    return NtfsState(dirty=bool(flags & _FLAG_DIRTY))


def _with_fixups(record: bytes, sector_size: int) -> bytes | None:
    """Put back the last word of each sector, which NTFS replaces to detect torn writes."""
    if record[:4] != b"FILE" or len(record) < 48:
        return None
    offset, count = struct.unpack_from("<HH", record, 4)
    if count < 1 or offset + 2 * count > len(record) or (count - 1) * sector_size > len(record):
        return None
    marker = record[offset : offset + 2]
    mended = bytearray(record)
    for index in range(1, count):
        end = index * sector_size
        if record[end - 2 : end] != marker:
            return None
        mended[end - 2 : end] = record[offset + 2 * index : offset + 2 * index + 2]
    return bytes(mended)


def _volume_flags(record: bytes) -> int | None:
    (at,) = struct.unpack_from("<H", record, 20)
    while at + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, at)
        if kind == _ATTRIBUTE_END or length < 24:
            return None
        if kind == _ATTRIBUTE_VOLUME_INFORMATION:
            (content,) = struct.unpack_from("<H", record, at + 20)
            # 8 reserved bytes, major and minor version, then the flags.
            if at + content + 12 > len(record):
                return None
            (flags,) = struct.unpack_from("<H", record, at + content + 10)
            return int(flags)
        at += length
    return None
