"""Boot sectors as the formatting tools write them, and the geometry that boot code needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.ntfs_volumes import make_volume
from fixtures.seabios import bios_geometry
from offline_mig.guest.boot_sector import (
    BOOT_CODE_SIZE,
    BootLoader,
    BootSector,
    Geometry,
    read_boot_sector,
    right_geometry,
    with_geometry,
)
from offline_mig.guest.ntfs import VolumeKind

MIB = 1024 * 1024
GIB = 1024 * MIB


def read(start: bytes) -> BootSector:
    found = read_boot_sector(start)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ntfs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_volume(tmp_path_factory.mktemp("ntfs") / "volume").read_bytes()


def fat(tmp_path: Path, bits: int, size: int, *options: str) -> bytes:
    volume = tmp_path / "volume"
    with volume.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(
        ["/sbin/mkfs.fat", "-F", str(bits), *options, volume], check=True, capture_output=True
    )
    return volume.read_bytes()


def with_code(sector: bytes, at: int, code: bytes) -> bytes:
    return sector[:at] + code + sector[at + len(code) :]


def test_ntfs_as_mkntfs_writes_it(ntfs: bytes) -> None:
    boot = read(ntfs[:BOOT_CODE_SIZE])
    assert boot.kind is VolumeKind.NTFS
    assert (boot.oem_id, boot.sector_size, boot.drive) == ("NTFS", 512, 0x80)
    assert boot.marked
    assert boot.loader is BootLoader.OTHER
    # mkntfs puts the copy where Windows does, behind the sectors that the volume counts.
    assert boot.total_sectors == len(ntfs) // 512 - 1
    assert ntfs[boot.total_sectors * 512 :] == ntfs[:512]


@pytest.mark.parametrize(("bits", "size"), [(12, 2 * MIB), (16, 32 * MIB), (32, 64 * MIB)])
def test_fat_as_mkfs_writes_it(tmp_path: Path, bits: int, size: int) -> None:
    volume = fat(tmp_path, bits, size, "-D", "0x81", "-h", "2048", "-g", "128/32")
    boot = read(volume[:512])
    assert boot.kind is VolumeKind.FAT
    assert boot.total_sectors == size // 512
    assert boot.geometry == Geometry(2048, 32, 128)
    assert (boot.oem_id, boot.drive) == ("mkfs.fat", 0x81)


@pytest.mark.parametrize(
    ("at", "code", "loader"),
    [
        # Windows names its loader in the second sector of $Boot, by length and UTF-16 name.
        (512, b"\5\0" + "NTLDR".encode("utf-16-le") + b"\4\0$\0I\0003\0000\0", BootLoader.NTLDR),
        (512, b"\7\0" + "BOOTMGR".encode("utf-16-le"), BootLoader.BOOTMGR),
        (0x183, b"\r\nNTLDR fehlt\0", BootLoader.NTLDR),
        (0x18C, b"\r\nBOOTMGR is missing\0", BootLoader.BOOTMGR),
    ],
)
def test_the_loader_is_told_by_its_name(
    ntfs: bytes, at: int, code: bytes, loader: BootLoader
) -> None:
    assert read(with_code(ntfs[:BOOT_CODE_SIZE], at, code)).loader is loader


def test_a_volume_without_code_starts_nothing(ntfs: bytes) -> None:
    empty = ntfs[:0x54] + bytes(510 - 0x54) + b"\x55\xaa"
    assert read(empty).loader is BootLoader.NONE
    assert not read(empty[:510] + b"\0\0").marked


def test_the_geometry_is_put_where_mkfs_puts_it(tmp_path: Path) -> None:
    sector = fat(tmp_path, 32, 64 * MIB, "-i", "1234abcd", "-h", "63", "-g", "64/63")[:512]
    wanted = fat(tmp_path, 32, 64 * MIB, "-i", "1234abcd", "-h", "2048", "-g", "255/63")[:512]
    assert sector != wanted
    assert with_geometry(sector, Geometry(2048, 63, 255)) == wanted


def test_only_the_geometry_is_changed(ntfs: bytes) -> None:
    patched = with_geometry(ntfs[:512], Geometry(63, 63, 255))
    assert read(patched).geometry == Geometry(63, 63, 255)
    assert patched[:0x18] + patched[0x20:] == ntfs[:0x18] + ntfs[0x20:512]


@pytest.mark.parametrize(
    ("start", "disk_size", "geometry"),
    [
        (63 * 512, 40 * GIB, Geometry(63, 63, 255)),
        (MIB, 8 * GIB, Geometry(2048, 63, 255)),
        (63 * 512, 4 * GIB, Geometry(63, 63, 255)),
        (63 * 512, 3 * GIB, Geometry(63, 63, 128)),
        (63 * 512, 3 * GIB // 2, Geometry(63, 63, 64)),
        (63 * 512, GIB, Geometry(63, 63, 64)),
        (63 * 512, 1000 * MIB, Geometry(63, 63, 32)),
        (63 * 512, 500 * MIB, Geometry(63, 63, 16)),
        ((2**32 - 1) * 512, 2**41, Geometry(2**32 - 1, 63, 255)),
        (2**32 * 512, 2**42, None),
        (100, GIB, None),
    ],
)
def test_geometry_as_seabios_counts(start: int, disk_size: int, geometry: Geometry | None) -> None:
    assert right_geometry(start, disk_size) == geometry


@pytest.mark.parametrize("bus", ["ide", "virtio"])
@pytest.mark.parametrize("size", [500 * MIB, 2047 * MIB, 3 * GIB, 40 * GIB])
def test_seabios_agrees(tmp_path: Path, size: int, bus: str) -> None:
    geometry = right_geometry(63 * 512, size)
    assert geometry is not None
    counted = (geometry.sectors_per_track, geometry.heads)
    assert bios_geometry(tmp_path, size, bus) == counted


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\xeb\x52\x90NTFS    ", b"-FVE-FS-" * 64])
def test_what_is_no_boot_sector_is_refused(content: bytes) -> None:
    assert read_boot_sector(content) is None
    with pytest.raises(ValueError, match="boot sector"):
        with_geometry(content, Geometry(63, 63, 255))


@given(st.binary(min_size=501, max_size=1500), st.sampled_from([b"NTFS    ", b"MSDOS5.0"]))
def test_any_bytes_are_read(tail: bytes, oem: bytes) -> None:
    content = b"\xeb\x52\x90" + oem + tail
    boot = read_boot_sector(content)
    if boot is not None:
        again = with_geometry(content, boot.geometry)
        assert again == content
