"""The script for QEMU: it is run, and QEMU asked what machine it made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from fixtures.golden_files import golden_stems, require_golden
from fixtures.scripted_qemu import started, write_script
from fixtures.target_machines import NT5_DRIVERS, SAMPLES, Sample, machine, target_disk
from fixtures.target_strategies import samples
from offline_mig.errors import OutputRefusedError
from offline_mig.machine import Bus, DiskFormat, Drive, Nic
from offline_mig.targets.devices import VideoModel
from offline_mig.targets.hardware import DiskBus, MachineType, TargetDisk, TargetOptions
from offline_mig.targets.qemu import qemu_script
from offline_mig.targets.qemu_slots import virtio_slots

each_sample = pytest.mark.parametrize("name", SAMPLES)
needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing"
)
#: Legacy and modern PCI ids of VirtIO devices (VirtIO 1.2, section 5).
LEGACY = {"blk": "1af4:1001", "net": "1af4:1000", "serial": "1af4:1003", "balloon": "1af4:1002"}
MODERN = {"blk": "1af4:1042", "net": "1af4:1041", "serial": "1af4:1043", "balloon": "1af4:1045"}


@each_sample
def test_script_equals_its_golden_file(name: str) -> None:
    require_golden(qemu_script(SAMPLES[name].plan()), f"qemu/{name}.qemu.sh")


def test_every_golden_file_has_a_sample() -> None:
    assert golden_stems(".qemu.sh") == set(SAMPLES)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_scripts_are_sound_posix_shell(tmp_path: Path) -> None:
    for name, sample in SAMPLES.items():
        (tmp_path / f"{name}.sh").write_text(qemu_script(sample.plan()))
    run = subprocess.run(
        ["shellcheck", "--shell=sh", *tmp_path.glob("*.sh")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


@given(samples())
@settings(max_examples=30, deadline=None)
def test_script_of_any_machine_can_be_read_by_the_shell(sample: Sample) -> None:
    script = qemu_script(sample.plan())
    run = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@needs_qemu
@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("xp-sp3-x86", LEGACY),
        ("xp-on-q35", LEGACY),
        ("7-x64-bios", MODERN),
        ("11-uefi-secure-boot", MODERN),
    ],
)
def test_machine_has_the_devices_that_were_planned(
    name: str, ids: dict[str, str], tmp_path: Path
) -> None:
    target = SAMPLES[name].plan()
    if target.secure_boot and not Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd").exists():
        pytest.skip("no UEFI firmware with Secure Boot")
    with started(write_script(target, tmp_path)) as qemu:
        assert qemu.ask("query-name") == {"name": target.name}
        assert qemu.ask("query-uuid") == {"UUID": target.uuid}
        tree = qemu.monitor("info qtree")
        blocks = qemu.monitor("info block")
        threads = qemu.ask("query-cpus-fast")
        tpms = qemu.ask("query-tpm")
    assert set(ids.values()) <= set(re.findall("pci id ([0-9a-f]{4}:[0-9a-f]{4})", tree))
    assert f"{tmp_path / target.disks[0].path.name} (qcow2)" in blocks
    assert str(target.nics[0].mac) in tree
    assert 'name = "org.qemu.guest_agent.0"' in tree
    if "dev: qxl-vga" in tree:
        assert 'name = "com.redhat.spice.0"' in tree
    assert ("virtio-rng" in tree) == target.rng
    assert bool(tpms) == (target.tpm and shutil.which("swtpm") is not None)
    assert ("cfi.pflash01" in tree) == (name == "11-uefi-secure-boot")
    assert len(threads) == target.processors.count
    assert not list(tmp_path.glob("guest.*")), "The folder of the sockets is removed."


@needs_qemu
def test_card_and_processor_are_those_asked_for(tmp_path: Path) -> None:
    options = TargetOptions(processor="Westmere", video=VideoModel.VIRTIO)
    target = replace(SAMPLES["10-bios"], options=options).plan()
    with started(write_script(target, tmp_path)) as qemu:
        tree = qemu.monitor("info qtree")
        (processor, *_) = qemu.ask("query-cpus-fast")
        kind = qemu.ask("qom-get", path=processor["qom-path"], property="type")
    assert kind == "Westmere-x86_64-cpu"
    assert "dev: virtio-vga" in tree


@needs_qemu
def test_a_host_whose_kvm_does_not_work_gets_emulation(tmp_path: Path) -> None:
    """Whatever this host's KVM is like: the machine starts without being told."""
    with started(write_script(SAMPLES["10-bios"].plan(), tmp_path), ACCEL="") as qemu:
        assert qemu.ask("query-status")["status"] == "prelaunch"


@needs_qemu
@pytest.mark.parametrize("machine_type", MachineType)
@pytest.mark.parametrize("bus", [DiskBus.VIRTIO, DiskBus.VIRTIO_SCSI])
def test_many_disks_and_awkward_names_find_their_places(
    machine_type: MachineType, bus: DiskBus, tmp_path: Path
) -> None:
    folder = tmp_path / "a, b 'c' $d"
    folder.mkdir()
    disks = tuple(target_disk(f"x,y $(z) {number}", DiskFormat.RAW) for number in range(24))
    drives = tuple(Drive(Bus.SATA, 0, number) for number in range(8))
    sample = replace(
        SAMPLES["2022-bios"],
        machine=machine('Tom\'s, "best" $PC', nics=(Nic(0), Nic(1)), drives=drives),
        disks=(*disks, target_disk("last", boot=True)),
        options=TargetOptions(machine_type=machine_type, disk_bus=bus),
    )
    target = sample.plan()
    with started(write_script(target, folder)) as qemu:
        blocks = qemu.monitor("info block")
        tree = qemu.monitor("info qtree")
    assert all(f"{folder / disk.path.name} (" in blocks for disk in target.disks)
    assert tree.count("dev: ide-cd") == len(target.cdroms)
    assert all(f'serial = "{disk.serial}"' in tree for disk in target.disks)
    assert tree.count("dev: virtio-net-pci") == 2


@needs_qemu
def test_windows_2000_has_its_disks_on_ide(tmp_path: Path) -> None:
    sample = replace(
        SAMPLES["xp-sp3-x86"],
        windows=replace(SAMPLES["xp-sp3-x86"].windows, major=5, minor=0, build=2195),
        drivers=replace(NT5_DRIVERS, network=False, serial=False, balloon=False, video=False),
    )
    with started(write_script(sample.plan(), tmp_path)) as qemu:
        tree = qemu.monitor("info qtree")
    assert "dev: ide-hd" in tree and "dev: rtl8139" in tree and "dev: cirrus-vga" in tree
    assert "virtio" not in tree


def test_missing_disk_is_told_before_anything_is_made(tmp_path: Path) -> None:
    script = tmp_path / "machine.qemu.sh"
    script.write_text(qemu_script(SAMPLES["10-uefi"].plan()))
    run = subprocess.run(
        ["sh", script], capture_output=True, text=True, check=False,
        env=os.environ | {"QEMU": "true"},
    )  # fmt: skip
    assert run.returncode == 1
    assert "win10.qcow2" in run.stderr and "DISK1" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["machine.qemu.sh"]


def test_missing_qemu_is_told(tmp_path: Path) -> None:
    script = tmp_path / "machine.qemu.sh"
    script.write_text(qemu_script(SAMPLES["10-bios"].plan()))
    run = subprocess.run(
        ["sh", script], capture_output=True, text=True, check=False,
        env=os.environ | {"QEMU": "no-such-qemu"},
    )  # fmt: skip
    assert run.returncode == 1
    assert "no-such-qemu is missing" in run.stderr


@pytest.mark.parametrize("name", ["a\nb.raw", "\udcff.raw"])
def test_name_that_a_script_cannot_hold_is_refused(name: str) -> None:
    disk = TargetDisk(Path("/images", name), DiskFormat.RAW, 1)
    with pytest.raises(OutputRefusedError, match="shell script"):
        qemu_script(replace(SAMPLES["2022-bios"], disks=(disk,)).plan())


@pytest.mark.parametrize("machine_type", MachineType)
@pytest.mark.parametrize("transitional", [False, True])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 31, 32, 70])
def test_every_virtio_device_has_a_bus(
    machine_type: MachineType, transitional: bool, count: int
) -> None:
    slots = virtio_slots(machine_type, count, transitional=transitional)
    made = set(re.findall(r"id=(\w+)", " ".join(slots.controllers))) | {"pci.0"}
    assert len(slots.buses) == count
    assert set(slots.buses) <= made
    assert max((slots.buses.count(bus) for bus in slots.buses), default=0) <= 31
