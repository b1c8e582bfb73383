"""The state of NTFS volumes, with ntfs-3g's own tools as oracle."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from offline_mig.guest.ntfs import (
    NtfsState,
    VolumeKind,
    free_extents,
    read_state,
    volume_kind,
)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.raw"
    with path.open("wb") as stream:
        stream.truncate(16 * 1024 * 1024)
    subprocess.run(["/sbin/mkntfs", "-q", "-F", "-f", path], check=True, capture_output=True)
    return path


def state_of(path: Path) -> NtfsState:
    data = path.read_bytes()
    return read_state(lambda offset, size: data[offset : offset + size])


def mark_dirty(path: Path) -> None:
    """Set the dirty bit behind the NTFS version 3.1 in every copy of $Volume."""
    data = bytearray(path.read_bytes())
    name = "$Volume".encode("utf-16-le")
    at = data.find(name)
    while at >= 0:
        version = data.find(b"\x03\x01", at, at + 1024)
        if version >= 0:
            data[version + 2] |= 1
        at = data.find(name, at + 1)
    path.write_bytes(data)


def test_fresh_volume_is_clean(volume: Path) -> None:
    assert state_of(volume) == NtfsState(dirty=False, readable=True)


def test_dirty_volume_is_told(volume: Path) -> None:
    mark_dirty(volume)
    told = subprocess.run(["/bin/ntfsinfo", "-fm", volume], capture_output=True, text=True)
    assert "DIRTY" in told.stdout.upper()
    assert state_of(volume) == NtfsState(dirty=True, readable=True)


def test_damaged_metadata_is_unreadable(volume: Path) -> None:
    data = bytearray(volume.read_bytes())
    cluster = int.from_bytes(data[48:56], "little")
    data[cluster * 4096 : cluster * 4096 + 8192] = b"\xaa" * 8192
    volume.write_bytes(data)
    assert not state_of(volume).readable


def test_open_journal_is_told(volume: Path) -> None:
    """A journal that a client has open, as a running Windows leaves it; ntfs-3g agrees."""
    data = bytearray(volume.read_bytes())
    at = data.find(b"RSTR")
    if at < 0:
        # mkntfs leaves the journal empty; give it the restart page of an open one.
        record = int.from_bytes(data[48:56], "little") * 4096 + 2 * 1024
        cluster = _first_cluster(bytes(data[record : record + 1024]))
        at = cluster * 4096
        page = bytearray(b"\0" * 4096)
        page[0:4] = b"RSTR"
        page[4:8] = (30).to_bytes(2, "little") + (9).to_bytes(2, "little")
        page[16:24] = (4096).to_bytes(4, "little") * 2
        page[24:26] = (48).to_bytes(2, "little")
        page[26:30] = (1).to_bytes(2, "little") * 2
        page[48 + 10 : 48 + 16] = b"\xff\xff" + b"\0\0" + b"\0\0"
        data[at : at + 4096] = page
    volume.write_bytes(data)
    assert state_of(volume).journal_open
    data[at + 48 + 14] |= 2
    volume.write_bytes(data)
    assert not state_of(volume).journal_open


def _first_cluster(record: bytes) -> int:
    at = int.from_bytes(record[20:22], "little")
    while record[at : at + 4] != b"\x80\0\0\0":
        at += int.from_bytes(record[at + 4 : at + 8], "little")
    runs = at + int.from_bytes(record[at + 32 : at + 34], "little")
    count_size, start_size = record[runs] & 15, record[runs] >> 4
    start = runs + 1 + count_size
    return int.from_bytes(record[start : start + start_size], "little")


def test_free_extents_are_what_ntfs_3g_says(volume: Path) -> None:
    """ntfsinfo counts the free clusters; no extent may overlap anything that has content."""
    told = subprocess.run(["/bin/ntfsinfo", "-fm", volume], capture_output=True, text=True)
    match = re.search(r"Free Clusters: (\d+)", told.stdout)
    assert match is not None
    data = volume.read_bytes()
    extents = list(free_extents(lambda at, size: data[at : at + size]))
    free = sum(size for _, size in extents) // 4096
    # Short runs are not looked for, so a little less than all is found.
    assert int(match[1]) - 64 * len(extents) - 64 <= free <= int(match[1])
    for at, size in extents:
        assert at + size <= len(data)
        assert not data[at : at + size].strip(b"\0")


def test_nothing_is_free_on_a_damaged_volume(volume: Path) -> None:
    data = bytearray(volume.read_bytes())
    cluster = int.from_bytes(data[48:56], "little")
    data[cluster * 4096 + 6 * 1024 : cluster * 4096 + 7 * 1024] = bytes(1024)
    assert list(free_extents(lambda at, size: bytes(data[at : at + size]))) == []


def test_kinds(volume: Path, tmp_path: Path) -> None:
    assert volume_kind(volume.read_bytes()[:512]) is VolumeKind.NTFS
    assert volume_kind(b"\xeb\x58\x90-FVE-FS-".ljust(512, b"\0")) is VolumeKind.BITLOCKER
    assert volume_kind(b"\0" * 512) is VolumeKind.OTHER
    fat = tmp_path / "fat.raw"
    with fat.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    subprocess.run(["/sbin/mkfs.fat", "-F", "32", fat], check=True, capture_output=True)
    assert volume_kind(fat.read_bytes()[:512]) is VolumeKind.FAT


@pytest.mark.parametrize("sector", [b"", b"\0" * 512, b"\xeb\x52\x90NTFS    ".ljust(512, b"\xff")])
def test_nonsense_is_unreadable(sector: bytes) -> None:
    assert not read_state(lambda offset, size: sector[offset : offset + size]).readable
