"""Partition tables: MBR with logical partitions, and GPT.

Layouts: the MBR as every PC BIOS reads it; GPT from the UEFI specification, chapter 5.3. Only
512-byte sectors: VMware offers no other to guests.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SECTOR = 512
#: Types of MBR partitions that hold further partitions.
_EXTENDED_TYPES = {0x05, 0x0F, 0x85}
_PROTECTIVE_TYPE = 0xEE
#: Windows dynamic disk (LDM), MBR type.
_MBR_LDM = 0x42
#: EFI system partition, UEFI specification table 5-7.
GPT_ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#: LDM metadata and LDM data partitions, Microsoft, PARTITION_INFORMATION_GPT.
_GPT_LDM = {"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad"}
#: More logical partitions than Windows has drive letters for are a loop or an attack.
_MAX_LOGICAL = 64
_MAX_GPT_ENTRIES = 1024

Reader = Callable[[int, int], bytes]


class TableKind(StrEnum):
    """How a disk is divided."""

    MBR = "mbr"
    GPT = "gpt"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition. ``start`` and ``size`` are in bytes, ``type`` is ``0x07`` or a GPT GUID.

    ``number`` is what Linux calls it, 0 for a disk that is one volume without a table.
    """

    number: int
    start: int
    size: int
    type: str
    active: bool = False

    @property
    def dynamic(self) -> bool:
        """Whether Windows manages it as part of a dynamic disk (LDM)."""
        return self.type in _GPT_LDM or self.type == f"0x{_MBR_LDM:02x}"


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What a disk's first sectors say. ``signature`` is the MBR disk signature or the GPT GUID."""

    kind: TableKind
    partitions: tuple[Partition, ...]
    signature: str = ""

    @property
    def dynamic(self) -> bool:
        """Whether Windows manages the disk as a dynamic disk (LDM)."""
        return any(partition.dynamic for partition in self.partitions)

    @property
    def has_esp(self) -> bool:
        """Whether there is an EFI system partition."""
        return any(partition.type == GPT_ESP for partition in self.partitions)


def read_partition_table(read: Reader, disk_size: int) -> PartitionTable:
    """Return the partition table of a disk of ``disk_size`` bytes.

    ``read(offset, size)`` returns bytes of the disk, fewer at its end. What does not make sense
    is left out: a table is the guest's own data and may say anything.
    """
    first = read(0, SECTOR)
    if len(first) < SECTOR or first[510:512] != b"\x55\xaa":
        return PartitionTable(TableKind.NONE, ())
    if first[3:11] in (b"NTFS    ", b"-FVE-FS-"):
        return PartitionTable(TableKind.NONE, (Partition(0, 0, disk_size, "volume"),))
    entries = _mbr_entries(first)
    if any(kind == _PROTECTIVE_TYPE for kind, _, _, _ in entries):
        table = _read_gpt(read, disk_size)
        if table is not None:
            return table
    partitions = []
    for number, (kind, active, start, count) in enumerate(entries, start=1):
        if not _is_inside(start, count, disk_size):
            continue
        if kind in _EXTENDED_TYPES:
            partitions += _logical_partitions(read, start, disk_size)
        elif kind != _PROTECTIVE_TYPE:
            partitions.append(_mbr_partition(number, kind, active, start, count))
    signature = f"{int.from_bytes(first[440:444], 'little'):08x}"
    return PartitionTable(TableKind.MBR, tuple(partitions), signature)


def _mbr_entries(sector: bytes) -> list[tuple[int, bool, int, int]]:
    found = []
    for offset in range(446, 510, 16):
        status, kind = sector[offset], sector[offset + 4]
        start, count = struct.unpack_from("<II", sector, offset + 8)
        found.append((kind, status == 0x80, start, count))
    return found


def _mbr_partition(number: int, kind: int, active: bool, start: int, count: int) -> Partition:
    return Partition(number, start * SECTOR, count * SECTOR, f"0x{kind:02x}", active)


def _is_inside(start: int, count: int, disk_size: int) -> bool:
    return start > 0 and count > 0 and (start + count) * SECTOR <= disk_size


def _logical_partitions(read: Reader, container: int, disk_size: int) -> list[Partition]:
    found: list[Partition] = []
    seen: set[int] = set()
    at = container
    while at not in seen and len(found) < _MAX_LOGICAL:
        seen.add(at)
        sector = read(at * SECTOR, SECTOR)
        if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
            break
        (kind, active, start, count), (next_kind, _, next_start, _), *_ = _mbr_entries(sector)
        if kind and _is_inside(at + start, count, disk_size):
            found.append(_mbr_partition(5 + len(found), kind, active, at + start, count))
        if next_kind not in _EXTENDED_TYPES:
            break
        at = container + next_start
    return found


def _read_gpt(read: Reader, disk_size: int) -> PartitionTable | None:
    header = read(SECTOR, SECTOR)
    if len(header) < 92 or header[:8] != b"EFI PART":
        return None
    disk_guid = uuid.UUID(bytes_le=header[56:72])
    entries_at, count, entry_size = struct.unpack_from("<QII", header, 72)
    if not 128 <= entry_size <= 4096 or count > _MAX_GPT_ENTRIES:
        return None
    raw = read(entries_at * SECTOR, count * entry_size)
    partitions = []
    for index in range(len(raw) // entry_size):
        entry = raw[index * entry_size : (index + 1) * entry_size]
        kind = uuid.UUID(bytes_le=entry[:16])
        first, last = struct.unpack_from("<QQ", entry, 32)
        if kind.int and _is_inside(first, last - first + 1, disk_size):
            size = (last - first + 1) * SECTOR
            partitions.append(Partition(index + 1, first * SECTOR, size, str(kind)))
    return PartitionTable(TableKind.GPT, tuple(partitions), str(disk_guid))
