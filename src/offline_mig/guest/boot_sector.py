"""Boot sectors of NTFS and FAT volumes: what their code is for, and the geometry it works with.

Layouts: Microsoft, "NTFS boot sector" and "FAT: general overview of on-disk format" (the BPB has
the same places in both up to the hidden sectors).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.guest.ntfs import VolumeKind, volume_kind
from offline_mig.guest.partition_table import SECTOR

#: Bytes of the boot code of an NTFS volume ($Boot has 16 sectors); FAT's is shorter.
BOOT_CODE_SIZE = 16 * SECTOR
#: Sectors per track (2 bytes), heads (2) and hidden sectors (4) in the BPB.
_GEOMETRY_AT = 0x18
_MOST_HIDDEN_SECTORS = 0xFFFFFFFF
#: The geometry of a disk as QEMU makes it up from the size (hw/block/hd-geometry.c).
_SECTORS_PER_TRACK = 63
_DISK_HEADS = 16
#: INT 13h counts cylinders in ten bits.
_CYLINDERS = 1024
#: Up to so many tracks SeaBIOS doubles the heads until the cylinders fit ("large", src/block.c);
#: above, it counts with the most heads that there can be.
_LARGE_TRACKS = 131072
_MOST_HEADS = 255


class BootLoader(StrEnum):
    """The file that the boot code of a volume loads."""

    NTLDR = "ntldr"
    BOOTMGR = "bootmgr"
    #: There is code, for something else (DOS, a boot manager, the message of mkfs).
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Geometry:
    """What boot code turns the sectors of its volume into places on the disk with.

    ``hidden_sectors`` are those before the volume.
    """

    hidden_sectors: int
    sectors_per_track: int
    heads: int


@dataclass(frozen=True, slots=True)
class BootSector:
    """The boot sector of a volume, sizes in sectors of ``sector_size`` bytes.

    ``drive`` is the BIOS drive that the code of NT 5 reads from, 0x80 for the first disk, whichever
    the BIOS started. ``marked`` tells whether the sector ends in 55 AA, without which nothing
    starts it.
    """

    kind: VolumeKind
    oem_id: str
    sector_size: int
    total_sectors: int
    geometry: Geometry
    drive: int
    loader: BootLoader
    marked: bool


def read_boot_sector(start: bytes) -> BootSector | None:
    """Return what the first sectors of a volume say; None when they are none of NTFS or FAT.

    One sector will do, but NTFS names its loader in the second one: ``start`` should have
    BOOT_CODE_SIZE bytes.
    """
    kind = volume_kind(start)
    if len(start) < SECTOR or kind not in (VolumeKind.NTFS, VolumeKind.FAT):
        return None
    sectors_per_track, heads, hidden = struct.unpack_from("<HHI", start, _GEOMETRY_AT)
    (sector_size,) = struct.unpack_from("<H", start, 0x0B)
    is_fat32 = kind is VolumeKind.FAT and start[82:87] == b"FAT32"
    if kind is VolumeKind.NTFS:
        (total,) = struct.unpack_from("<Q", start, 0x28)
    else:
        (small,) = struct.unpack_from("<H", start, 0x13)
        (large,) = struct.unpack_from("<I", start, 0x20)
        total = small or large
    return BootSector(
        kind=kind,
        oem_id=start[3:11].decode("latin-1").rstrip(),
        sector_size=sector_size,
        total_sectors=total,
        geometry=Geometry(hidden, sectors_per_track, heads),
        drive=start[0x40 if is_fat32 else 0x24],
        loader=_loader(start, 0x5A if is_fat32 else 0x54 if kind is VolumeKind.NTFS else 0x3E),
        marked=start[510:512] == b"\x55\xaa",
    )


def right_geometry(start: int, disk_size: int) -> Geometry | None:
    """Return the geometry that the boot code of a volume needs under SeaBIOS, QEMU's BIOS.

    ``start`` is the first byte of the volume's primary partition, ``disk_size`` the size of the
    disk, both in bytes. None when 32 bits cannot count the sectors before it: no BIOS starts that.

    Reports of what cured "A disk read error occurred" disagree: for one it was the hidden sectors
    and the heads did not matter, for another the heads alone. Both follow from the code of NTFS.
    It adds the hidden sectors to every sector that it reads, so they must be right always, with
    NTLDR as with BOOTMGR. Sectors per track and heads are what NT 4 addresses everything with, NT 5
    what lies before the end of the BIOS's own CHS range and BOOTMGR nothing; where they count they
    must be those that the BIOS counts with. Hence all three are written: 63 sectors per track, and
    255 heads unless the disk is smaller than 4 GiB. Smaller ones get what SeaBIOS gives them on IDE
    and virtio-blk; on virtio-scsi it says 32 instead of 64 for disks of just over 1 GiB.
    """
    hidden, rest = divmod(start, SECTOR)
    if rest or hidden > _MOST_HIDDEN_SECTORS:
        return None
    heads, cylinders = _DISK_HEADS, disk_size // SECTOR // _SECTORS_PER_TRACK // _DISK_HEADS
    if cylinders * heads > _LARGE_TRACKS:
        return Geometry(hidden, _SECTORS_PER_TRACK, _MOST_HEADS)
    while cylinders > _CYLINDERS:
        heads, cylinders = heads * 2, cylinders // 2
    return Geometry(hidden, _SECTORS_PER_TRACK, heads)


def with_geometry(sector: bytes, geometry: Geometry) -> bytes:
    """Return a boot sector, or the copy of one, with another geometry and nothing else changed.

    Raises ValueError when it is no boot sector of NTFS or FAT.
    """
    if read_boot_sector(sector) is None:
        raise ValueError("not the boot sector of an NTFS or FAT volume")
    fields = struct.pack(
        "<HHI", geometry.sectors_per_track, geometry.heads, geometry.hidden_sectors
    )
    return sector[:_GEOMETRY_AT] + fields + sector[_GEOMETRY_AT + len(fields) :]


def _loader(start: bytes, code_at: int) -> BootLoader:
    # The messages are translated ("NTLDR fehlt") but the name is not. NTFS has it once more, as the
    # UTF-16 text that it looks up in the root directory.
    if not any(start[code_at:510]):
        return BootLoader.NONE  # What follows is never read.
    code = start[code_at:SECTOR] + start[SECTOR:BOOT_CODE_SIZE]
    for loader in (BootLoader.BOOTMGR, BootLoader.NTLDR):
        name = loader.upper()
        if name.encode("ascii") in code or name.encode("utf-16-le") in code:
            return loader
    return BootLoader.OTHER
