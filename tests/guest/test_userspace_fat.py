"""FAT volumes through the userspace engine: the confined worker, its refusals and its words."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.catalogue import WINDOWS_10
from fixtures.fat_volumes import (
    MIB,
    SIZES,
    bytes_of,
    copy_out,
    listed,
    make_fat,
    opened,
    put,
    require_sound_fat,
    set_entry,
)
from fixtures.guests import GuestSpec
from fixtures.users import User
from offline_mig.errors import GuestRefusedError, ToolFailedError
from offline_mig.guest.confined_volume import ConfinedVolume
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import UnreadableFileError
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import read_layout

pytestmark = pytest.mark.usefixtures("userspace")


@pytest.fixture(params=SIZES)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_fat(tmp_path / "volume.raw", request.param)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_fat(tmp_path / "small.raw", 16)


@contextmanager
def mounted(image: Path, *, writable: bool = True) -> Iterator[ConfinedVolume]:
    whole = Partition(0, 0, image.stat().st_size, "volume")
    with (
        UserspaceEngine().open((OpenedDisk(image, DiskFormat.RAW),), writable=writable) as disks,
        disks.mount(0, whole, writable=writable) as files,
    ):
        yield files


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_come_and_go(volume: Path) -> None:
    with mounted(volume) as files:
        before = files.free_space()
        files.make_directory("/EFI")
        files.make_directory("/efi/Microsoft")
        files.write("/efi/MICROSOFT/Übergröße.efi", noise(MIB + 17))
        files.write("/EFI/gone", b"x")
        files.delete("/efi/GONE")
        assert files.resolve("//efi/microsoft/üBERGRÖßE.EFI") == "/EFI/Microsoft/Übergröße.efi"
        assert files.read("/efi/microsoft/übergröße.efi") == noise(MIB + 17)
        assert files.read_part("/efi/microsoft/übergröße.efi", MIB, 100) == noise(MIB + 17)[MIB:]
        assert files.free_space() == before - 512 * (MIB // 512 + 1 + 2)
    require_sound_fat(volume)
    assert copy_out(volume, "/EFI/Microsoft/Übergröße.efi") == noise(MIB + 17)
    assert listed(volume, "/EFI/") == {"Microsoft", "Microsoft/Übergröße.efi"}
    with mounted(volume, writable=False) as files:
        (entry,) = files.list_directory("/EFI/MICROSOFT")
        assert (entry.name, entry.is_directory, entry.size) == ("Übergröße.efi", False, MIB + 17)
        (entry,) = files.list_directory("/efi")
        assert (entry.name, entry.is_directory, entry.size) == ("Microsoft", True, 0)


def test_what_is_not_there(small: Path) -> None:
    with mounted(small) as files:
        files.make_directory("/dir")
        files.write("/dir/long file name", b"x")
        assert files.resolve("/none") is None
        assert files.resolve("/") == "/"
        assert not files.exists("/dir/long file name/below")
        for missing in (
            lambda: files.read("/none"),
            lambda: files.list_directory("/none"),
            lambda: files.write("/none/file", b""),
            lambda: files.make_directory("/none/dir"),
            lambda: files.delete("/none"),
        ):
            with pytest.raises(FileNotFoundError):
                missing()
        for odd in (
            lambda: files.read("/DIR"),
            lambda: files.write("/DIR", b"x"),
            lambda: files.list_directory("/dir/long file name"),
            lambda: files.write("/dir/long file name/below", b"x"),
        ):
            with pytest.raises(UnreadableFileError, match=r"/dir.* cannot be used: it is a "):
                odd()
        for refused, reason in (
            (lambda: files.make_directory("/DIR"), "File exists"),
            (lambda: files.write("/dir/longfi~1", b"y"), "File exists"),
            (lambda: files.delete("/dir"), "Directory not empty"),
            (lambda: files.write(f"/{'x' * 256}", b""), "File name too long"),
            (lambda: files.write("/a:b", b""), "FAT does not allow such a name"),
        ):
            with pytest.raises(ToolFailedError, match=f"The reader of FAT could not .*{reason}"):
                refused()
        assert files.read("/dir/long file name") == b"x"
    require_sound_fat(small)


def test_a_full_volume_is_told(small: Path) -> None:
    with (
        pytest.raises(ToolFailedError, match="could not write /big: No space left"),
        mounted(small) as files,
    ):
        files.write("/big", noise(files.free_space() + 1))


def test_reading_changes_nothing(small: Path) -> None:
    with mounted(small) as files:
        files.write("/file", noise(MIB))
    before = sha256(small)
    with mounted(small, writable=False) as files:
        assert files.read("/file") == noise(MIB)
        with pytest.raises(ToolFailedError, match="Read-only"):
            files.write("/file", b"changed")
    # Nor does a mount that could have written.
    with mounted(small) as files:
        assert files.read("/FILE") == noise(MIB)
    assert sha256(small) == before


def test_unsafe_volumes_are_refused_for_writing_only(small: Path) -> None:
    with opened(small) as fat:
        put(fat, "/file", b"content")
    with bytes_of(small) as data:
        data[37] |= 1
    before = sha256(small)
    with pytest.raises(GuestRefusedError) as refused, mounted(small):
        pass
    assert refused.value.message == (
        "The FAT volume 1:0 can only be mounted read-only: it is marked as in use or not cleanly "
        "taken down (its dirty bit is set)."
    )
    assert "chkdsk" in refused.value.remedy
    with mounted(small, writable=False) as files:
        assert files.read("/FILE") == b"content"
    assert sha256(small) == before


def test_damaged_files_are_told(small: Path) -> None:
    with opened(small) as fat:
        put(fat, "/file", noise(2000))
        put(fat, "/other", noise(1000))
    with bytes_of(small) as data:
        set_entry(data, 16, 2, 2)
    with mounted(small, writable=False) as files:
        with pytest.raises(ToolFailedError, match=r"could not read /file: .* runs in a circle"):
            files.read("/file")
        assert files.read("/other") == noise(1000)
    with (
        pytest.raises(GuestRefusedError, match=r"1:0 can only .*: it is damaged: .* in a circle"),
        mounted(small),
    ):
        pass


def test_what_is_no_volume(tmp_path: Path, small: Path) -> None:
    with bytes_of(small) as data:
        data[13] = 3
    with (
        pytest.raises(GuestRefusedError, match="FAT volume 1:0 cannot be mounted: its clusters"),
        mounted(small),
    ):
        pass
    empty = tmp_path / "empty.raw"
    empty.write_bytes(bytes(MIB))
    with (
        pytest.raises(GuestRefusedError, match=r"volume 1:0 cannot be mounted: .*neither NTFS nor"),
        mounted(empty),
    ):
        pass


def test_the_efi_system_partition_of_a_guest(base_image: Callable[[GuestSpec], Path]) -> None:
    image = base_image(WINDOWS_10)
    with UserspaceEngine().open((OpenedDisk(image, DiskFormat.RAW),), writable=False) as disks:
        system = read_layout(disks, 1).tables[0].partitions[0]
        with disks.mount(0, system, writable=False) as files:
            assert files.resolve("/efi/microsoft/boot/bcd") == "/EFI/Microsoft/Boot/BCD"
            assert files.read_part("/EFI/MICROSOFT/BOOT/BCD", 0, 4) == b"regf"
            assert files.resolve("/efi/boot/bootx64.efi") == "/EFI/Boot/bootx64.efi"


_WRITE = """
import sys
from pathlib import Path
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
disk = OpenedDisk(Path(sys.argv[1]), DiskFormat.RAW)
with UserspaceEngine().open((disk,), writable=True) as disks:
    with disks.mount(0, Partition(0, 0, disks.size(0), "volume"), writable=True) as files:
        files.write("/file", bytes(range(256)) * 400)
"""


def test_works_for_root_and_for_others(user: User) -> None:
    image = make_fat(user.folder / "volume.raw", 16)
    image.chmod(0o600)
    os.chown(image, user.folder.stat().st_uid, -1)
    user.run(_WRITE, image)
    require_sound_fat(image)
    assert copy_out(image, "/file") == bytes(range(256)) * 400
