"""Guests out of sources of every shape, converted by the command as any other."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.conversion_run import offline_mig, require_engine
from fixtures.esx_snapshots import sesparse, write_snapshot, write_vmfs
from fixtures.guests import GuestKind, GuestSpec
from fixtures.ovf import File, descriptor, write_ova
from fixtures.result import hivexget, system_volume, tree_state
from fixtures.source_images import qemu_img, same_content
from fixtures.vmware import MACHINES, VmdkKind, write_machine, write_vmdk

pytestmark = pytest.mark.conversion

XP = GuestSpec(GuestKind.XP)
MACHINE = MACHINES[GuestKind.XP]
DOMAIN = """<domain type="xen"><name>Box of VirtualBox</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <memory unit="MiB">768</memory><vcpu>1</vcpu><os><type>hvm</type></os>
  <devices>
    <disk type="file" device="disk"><driver type="qcow2"/><source file="/images/box.qcow2"/>
      <target dev="hda" bus="ide"/></disk>
    <interface type="bridge"><mac address="08:00:27:01:02:03"/><source bridge="xenbr0"/></interface>
  </devices></domain>
"""


@dataclass(frozen=True)
class Given:
    """What the command is given: the source and its options."""

    source: Path
    options: tuple[str | Path, ...] = ()


def vmx(folder: Path, image: Path) -> Path:
    return write_machine(folder, image, MACHINE)[0]


def esx_snapshot(folder: Path, image: Path) -> Given:
    """A VMFS disk whose boot sector is wrong, and a snapshot that has the right one."""
    machine = vmx(folder, image)
    machine.with_suffix(".vmdk").unlink()
    raw = bytearray(image.read_bytes())
    start = bytes(raw[:4096])
    raw[:4096] = b"\xff" * 4096
    base = write_vmfs(folder, bytes(raw), "box")
    sectors = len(raw) // 512
    extent = sesparse(sectors, {0: start})
    write_snapshot(base, "box-000001", "seSparse", extent, sectors)
    text = machine.read_text()
    machine.write_text(text.replace(f'"{MACHINE.name}.vmdk"', '"box-000001.vmdk"'))
    return Given(machine)


def lone_flat(folder: Path, image: Path) -> Given:
    folder.mkdir()
    write_vmfs(folder, image.read_bytes(), "box").unlink()
    return Given(folder / "box-flat.vmdk", ("--rebuild-descriptor",))


def renamed_elsewhere(folder: Path, image: Path) -> Given:
    """Disk in another folder, by a path of another host, with extents of other names."""
    machine = vmx(folder / "vm", image)
    machine.with_suffix(".vmdk").unlink()
    store = folder / "store"
    store.mkdir()
    write_vmdk(image, store / "disk.vmdk", VmdkKind.SPLIT_SPARSE)
    for file in list(store.iterdir()):
        file.rename(file.with_name(file.name.replace("disk", MACHINE.name)))
    text = machine.read_text()
    machine.write_text(text.replace(f'"{MACHINE.name}.vmdk"', f'"D:\\VMs\\{MACHINE.name}.vmdk"'))
    return Given(machine, ("--rebuild-descriptor", "--allow-outside", store))


def virtualbox(folder: Path, image: Path) -> Given:
    folder.mkdir()
    disk = folder / "box.vdi"
    qemu_img("convert", "-f", "raw", "-O", "vdi", image, disk)
    (folder / "box.xml").write_text(DOMAIN)
    return Given(disk, ("--xml", folder / "box.xml"))


def flat_ova(folder: Path, image: Path) -> Given:
    loose = folder / "loose"
    loose.mkdir(parents=True)
    disk = write_vmdk(image, loose / "disk1.vmdk", VmdkKind.MONOLITHIC_FLAT)
    files = {file.name: file for file in (disk, disk.with_name("disk1-flat.vmdk"))}
    text = descriptor([File("disk1.vmdk", disk=f'ovf:capacity="{image.stat().st_size}"')])
    return Given(write_ova(folder / "ova", text, files)[0])


@pytest.mark.parametrize("make", [esx_snapshot, lone_flat, renamed_elsewhere, virtualbox, flat_ova])
def test_the_guest_comes_out_as_any_other(
    tmp_path: Path,
    base_image: Callable[[GuestSpec], Path],
    drivers_dir: Path,
    make: Callable[[Path, Path], Given],
) -> None:
    require_engine("userspace")
    given = make(tmp_path / "source", base_image(XP))
    before = tree_state(tmp_path / "source")
    run = offline_mig(
        "convert", given.source, *given.options, "--drivers", drivers_dir, "--allow-unsigned",
        "-o", tmp_path / "out", "--json", "--checksum", "--engine", "userspace",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert tree_state(tmp_path / "source") == before
    printed = json.loads(run.stdout)
    (disk,) = map(Path, printed["disks"])
    assert "backing-filename" not in json.loads(qemu_img("info", "--output=json", disk))
    volume = system_volume(disk, "qcow2", tmp_path)
    assert volume.cat("/WINDOWS/system32/drivers/viostor.sys")[:2] == b"MZ"
    system = volume.hive("/WINDOWS/system32/config/system")
    assert hivexget(system, r"ControlSet001\Services\viostor", "Start") == "0"
    # What was made for the run is no file of the user's.
    named = [file["path"] for file in printed["report"]["source"]["files"]]
    assert all(Path(path).is_relative_to(tmp_path / "source") for path in named)
    if make is virtualbox:
        domain = Path(printed["domain"]).read_text()
        assert "11111111-2222-4333-8444-555555555555" in domain
        assert 'address="08:00:27:01:02:03"' in domain
        assert disk.name == "Box of VirtualBox.qcow2"


def partitioned(path: Path, script: str) -> Path:
    """Make a raw disk of 16 MiB with a partition table and data."""
    with path.open("wb") as file:
        file.truncate(16 * 1024**2)
        file.seek(4 * 1024**2)
        file.write(random.Random(path.name).randbytes(300_000))
    subprocess.run(
        ["/sbin/sfdisk", "-q", path], input=script, text=True, check=True, capture_output=True
    )
    return path


def table(disk: Path) -> dict[str, Any]:
    told = subprocess.run(
        ["/sbin/sfdisk", "--json", disk], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(told.stdout)["partitiontable"]
    del found["device"]
    for partition in found["partitions"]:
        del partition["node"]
    return found


def test_data_disks_come_along_as_they_are(
    tmp_path: Path, base_image: Callable[[GuestSpec], Path], drivers_dir: Path
) -> None:
    """The system disk is found by what is on it, between two that are only data."""
    require_engine("userspace")
    mbr = partitioned(
        tmp_path / "mbr.raw", "label: dos\nlabel-id: 0xcafe1234\nstart=2048, type=7\n"
    )
    gpt = partitioned(
        tmp_path / "gpt.raw",
        "label: gpt\nlabel-id: 3D2F1A60-5E6C-4F5B-9C0D-AABBCCDDEEFF\n"
        "start=2048, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, "
        "uuid=0D1E2F30-4152-4364-8576-97A8B9CADBEC, name=Data\n",
    )
    machine, system = write_machine(
        tmp_path / "source",
        base_image(XP),
        MACHINE,
        settings={
            "scsi0:0.fileName": "mbr.vmdk",
            "scsi0:1.present": "TRUE",
            "scsi0:1.fileName": f"{MACHINE.name}.vmdk",
            "sata0.present": "TRUE",
            "sata0:0.present": "TRUE",
            "sata0:0.fileName": "gpt.vmdk",
        },
    )
    write_vmdk(mbr, system.with_name("mbr.vmdk"), VmdkKind.MONOLITHIC_FLAT)
    write_vmdk(gpt, system.with_name("gpt.vmdk"), VmdkKind.STREAM_OPTIMIZED)
    before = tree_state(machine.parent)
    run = offline_mig(
        "convert", machine, "--drivers", drivers_dir, "--allow-unsigned", "-o", tmp_path / "out",
        "--format", "raw", "--json", "--engine", "userspace",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert tree_state(machine.parent) == before
    printed = json.loads(run.stdout)
    first, second, third = map(Path, printed["disks"])
    for converted, source in ((first, mbr), (third, gpt)):
        assert table(converted) == table(source)
        assert same_content(converted, "raw", source)
    told = subprocess.run(["sgdisk", "-v", third], check=True, capture_output=True, text=True)
    assert "No problems found" in told.stdout
    assert table(first)["id"] == "0xcafe1234"
    assert table(third)["id"] == "3D2F1A60-5E6C-4F5B-9C0D-AABBCCDDEEFF"
    volume = system_volume(second, "raw", tmp_path)
    assert volume.cat("/WINDOWS/system32/drivers/viostor.sys")[:2] == b"MZ"
    domain = Path(printed["domain"]).read_text()
    starts = domain.partition(f'file="{second}"')[2].partition("</disk>")[0]
    assert '<boot order="1"' in starts
