"""The state of NTFS volumes, with ntfs-3g's own tools as oracle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from offline_mig.guest.ntfs import NtfsState, VolumeKind, read_state, volume_kind


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
