"""A machine as a whole: VMX with disks, folders, bare disks, and the states that forbid work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.source_images import MakeVmdk, qemu_img
from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Bus, DiskFormat, Firmware
from offline_mig.sources.machine_source import read_machine

VMX = """#!/usr/bin/vmware
.encoding = "UTF-8"
config.version = "8"
displayName = "My Box"
memsize = "1024"
scsi0.present = "TRUE"
scsi0.virtualDev = "lsisas1068"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "disk.vmdk"
"""

Rewrite = Callable[[str], Path]


@pytest.fixture
def vmx(make_vmdk: MakeVmdk) -> Path:
    """``tmp_path / "vm" / "box.vmx"`` with its one disk."""
    path = make_vmdk("monolithicFlat").with_name("box.vmx")
    path.write_text(VMX)
    return path


@pytest.fixture
def with_disk_name(vmx: Path) -> Rewrite:
    """Gives the VMX another name for its disk."""

    def rewrite(name: str) -> Path:
        vmx.write_text(VMX.replace("disk.vmdk", name))
        return vmx

    return rewrite


def test_a_vmx_becomes_a_machine(vmx: Path) -> None:
    machine = read_machine(vmx)
    assert (machine.name, machine.memory, machine.vcpus) == ("My Box", 1024, 1)
    (disk,) = machine.disks
    assert (disk.bus, disk.controller, disk.unit) == (Bus.SCSI, 0, 0)
    assert disk.controller_model == "lsisas1068"
    assert [file.name for file in disk.image.files] == ["disk.vmdk", "disk-flat.vmdk"]
    assert machine.source == vmx.resolve()
    assert machine.notes == ()


def test_a_vmx_is_known_by_its_content_and_a_folder_by_its_vmx(vmx: Path) -> None:
    machine = read_machine(vmx)
    assert read_machine(vmx.parent) == machine
    other = vmx.rename(vmx.with_name("box.vmx.txt"))
    assert read_machine(other).disks == machine.disks


def test_the_file_name_stands_in_for_a_missing_name(vmx: Path) -> None:
    vmx.write_text(VMX.replace("My Box", " "))
    assert read_machine(vmx).name == "box"


def test_folders_that_leave_a_choice_list_it(vmx: Path) -> None:
    vmx.with_name("._box.vmx").write_bytes(b"left by macOS")
    read_machine(vmx.parent)
    vmx.with_name("copy.vmx").write_text(VMX)
    with pytest.raises(SourceUnreadableError, match=r"2 VMX files: box\.vmx, copy\.vmx"):
        read_machine(vmx.parent)


def test_a_folder_with_one_disk_and_nothing_else_is_that_disk(vmx: Path) -> None:
    vmx.unlink()
    disk = vmx.with_name("disk.vmdk")
    vmx.with_name("disk-ctk.vmdk").write_bytes(b"map of changed blocks")
    assert read_machine(vmx.parent).source == disk
    snapshot = vmx.with_name("disk-000001.vmdk")
    qemu_img("create", "-f", "vmdk", "-b", disk.name, "-F", "vmdk", snapshot.name, cwd=vmx.parent)
    assert read_machine(vmx.parent).source == snapshot
    shutil.copy(snapshot, vmx.with_name("other.vmdk"))
    with pytest.raises(SourceUnreadableError, match=r"2 disk images: disk-000001\.vmdk, other"):
        read_machine(vmx.parent)
    disk.unlink()
    empty = vmx.parent / "empty"
    empty.mkdir()
    with pytest.raises(SourceUnreadableError, match="no libvirt domain and no disk"):
        read_machine(empty)


def test_a_bare_disk_gets_hardware_by_assumption(make_vmdk: MakeVmdk, tmp_path: Path) -> None:
    machine = read_machine(make_vmdk("streamOptimized", name="Old Server.vmdk"))
    assert machine.name == "Old Server"
    assert (machine.memory, machine.vcpus, machine.firmware) == (4096, 2, Firmware.BIOS)
    assert "were assumed" in machine.notes[0]
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(512) + b"data")
    with pytest.raises(SourceUnreadableError, match="no known kind"):
        read_machine(plain)
    assert read_machine(plain, DiskFormat.RAW).disks[0].image.format is DiskFormat.RAW


@pytest.mark.parametrize(
    "name",
    [
        "[datastore1] box/disk.vmdk",
        "[datastore1]disk.vmdk",
        "/vmfs/volumes/498076b2-02796c1a-ef5b-000ae484a6a3/box/disk.vmdk",
        "DISK.VMDK",
        "/srv/vms/disk.vmdk",
        "D:\\VMs\\box\\disk.vmdk",
        "\\\\server\\vms\\disk.vmdk",
    ],
)
def test_disks_of_datastores_and_of_windows_hosts_are_found(
    with_disk_name: Rewrite, name: str
) -> None:
    machine = read_machine(with_disk_name(name))
    assert machine.disks[0].image.path.name == "disk.vmdk"
    assert "was taken for it" in machine.notes[0]


@pytest.mark.parametrize(("name", "folder"), [("sub\\disk.vmdk", "sub"), ("[x] disk.vmdk", "")])
def test_other_plain_names(with_disk_name: Rewrite, name: str, folder: str) -> None:
    path = with_disk_name(name)
    target = path.parent / folder
    target.mkdir(exist_ok=True)
    path.with_name("disk-flat.vmdk").rename(target / "disk-flat.vmdk")
    path.with_name("disk.vmdk").rename(target / name.rpartition("\\")[2])
    machine = read_machine(path)
    assert machine.disks[0].image.path.parent == target.resolve()
    assert machine.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "/srv/missing.vmdk",
        "C:\\VMs\\missing.vmdk",
        "..\\other\\disk.vmdk",
        "../secret.vmdk",
        "nbd:localhost:1",
        "link.vmdk",
        "[other] x/missing.vmdk",
        "/vmfs/volumes/ds/missing.vmdk",
        "/vmfs/volumes/ds/link.vmdk",
        "[ds] ..",
    ],
)
def test_disks_outside_of_the_folder_are_refused(
    with_disk_name: Rewrite, tmp_path: Path, opened: list[str], name: str
) -> None:
    path = with_disk_name(name)
    (tmp_path / "secret.vmdk").write_bytes(bytes(510) + b"\x55\xaa")
    path.with_name("link.vmdk").symlink_to(tmp_path / "secret.vmdk")
    opened.clear()
    with pytest.raises(SourceUnsafeError) as caught:
        read_machine(path)
    assert set(opened) == {str(path)}
    assert "beside the VMX file" in caught.value.remedy or "one folder" in caught.value.remedy


def test_a_fifo_as_disk_does_not_hang(with_disk_name: Rewrite) -> None:
    path = with_disk_name("fifo.vmdk")
    os.mkfifo(path.with_name("fifo.vmdk"))
    with pytest.raises(SourceUnsafeError, match="is a FIFO"):
        read_machine(path)


def test_all_missing_disks_are_named(vmx: Path) -> None:
    more = 'scsi0:1.present = "TRUE"\nscsi0:1.fileName = "b.vmdk"\n'
    vmx.write_text(VMX.replace("disk.vmdk", "a.vmdk") + more)
    with pytest.raises(SourceUnreadableError, match=r"a\.vmdk \(scsi0:0\), b\.vmdk \(scsi0:1\)"):
        read_machine(vmx)


def test_one_file_is_not_two_disks(vmx: Path) -> None:
    vmx.write_text(VMX + 'scsi0:1.present = "TRUE"\nscsi0:1.fileName = "[ds2] box/disk.vmdk"\n')
    with pytest.raises(SourceUnreadableError, match="scsi0:0 and scsi0:1 the same disk"):
        read_machine(vmx)


def test_changes_that_are_kept_apart_are_refused(vmx: Path) -> None:
    """An undoable disk: its last state lies in the redo log."""
    vmx.write_text(VMX + 'scsi0:0.mode = "undoable"\nscsi0:0.redo = "./disk.vmdk.REDO_a1"\n')
    read_machine(vmx)
    vmx.with_name("disk.vmdk.REDO_a1").touch()
    with pytest.raises(SourceUnreadableError, match=r"scsi0:0 apart, in disk\.vmdk\.REDO_a1"):
        read_machine(vmx)
    vmx.write_text(vmx.read_text().replace("undoable", "independent-nonpersistent"))
    read_machine(vmx)


def test_suspended_machines_are_refused(vmx: Path) -> None:
    state = vmx.with_suffix(".vmss")
    state.touch()
    with pytest.raises(SourceUnreadableError, match="is suspended"):
        read_machine(vmx)
    vmx.write_text(VMX + 'checkpoint.vmState = ""\n')
    read_machine(vmx)
    vmx.write_text(VMX + 'checkpoint.vmState = "C:\\VMs\\box-1234.vmss"\n')
    read_machine(vmx)
    state.rename(state.with_name("box-1234.vmss"))
    with pytest.raises(SourceUnreadableError, match=r"kept in box-1234\.vmss"):
        read_machine(vmx)


def test_a_suspended_machine_without_its_memory_is_noted(vmx: Path) -> None:
    vmx.write_text(VMX + 'checkpoint.vmState = "box-1234.vmss"\n')
    assert "suspended, in box-1234.vmss, which is not there" in read_machine(vmx).notes[0]


VMSD = """.encoding = "UTF-8"
snapshot.lastUID = "7"
snapshot.numSnapshots = "2"
snapshot.current = "7"
snapshot0.uid = "3"
snapshot0.displayName = "before update"
snapshot0.numDisks = "1"
snapshot0.disk0.fileName = "disk.vmdk"
snapshot0.disk0.node = "scsi0:0"
snapshot1.uid = "7"
snapshot1.parent = "3"
snapshot1.displayName = "|1B[31mred"
"""


def test_snapshots_are_noted_and_which_disk_is_current(vmx: Path) -> None:
    vmx.with_suffix(".vmsd").write_text(VMSD)
    top = vmx.with_name("disk-000001.vmdk")
    qemu_img("create", "-f", "vmdk", "-b", "disk.vmdk", "-F", "vmdk", top.name, cwd=vmx.parent)
    notes = read_machine(vmx).notes
    assert "has 2 snapshots by box.vmsd (before update, [31mred)" in notes[0]
    # The VMX file names the disk of a snapshot: an old copy of it, perhaps.
    assert "disk-000001.vmdk is based on disk.vmdk: what was changed after" in notes[1]
    vmx.write_text(VMX.replace("disk.vmdk", top.name))
    current = read_machine(vmx)
    assert current.disks[0].image.path == top
    assert not any("was changed after" in note for note in current.notes)
    # Given alone, the disk of a snapshot is told as such, too.
    assert any("is based on disk.vmdk" in n for n in read_machine(top.with_name("disk.vmdk")).notes)


@pytest.mark.parametrize("text", ["", "garbage", 'snapshot.numSnapshots = "many"', "\0" * 100])
def test_a_list_of_snapshots_that_says_nothing_is_none(vmx: Path, text: str) -> None:
    vmx.with_suffix(".vmsd").write_text(text)
    assert read_machine(vmx).notes == ()


@pytest.mark.parametrize("locked", ["box.vmx", "disk.vmdk", "disk-flat.vmdk"])
def test_running_machines_are_refused(vmx: Path, locked: str) -> None:
    lock = vmx.with_name(f"{locked}.lck")
    lock.mkdir()
    (lock / "M1.lck").touch()
    with pytest.raises(SourceUnreadableError, match="running machine"):
        read_machine(vmx)


def test_encrypted_machines_are_refused(vmx: Path) -> None:
    vmx.write_text('.encoding = "UTF-8"\nencryption.keySafe = "vmware:key/list/(pair/x)"\n')
    with pytest.raises(SourceUnreadableError, match="encrypted by VMware"):
        read_machine(vmx)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no VMX file"),
        (b'config.version = "8"\n', "without a hard disk"),
        (b'memsize = "much"\n', "memsize"),
        (b"\0" * (5 * 1024 * 1024), "too many for a VMX file"),
    ],
)
def test_useless_vmx_files_are_named_with_the_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "x.vmx"
    path.write_bytes(content)
    with pytest.raises(OfflineMigError, match=reason) as caught:
        read_machine(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
