"""By what Windows knows a partition again: on MBR disks by signature and offset, on GPT by GUIDs.

The boot configuration (BCD) and MountedDevices name partitions so, hence they hold for as long as
nobody changes a disk's signature or GUID, whatever controller the disk is on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind


@dataclass(frozen=True, slots=True)
class MbrIdentity:
    """A partition of an MBR disk: the disk's 32-bit signature, and its first byte's offset."""

    signature: int
    offset: int

    def __str__(self) -> str:
        """Name it for people."""
        return f"the partition at byte {self.offset} of the MBR disk {self.signature:08x}"


@dataclass(frozen=True, slots=True)
class GptIdentity:
    """A partition of a GPT disk: its own GUID and that of the disk (None: not said)."""

    partition: uuid.UUID
    disk: uuid.UUID | None

    def __str__(self) -> str:
        """Name it for people."""
        disk = f" of the GPT disk {self.disk}" if self.disk else ""
        return f"the partition {self.partition}{disk}"


PartitionIdentity = MbrIdentity | GptIdentity


@dataclass(frozen=True, slots=True)
class PlacedPartition:
    """A partition and which of the machine's disks it is on, counted from 0 in BIOS order."""

    disk: int
    partition: Partition


def identity_of(table: PartitionTable, partition: Partition) -> PartitionIdentity | None:
    """Return by what Windows knows a partition; None for a volume on a disk without a table."""
    if table.kind is TableKind.MBR and table.signature:
        return MbrIdentity(int(table.signature, 16), partition.start)
    if table.kind is TableKind.GPT and table.signature and partition.guid:
        return GptIdentity(uuid.UUID(partition.guid), uuid.UUID(table.signature))
    return None


def find_partitions(
    tables: Sequence[PartitionTable], wanted: PartitionIdentity
) -> tuple[PlacedPartition, ...]:
    """Return the partitions that ``wanted`` names, by disk; several when disks are copies.

    Windows gives a disk whose signature or GUID is there already a new one, so of several only
    one is really meant. A partition that a hybrid MBR names is found by either identity.
    """
    return tuple(
        PlacedPartition(disk, partition)
        for disk, table in enumerate(tables)
        for partition, identity in _identities(table)
        if _is_meant(wanted, identity)
    )


def _identities(table: PartitionTable) -> Iterator[tuple[Partition, PartitionIdentity | None]]:
    for partition in table.partitions:
        yield partition, identity_of(table, partition)
    if table.kind is TableKind.GPT and table.mbr is not None:
        for partition in table.mbr.partitions:
            yield partition, MbrIdentity(int(table.mbr.signature, 16), partition.start)


def _is_meant(wanted: PartitionIdentity, found: PartitionIdentity | None) -> bool:
    if isinstance(wanted, GptIdentity) and isinstance(found, GptIdentity):
        return wanted.partition == found.partition and wanted.disk in (None, found.disk)
    return wanted == found
