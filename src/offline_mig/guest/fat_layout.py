"""Where things are on a FAT volume, as its boot sector says, and whether that makes sense.

Layout and limits: "Microsoft FAT32 File System Specification" 1.03 (fatgen103). Whether a volume
is FAT32 is told by its 16-bit size of the table being zero, and FAT12 from FAT16 by the number of
clusters, as Windows, Linux and the firmware of UEFI do; the words "FAT16   " and the like say
nothing.

Runs in the confined worker as well: only modules that load fast.
"""

from __future__ import annotations

import errno
import struct

#: FAT12 has fewer clusters than this, FAT16 fewer than the second number.
_FAT16_FROM, _FAT32_FROM = 4085, 65525
#: Clusters of volumes that are read at all: a table of 64 MiB. An EFI system partition of 260 MiB
#: has at most half a million; a disk of 256 GiB with clusters of 16 KiB has this many.
_MOST_CLUSTERS = 1 << 24
#: Bytes: 128 sectors of 512 and more are beyond the specification, but Windows NT formats them.
_LARGEST_CLUSTER = 256 * 1024
#: BPB_Media: these and nothing else are allowed.
_MEDIA = (0xF0, *range(0xF8, 0x100))
#: A short directory entry.
ENTRY = 32
#: BPB_ExtFlags: only the copy with the number in the low bits is in use.
_NOT_MIRRORED, _ACTIVE = 0x80, 0x0F
#: Bit 0 of BS_Reserved1: Windows NT and later, and Linux, set it while the volume is in use.
DIRTY = 1
#: Where BS_Reserved1 is with a 16-bit and with a 32-bit table.
_RESERVED_16, _RESERVED_32 = 37, 65
#: BPB_FSInfo of a volume that has none.
_NO_INFO = (0, 0xFFFF)
_SIGNATURE = b"\x55\xaa"
#: Bytes that hold all of a boot sector.
SMALLEST_SECTOR = 512


class FatDamagedError(OSError):
    """What a FAT volume says of itself makes no sense."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EUCLEAN, what)


class FatLayout:
    """Where things are, in bytes from the volume's start.

    ``bits`` is 12, 16 or 32. ``tables`` are the copies of the allocation table that are kept, the
    one to be read first; ``table_size`` is what of each is in use. The root directory of FAT12 and
    FAT16 is ``root_size`` bytes at ``root``; on FAT32 it is the chain of ``root_cluster``. ``info``
    is the FSInfo sector, 0 when there is none. ``clusters`` have numbers from 2; ``cluster`` is
    the size of one. ``dirty_at`` is where the byte with the dirty bit is.
    """

    __slots__ = (
        "bits",
        "cluster",
        "clusters",
        "data",
        "dirty",
        "dirty_at",
        "info",
        "root",
        "root_cluster",
        "root_size",
        "table_size",
        "tables",
    )

    bits: int
    cluster: int
    clusters: int
    data: int
    dirty: bool
    dirty_at: int
    info: int
    root: int
    root_cluster: int
    root_size: int
    table_size: int
    tables: tuple[int, ...]

    def __init__(self, boot: bytes, size: int) -> None:
        """Read the boot sector of a volume of ``size`` bytes; raises FatDamagedError."""
        if len(boot) < SMALLEST_SECTOR:
            raise FatDamagedError("it is too small to be a volume")
        sector, per_cluster, reserved, copies, root_entries, sectors, media, table_sectors = (
            struct.unpack_from("<HBHBHHBH", boot, 11)
        )
        (sectors_32,) = struct.unpack_from("<I", boot, 32)
        sectors = sectors or sectors_32
        _require(sector in (512, 1024, 2048, 4096), f"its sectors have {sector} bytes")
        _require(
            per_cluster and not per_cluster & (per_cluster - 1),
            f"its clusters have {per_cluster} sectors",
        )
        self.cluster = sector * per_cluster
        _require(self.cluster <= _LARGEST_CLUSTER, f"its clusters have {self.cluster} bytes")
        _require(reserved, "no sector is left for its boot sector")
        _require(copies in (1, 2), f"it has {copies} allocation tables")
        _require(media in _MEDIA, f"its media descriptor is {media:#04x}")
        self.info = self.root_cluster = 0
        active, kept = 0, copies
        if table_sectors:
            self.dirty_at = _RESERVED_16
        else:
            self.bits = 32
            self.dirty_at = _RESERVED_32
            table_sectors, flags, version, self.root_cluster, info = struct.unpack_from(
                "<IHHIH", boot, 36
            )
            _require(version == 0, f"it has FAT32 of the unknown version {version:#x}")
            _require(table_sectors and not root_entries, "it has neither FAT16 nor FAT32")
            if info not in _NO_INFO and info < reserved:
                self.info = info * sector
            if flags & _NOT_MIRRORED:
                active = flags & _ACTIVE
                _require(active < copies, f"its allocation table number {active} is missing")
                kept = 1
        self.dirty = bool(boot[self.dirty_at] & DIRTY)
        first, table_size = reserved * sector, table_sectors * sector
        self.tables = tuple(first + (active + copy) * table_size for copy in range(kept))
        self.root = first + copies * table_size
        self.root_size = root_entries * ENTRY
        _require(self.root_size % sector == 0, f"its root directory has {root_entries} entries")
        self.data = self.root + self.root_size
        end = sectors * sector
        _require(end <= size, f"it has {end} bytes and its partition only {size}")
        self.clusters = max(0, end - self.data) // self.cluster
        _require(self.clusters, "it has no room for files")
        if not self.root_cluster:
            _require(self.root_size, "it has no root directory")
            self.bits = 12 if self.clusters < _FAT16_FROM else 16
            _require(self.clusters < _FAT32_FROM, f"{self.clusters} clusters are no FAT16")
        else:
            _require(self.has_cluster(self.root_cluster), "its root directory is nowhere")
        _require(self.clusters <= _MOST_CLUSTERS, f"{self.clusters} clusters are too many")
        self.table_size = -(-(self.clusters + 2) * self.bits // 8)
        _require(self.table_size <= table_size, "its table has no room for all clusters")

    def has_cluster(self, number: int) -> bool:
        """Tell whether there is a cluster of that number."""
        return 2 <= number < self.clusters + 2

    def offset(self, cluster: int) -> int:
        """Return where a cluster begins."""
        return self.data + (cluster - 2) * self.cluster


def looks_like_fat(boot: bytes) -> bool:
    """Tell whether a first sector is that of a FAT volume, be it a damaged one."""
    if boot[54:59] in (b"FAT12", b"FAT16") or boot[82:87] == b"FAT32":
        return True
    if boot[510:512] != _SIGNATURE or boot[0] not in (0xEB, 0xE9):
        return False
    try:
        FatLayout(boot, 1 << 63)
    except FatDamagedError:
        return False
    return True


def _require(reasonable: object, what: str) -> None:
    if not reasonable:
        raise FatDamagedError(what)
