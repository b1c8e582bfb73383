"""libvirt domains: golden files that libvirt itself accepts, and rules for any machine.

After a wanted change of the documents, write the golden files anew and read the difference:

    OFFLINE_MIG_REGENERATE_GOLDEN=1 pytest tests/targets/test_libvirt_domain.py
    git diff tests/targets/golden
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings

from fixtures.libvirt_oracles import define, require_validator, require_virsh, validate
from fixtures.qemu_oracle import QemuDriver, pci_ids
from fixtures.target_machines import SAMPLES, XP, Sample, machine, target_disk
from fixtures.target_strategies import samples
from offline_mig.errors import OutputRefusedError
from offline_mig.machine import DiskFormat
from offline_mig.targets.devices import VideoModel
from offline_mig.targets.hardware import DiskBus, TargetDisk, TargetOptions
from offline_mig.targets.libvirt import domain_xml, osinfo_id
from offline_mig.windows.version import Architecture, WindowsVersion

GOLDEN = Path(__file__).parent / "golden"
REGENERATE = bool(os.environ.get("OFFLINE_MIG_REGENERATE_GOLDEN"))
OSINFO = Path("/usr/share/osinfo/os/microsoft.com")
#: Releases newer than some osinfo-db in use.
RECENT = {"2k25"}

each_sample = pytest.mark.parametrize("name", SAMPLES)


def parse(sample: Sample) -> ET.Element:
    return ET.fromstring(domain_xml(sample.plan()))


@each_sample
def test_document_equals_its_golden_file(name: str) -> None:
    golden = GOLDEN / f"{name}.xml"
    text = domain_xml(SAMPLES[name].plan())
    if REGENERATE:
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


def test_every_golden_file_has_a_sample() -> None:
    assert {path.stem for path in GOLDEN.glob("*.xml")} == set(SAMPLES)


@each_sample
def test_golden_file_validates_against_libvirts_schema(name: str) -> None:
    require_validator()
    validate(GOLDEN / f"{name}.xml")


@each_sample
def test_libvirt_defines_the_golden_file_as_it_is_meant(name: str) -> None:
    require_virsh()
    target = SAMPLES[name].plan()
    domain = ET.fromstring(define(GOLDEN / f"{name}.xml"))
    assert domain.findtext("name") == target.name
    assert domain.findtext("memory") == str(target.memory * 1024)
    assert [disk.get("file") for disk in domain.findall("devices/disk/source")] == [
        str(disk.path) for disk in target.disks
    ]
    drives = {element.get("dev") for element in domain.findall("devices/disk/target")}
    assert drives == {part.target for part in (*target.disks, *target.cdroms)}


@each_sample
def test_libvirts_qemu_driver_makes_a_command_of_it(name: str, qemu_driver: QemuDriver) -> None:
    words = qemu_driver.arguments(GOLDEN / f"{name}.xml")
    arguments = " ".join(words)
    target = SAMPLES[name].plan()
    assert ("hv-stimer=on" in arguments) == bool(target.enlightenments)
    assert ("base=localtime" in arguments) == target.local_time
    assert ("smm=on" in arguments) == target.secure_boot
    if target.video.model is VideoModel.VIRTIO:
        assert '"driver":"virtio-vga"' in arguments
    else:
        assert f'"vgamem_mb":{target.video.framebuffer // 1024}' in arguments
    assert ('"driver":"tpm-crb"' in arguments) == target.tpm
    assert all(f'"serial":"{disk.serial}"' in arguments for disk in target.disks)
    for disk in target.disks:
        assert f'"bootindex":{disk.boot_order}' in arguments


@pytest.mark.parametrize(
    ("name", "expected", "unexpected"),
    [
        ("xp-sp3-x86", {"1af4:1001", "1af4:1002", "1af4:1003", "1b36:0100"}, "1af4:104"),
        ("2003-x64", {"1af4:1001", "1af4:1002", "1af4:1003"}, "1af4:104"),
        ("xp-on-q35", {"1af4:1001", "1af4:1002", "1af4:1003", "1af4:1005"}, "1af4:104"),
        ("7-x64-bios", {"1af4:1042", "1af4:1045", "1af4:1043", "1af4:1044"}, "1af4:100"),
        ("7-two-nics-two-disks", {"1af4:1048"}, "1af4:100"),
        ("2022-bios", {"1af4:1042"}, "1af4:100"),
        ("vista-x86-vnc-without-drivers", {"1af4:1042"}, "1b36:0100"),
    ],
)
def test_qemu_shows_windows_devices_that_its_drivers_know(
    name: str, expected: set[str], unexpected: str, qemu_driver: QemuDriver, tmp_path: Path
) -> None:
    ids = pci_ids(qemu_driver.arguments(GOLDEN / f"{name}.xml"), tmp_path)
    assert expected <= set(ids)
    assert not [number for number in ids if number.startswith(unexpected)]


@given(samples())
@settings(max_examples=200, deadline=None)
def test_any_machine_becomes_a_sound_document(sample: Sample) -> None:
    text = domain_xml(sample.plan())
    domain = ET.fromstring(text)
    targets = [element.get("dev") for element in domain.findall("devices/disk/target")]
    assert len(targets) == len(set(targets))
    orders = [element.get("order") for element in domain.iter("boot")]
    assert orders.count("1") == 1
    assert sorted(int(order or 0) for order in orders) == list(range(1, len(sample.disks) + 1))
    assert not [element for element in domain.iter("address") if element.get("type") == "pci"]
    name = domain.findtext("name")
    assert name and "/" not in name and len(name.encode()) <= 200
    vcpus, topology = domain.findtext("vcpu"), domain.find("cpu/topology")
    assert topology is not None
    assert int(vcpus or 0) == int(topology.get("sockets", 0)) * int(topology.get("cores", 0))
    assert text == domain_xml(sample.plan())


@given(samples())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_libvirt_accepts_any_machine(tmp_path: Path, sample: Sample) -> None:
    require_validator()
    require_virsh()
    document = tmp_path / "domain.xml"
    document.write_text(domain_xml(sample.plan()), "utf-8")
    validate(document)
    define(document)


def test_many_scsi_disks_share_one_virtio_controller(
    qemu_driver: QemuDriver, tmp_path: Path
) -> None:
    disks = tuple(target_disk(f"disk{number}") for number in range(16))
    sample = replace(
        SAMPLES["2022-bios"], disks=disks, options=TargetOptions(disk_bus=DiskBus.VIRTIO_SCSI)
    )
    document = tmp_path / "domain.xml"
    document.write_text(domain_xml(sample.plan()), "utf-8")
    arguments = " ".join(qemu_driver.arguments(document))
    assert arguments.count('"driver":"virtio-scsi-pci"') == 1
    assert '"driver":"lsi' not in arguments
    assert arguments.count('"bus":"scsi0.0"') == 16
    assert "ahci" not in arguments, "The CD-ROM drive fits the chipset's own controller."


def test_format_of_each_disk_is_written_down() -> None:
    sample = replace(
        SAMPLES["2022-bios"],
        disks=tuple(target_disk(str(kind), kind) for kind in DiskFormat),
    )
    drivers = parse(sample).findall("devices/disk[@device='disk']/driver")
    assert [driver.get("type") for driver in drivers] == [str(kind) for kind in DiskFormat]


def test_path_that_xml_cannot_hold_is_refused() -> None:
    sample = replace(
        SAMPLES["2022-bios"], disks=(TargetDisk(Path("/images/\udcff.raw"), DiskFormat.RAW, 1),)
    )
    with pytest.raises(OutputRefusedError, match="characters"):
        domain_xml(sample.plan())


def test_awkward_path_survives_libvirt(tmp_path: Path) -> None:
    require_virsh()
    path = "/images/a b,c&d<e>'f\"\u00fc.raw"
    sample = replace(SAMPLES["2022-bios"], disks=(TargetDisk(Path(path), DiskFormat.RAW, 1),))
    document = tmp_path / "domain.xml"
    document.write_text(domain_xml(sample.plan()), "utf-8")
    source = ET.fromstring(define(document)).find("devices/disk/source")
    assert source is not None
    assert source.get("file") == path


def test_machine_without_disks_is_still_a_document() -> None:
    sample = Sample(machine("bare", disks=()), XP, ())
    assert parse(sample).find("devices/disk") is None


@pytest.mark.parametrize(
    ("release", "number"),
    [
        ("2k", "2k"),
        ("xp", "xp"),
        ("2k3", "2k3"),
        ("vista", "vista"),
        ("2k8", "2k8"),
        ("w7", "7"),
        ("2k8R2", "2k8r2"),
        ("w8", "8"),
        ("2k12", "2k12"),
        ("w8.1", "8.1"),
        ("2k12R2", "2k12r2"),
        ("w10", "10"),
        ("2k16", "2k16"),
        ("2k19", "2k19"),
        ("2k22", "2k22"),
        ("w11", "11"),
        ("2k25", "2k25"),
    ],
)
def test_osinfo_id_is_one_of_osinfo_db(release: str, number: str) -> None:
    assert osinfo_id(release) == f"http://microsoft.com/win/{number}"
    if not OSINFO.is_dir() or release in RECENT:
        return
    known = (OSINFO / f"win-{number}.xml").read_text("utf-8")
    assert f'<os id="http://microsoft.com/win/{number}">' in known


def test_unknown_release_has_no_metadata() -> None:
    unknown = WindowsVersion(7, 5, 1, Architecture.AMD64)
    sample = replace(SAMPLES["2022-bios"], windows=unknown)
    assert osinfo_id(unknown.release) is None
    assert parse(sample).find("metadata") is None


def test_qemu_has_every_device_model_that_may_be_written() -> None:
    # QEMU's own names for what libvirt calls virtio-transitional, ich9-ehci1 and so on.
    try:
        listing = subprocess.run(
            ["qemu-system-x86_64", "-device", "help"], check=True, capture_output=True, text=True
        ).stdout
        machines = subprocess.run(
            ["qemu-system-x86_64", "-machine", "help"], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        pytest.skip("qemu-system-x86_64 is missing")
    models = {line.split('"')[1] for line in listing.splitlines() if line.startswith("name ")}
    kinds = ("blk", "scsi", "net", "serial", "balloon", "rng")
    wanted = {f"virtio-{kind}-pci{end}" for kind in kinds for end in ("", "-transitional")}
    wanted |= {"rtl8139", "e1000", "e1000e", "AC97", "intel-hda", "ich9-intel-hda", "VGA"}
    wanted |= {"piix3-usb-uhci", "ich9-usb-ehci1", "ich9-usb-uhci3", "qemu-xhci", "usb-tablet"}
    wanted |= {"ide-cd", "virtserialport", "pcie-root-port", "pcie-pci-bridge"}
    if "qxl" in models:  # a QEMU without SPICE has no QXL, and the user is told so
        wanted.add("qxl-vga")
    assert wanted <= models
    aliases = {line.split()[0] for line in machines.splitlines()[1:]}
    assert {"pc", "q35"} <= aliases
