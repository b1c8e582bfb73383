"""Partition tables: MBR with logical partitions, and GPT.

Layouts: the MBR as every PC BIOS reads it (Microsoft, "Basic disks"); GPT from the UEFI
specification, chapter 5.3. Only 512-byte sectors: VMware offers no other to guests.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
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

#: Code comes first in an MBR; the disk signature follows it.
_CODE_SIZE = 440
#: Status of an MBR entry: the partition to start from, and any other.
_ACTIVE = 0x80
_INACTIVE = 0x00

Reader = Callable[[int, int], bytes]


class TableKind(StrEnum):
    """How a disk is divided."""

    MBR = "mbr"
    GPT = "gpt"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition. ``start`` and ``size`` are in bytes, ``type`` is ``0x07`` or a GPT GUID.

    ``number`` is what Linux calls it, 0 for a disk that is one volume without a table. ``guid`` is
    the partition's own, ``name`` the one that it was given: both empty on MBR disks.
    """

    number: int
    start: int
    size: int
    type: str
    active: bool = False
    guid: str = ""
    name: str = ""

    @property
    def dynamic(self) -> bool:
        """Whether Windows manages it as part of a dynamic disk (LDM)."""
        return self.type in _GPT_LDM or self.type == f"0x{_MBR_LDM:02x}"


@dataclass(frozen=True, slots=True)
class MasterBootRecord:
    """What a BIOS and the code that it starts find in the first sector of a disk.

    ``signature`` is the disk signature in hexadecimal. ``has_code`` tells whether there is any code
    to start. ``active`` are the numbers (1 to 4) of the entries that are marked active;
    ``bad_status`` is true when an entry is marked neither so nor as inactive, which the code of
    Windows calls an invalid partition table, as it does several active ones (Microsoft, "Master
    boot record"). ``partitions`` are those that the four entries name, a protective one left out:
    on a GPT disk there are some only when the record is hybrid.
    """

    signature: str
    has_code: bool
    active: tuple[int, ...]
    bad_status: bool
    partitions: tuple[Partition, ...]

    @property
    def starts(self) -> Partition | None:
        """The partition that the code of Windows goes on with; None when it would give up."""
        if len(self.active) != 1 or self.bad_status:
            return None
        chosen = [entry for entry in self.partitions if entry.number == self.active[0]]
        return chosen[0] if chosen else None


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What a disk's first sectors say. ``signature`` is the MBR disk signature or the GPT GUID.

    ``mbr`` is None when the first sector does not end in 55 AA or is the boot sector of a volume:
    a BIOS then finds no master boot record. ``outside`` are partitions that end behind the disk:
    either the table is wrong or the image was cut off.
    """

    kind: TableKind
    partitions: tuple[Partition, ...]
    signature: str = ""
    mbr: MasterBootRecord | None = None
    outside: tuple[Partition, ...] = ()

    @property
    def hybrid(self) -> bool:
        """Whether a GPT disk's MBR names partitions too: Windows then takes it for an MBR disk."""
        return self.kind is TableKind.GPT and self.mbr is not None and bool(self.mbr.partitions)

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
    is left out: a table is the guest's own data and may say anything. What ends behind the disk
    is kept apart.
    """
    first = read(0, SECTOR)
    if len(first) < SECTOR or first[510:512] != b"\x55\xaa":
        return PartitionTable(TableKind.NONE, ())
    if first[3:11] in (b"NTFS    ", b"-FVE-FS-"):
        return PartitionTable(TableKind.NONE, (Partition(0, 0, disk_size, "volume"),))
    entries = _mbr_entries(first)
    record = _master_boot_record(first, entries, disk_size)
    if any(entry.kind == _PROTECTIVE_TYPE for entry in entries):
        table = _read_gpt(read, disk_size)
        if table is not None:
            return replace(table, mbr=record)
    partitions: list[Partition] = []
    outside: list[Partition] = []
    for number, entry in enumerate(entries, start=1):
        if not _is_inside(entry.start, entry.count, disk_size):
            if entry.kind not in (0, _PROTECTIVE_TYPE) and entry.start and entry.count:
                outside.append(_mbr_partition(number, entry))
        elif entry.kind in _EXTENDED_TYPES:
            partitions += _logical_partitions(read, entry.start, disk_size)
        elif entry.kind != _PROTECTIVE_TYPE:
            partitions.append(_mbr_partition(number, entry))
    return PartitionTable(
        TableKind.MBR, tuple(partitions), record.signature, record, tuple(outside)
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of the four entries of an MBR or of an extended boot record; sizes in sectors."""

    status: int
    kind: int
    start: int
    count: int


def _mbr_entries(sector: bytes) -> list[_Entry]:
    return [
        _Entry(sector[at], sector[at + 4], *struct.unpack_from("<II", sector, at + 8))
        for at in range(446, 510, 16)
    ]


def _master_boot_record(sector: bytes, entries: list[_Entry], disk_size: int) -> MasterBootRecord:
    numbered = list(enumerate(entries, start=1))
    return MasterBootRecord(
        signature=f"{int.from_bytes(sector[440:444], 'little'):08x}",
        has_code=any(sector[:_CODE_SIZE]),
        active=tuple(number for number, entry in numbered if entry.status == _ACTIVE),
        bad_status=any(entry.status not in (_ACTIVE, _INACTIVE) for entry in entries),
        partitions=tuple(
            _mbr_partition(number, entry)
            for number, entry in numbered
            if entry.kind not in (0, _PROTECTIVE_TYPE)
            and _is_inside(entry.start, entry.count, disk_size)
        ),
    )


def _mbr_partition(number: int, entry: _Entry, base: int = 0) -> Partition:
    return Partition(
        number,
        (base + entry.start) * SECTOR,
        entry.count * SECTOR,
        f"0x{entry.kind:02x}",
        entry.status == _ACTIVE,
    )


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
        entry, following, *_ = _mbr_entries(sector)
        if entry.kind and _is_inside(at + entry.start, entry.count, disk_size):
            found.append(_mbr_partition(5 + len(found), entry, at))
        if following.kind not in _EXTENDED_TYPES:
            break
        at = container + following.start
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
    partitions: list[Partition] = []
    outside: list[Partition] = []
    for index in range(len(raw) // entry_size):
        entry = raw[index * entry_size : (index + 1) * entry_size]
        kind = uuid.UUID(bytes_le=entry[:16])
        first, last = struct.unpack_from("<QQ", entry, 32)
        if kind.int and 0 < first <= last:
            inside = _is_inside(first, last - first + 1, disk_size)
            size = (last - first + 1) * SECTOR
            guid = str(uuid.UUID(bytes_le=entry[16:32]))
            # 36 UTF-16 units; what comes after a terminator is nobody's.
            name = entry[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
            (partitions if inside else outside).append(
                Partition(index + 1, first * SECTOR, size, str(kind), guid=guid, name=name)
            )
    return PartitionTable(TableKind.GPT, tuple(partitions), str(disk_guid), outside=tuple(outside))
