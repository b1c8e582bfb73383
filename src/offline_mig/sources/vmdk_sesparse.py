"""Extents of ESX snapshots in the new form (createType seSparse, NAME-sesparse.vmdk).

VMware has not published the format. What is known of it is what qemu's block/vmdk.c reads
(VMDKSESparseConstHeader, vmdk_open_se_sparse()): a header that never changes, one that does, a
directory, and tables of 4096 grains of 4 KiB. qemu insists on these very numbers, and so does this.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import OpenFile, shown
from offline_mig.sources.vmdk import SECTOR
from offline_mig.sources.vmdk_grains import COPY_AGAIN, cut_off, read_entries

#: magic, version, capacity, grain size, grain table size, flags, four reserved words, then offset
#: and size of volatile header, journal header, journal, grain directory, grain tables, free
#: bitmap, back map and grains; all in sectors.
_CONSTANT = struct.Struct("<26Q")
#: magic, number of the next free table, next transaction, whether the journal is to be replayed.
_VOLATILE = struct.Struct("<4Q")
_MAGIC, _VOLATILE_MAGIC = 0xCAFEBABE, 0xCAFECAFE
_VERSION = 0x2_0000_0001
_GRAIN_SECTORS, _TABLE_SECTORS = 8, 64
_GRAINS_PER_TABLE = _TABLE_SECTORS * SECTOR // 8
_ENTRY = 8
#: qemu's limit (vmdk_add_extent()).
_MAX_DIRECTORY_ENTRIES = 32 * 1024 * 1024
#: An entry of the directory: allocated, in the upper half, and the table's number.
_ALLOCATED_TABLE, _TABLE_NUMBER = 0x1000_0000, 0xFFFF_FFFF
#: The highest four bits of a table's entry; that of a grain which the parent has is 0 altogether.
_KIND_SHIFT = 60
_UNMAPPED, _ZERO, _ALLOCATED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class SeSparseHeader:
    """The headers of an extent; sizes and offsets in sectors of 512 bytes."""

    capacity: int
    directory: int
    directory_size: int
    tables: int
    grains: int


def read_sesparse(file: OpenFile) -> SeSparseHeader:
    """Return the header of an extent all of whose grains are in its file.

    Raises SourceUnreadableError when it is damaged, cut off, was left open by ESX, or is of a
    kind that qemu does not read.
    """
    header = _parse(file)
    needed = -(-header.capacity // (_GRAINS_PER_TABLE * _GRAIN_SECTORS))
    entries = header.directory_size * SECTOR // _ENTRY
    if not needed <= entries <= _MAX_DIRECTORY_ENTRIES:
        raise _damaged(file, f"its directory has {entries} entries, {needed} are needed")
    directory = read_entries(file, header.directory, entries, "grain directory", "Q")
    grains = -(-header.capacity // _GRAIN_SECTORS)
    for number, entry in enumerate(directory[:needed]):
        if entry == 0:
            continue
        if entry >> 32 != _ALLOCATED_TABLE:
            raise _damaged(file, f"entry {number} of its directory is {entry:#018x}")
        table = header.tables + (entry & _TABLE_NUMBER) * _TABLE_SECTORS
        if table > _TABLE_NUMBER:
            raise cut_off(file, table)
        count = min(_GRAINS_PER_TABLE, grains - number * _GRAINS_PER_TABLE)
        _check_table(file, header, read_entries(file, table, count, "grain table", "Q"))
    return header


def _check_table(file: OpenFile, header: SeSparseHeader, entries: array[int]) -> None:
    highest = -1
    for entry in entries:
        kind = entry >> _KIND_SHIFT
        if kind == _ALLOCATED:
            # Twelve bits of the grain's number stand above the 48 others.
            grain = (entry >> 48 & 0xFFF) | (entry & 0xFFFF_FFFF_FFFF) << 12
            highest = max(highest, grain)
        elif kind not in (_UNMAPPED, _ZERO) and entry != 0:
            raise _damaged(file, f"a grain table has the entry {entry:#018x}")
    # Grains are whole, also the last of a disk.
    if highest >= 0:
        sector = header.grains + highest * _GRAIN_SECTORS
        if (sector + _GRAIN_SECTORS) * SECTOR > file.size:
            raise cut_off(file, sector)


def _parse(file: OpenFile) -> SeSparseHeader:
    data = file.read(0, SECTOR)
    if len(data) < SECTOR:
        raise _damaged(file, f"the file ends after {len(data)} bytes")
    words = _CONSTANT.unpack_from(data)
    magic, version, capacity, grain_size, table_size, flags, *_ = words
    if magic != _MAGIC:
        raise _damaged(file, f"it begins with {magic:#x}")
    fixed = (version, grain_size, table_size, flags)
    if (
        fixed != (_VERSION, _GRAIN_SECTORS, _TABLE_SECTORS, 0)
        or any(words[6:10])
        or any(data[_CONSTANT.size :])
    ):
        raise SourceUnreadableError(
            f"{shown(file.path)} is an ESX snapshot extent (seSparse) of a kind that qemu does not "
            f"read: version {version:#x}, grains of {grain_size} sectors, flags {flags:#x}.",
            "Consolidate the machine's snapshots in VMware and give the resulting disk.",
        )
    _check_volatile(file, file.read(words[10] * SECTOR, SECTOR))
    return SeSparseHeader(
        capacity=capacity,
        directory=words[16],
        directory_size=words[17],
        tables=words[18],
        grains=words[24],
    )


def _check_volatile(file: OpenFile, data: bytes) -> None:
    if len(data) < SECTOR:
        raise _damaged(file, "its second header lies behind its end")
    magic, _, _, replay = _VOLATILE.unpack_from(data)
    if magic != _VOLATILE_MAGIC or any(data[_VOLATILE.size :]):
        raise _damaged(file, f"its second header begins with {magic:#x}")
    if replay:
        raise SourceUnreadableError(
            f"{shown(file.path)} was not closed properly by ESX: its journal is still to be "
            "replayed, which qemu does not do.",
            "Power the machine on and off again on ESX, or consolidate its snapshots there, and "
            "copy the disk again.",
        )


def _damaged(file: OpenFile, what: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{shown(file.path)} is no sound ESX snapshot extent (seSparse): {what}.", COPY_AGAIN
    )
