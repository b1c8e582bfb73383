"""Empty floppies: FAT12 on the whole of a 3.5-inch disk, of either density.

The numbers are those of MS-DOS's FORMAT; "Microsoft FAT32 File System Specification" 1.03
(fatgen103) says what the fields are. An emulated drive knows the density by the size of the image
alone (QEMU, hw/block/fdc.c).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from offline_mig.guest.fat_directory import LABEL
from offline_mig.guest.fat_layout import ENTRY

_SECTOR = 512
#: Copies of the allocation table, and sectors of each on either density.
_TABLES, _TABLE_SECTORS = 2, 9
#: BPB_Media of 3.5-inch disks.
_MEDIA = 0xF0
#: BS_OEMName: what fatgen103 recommends, since some readers go by it.
_MADE_BY = b"MSWIN4.1"
#: BS_BootSig: serial number, label and type follow.
_EXTENDED = 0x29
#: The jump over the fields to what a PC executes that starts from this disk, and that: INT 18h,
#: by which the firmware goes on to its next boot device (BIOS Boot Specification 1.01, 6.7), and
#: a halt for one that returns.
_JUMP = b"\xeb\x3c\x90"
_CODE = b"\xcd\x18\xf4\xeb\xfd"
_CODE_AT = 62
_SIGNATURE = b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class FloppyDensity:
    """A density: ``name`` is what people call it, the rest numbers of the boot sector."""

    name: str
    sectors: int
    per_cluster: int
    root_entries: int
    per_track: int

    @property
    def size(self) -> int:
        """Bytes of the whole disk."""
        return self.sectors * _SECTOR

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return self.per_cluster * _SECTOR

    @property
    def clusters(self) -> int:
        """How many clusters there are for files."""
        root = self.root_entries * ENTRY // _SECTOR
        return (self.sectors - 1 - _TABLES * _TABLE_SECTORS - root) // self.per_cluster


#: Sold as 1.44 and 2.88 MB, of 1000 times 1024 bytes each. The smaller first.
DENSITIES = (
    FloppyDensity("1.44", 2880, 1, 224, 18),
    FloppyDensity("2.88", 5760, 2, 240, 36),
)


def empty_floppy(
    density: FloppyDensity, label: str, serial: int, now: tuple[int, int]
) -> bytearray:
    """Return an empty disk.

    ``label`` is up to 11 ASCII letters, ``serial`` the 32 bits that DIR shows, ``now`` the time of
    formatting as ``dos_time`` makes it.
    """
    name = label.upper().encode("ascii").ljust(11)
    image = bytearray(density.size)
    fields = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        _JUMP, _MADE_BY, _SECTOR, density.per_cluster, 1, _TABLES, density.root_entries,
        density.sectors, _MEDIA, _TABLE_SECTORS, density.per_track, 2, 0, 0, 0, 0, _EXTENDED,
        serial, name, b"FAT12   ",
    )  # fmt: skip
    image[: len(fields)] = fields
    image[_CODE_AT : _CODE_AT + len(_CODE)] = _CODE
    image[_SECTOR - len(_SIGNATURE) : _SECTOR] = _SIGNATURE
    for copy in range(_TABLES):
        # The first two entries are no clusters: the media descriptor, and an end of chain.
        at = (1 + copy * _TABLE_SECTORS) * _SECTOR
        image[at : at + 3] = bytes((_MEDIA, 0xFF, 0xFF))
    date, time = now
    root = (1 + _TABLES * _TABLE_SECTORS) * _SECTOR
    image[root : root + ENTRY] = struct.pack("<11sB10xHH6x", name, LABEL, time, date)
    return image
