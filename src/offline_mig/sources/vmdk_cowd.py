"""Extents of ESX snapshots in the old form ("COWD", createType vmfsSparse, NAME-delta.vmdk).

A header, a directory of grain tables and tables of 4096 grains; entries are sectors of the file,
0 is a grain that the parent has. Source: VMware, "Virtual Disk Format 5.0" (2011), section "ESX
Server Sparse Extents"; qemu's block/vmdk.c (VMDK3Header, vmdk_open_vmfs_sparse()).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import OpenFile, shown
from offline_mig.sources.vmdk import COWD_MAGIC, SECTOR
from offline_mig.sources.vmdk_grains import COPY_AGAIN, cut_off, read_entries

#: magic, version, flags, numSectors, grainSize, gdOffset, numGDEntries, freeSector.
_HEADER = struct.Struct("<4s7I")
_GRAINS_PER_TABLE = 4096
#: The header takes four sectors; nothing else lies in them.
_HEADER_SECTORS = 4
#: qemu's limits (vmdk_add_extent()).
_MAX_GRAIN_SECTORS = 0x200000
_MAX_DIRECTORY_ENTRIES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CowdHeader:
    """The header of an extent; sizes and offsets in sectors of 512 bytes."""

    capacity: int
    grain_size: int
    directory: int
    directory_entries: int


def read_cowd(file: OpenFile) -> CowdHeader:
    """Return the header of an extent all of whose grains are in its file.

    Raises SourceUnreadableError when it is damaged or cut off.
    """
    header = _parse(file)
    covered = _GRAINS_PER_TABLE * header.grain_size
    needed = -(-header.capacity // covered)
    if header.directory_entries < needed:
        raise _damaged(file, f"its directory has {header.directory_entries} entries, not {needed}")
    directory = read_entries(file, header.directory, header.directory_entries, "grain directory")
    grains = -(-header.capacity // header.grain_size)
    partial = header.capacity % header.grain_size
    for number, table in enumerate(directory[:needed]):
        if table == 0:
            continue
        count = min(_GRAINS_PER_TABLE, grains - number * _GRAINS_PER_TABLE)
        entries = read_entries(file, table, count, "grain table")
        if partial and number == needed - 1:
            # Of the last grain only what belongs to the disk has to be there.
            _require_inside(file, entries.pop(), partial)
        if entries:
            _require_inside(file, max(entries), header.grain_size)
        if any(0 < entry < _HEADER_SECTORS for entry in entries):
            raise _damaged(file, f"the grain table at sector {table} points into the header")
    return header


def _parse(file: OpenFile) -> CowdHeader:
    data = file.read(0, _HEADER.size)
    if len(data) < _HEADER.size or not data.startswith(COWD_MAGIC):
        raise _damaged(file, "it does not begin with COWD")
    _, version, _, capacity, grain_size, directory, entries, _ = _HEADER.unpack(data)
    if version != 1:
        raise _damaged(file, f"it states the version {version}")
    if not 1 <= grain_size <= _MAX_GRAIN_SECTORS:
        raise _damaged(file, f"it states grains of {grain_size} sectors")
    if entries > _MAX_DIRECTORY_ENTRIES:
        raise _damaged(file, f"it states a directory of {entries} entries")
    return CowdHeader(capacity, grain_size, directory, entries)


def _require_inside(file: OpenFile, sector: int, sectors: int) -> None:
    if sector and (sector + sectors) * SECTOR > file.size:
        raise cut_off(file, sector)


def _damaged(file: OpenFile, what: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{shown(file.path)} is no sound ESX snapshot extent (COWD): {what}.", COPY_AGAIN
    )
