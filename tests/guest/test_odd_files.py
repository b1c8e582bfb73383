"""Links, pipes, compressed and huge files in a guest: not followed, not read, not waited for."""

from __future__ import annotations

import ctypes
import os
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
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.ntfs_library import load_library
from offline_mig.guest.partition_table import Partition
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import read_layout

pytestmark = pytest.mark.appliance

_MIB = 1024 * 1024
#: IO_REPARSE_TAG_MOUNT_POINT and IO_REPARSE_TAG_WOF, winnt.h.
_JUNCTION, _WOF = 0xA0000003, 0x80000017


def junction(target: str) -> bytes:
    r"""REPARSE_DATA_BUFFER of a mount point, ntifs.h: substitute name, print name."""
    name, shown = rf"\??\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    data = struct.pack("<HHHH", 0, len(name), len(name) + 2, len(shown))
    return reparse(_JUNCTION, data + name + b"\0\0" + shown + b"\0\0")


def reparse(tag: int, data: bytes) -> bytes:
    return struct.pack("<IHH", tag, len(data), 0) + data


def efs_info() -> bytes:
    """The header of $EFS (layout.h, EFS_ATTR_HEADER), without anybody's key."""
    return struct.pack("<4I48x3I", 76, 0, 2, 2, 0, 0, 0)


def set_attribute(setter: str, image: Path, path: str, data: bytes) -> None:
    """What libguestfs cannot set, since its attributes are texts; ``setter`` is libntfs-3g's."""
    library = load_library()
    library.ntfs_mount.restype = ctypes.c_void_p
    library.ntfs_mount.argtypes = (ctypes.c_char_p, ctypes.c_ulong)
    library.ntfs_pathname_to_inode.restype = ctypes.c_void_p
    library.ntfs_pathname_to_inode.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
    function = getattr(library, setter)
    function.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    volume = library.ntfs_mount(os.fsencode(image), 0)
    assert volume
    inode = library.ntfs_pathname_to_inode(volume, None, path.encode())
    assert inode
    assert function(inode, data, len(data), 0) == 0
    assert library.ntfs_inode_close(inode) == 0
    assert library.ntfs_umount(volume, 0) == 0


def set_reparse_point(image: Path, path: str, data: bytes) -> None:
    set_attribute("ntfs_set_ntfs_reparse_data", image, path, data)


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
    wof = reparse(_WOF, struct.pack("<IIII", 1, 2, 1, 0))
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
