"""Partitions found again by what Windows calls them."""

from __future__ import annotations

import uuid
from dataclasses import replace

from fixtures.partition_tables import BASIC_DATA, EFI_SYSTEM, GptEntry, MbrEntry, gpt, mbr
from offline_mig.guest.partition_identity import (
    GptIdentity,
    MbrIdentity,
    find_partitions,
    identity_of,
)
from offline_mig.guest.partition_table import PartitionTable, TableKind, read_partition_table

MIB = 1024 * 1024
DISK = 64 * MIB
DISK_GUID = uuid.UUID("8f2d7f3a-52c1-4f0e-9a64-0e1d5a7c9b01")
DATA_GUID = uuid.UUID("1e178d94-794e-41e9-865d-2e5b4328cd24")
ESP_GUID = uuid.UUID("00000000-0000-0000-0000-0000000000e5")


def table_of(pieces: dict[int, bytes]) -> PartitionTable:
    disk = bytearray(DISK)
    for at, piece in pieces.items():
        disk[at : at + len(piece)] = piece
    return read_partition_table(lambda at, size: bytes(disk[at : at + size]), DISK)


MBR_DISK = {0: mbr([MbrEntry(MIB, MIB), MbrEntry(2 * MIB, MIB, active=True)], 0x5CBEA03F)}
GPT_DISK = dict(
    gpt(
        [
            GptEntry(MIB, MIB, EFI_SYSTEM, ESP_GUID, "EFI"),
            GptEntry(2 * MIB, MIB, BASIC_DATA, DATA_GUID, "Data"),
        ],
        DISK_GUID,
        DISK,
    )
)


def test_every_partition_is_found_by_its_own_identity() -> None:
    tables = [table_of(MBR_DISK), table_of(GPT_DISK)]
    found = []
    for table in tables:
        for partition in table.partitions:
            identity = identity_of(table, partition)
            assert identity is not None
            found += [(p.disk, p.partition.number) for p in find_partitions(tables, identity)]
    assert found == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_identities_are_what_is_on_the_disk() -> None:
    table = table_of(MBR_DISK)
    assert identity_of(table, table.partitions[1]) == MbrIdentity(0x5CBEA03F, 2 * MIB)
    table = table_of(GPT_DISK)
    assert identity_of(table, table.partitions[1]) == GptIdentity(DATA_GUID, DISK_GUID)
    assert str(identity_of(table, table.partitions[1])) == (
        f"the partition {DATA_GUID} of the GPT disk {DISK_GUID}"
    )


def test_a_gpt_partition_is_found_without_its_disk_but_not_on_another() -> None:
    tables = [table_of(GPT_DISK)]
    assert len(find_partitions(tables, GptIdentity(DATA_GUID, None))) == 1
    assert find_partitions(tables, GptIdentity(DATA_GUID, ESP_GUID)) == ()


def test_other_signature_or_offset_is_not_found() -> None:
    tables = [table_of(MBR_DISK)]
    assert find_partitions(tables, MbrIdentity(0x5CBEA03E, MIB)) == ()
    assert find_partitions(tables, MbrIdentity(0x5CBEA03F, MIB + 512)) == ()


def test_copies_of_a_disk_are_both_found() -> None:
    table = table_of(MBR_DISK)
    found = find_partitions([table, table], MbrIdentity(0x5CBEA03F, MIB))
    assert [place.disk for place in found] == [0, 1]


def test_a_hybrid_disk_is_found_by_its_mbr() -> None:
    hybrid = mbr([MbrEntry(512, 512, 0xEE), MbrEntry(2 * MIB, MIB)], 0x11223344)
    (place,) = find_partitions(
        [table_of({**GPT_DISK, 0: hybrid})], MbrIdentity(0x11223344, 2 * MIB)
    )
    assert place.partition.number == 2


def test_nothing_is_known_of_a_volume_without_a_table() -> None:
    table = table_of(MBR_DISK)
    bare = replace(table, kind=TableKind.NONE, signature="")
    assert identity_of(bare, table.partitions[0]) is None
