"""Sources that are refused: each with its sentence, remedy and exit code, and without a trace."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fixtures.esx_snapshots import cowd, descriptor, sesparse, write_snapshot, write_vmfs
from fixtures.result import tree_state
from fixtures.source_images import qemu_img
from offline_mig.cli import main

SECTORS = 2048
VMX = """config.version = "8"
memsize = "512"
scsi0.present = "TRUE"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "disk.vmdk"
"""
Make = Callable[[Path], Path]


def base(folder: Path) -> Path:
    return write_vmfs(folder, (bytes(510) + b"\x55\xaa").ljust(SECTORS * 512, b"\0"))


def machine(folder: Path, more: str = "") -> Path:
    base(folder)
    path = folder / "box.vmx"
    path.write_text(VMX + more)
    return path


def made(folder: Path, kind: str, size: str) -> Path:
    path = folder / "disk.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", f"subformat={kind}", path, size)
    return path


def rewritten(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def text_of(kind: str, extent: str) -> Make:
    def make(folder: Path) -> Path:
        base(folder)
        path = folder / "odd.vmdk"
        path.write_text(descriptor(kind, extent))
        return path

    return make


def missing_part(folder: Path) -> Path:
    path = made(folder, "twoGbMaxExtentSparse", "5G")
    path.with_name("disk-s002.vmdk").unlink()
    return path


def part_alone(folder: Path) -> Path:
    path = made(folder, "twoGbMaxExtentFlat", "4M")
    path.unlink()
    return path.with_name("disk-f001.vmdk")


def delta_alone(folder: Path) -> Path:
    top = write_snapshot(base(folder), "s", "vmfsSparse", cowd(SECTORS, {}), SECTORS)
    return top.with_name("s-delta.vmdk")


def sesparse_alone(folder: Path) -> Path:
    path = folder / "s-sesparse.vmdk"
    path.write_bytes(sesparse(SECTORS, {}))
    return path


def flat_alone(folder: Path) -> Path:
    base(folder).unlink()
    return folder / "disk-flat.vmdk"


def renamed_extent(folder: Path) -> Path:
    path = base(folder)
    path.with_name("disk-flat.vmdk").rename(folder / "new-flat.vmdk")
    return path


def broken_chain(folder: Path) -> Path:
    disk = base(folder)
    first = write_snapshot(disk, "a", "vmfsSparse", cowd(SECTORS, {}), SECTORS, cid="00000001")
    second = write_snapshot(first, "b", "seSparse", sesparse(SECTORS, {}), SECTORS, cid="00000002")
    disk.unlink()
    return second


def dirty_sesparse(folder: Path) -> Path:
    extent = sesparse(SECTORS, {}, replay=1)
    return write_snapshot(base(folder), "s", "seSparse", extent, SECTORS)


def small_header(folder: Path) -> Path:
    path = folder / "disk.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", "subformat=streamOptimized", path, "4M")
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, 12, 128)
    path.write_bytes(data)
    return path


def encrypted_disk(folder: Path) -> Path:
    return rewritten(base(folder), "createType", 'encryption.keySafe="x"\ncreateType')


def encrypted_machine(folder: Path) -> Path:
    return machine(folder, 'encryption.keySafe = "vmware:key/list"\n')


def suspended(folder: Path) -> Path:
    path = machine(folder)
    path.with_suffix(".vmss").touch()
    return path


def running(folder: Path) -> Path:
    path = machine(folder)
    lock = folder / "disk.vmdk.lck"
    lock.mkdir()
    (lock / "M1.lck").touch()
    return path


def outside(folder: Path) -> Path:
    return rewritten(machine(folder), '"disk.vmdk"', '"../elsewhere/disk.vmdk"')


def linked_outside(folder: Path) -> Path:
    path = machine(folder)
    flat = folder / "disk-flat.vmdk"
    target = folder.parent / "target"
    flat.rename(target)
    flat.symlink_to(target)
    return path


def two_machines(folder: Path) -> Path:
    machine(folder).with_name("copy.vmx").write_text(VMX)
    return folder


def block_domain(folder: Path) -> Path:
    path = folder / "box.xml"
    path.write_text(
        '<domain><memory>1048576</memory><devices><disk type="block"><source dev="/dev/sda"/>'
        '<target dev="vda" bus="virtio"/></disk></devices></domain>'
    )
    return path


def device(folder: Path) -> Path:
    os.mkfifo(folder / "disk.vmdk")
    return folder / "disk.vmdk"


REFUSED: list[tuple[str, Make, int, str, str]] = [
    ("part missing", missing_part, 4, "not in", "Copy every file of the disk"),
    ("part alone", part_alone, 4, "only a part of a disk", "Give the descriptor disk.vmdk"),
    ("delta alone", delta_alone, 4, "only a part of a disk", "s.vmdk instead"),
    ("seSparse alone", sesparse_alone, 4, "only a part of a disk", "Give the descriptor s.vmdk"),
    ("flat alone", flat_alone, 4, "only a part of a disk", "--rebuild-descriptor"),
    ("renamed extent", renamed_extent, 4, "is incomplete", "--rebuild-descriptor"),
    ("broken chain", broken_chain, 4, "b.vmdk -> a.vmdk -> disk.vmdk is broken", "copy it into"),
    ("dirty seSparse", dirty_sesparse, 4, "journal", "on ESX"),
    ("wrong size", small_header, 4, "its descriptor says 8192", "Export or copy"),
    ("encrypted disk", encrypted_disk, 4, "encrypted by VMware", "Decrypt"),
    ("encrypted machine", encrypted_machine, 4, "encrypted by VMware", "Remove the encryption"),
    ("suspended", suspended, 4, "is suspended", "shut Windows down"),
    ("running", running, 4, "in use by a running machine", "Shut the machine down"),
    ("several machines", two_machines, 4, "2 VMX files", "Give one of them"),
    ("block device", block_domain, 4, 'of the type "block"', "qemu-img convert"),
    ("no file", device, 4, "is a FIFO", "Give a disk image"),
    ("outside", outside, 5, "climbs out of its folder", "--allow-outside"),
    ("link outside", linked_outside, 5, "outside", "--allow-outside"),
    *(
        (kind, text_of(kind, extent), 5, "pointer to a physical disk or LUN", "full clone")
        for kind, extent in (
            ("vmfsRawDeviceMap", 'RW 2048 VMFSRDM "disk-rdm.vmdk"'),
            ("vmfsPassthroughRawDeviceMap", 'RW 2048 VMFSRDM "disk-rdmp.vmdk"'),
            ("vmfsRaw", 'RW 2048 VMFSRAW "/vmfs/devices/disks/vml.1"'),
            ("fullDevice", 'RW 2048 FLAT "/dev/sda" 0'),
            ("partitionedDevice", 'RW 2048 FLAT "disk-pt.vmdk" 0'),
        )
    ),
    *(
        (kind, text_of(kind, 'RW 2048 FLAT "disk-flat.vmdk" 0'), 4, kind, remedy)
        for kind, remedy in (
            ("vmfsThin", 'createType="vmfs"'),
            ("vmfsPreallocated", 'createType="vmfs"'),
            ("2GbMaxExtentFlat", 'createType="twoGbMaxExtentFlat"'),
            ("custom", "full clone"),
        )
    ),
]


@pytest.mark.parametrize(
    ("make", "code", "told", "remedy"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_refused_with_a_sentence_and_without_a_trace(
    tmp_path: Path, make: Make, code: int, told: str, remedy: str
) -> None:
    folder = tmp_path / "vm"
    folder.mkdir()
    source = make(folder)
    before = tree_state(tmp_path)
    for command in (
        ["convert", str(source), "-o", str(tmp_path / "out"), "--json"],
        ["inspect", str(source), "--json"],
    ):
        run = CliRunner().invoke(main, command)
        assert run.exit_code == code, run.output
        error = json.loads(run.stdout)
        assert error["exit_code"] == code
        assert told in error["error"]
        assert folder.name in error["error"] or source.name in error["error"]
        assert remedy in error["remedy"]
    assert tree_state(tmp_path) == before
    assert not (tmp_path / "out").exists()
