"""NTFS read from its own metadata, before and without mounting it.

Drivers that mount NTFS fall back to read-only, or repair, without saying so; whether a volume may
be written is decided here, and which of its clusters are free. Layouts: the boot sector (BPB) as
in Microsoft's "NTFS boot sector"; MFT records, attributes, runs, $Volume, $LogFile and $Bitmap as
in the Linux-NTFS project's documentation.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.guest.fat_layout import looks_like_fat

#: MFT records by their numbers.
_LOGFILE_RECORD = 2
_VOLUME_RECORD = 3
_BITMAP_RECORD = 6
#: Attribute types.
_ATTRIBUTE_LIST = 0x20
_ATTRIBUTE_VOLUME_INFORMATION = 0x70
_ATTRIBUTE_DATA = 0x80
_ATTRIBUTE_END = 0xFFFFFFFF
#: Bit 0 of the volume flags: chkdsk is due.
_FLAG_DIRTY = 0x0001
#: In the restart area of $LogFile: no client has it open, or the volume was closed properly.
_NO_CLIENT = 0xFFFF
_VOLUME_IS_CLEAN = 0x0002
#: $LogFile begins with two restart pages.
_RESTART_PAGE = 4096
#: Windows 8 and later write a journal of version 2.0 while a volume is mounted and take it back to
#: 1.1 when it is dismounted, which hibernation and fast startup do not do (libntfs-3g,
#: ntfs_volume_check_logfile; Windows' own switch for it is NtfsDisableLfsDowngrade).
_VERSION_WHILE_MOUNTED = 2
#: The largest volume of 4 KiB clusters (16 TiB) has a bitmap of this size.
_MAX_BITMAP = 512 * 1024 * 1024

Reader = Callable[[int, int], bytes]


class VolumeKind(StrEnum):
    """What a volume's boot sector says that it is."""

    NTFS = "ntfs"
    BITLOCKER = "bitlocker"
    FAT = "fat"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NtfsState:
    """Whether a volume may be written.

    ``dirty`` is the volume's own flag, ``journal_open`` is true when changes wait in its journal;
    ``readable`` is false when the metadata is damaged.
    """

    dirty: bool
    journal_open: bool = False
    readable: bool = True


_UNREADABLE = NtfsState(dirty=False, readable=False)


class _DamagedError(Exception):
    """The metadata makes no sense."""


def volume_kind(boot_sector: bytes) -> VolumeKind:
    """Tell the kind of a volume by its first sector."""
    oem = boot_sector[3:11]
    if oem == b"NTFS    ":
        return VolumeKind.NTFS
    if oem == b"-FVE-FS-":
        return VolumeKind.BITLOCKER
    if looks_like_fat(boot_sector):
        return VolumeKind.FAT
    return VolumeKind.OTHER


def serial_number(boot_sector: bytes) -> str:
    """Return the serial number of an NTFS volume, 16 hexadecimal digits in the order stored."""
    return boot_sector[72:80].hex()


def cluster_size(boot_sector: bytes) -> int:
    """Return the size of a cluster in bytes, as the boot sector of an NTFS volume says it."""
    sector_size, factor = struct.unpack_from("<HB", boot_sector, 11)
    # Above 128 the factor is a negative power of two (clusters beyond 64 KiB, Windows 10).
    sectors = factor if factor <= 128 else 1 << (256 - factor)
    return int(sector_size * sectors)


def read_state(read: Reader) -> NtfsState:
    """Return the state of the NTFS volume that ``read(offset, size)`` reads."""
    try:
        volume = _Volume(read)
        flags = volume.flags()
        journal_open = volume.journal_is_open()
    except (_DamagedError, struct.error, IndexError):
        return _UNREADABLE
    return NtfsState(dirty=bool(flags & _FLAG_DIRTY), journal_open=journal_open)


def free_extents(read: Reader, granularity: int = 65536) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of free space in bytes from the volume's start, in order.

    Only runs of at least ``granularity`` bytes are looked for. Nothing is yielded for a volume
    whose bitmap cannot be read: then nothing is known to be free.
    """
    try:
        volume = _Volume(read)
        bitmap = volume.bitmap()
    except (_DamagedError, struct.error, IndexError):
        return
    # A byte stands for eight clusters; runs of zero bytes are found at the speed of C.
    bytes_needed = max(1, granularity // (8 * volume.cluster))
    for match in re.finditer(rb"\0{%d,}" % bytes_needed, bitmap):
        yield match.start() * 8 * volume.cluster, (match.end() - match.start()) * 8 * volume.cluster


class _Volume:
    """A volume's geometry and its system files."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        boot = read(0, 512)
        if volume_kind(boot) is not VolumeKind.NTFS:
            raise _DamagedError
        (self._sector,) = struct.unpack_from("<H", boot, 11)
        (self._total_sectors,) = struct.unpack_from("<Q", boot, 40)
        (self._mft_cluster,) = struct.unpack_from("<Q", boot, 48)
        (record_factor,) = struct.unpack_from("<b", boot, 64)
        if self._sector not in (512, 1024, 2048, 4096):
            raise _DamagedError
        self.cluster = cluster_size(boot)
        self._record_size = (
            record_factor * self.cluster if record_factor > 0 else 1 << -record_factor
        )
        if not self.cluster or not 512 <= self._record_size <= 65536:
            raise _DamagedError

    def flags(self) -> int:
        """Return the flags of $Volume."""
        for kind, attribute in self._attributes(_VOLUME_RECORD):
            if kind == _ATTRIBUTE_VOLUME_INFORMATION:
                (content,) = struct.unpack_from("<H", attribute, 20)
                # 8 reserved bytes, major and minor version, then the flags.
                return int(struct.unpack_from("<H", attribute, content + 10)[0])
        raise _DamagedError

    def journal_is_open(self) -> bool:
        """Tell whether $LogFile holds changes that are not in the volume yet."""
        pages = b"".join(self._content(_LOGFILE_RECORD, limit=2 * _RESTART_PAGE))
        if pages[:4] != b"RSTR":
            # An emptied journal is all ones; Windows writes it anew.
            return pages[:4] != b"\xff\xff\xff\xff"
        page = _newer_restart_page(pages)
        area, _, major = struct.unpack_from("<HHH", page, 24)
        if major >= _VERSION_WHILE_MOUNTED:
            return True
        (client,) = struct.unpack_from("<H", page, area + 12)
        (flags,) = struct.unpack_from("<H", page, area + 14)
        return client != _NO_CLIENT and not flags & _VOLUME_IS_CLEAN

    def bitmap(self) -> bytes:
        """Return $Bitmap: a bit for each cluster, the lowest first, 1 for used."""
        clusters = self._total_sectors * self._sector // self.cluster
        content = b"".join(self._content(_BITMAP_RECORD, limit=_MAX_BITMAP))
        needed = (clusters + 7) // 8
        if len(content) < needed:
            raise _DamagedError
        # Bits beyond the last cluster say nothing.
        return content[: clusters // 8]

    def _content(self, record: int, limit: int) -> Iterator[bytes]:
        """Yield the unnamed data of a system file, cluster run by cluster run."""
        found = False
        for kind, attribute in self._attributes(record):
            if kind == _ATTRIBUTE_LIST:
                # The runs go on in other records; nobody needs that here badly enough.
                raise _DamagedError
            if kind != _ATTRIBUTE_DATA or attribute[9]:
                continue
            if not attribute[8]:
                raise _DamagedError
            found = True
            (runs_at,) = struct.unpack_from("<H", attribute, 32)
            (left,) = struct.unpack_from("<Q", attribute, 48)
            left = min(left, limit)
            for start, count in _runs(attribute[runs_at:]):
                if left <= 0:
                    return
                size = min(count * self.cluster, left)
                data = self._read(start * self.cluster, size)
                if len(data) < size:
                    raise _DamagedError
                yield data
                left -= size
        if not found:
            raise _DamagedError

    def _attributes(self, number: int) -> Iterator[tuple[int, bytes]]:
        offset = self._mft_cluster * self.cluster + number * self._record_size
        record = _with_fixups(self._read(offset, self._record_size), self._sector)
        (at,) = struct.unpack_from("<H", record, 20)
        while at + 8 <= len(record):
            kind, length = struct.unpack_from("<II", record, at)
            if kind == _ATTRIBUTE_END:
                return
            if length < 24 or at + length > len(record):
                raise _DamagedError
            yield kind, record[at : at + length]
            at += length


def _newer_restart_page(pages: bytes) -> bytes:
    """Return the one of the two restart pages that was written last."""
    first, second = pages[:_RESTART_PAGE], pages[_RESTART_PAGE:]
    if second[:4] != b"RSTR":
        return first
    return max(first, second, key=_current_lsn)


def _current_lsn(page: bytes) -> int:
    (area,) = struct.unpack_from("<H", page, 24)
    return int(struct.unpack_from("<Q", page, area)[0])


def _runs(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yield (first cluster, count) of a run list; sparse runs make no sense in system files."""
    at = 0
    start = 0
    while encoded[at]:
        count_size, start_size = encoded[at] & 15, encoded[at] >> 4
        if not count_size or not start_size:
            raise _DamagedError
        at += 1
        count = int.from_bytes(encoded[at : at + count_size], "little")
        at += count_size
        start += int.from_bytes(encoded[at : at + start_size], "little", signed=True)
        at += start_size
        if start < 0:
            raise _DamagedError
        yield start, count


def _with_fixups(record: bytes, sector_size: int) -> bytes:
    """Put back the last word of each sector, which NTFS replaces to detect torn writes."""
    if record[:4] != b"FILE" or len(record) < 48:
        raise _DamagedError
    offset, count = struct.unpack_from("<HH", record, 4)
    if count < 1 or offset + 2 * count > len(record) or (count - 1) * sector_size > len(record):
        raise _DamagedError
    marker = record[offset : offset + 2]
    mended = bytearray(record)
    for index in range(1, count):
        end = index * sector_size
        if record[end - 2 : end] != marker:
            raise _DamagedError
        mended[end - 2 : end] = record[offset + 2 * index : offset + 2 * index + 2]
    return bytes(mended)
