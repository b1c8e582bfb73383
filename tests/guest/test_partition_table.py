"""Partition tables, written by sfdisk and read by us."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.ntfs_volumes import make_volume
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
        "start=2048, size=20480, type=uefi, name=System\n"
        "start=24576, size=40960, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, "
        "uuid=0FC63DAF-8483-4772-8E79-3D69D8477DE4, "
        'name="Basic data partition \u00e9 of 36 letters"\n',
    )
    table = read(disk)
    assert table.kind is TableKind.GPT
    assert table.has_esp
    assert table.signature == "11111111-2222-3333-4444-555555555555"
    assert [(p.number, p.start // 512, p.size // 512) for p in table.partitions] == [
        (1, 2048, 20480),
        (2, 24576, 40960),
    ]
    esp, data = table.partitions
    assert (esp.type, esp.name) == (GPT_ESP, "System")
    assert data.guid == "0fc63daf-8483-4772-8e79-3d69d8477de4"
    assert data.name == "Basic data partition \u00e9 of 36 letters"
    assert table.mbr is not None
    assert not table.hybrid
    assert table.mbr.starts is None


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


def patched(disk: Path, at: int, content: bytes) -> Path:
    with disk.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)
    return disk


TWO = "label: dos\nstart=63, size=1000, type=7\nstart=2048, size=8192, type=7, bootable\n"


def test_mbr_tells_what_it_would_start(tmp_path: Path) -> None:
    record = read(partitioned(tmp_path, TWO)).mbr
    assert record is not None
    assert record.active == (2,)
    assert record.starts is not None
    assert (record.starts.number, record.starts.start) == (2, 2048 * 512)
    # sfdisk writes no code.
    assert not record.has_code
    with_code = read(patched(tmp_path / "disk.raw", 439, b"\x90")).mbr
    assert with_code is not None
    assert with_code.has_code


@pytest.mark.parametrize(
    ("statuses", "active"), [(b"\x80\x80", (1, 2)), (b"\0\0", ()), (b"\x01\x80", (2,))]
)
def test_code_of_windows_gives_up(tmp_path: Path, statuses: bytes, active: tuple[int]) -> None:
    disk = partitioned(tmp_path, TWO)
    for number, status in enumerate(statuses):
        patched(disk, 446 + 16 * number, bytes([status]))
    record = read(disk).mbr
    assert record is not None
    assert record.active == active
    assert record.bad_status == (1 in statuses)
    assert record.starts is None


def test_active_entry_that_names_nothing_starts_nothing(tmp_path: Path) -> None:
    record = read(patched(partitioned(tmp_path, TWO), 446 + 16 + 8, b"\xff" * 8)).mbr
    assert record is not None
    assert record.active == (2,)
    assert record.starts is None


def test_active_extended_partition_is_told(tmp_path: Path) -> None:
    disk = partitioned(tmp_path, "label: dos\nstart=2048, size=8192, type=f, bootable\n")
    record = read(disk).mbr
    assert record is not None
    assert record.starts is not None
    assert record.starts.type == "0x0f"
    assert read(disk).partitions == ()


def test_hybrid_mbr_is_told(tmp_path: Path) -> None:
    gpt = "label: gpt\nstart=2048, size=2048, type=uefi\nstart=8192, size=4096\n"
    disk = partitioned(tmp_path, gpt)
    entry = bytes([0x80, 0, 0, 0, 7, 0, 0, 0]) + (8192).to_bytes(4, "little") + b"\0\x10\0\0"
    patched(disk, 440, bytes.fromhex("78563412"))
    table = read(patched(disk, 446 + 16, entry))
    assert table.kind is TableKind.GPT
    assert table.hybrid
    assert table.mbr is not None
    assert table.mbr.signature == "12345678"
    assert [(p.number, p.start // 512, p.size // 512) for p in table.mbr.partitions] == [
        (2, 8192, 4096)
    ]


def test_volume_without_a_table_has_no_mbr(tmp_path: Path) -> None:
    table = read(make_volume(tmp_path / "volume", 4 * MIB))
    assert table.kind is TableKind.NONE
    assert table.mbr is None
    assert [p.number for p in table.partitions] == [0]


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=1024, max_size=4096))
def test_any_tables_are_read(entries: bytes, rest: bytes) -> None:
    disk = bytes(446) + entries + b"\x55\xaa" + rest
    table = read_partition_table(lambda at, size: disk[at : at + size], len(disk))
    for partition in table.partitions:
        assert 0 < partition.start < partition.start + partition.size <= len(disk)


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_partitions_that_end_behind_the_disk_are_kept_apart(tmp_path: Path, label: str) -> None:
    """An image that was cut off: its table tells of what is not there any more."""
    script = f"label: {label}\nstart=2048, size=8192\nstart=16384, size=65536\n"
    disk = partitioned(tmp_path, script)
    with disk.open("r+b") as stream:
        stream.truncate(20000 * 512)
    table = read(disk)
    assert [(p.number, p.start) for p in table.partitions] == [(1, 2048 * 512)]
    assert [(p.number, p.start + p.size) for p in table.outside] == [(2, 81920 * 512)]
