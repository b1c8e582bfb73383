"""Machines whose hardware a libvirt domain says: what is read of it, and where its disks lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import libvirt_oracles
from fixtures.source_images import qemu_img
from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Bus, DiskFormat, Drive, Firmware, Nic
from offline_mig.sources.machine_source import read_machine
from offline_mig.sources.options import SourceOptions
from offline_mig.windows.short_name import parse_short_name

GOLDEN = Path(__file__).parents[1] / "targets" / "golden"
DOMAIN = """<?xml version="1.0"?>
<!-- made by hand -->
<domain type="kvm">
  <name>Hyper Box</name>
  <uuid>4DEA22B3-1D52-D8F3-2516-782E98AB3FA0</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://microsoft.com/win/10"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit="{unit}">{memory}</memory>
  <vcpu placement="static">4</vcpu>
  <os firmware="efi">
    <type arch="x86_64" machine="q35">hvm</type>
    <firmware><feature enabled="yes" name="secure-boot"/></firmware>
  </os>
  <cpu mode="host-model"><topology sockets="2" dies="1" cores="2" threads="1"/></cpu>
  <devices>
    {disks}
    <disk type="file" device="cdrom"><source file="/iso/x.iso"/><target dev="sdz" bus="sata"/>
      <address type="drive" controller="0" bus="0" target="0" unit="3"/></disk>
    <disk type="file" device="floppy"><target dev="fda" bus="fdc"/></disk>
    <controller type="scsi" index="0" model="lsilogic"/>
    <interface type="bridge"><mac address="52:54:00:AA:bb:01"/><source bridge="br0"/>
      <model type="e1000"/></interface>
    <interface type="network"><source network="lan"/></interface>
    <sound model="ich9"/>
    <tpm model="tpm-crb"><backend type="emulator" version="2.0"/></tpm>
  </devices>
</domain>
"""
Write = Callable[..., Path]


def disk(file: str | Path, target: str = "sda", bus: str = "scsi", driver: str = "qcow2") -> str:
    kind = f'<driver name="qemu" type="{driver}"/>' if driver else ""
    return (
        f'<disk type="file" device="disk">{kind}<source file="{file}"/>'
        f'<target dev="{target}" bus="{bus}"/></disk>'
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two disks."""
    folder = tmp_path / "vm"
    folder.mkdir()
    for name in ("system.qcow2", "data.qcow2"):
        qemu_img("create", "-f", "qcow2", folder / name, "4M")
    return folder


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes a domain with the given disks."""

    def write(*disks: str, memory: str = "4194304", unit: str = "KiB") -> Path:
        path = folder / "box.xml"
        path.write_text(DOMAIN.format(disks="\n".join(disks), memory=memory, unit=unit))
        return path

    return write


def domain(path: Path, *allowed: Path) -> SourceOptions:
    return SourceOptions(allow_outside=allowed, domain=path)


def test_a_domain_says_the_hardware(folder: Path, write: Write) -> None:
    xml = write(disk("/var/lib/libvirt/images/system.qcow2", "sdb"))
    libvirt_oracles.require_validator()
    libvirt_oracles.validate(xml)
    machine = read_machine(folder / "system.qcow2", options=domain(xml))
    assert (machine.name, machine.memory, machine.vcpus) == ("Hyper Box", 4096, 4)
    assert machine.uuid == "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
    assert (machine.cores_per_socket, machine.sound, machine.tpm) == (2, "ich9", True)
    assert (machine.firmware, machine.firmware_stated, machine.secure_boot) == (
        Firmware.UEFI,
        True,
        True,
    )
    assert machine.guest_os == "http://microsoft.com/win/10"
    assert machine.nics == (
        Nic(0, "e1000", "52:54:00:aa:bb:01", "bridge", "br0"),
        Nic(1, None, None, "network", "lan"),
    )
    assert machine.drives == (
        Drive(Bus.SATA, 0, 3, "/iso/x.iso"),
        Drive(Bus.FLOPPY, 0, 0),
    )
    (found,) = machine.disks
    assert (found.bus, found.controller, found.unit, found.controller_model) == (
        Bus.SCSI,
        0,
        1,
        "lsilogic",
    )
    assert machine.source == folder / "system.qcow2"
    assert set(machine.files) == {folder / "system.qcow2", xml}


def test_processors_that_may_be_added_later_are_not_there_yet(folder: Path, write: Write) -> None:
    xml = write(disk("system.qcow2"))
    text = xml.read_text()
    xml.write_text(text.replace("<vcpu placement", "<vcpu current='2' placement"))
    assert read_machine(folder / "system.qcow2", options=domain(xml)).vcpus == 2


@pytest.mark.parametrize(
    ("memory", "unit", "expected"),
    [("1048576", "KiB", 1024), ("2", "GiB", 2048), ("512000", "kB", 488), ("512", "m", 512)],
)
def test_units_of_memory(folder: Path, write: Write, memory: str, unit: str, expected: int) -> None:
    xml = write(disk("system.qcow2"), memory=memory, unit=unit)
    assert read_machine(folder / "system.qcow2", options=domain(xml)).memory == expected


@pytest.mark.parametrize("golden", ["10-uefi", "xp-sp3-x86", "7-two-nics-two-disks"])
def test_what_a_conversion_wrote_is_read_again(tmp_path: Path, golden: str) -> None:
    """The names of the disks are those of the golden file; libvirt's dumpxml is the oracle."""
    libvirt_oracles.require_virsh()
    text = (GOLDEN / f"{golden}.xml").read_text()
    folder = tmp_path / "vm"
    folder.mkdir()
    (folder / "guest.xml").write_text(text)
    dumped = tmp_path / "dumped.xml"
    dumped.write_text(libvirt_oracles.define(folder / "guest.xml"))
    for name in file_names(text):
        qemu_img("create", "-f", "qcow2", folder / name, "4M")
    ours = read_machine(folder, options=SourceOptions())
    theirs = read_machine(folder, options=domain(dumped))
    for field in ("name", "memory", "vcpus", "cores_per_socket", "firmware", "sound"):
        assert getattr(ours, field) == getattr(theirs, field), field
    # libvirt makes up what a domain leaves open.
    assert ours.uuid in (None, theirs.uuid)
    assert all(
        nic.mac in (None, other.mac) for nic, other in zip(ours.nics, theirs.nics, strict=True)
    )
    assert [(d.bus, d.unit, d.image.path) for d in ours.disks] == [
        (d.bus, d.unit, d.image.path) for d in theirs.disks
    ]


def file_names(text: str) -> list[str]:
    return [part.partition('"')[0].rpartition("/")[2] for part in text.split('source file="')[1:]]


def test_disks_are_found_by_their_names(folder: Path, write: Write) -> None:
    xml = write(disk("/images/system.qcow2"), disk("/images/data.qcow2", "sdb"))
    wanted = [folder / "system.qcow2", folder / "data.qcow2"]
    for given in (folder, folder / "system.qcow2", folder / "data.qcow2"):
        machine = read_machine(given, options=domain(xml))
        assert [found.image.path for found in machine.disks] == wanted
    assert read_machine(xml).source == read_machine(folder).source == xml


@pytest.mark.parametrize("form", ["vdi", "vpc", "vhdx", "vmdk", "raw"])
def test_a_disk_of_another_format_than_the_domain_says(
    folder: Path, write: Write, form: str
) -> None:
    """The domain was made for the converted disk, the disk is the one of VirtualBox or Hyper-V."""
    suffix = {"vpc": "vhd", "raw": "img"}.get(form, form)
    given = folder / f"system.{suffix}"
    qemu_img("convert", "-f", "qcow2", "-O", form, folder / "system.qcow2", given)
    xml = write(disk("/images/system.qcow2"), disk("/images/data.qcow2", "sdb"))
    first, second = read_machine(given, options=domain(xml)).disks
    assert first.image.format is DiskFormat(form)
    assert second.image.path == folder / "data.qcow2"


def test_the_domain_states_what_the_content_does_not(folder: Path, write: Write) -> None:
    (folder / "plain").write_bytes(bytes(4096))
    xml = write(disk("plain", driver="raw"))
    assert read_machine(folder, options=domain(xml)).disks[0].image.format is DiskFormat.RAW
    xml = write(disk("system.qcow2", driver="vmdk"))
    with pytest.raises(SourceUnreadableError, match="should be a vmdk image"):
        read_machine(folder, options=domain(xml))


def test_disks_outside_of_the_folder_must_be_allowed(
    tmp_path: Path, folder: Path, write: Write
) -> None:
    store = tmp_path / "images"
    store.mkdir()
    (folder / "data.qcow2").rename(store / "d.qcow2")
    xml = write(disk("system.qcow2"), disk(store / "d.qcow2", "sdb"))
    with pytest.raises(SourceUnsafeError, match="outside") as caught:
        read_machine(xml)
    assert f"--allow-outside {store}" in caught.value.remedy
    machine = read_machine(xml, options=SourceOptions(allow_outside=(store,)))
    assert machine.disks[1].image.path == store / "d.qcow2"
    (store / "d.qcow2").rename(folder / "hidden.qcow2")
    (store / "d.qcow2").symlink_to(folder / "hidden.qcow2")
    assert len(read_machine(xml, options=SourceOptions(allow_outside=(store,))).disks) == 2


BLOCK = (
    '<disk type="block" device="disk"><source dev="/dev/sdb"/><target dev="sda" bus="scsi"/></disk>'
)
LUN = BLOCK.replace('device="disk"', 'device="lun"')
NETWORK = (
    '<disk type="network" device="disk"><source protocol="rbd" name="x"/>'
    '<target dev="vda" bus="virtio"/></disk>'
)
SECRET = (
    '<disk type="file" device="disk"><source file="system.qcow2"><encryption format="luks"/>'
    '</source><target dev="vda" bus="virtio"/></disk>'
)


@pytest.mark.parametrize(
    ("disks", "reason"),
    [
        ((), "has no hard disk"),
        ((BLOCK,), 'of the type "block"'),
        ((LUN,), 'of the type "block"'),
        ((NETWORK,), 'of the type "network"'),
        ((SECRET,), "is encrypted"),
        ((disk("system.qcow2", driver="qed"),), 'the format "qed"'),
        ((disk("system.qcow2", bus="quantum"),), '"quantum" for a bus'),
        ((disk("gone.qcow2"), disk("lost.qcow2", "sdb")), r"gone\.qcow2 \(sda\), lost"),
        ((disk("system.qcow2"), disk("/a/system.qcow2", "sdb")), "two disks the same file"),
        ((disk("../secret.qcow2"),), r"secret\.qcow2 \(sda\)"),
    ],
)
def test_domains_that_cannot_be_converted(
    folder: Path, write: Write, disks: tuple[str, ...], reason: str
) -> None:
    xml = write(*disks)
    for given in (xml, folder):
        with pytest.raises(OfflineMigError, match=reason) as caught:
            read_machine(given, options=SourceOptions() if given == xml else domain(xml))
        assert str(xml) in caught.value.message
        assert caught.value.remedy


def test_an_image_that_is_none_of_the_disks(folder: Path, write: Write) -> None:
    xml = write(disk("system.qcow2"), disk("data.qcow2", "sdb"))
    other = folder / "other.qcow2"
    (folder / "data.qcow2").rename(other)
    with pytest.raises(SourceUnreadableError, match=r"none or several with the name of .*other"):
        read_machine(other, options=domain(xml))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<domain", "no sound XML"),
        ("<network/>", "no libvirt domain: its first element is <network>"),
        ('<!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>', "no sound XML"),
        (DOMAIN.replace("{memory}", "much").replace("{unit}", "KiB"), '"much" for the number'),
        (DOMAIN.replace("{memory}", "1").replace("{unit}", "stone"), '"stone" for a unit'),
    ],
)
def test_what_is_no_domain(folder: Path, text: str, reason: str) -> None:
    xml = folder / "x.xml"
    xml.write_text(text.replace("{disks}", disk("system.qcow2")))
    with pytest.raises(SourceUnreadableError, match=reason):
        read_machine(folder / "system.qcow2", options=domain(xml))


@pytest.mark.parametrize("options", ["domain", "like"])
def test_a_source_that_says_its_hardware_takes_no_other(
    folder: Path, write: Write, options: str
) -> None:
    xml = write(disk("system.qcow2"))
    chosen = domain(xml)
    if options == "like":
        chosen = SourceOptions(like=parse_short_name("w10-amd64"))
    vmx = folder / "box.vmx"
    vmx.write_text('config.version = "8"\n')
    for given in (xml, vmx):
        with pytest.raises(SourceUnreadableError, match="says itself what hardware") as caught:
            read_machine(given, options=chosen)
        assert "Leave --xml and --os-like out" in caught.value.remedy


@pytest.mark.parametrize(
    ("like", "memory", "vcpus", "tpm", "sound"),
    [
        ("xp-x86", 1024, 1, False, "es1371"),
        ("2k3-x86", 1024, 1, False, None),
        ("vista-amd64", 2048, 2, False, "hdaudio"),
        ("w10-amd64", 4096, 2, False, "hdaudio"),
        ("w11-amd64", 4096, 2, True, "hdaudio"),
        ("2k22-amd64", 4096, 2, False, None),
    ],
)
def test_hardware_of_a_usual_machine(
    folder: Path, like: str, memory: int, vcpus: int, tpm: bool, sound: str | None
) -> None:
    options = SourceOptions(like=parse_short_name(like))
    machine = read_machine(folder / "system.qcow2", options=options)
    assert (machine.memory, machine.vcpus, machine.tpm, machine.sound) == (
        memory,
        vcpus,
        tpm,
        sound,
    )
    assert "were assumed" in machine.notes[0]
    assert not machine.firmware_stated
