"""Proxmox VE: the configuration by what qm.conf(5) says, the commands by what qm is given."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings

from fixtures.golden_files import golden_stems, require_golden
from fixtures.qm_conf import check_settings, read_conf
from fixtures.target_machines import SAMPLES, Sample, target_disk
from fixtures.target_strategies import samples
from offline_mig.errors import OutputRefusedError
from offline_mig.machine import DiskFormat
from offline_mig.targets.devices import Attachment, AttachmentKind
from offline_mig.targets.hardware import DiskBus, TargetDisk, TargetOptions
from offline_mig.targets.limits import target_limits
from offline_mig.targets.options import TargetKind
from offline_mig.targets.proxmox import proxmox_conf, proxmox_script

each_sample = pytest.mark.parametrize("name", SAMPLES)

#: Writes down what it is given, an argument a line and an empty line behind each command.
_RECORDER = """#!/bin/sh
printf '%s\\n' "$@" "" >>"$RECORD"
case $* in "$FAIL_AT"*) exit 1 ;; esac
"""


def run_script(
    sample: Sample, folder: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run the script of a machine beside its disks; returns what qm was called with."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "qm").write_text(_RECORDER)
    (programs / "pvesh").write_text("#!/bin/sh\necho 123\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    target = sample.plan()
    for disk in target.disks:
        (folder / disk.path.name).touch()
    script = folder / "machine.proxmox.sh"
    script.write_text(proxmox_script(target))
    record = folder / "record"
    record.touch()
    run = subprocess.run(
        ["sh", str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "RECORD": str(record),
            "FAIL_AT": "nothing",
            **environment,
        },
    )
    calls = [call.split("\n") for call in record.read_text().split("\n\n")[:-1]]
    return run, calls


def options(calls: list[list[str]]) -> dict[str, str]:
    """Return what all calls together set."""
    found: dict[str, str] = {}
    for call in calls:
        pairs = iter(call[2:])
        for option in pairs:
            assert option.startswith("--")
            assert option not in found
            found[option.removeprefix("--")] = next(pairs)
    return found


@each_sample
def test_configuration_equals_its_golden_file(name: str) -> None:
    require_golden(proxmox_conf(SAMPLES[name].plan()), f"proxmox/{name}.conf")


@each_sample
def test_script_equals_its_golden_file(name: str) -> None:
    require_golden(proxmox_script(SAMPLES[name].plan()), f"proxmox/{name}.sh")


def test_every_golden_file_has_a_sample() -> None:
    assert golden_stems(".conf") == set(SAMPLES)


@pytest.mark.data
def test_checker_accepts_published_configurations(shared_data: Path) -> None:
    published = sorted((shared_data / "proxmox").glob("*.conf"))
    if not published:
        pytest.skip("no published configurations")
    for path in published:
        read_conf(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "ostype: win12",
        "virtio16: /a.raw",
        "virtio0: /a.raw,discard=unmap",
        "scsi0: a.raw",
        "net0: virtio=01:00:00:00:00:00",
        "vga: qxl,memory=2",
        "memory: 512M",
        "memory: 15",
        "cpu: Skylake-Server-noTSX",
        "net0: virtio,bridge=a b",
        "efidisk0: local:1,efitype=4m,pre-enrolled-keys=yes",
        "tpmstate0: local:1,version=2.0",
        "boot: order=scsi0",
        "name: a_b",
        "bios: uefi",
        "colour: red",
    ],
)
def test_checker_refuses_what_is_not_in_the_manual(line: str) -> None:
    with pytest.raises(AssertionError):
        read_conf(line)


@each_sample
def test_configuration_is_what_the_manual_describes(name: str) -> None:
    target = SAMPLES[name].plan()
    conf = read_conf(proxmox_conf(target))
    assert conf["memory"] == str(target.memory)
    assert int(conf["sockets"]) * int(conf["cores"]) == target.processors.count
    assert conf["localtime"] == str(int(target.local_time))
    assert [conf[f"net{index}"].partition(",")[0] for index in range(len(target.nics))] == [
        f"{nic.model}={nic.mac.upper()}" if nic.mac else str(nic.model) for nic in target.nics
    ]


@given(samples())
@settings(max_examples=50, deadline=None)
def test_any_machine_becomes_a_sound_configuration(sample: Sample) -> None:
    target = sample.plan()
    assume(not any("," in str(disk.path) for disk in target.disks))
    assume(sample.options.disk_bus is DiskBus.VIRTIO_SCSI or len(target.disks) <= 16)
    assume(len(target.nics) <= 32)
    conf = read_conf(proxmox_conf(target))
    first = next(disk for disk in target.disks if disk.boot_order == 1)
    started = conf["boot"].removeprefix("order=").split(";")[0]
    assert conf[started].startswith(f"file={first.path},format={first.format},")


@each_sample
def test_commands_make_the_machine_of_the_configuration(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    run, calls = run_script(sample, tmp_path)
    assert run.returncode == 0, run.stderr
    assert calls[0][:2] == ["create", "123"]
    assert all(call[:2] == ["set", "123"] for call in calls[1:])
    given_to_qm = options(calls)
    check_settings(given_to_qm)
    conf = read_conf(proxmox_conf(sample.plan()))
    volumes = {"efidisk0", "tpmstate0"}
    disks = {key for key in conf if conf[key].startswith("file=/")}
    assert {key: value for key, value in given_to_qm.items() if key not in disks | volumes} == {
        key: value for key, value in conf.items() if key not in disks
    }
    for (key, disk), path in zip(
        sorted((key, given_to_qm[key]) for key in disks),
        (disk.path.name for disk in sample.plan().disks),
        strict=True,
    ):
        assert disk.startswith(f"local-lvm:0,import-from={tmp_path / path},"), key


@pytest.mark.parametrize(
    ("name", "keys", "tpm"),
    [("10-uefi", "0", False), ("11-uefi-secure-boot", "1", True), ("2025-uefi", "1", False)],
)
def test_keys_are_enrolled_for_secure_boot_only(
    name: str, keys: str, tpm: bool, tmp_path: Path
) -> None:
    given_to_qm = options(run_script(SAMPLES[name], tmp_path)[1])
    assert given_to_qm["efidisk0"] == f"local-lvm:1,efitype=4m,pre-enrolled-keys={keys}"
    assert ("tpmstate0" in given_to_qm) == tpm


def test_script_takes_its_values_from_the_environment(tmp_path: Path) -> None:
    disk = tmp_path / "elsewhere.raw"
    disk.touch()
    run, calls = run_script(
        SAMPLES["xp-sp3-x86"],
        tmp_path,
        VMID="9",
        STORAGE="fast",
        BRIDGE="vmbr7",
        DISK1=str(disk),
    )
    assert run.returncode == 0, run.stderr
    given_to_qm = options(calls)
    assert {call[1] for call in calls} == {"9"}
    assert given_to_qm["net0"].endswith(",bridge=vmbr7")
    assert given_to_qm["virtio0"].startswith(f"fast:0,import-from={disk},")


def test_script_says_what_is_left_when_qm_fails(tmp_path: Path) -> None:
    run, calls = run_script(SAMPLES["xp-sp3-x86"], tmp_path, FAIL_AT="set")
    assert run.returncode == 1
    assert len(calls) == 2
    assert "qm destroy 123" in run.stderr


@pytest.mark.parametrize("found", ["missing.raw", "a,b.raw"])
def test_script_makes_nothing_without_its_disks(found: str, tmp_path: Path) -> None:
    (tmp_path / "a,b.raw").touch()
    run, calls = run_script(SAMPLES["xp-sp3-x86"], tmp_path, DISK1=str(tmp_path / found))
    assert run.returncode == 1
    assert calls == []
    assert "DISK1" in run.stderr or "comma" in run.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_scripts_are_sound_posix_shell(tmp_path: Path) -> None:
    for name, sample in SAMPLES.items():
        (tmp_path / f"{name}.sh").write_text(proxmox_script(sample.plan()))
    run = subprocess.run(
        ["shellcheck", "--shell=sh", *tmp_path.glob("*.sh")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_the_name_is_made_a_host_name() -> None:
    conf = read_conf(proxmox_conf(SAMPLES["7-two-nics-two-disks"].plan()))
    assert conf["name"] == "buro-lager-2"


@pytest.mark.parametrize("path", ["/images/a,b.raw", "/images/a\nb.raw", "/images/\udcff.raw"])
def test_path_that_the_syntax_cannot_hold_is_refused(path: str) -> None:
    disk = TargetDisk(Path(path), DiskFormat.RAW, 1)
    target = replace(SAMPLES["2022-bios"], disks=(disk,)).plan()
    for write in (proxmox_conf, proxmox_script):
        with pytest.raises(OutputRefusedError, match="comma"):
            write(target)


def test_bridge_that_is_no_name_is_refused() -> None:
    odd = Attachment(AttachmentKind.BRIDGE, "br0,tag=1")
    sample = replace(SAMPLES["2022-bios"], options=TargetOptions(networks=(odd,)))
    with pytest.raises(OutputRefusedError, match="bridge"):
        proxmox_conf(sample.plan())


def test_more_disks_than_the_bus_has_numbers_are_refused() -> None:
    disks = tuple(target_disk(str(number)) for number in range(17))
    many = replace(SAMPLES["2022-bios"], disks=disks)
    with pytest.raises(OutputRefusedError, match="17 disks") as caught:
        target_limits(many.plan(), TargetKind.PROXMOX)
    assert "virtio-scsi" in caught.value.remedy
    scsi = replace(many, options=TargetOptions(disk_bus=DiskBus.VIRTIO_SCSI)).plan()
    target_limits(scsi, TargetKind.PROXMOX)
    read_conf(proxmox_conf(scsi))
