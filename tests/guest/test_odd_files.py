"""Links, pipes, compressed and huge files in a guest: not followed, not read, not waited for."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.appliance import launched
from fixtures.catalogue import WINDOWS_7
from fixtures.conversion_run import require_engine
from fixtures.guests import GuestSpec
from fixtures.ntfs_volumes import make_volume, require_sound
from fixtures.reparse_points import (
    WOF,
    efs_info,
    junction,
    reparse,
    set_attribute,
    set_reparse_point,
)
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.partition_table import Partition
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import read_layout

pytestmark = pytest.mark.appliance

_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def odd_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = make_volume(tmp_path_factory.mktemp("odd") / "volume.raw")
    appliance = launched(image, readonly=False)
    try:
        appliance.mount_vfs("", "ntfs-3g", "/dev/sda", "/")
        for folder in ("/Real", "/Real/below", "/Junction", "/Dangling"):
            appliance.mkdir(folder)
        appliance.write("/Real/below/file", b"mine")
        appliance.ln_s("Real", "/Link")
        appliance.ln_s("Real/below/file", "/FileLink")
        appliance.touch("/compressed.exe")
        # The last two bytes say how much of what is before them is padding (efs.c).
        appliance.write("/encrypted.sys", bytes(range(256)) * 2 + b"\0\0")
        appliance.mkfifo(0o644, "/pipe")
        appliance.touch("/huge.sys")
        appliance.truncate_size("/huge.sys", 400 * _MIB)
        appliance.umount_all()
        appliance.shutdown()
    finally:
        appliance.close()
    set_reparse_point(image, "/Junction", junction(r"C:\Real"))
    set_reparse_point(image, "/Dangling", junction(r"D:\Nowhere"))
    # WOF_EXTERNAL_INFO and FILE_PROVIDER_EXTERNAL_INFO: compressed with XPRESS4K.
    wof = reparse(WOF, struct.pack("<IIII", 1, 2, 1, 0))
    set_reparse_point(image, "/compressed.exe", wof)
    set_attribute("ntfs_set_efs_info", image, "/encrypted.sys", efs_info())
    return image


@pytest.fixture(scope="module", params=["userspace", "guestfs"])
def files(
    request: pytest.FixtureRequest, odd_volume: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuestFilesystem]:
    require_engine(request.param)
    image = Path(shutil.copy(odd_volume, tmp_path_factory.mktemp(request.param) / "volume.raw"))
    whole = Partition(0, 0, image.stat().st_size, "volume")
    engine = choose_engine(EngineChoice(request.param))
    with (
        engine.open((OpenedDisk(image, DiskFormat.RAW),), writable=True) as disks,
        disks.mount(0, whole, writable=True) as mounted,
    ):
        yield mounted
    require_sound(image)


#: What must not be done, by what is odd.
REFUSED: dict[str, Callable[[GuestFilesystem], object]] = {
    "read-below-junction": lambda files: files.read("/Junction/below/file"),
    "write-below-junction": lambda files: files.write("/Junction/below/new", b"x"),
    "write-in-junction": lambda files: files.write("/Junction/new", b"x"),
    "make-in-junction": lambda files: files.make_directory("/Junction/new"),
    "list-junction": lambda files: files.list_directory("/Junction"),
    "list-dangling": lambda files: files.list_directory("/Dangling"),
    "write-in-dangling": lambda files: files.write("/Dangling/new", b"x"),
    "list-link": lambda files: files.list_directory("/Link"),
    "write-in-link": lambda files: files.write("/Link/new", b"x"),
    "read-link": lambda files: files.read("/FileLink"),
    "write-link": lambda files: files.write("/FileLink", b"x"),
    "read-compressed": lambda files: files.read("/compressed.exe"),
    "read-part-of-compressed": lambda files: files.read_part("/compressed.exe", 0, 8),
    "write-compressed": lambda files: files.write("/compressed.exe", b"x"),
    "read-encrypted": lambda files: files.read("/encrypted.sys"),
    "read-part-of-encrypted": lambda files: files.read_part("/encrypted.sys", 0, 8),
    "write-encrypted": lambda files: files.write("/encrypted.sys", b"x"),
}


REASONS = {
    "compressed": "it is compressed by Windows",
    "encrypted": "it is encrypted by Windows (EFS)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_followed(files: GuestFilesystem, name: str) -> None:
    with pytest.raises(UnreadableFileError) as refused:
        REFUSED[name](files)
    assert refused.value.exit_code == GuestRefusedError.exit_code
    reason = REASONS.get(name.rpartition("-")[2], "it is a link")
    assert reason in refused.value.message
    assert [entry.name for entry in files.list_directory("/Real")] == ["below"]
    assert [entry.name for entry in files.list_directory("/Real/below")] == ["file"]
    assert files.read("/Real/below/file") == b"mine"
    sizes = {entry.name: entry.size for entry in files.list_directory("/")}
    assert sizes["encrypted.sys"] == 512


def test_odd_files_are_there_but_no_directories(files: GuestFilesystem) -> None:
    listed = {entry.name: entry for entry in files.list_directory("/")}
    assert {name for name, entry in listed.items() if entry.is_directory} - {
        "System Volume Information"
    } == {"Real"}
    assert listed["huge.sys"].size == 400 * _MIB
    for name in listed:
        assert files.resolve(f"/{name.upper()}") == f"/{name}"


def test_pipe_is_not_waited_for(files: GuestFilesystem) -> None:
    try:
        content = files.read_part("/pipe", 0, 8)
    except UnreadableFileError as error:
        assert "Interix" in error.message
    else:
        # How NTFS keeps it: as a file with a magic.
        assert content[:7] in (b"IntxLNK", b"")


def test_huge_file_is_not_read(files: GuestFilesystem) -> None:
    with pytest.raises(GuestRefusedError, match="MiB"):
        files.read("/huge.sys")
    assert files.read_part("/huge.sys", 0, 8) == bytes(8)


def test_another_place_than_the_one_that_was_checked_is_not_mounted(
    base_image: Callable[[GuestSpec], Path],
) -> None:
    image = base_image(WINDOWS_7)
    with GuestfsEngine().open((OpenedDisk(image, DiskFormat.RAW),), writable=False) as disks:
        first, second = read_layout(disks, 1).tables[0].partitions[:2]
        for wrong in (
            replace(first, number=second.number),
            replace(first, number=9),
            replace(first, size=first.size - 512),
            replace(first, start=first.start + 512),
        ):
            with (
                pytest.raises(GuestRefusedError, match="is ambiguous"),
                disks.mount(0, wrong, writable=False),
            ):
                pass
        with disks.mount(0, first, writable=False) as files:
            assert files.list_directory("/")
