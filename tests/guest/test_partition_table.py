"""Partition tables, written by sfdisk and read by us."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from offline_mig.guest.partition_table import (
    GPT_ESP,
    PartitionTable,
    TableKind,
    read_partition_table,
)

MIB = 1024 * 1024
DISK = 64 * MIB


def partitioned(tmp_path: Path, script: str, size: int = DISK) -> Path:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(["/sbin/sfdisk", "-q", disk], input=script, text=True, check=True)
    return disk


def read(disk: Path) -> PartitionTable:
    with disk.open("rb") as stream:

        def reader(offset: int, size: int) -> bytes:
            stream.seek(offset)
            return stream.read(size)

        return read_partition_table(reader, disk.stat().st_size)


def test_mbr_as_windows_xp_leaves_it(tmp_path: Path) -> None:
    disk = partitioned(
        tmp_path, "label: dos\nlabel-id: 0x1234abcd\nstart=63, size=100000, type=7, bootable\n"
    )
    table = read(disk)
    assert table.kind is TableKind.MBR
    assert table.signature == "1234abcd"
    (partition,) = table.partitions
    assert (partition.number, partition.start, partition.size) == (1, 63 * 512, 100000 * 512)
    assert partition.active
    assert partition.type == "0x07"
    assert not table.dynamic
    assert not table.has_esp


def test_logical_partitions_count_from_five(tmp_path: Path) -> None:
    disk = partitioned(
        tmp_path,
        "label: dos\nstart=2048, size=8192, type=7\nstart=16384, size=65536, type=f\n"
        "start=18432, size=4096, type=7\nstart=24576, size=8192, type=7\n",
    )
    assert [(p.number, p.start // 512, p.size // 512) for p in read(disk).partitions] == [
        (1, 2048, 8192),
        (5, 18432, 4096),
        (6, 24576, 8192),
    ]


def test_gpt_with_esp(tmp_path: Path) -> None:
    disk = partitioned(
        tmp_path,
        "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n"
        "start=2048, size=20480, type=uefi\n"
        "start=24576, size=40960, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n",
    )
    table = read(disk)
    assert table.kind is TableKind.GPT
    assert table.has_esp
    assert table.signature == "11111111-2222-3333-4444-555555555555"
    assert [(p.number, p.start // 512, p.size // 512) for p in table.partitions] == [
        (1, 2048, 20480),
        (2, 24576, 40960),
    ]
    assert table.partitions[0].type == GPT_ESP


def test_dynamic_disks_are_recognised(tmp_path: Path) -> None:
    assert read(partitioned(tmp_path, "label: dos\nstart=63, size=100000, type=42\n")).dynamic
    gpt = "label: gpt\nstart=2048, size=2048, type=AF9B60A0-1431-4F62-BC68-3311714A69AD\n"
    assert read(partitioned(tmp_path, gpt)).dynamic


def test_loop_of_logical_partitions_ends(tmp_path: Path) -> None:
    disk = partitioned(
        tmp_path,
        "label: dos\nstart=2048, size=8192, type=7\nstart=16384, size=65536, type=f\n"
        "start=18432, size=4096, type=7\n",
    )
    with disk.open("r+b") as stream:
        stream.seek(16384 * 512 + 446 + 16)
        # The second entry of the first EBR names that very EBR again.
        stream.write(bytes.fromhex("000000000f000000") + (0).to_bytes(4, "little") + b"\1\0\0\0")
    assert [p.number for p in read(disk).partitions] == [1, 5]


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\xff" * 512, b"\0" * 510 + b"\x55\xaa"])
def test_nonsense_is_no_partition(tmp_path: Path, content: bytes) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(content.ljust(len(content) and MIB, b"\0"))
    assert read(disk).partitions == ()


def test_partitions_beyond_the_end_are_left_out(tmp_path: Path) -> None:
    disk = partitioned(tmp_path, "label: dos\nstart=2048, size=100000, type=7\n")
    with disk.open("r+b") as stream:
        stream.truncate(MIB * 4)
    assert read(disk).partitions == ()
