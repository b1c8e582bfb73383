"""Files outside of the machine's own folder: refused, unless the user allows theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.esx_snapshots import descriptor as vmdk_text
from fixtures.esx_snapshots import write_vmfs
from fixtures.ovf import File
from fixtures.ovf import descriptor as ovf_text
from fixtures.source_images import qemu_img, same_content
from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.sources.disk_image import examine_disk_image
from offline_mig.sources.machine_source import read_machine
from offline_mig.sources.options import SourceOptions

RAW = bytes(range(256)) * 4096


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A machine's folder, and one with a disk in it that is called base.vmdk."""
    machine, store = tmp_path / "vm", tmp_path / "store"
    machine.mkdir()
    store.mkdir()
    write_vmfs(store, RAW, "base")
    (tmp_path / "expected.raw").write_bytes(RAW)
    return machine, store


def allowing(*allowed: Path) -> SourceOptions:
    return SourceOptions(allow_outside=allowed)


def assert_read(path: Path, options: SourceOptions) -> None:
    """qemu and the sandboxed engine both read what is expected."""
    image = examine_disk_image(path, None, options).image
    expected = path.parent.parent / "expected.raw"
    assert same_content(image.path, image.format.value, expected)
    disk = OpenedDisk(image.path, image.format, image.files)
    with UserspaceEngine().open((disk,), writable=False) as disks:
        assert disks.read(0, 0, 65536) == RAW[:65536]


def linked_extent(machine: Path, store: Path) -> Path:
    (machine / "link-flat.vmdk").symlink_to(store / "base-flat.vmdk")
    return extent(machine, "link-flat.vmdk")


def extent(machine: Path, name: str) -> Path:
    path = machine / "disk.vmdk"
    path.write_text(vmdk_text("vmfs", f'RW 2048 VMFS "{name}"'))
    return path


def absolute_extent(machine: Path, store: Path) -> Path:
    return extent(machine, str(store / "base-flat.vmdk"))


def climbing_extent(machine: Path, _store: Path) -> Path:
    return extent(machine, "../store/base-flat.vmdk")


def vmdk_parent(machine: Path, store: Path) -> Path:
    qemu_img("create", "-f", "vmdk", "-b", store / "base.vmdk", "-F", "vmdk", machine / "s.vmdk")
    return machine / "s.vmdk"


def qcow2_parent(machine: Path, _store: Path) -> Path:
    options = ["-b", "../store/base.vmdk", "-F", "vmdk"]
    qemu_img("create", "-f", "qcow2", *options, machine / "s.qcow2")
    return machine / "s.qcow2"


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize(
    "make", [linked_extent, absolute_extent, climbing_extent, vmdk_parent, qcow2_parent]
)
def test_an_allowed_folder_is_read_and_no_other(
    tmp_path: Path, folders: tuple[Path, Path], make: object, opened: list[str]
) -> None:
    assert callable(make)
    machine, store = folders
    path = make(machine, store)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for options in (SourceOptions(), allowing(elsewhere)):
        opened.clear()
        with pytest.raises(SourceUnsafeError) as caught:
            examine_disk_image(path, None, options)
        assert "--allow-outside" in caught.value.remedy
        assert not [name for name in opened if "store" in name]
    assert_read(path, allowing(elsewhere, store))
    (tmp_path / "alias").symlink_to(store)
    assert_read(path, allowing(tmp_path / "alias"))


def test_links_out_of_an_allowed_folder_are_refused(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    machine, store = folders
    (tmp_path / "secret").write_bytes(RAW)
    (store / "base-flat.vmdk").unlink()
    (store / "base-flat.vmdk").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceUnsafeError, match="secret, outside"):
        examine_disk_image(absolute_extent(machine, store), None, allowing(store))


@pytest.mark.parametrize(
    "name", ["nbd:x", "C:\\x.vmdk", "\\\\host\\x", "/dev/null", "/proc/self/mem"]
)
def test_what_is_no_file_stays_refused(folders: tuple[Path, Path], name: str) -> None:
    machine, _ = folders
    with pytest.raises(OfflineMigError):
        examine_disk_image(extent(machine, name), None, allowing(Path("/")))


def vmx(machine: Path, disk: str) -> Path:
    path = machine / "box.vmx"
    path.write_text(
        'memsize = "512"\nscsi0.present = "TRUE"\nscsi0:0.present = "TRUE"\n'
        f'scsi0:0.fileName = "{disk}"\n'
    )
    return path


@pytest.mark.parametrize(
    "disk",
    [
        "{store}/base.vmdk",
        "../store/base.vmdk",
        "..\\store\\base.vmdk",
        "[datastore2] box/base.vmdk",
        "/vmfs/volumes/datastore2/box/base.vmdk",
        "D:\\VMs\\box\\base.vmdk",
        "/home/them/vmware/base.vmdk",
    ],
)
def test_disks_of_a_vmx_in_an_allowed_folder(folders: tuple[Path, Path], disk: str) -> None:
    machine, store = folders
    path = vmx(machine, disk.format(store=store))
    with pytest.raises(SourceUnsafeError) as caught:
        read_machine(path)
    assert "--allow-outside" in caught.value.remedy
    found = read_machine(path, options=allowing(store)).disks[0].image.path
    assert found == store / "base.vmdk"


def test_a_folder_that_is_none(folders: tuple[Path, Path]) -> None:
    _, store = folders
    for bad in (store / "gone", store / "base.vmdk"):
        with pytest.raises(SourceUnreadableError, match=bad.name) as caught:
            read_machine(store / "base.vmdk", options=allowing(bad))
        assert caught.value.remedy


def test_devices_in_an_allowed_folder_stay_refused(folders: tuple[Path, Path]) -> None:
    machine, store = folders
    os.mkfifo(store / "fifo.vmdk")
    with pytest.raises(OfflineMigError, match="is a FIFO"):
        read_machine(vmx(machine, "../store/fifo.vmdk"), options=allowing(store))


def test_disks_of_an_ovf_in_an_allowed_folder(folders: tuple[Path, Path]) -> None:
    machine, store = folders
    ovf = machine / "box.ovf"
    ovf.write_text(ovf_text([File("../store/base.vmdk")]))
    with pytest.raises(SourceUnsafeError, match="climbs out"):
        read_machine(ovf)
    (disk,) = read_machine(ovf, options=allowing(store)).disks
    assert disk.image.path == store / "base.vmdk"
