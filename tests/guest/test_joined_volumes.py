"""Several volumes and sectors of a guest behind one file system, on both engines.

What they wrote is read back by mtools and from the image's own bytes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.catalogue import WINDOWS_7, WINDOWS_10
from fixtures.fat_volumes import run_mtools
from fixtures.guests import GuestSpec
from fixtures.ntfs_volumes import cut_out
from offline_mig.guest.engine import Engine, OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.joined_volumes import (
    JoinedVolumes,
    boot_sector_of,
    first_sector_of,
    is_known_place,
    on_partition,
)
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import find_system_volume, read_layout

ENGINES = [
    pytest.param(UserspaceEngine(), id="userspace"),
    pytest.param(GuestfsEngine(), id="guestfs", marks=pytest.mark.appliance),
]
SECTOR = 512


@pytest.fixture
def overlay(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> Callable[[GuestSpec], Path]:
    def make(spec: GuestSpec) -> Path:
        path = tmp_path / "overlay.qcow2"
        qemu_img.create_overlay(path, base_image(spec), DiskFormat.RAW)
        return path

    return make


def opened(path: Path, base: Path) -> tuple[OpenedDisk, ...]:
    return (OpenedDisk(path, DiskFormat.QCOW2, (base,)),)


@pytest.mark.conversion
@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_efi_system_partition_beside_the_system_volume(
    engine: Engine,
    overlay: Callable[[GuestSpec], Path],
    base_image: Callable[[GuestSpec], Path],
    tmp_path: Path,
) -> None:
    path = overlay(WINDOWS_10)
    with engine.open(opened(path, base_image(WINDOWS_10)), writable=True) as disks:
        layout = read_layout(disks, 1)
        volume = find_system_volume(disks, layout)
        esp = layout.tables[0].partitions[0]
        place = (volume.disk, volume.partition)
        with (
            disks.mount(*place, writable=True) as system,
            JoinedVolumes(system, disks, layout.tables, place, writable=True) as joined,
        ):
            loader = on_partition(0, esp, "/EFI/BOOT/BOOTX64.EFI")
            assert joined.resolve(loader) == "1:1:/EFI/Boot/bootx64.efi"
            assert joined.exists("/Windows/System32/ntoskrnl.exe")
            for nowhere in ("1:9:/x", "2:1:/x", "1:9:boot sector", "3:first sector"):
                assert not joined.exists(nowhere)
                assert joined.resolve(nowhere) is None
            # The system volume by its own name is the one that is mounted.
            named = on_partition(*place, "/Windows/System32/ntoskrnl.exe")
            assert joined.read(named) == joined.read("/Windows/System32/ntoskrnl.exe")
            joined.write(loader, b"another loader")
            joined.make_directory(on_partition(0, esp, "/EFI/Made"))
            joined.write(on_partition(0, esp, "/EFI/Made/a long name.txt"), b"text")
            joined.write("/made.txt", b"on C:")
            below = on_partition(0, esp, "/EFI/New")
            joined.create(
                (below, "/New", "/New/Inner"), {f"{below}/a.txt": b"1", "/New/Inner/b.txt": b"2"}
            )
            assert joined.read("/new/inner/B.TXT") == b"2"
            names = {entry.name for entry in joined.list_directory(on_partition(0, esp, "/EFI"))}
            assert names == {"Boot", "Microsoft", "Made", "New"}
    fat = cut_out(path, "qcow2", esp.start, esp.size, tmp_path / "esp")
    assert run_mtools("mtype", "-i", fat, "::/EFI/Boot/bootx64.efi") == "another loader"
    assert run_mtools("mtype", "-i", fat, "::/EFI/Made/a long name.txt") == "text"
    assert run_mtools("mtype", "-i", fat, "::/EFI/New/a.txt") == "1"
    with (
        engine.open(opened(path, base_image(WINDOWS_10)), writable=False) as disks,
        disks.mount(*place, writable=False) as system,
    ):
        assert system.read("/made.txt") == b"on C:"


@pytest.mark.conversion
@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("engine", ENGINES)
def test_sectors(
    engine: Engine,
    overlay: Callable[[GuestSpec], Path],
    base_image: Callable[[GuestSpec], Path],
    tmp_path: Path,
) -> None:
    path = overlay(WINDOWS_7)
    base = base_image(WINDOWS_7)
    with engine.open(opened(path, base), writable=True) as disks:
        layout = read_layout(disks, 1)
        volume = find_system_volume(disks, layout)
        reserved = layout.tables[0].partitions[0]
        place = (volume.disk, volume.partition)
        with (
            disks.mount(*place, writable=True) as system,
            JoinedVolumes(system, disks, layout.tables, place, writable=True) as joined,
        ):
            boot, first = boot_sector_of(0, reserved), first_sector_of(0)
            assert joined.read(first)[510:] == b"\x55\xaa"
            changed = joined.read(boot)[:24] + bytes(8) + joined.read(boot)[32:]
            joined.write(boot, changed)
            joined.write(first, joined.read(first)[:446] + bytes(66))
            assert joined.read(boot) == changed
            with pytest.raises(FileExistsError):
                joined.create((), {boot: changed})
            with pytest.raises(ValueError, match="512 bytes"):
                joined.write(boot, b"short")
            for refused in (joined.list_directory, joined.delete, joined.make_directory):
                with pytest.raises(FileNotFoundError):
                    refused(boot)
    raw = tmp_path / "raw"
    qemu_img_convert(path, raw)
    old, new = base.read_bytes(), raw.read_bytes()
    places = [
        at for at in range(0, len(old), SECTOR) if old[at : at + SECTOR] != new[at : at + SECTOR]
    ]
    assert {0, reserved.start} <= set(places)
    # What else changed is the mounted volume's own doing.
    assert all(at in (0, reserved.start) or at >= volume.partition.start for at in places)


def qemu_img_convert(source: Path, target: Path) -> None:
    subprocess.run(["qemu-img", "convert", "-O", "raw", source, target], check=True)


@pytest.mark.conversion
@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize(
    "path",
    [
        *("1:9:/x", "2:1:/x", "0:1:/x", "1:/x"),
        *("1:1:boot sectors", "1:1:first sector", "1:1:", "relative"),
    ],
)
def test_places_that_are_not_there(path: str, base_image: Callable[[GuestSpec], Path]) -> None:
    image = OpenedDisk(base_image(WINDOWS_7), DiskFormat.RAW)
    with UserspaceEngine().open((image,), writable=False) as disks:
        layout = read_layout(disks, 1)
        volume = find_system_volume(disks, layout)
        place = (volume.disk, volume.partition)
        with (
            disks.mount(*place, writable=False) as system,
            JoinedVolumes(system, disks, layout.tables, place, writable=False) as joined,
            pytest.raises(FileNotFoundError),
        ):
            joined.read(path)


@pytest.mark.parametrize("path", ["/x", "1:1:/x", "1:first sector", "12:3:boot sector"])
def test_known_places(path: str) -> None:
    assert is_known_place(path)


@pytest.mark.parametrize("path", ["x", "", "1:1:x", "1:1:../x"])
def test_unknown_places(path: str) -> None:
    assert not is_known_place(path)
