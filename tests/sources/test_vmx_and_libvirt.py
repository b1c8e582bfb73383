"""VMX files against what libvirt 9.0 makes of them: an opinion that is not ours."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fixtures import real_hives
from offline_mig.machine import Bus, Firmware
from offline_mig.sources.vmx import parse_vmx
from offline_mig.sources.vmx_disk_files import base_name
from offline_mig.sources.vmx_hardware import VmxHardware, read_hardware

pytestmark = pytest.mark.data

#: Where the result differs from libvirt's on purpose, and why.
DIFFERENCES = {
    ("cdrom-scsi-passthru", "drives"): "a device of the host; a note says that it is left out",
    **dict.fromkeys(
        [
            ("case-insensitive-1", "drives"),
            ("case-insensitive-2", "drives"),
            ("esx-in-the-wild-1", "drives"),
            ("esx-in-the-wild-4", "drives"),
            ("esx-in-the-wild-2", "drives"),
            ("esx-in-the-wild-3", "drives"),
        ],
        "libvirt drops a drive whose medium is on the client; the guest has the drive all the same",
    ),
}


def _pairs() -> list[str]:
    folder = real_hives.data_folder()
    if folder is None:
        return []
    return sorted(path.stem for path in (folder / "vmx").glob("*.xml"))


def _text(root: ET.Element, path: str) -> str | None:
    found = root.find(path)
    return None if found is None else found.text


def _attribute(element: ET.Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)


def libvirt_view(xml: Path) -> dict[str, object]:
    """What a domain says, in the terms of our reading."""
    root = ET.parse(xml).getroot()
    models = {
        controller.get("index"): controller.get("model")
        for controller in root.findall("devices/controller[@type='scsi']")
    }
    disks, drives = set(), set()
    for disk in root.findall("devices/disk"):
        target, address = disk.find("target"), disk.find("address")
        assert target is not None
        assert address is not None
        bus = target.get("bus")
        # libvirt counts the IDE channel as "bus", SCSI adapters as "controller".
        number = address.get("bus" if bus == "ide" else "controller")
        place = (bus, number, address.get("unit"))
        if disk.get("device") == "disk":
            model = models.get(number) if bus == "scsi" else None
            file = base_name(_attribute(disk, "source", "file") or "")
            disks.add((*place, "pvscsi" if model == "vmpvscsi" else model, file))
        else:
            drives.add(place)
    uuid = _text(root, "uuid")
    return {
        "name": _text(root, "name"),
        "memory": int(_text(root, "memory") or 0),
        "vcpus": int(_text(root, "vcpu") or 0),
        "efi": _attribute(root, "os", "firmware") == "efi",
        "uuid": None if uuid is not None and not uuid.strip("0-") else uuid,
        "disks": disks,
        "drives": drives,
        "nics": [
            (
                _attribute(nic, "mac", "address"),
                _attribute(nic, "model", "type"),
                _attribute(nic, "source", "bridge") or _attribute(nic, "source", "portgroupid"),
            )
            for nic in root.findall("devices/interface")
        ],
    }


def our_view(hardware: VmxHardware) -> dict[str, object]:
    buses = {Bus.FLOPPY: "fdc"}
    return {
        "name": hardware.name,
        "memory": hardware.memory * 1024,
        "vcpus": hardware.vcpus,
        "efi": hardware.firmware is Firmware.UEFI,
        "uuid": hardware.uuid,
        "disks": {
            (
                disk.bus.value,
                str(disk.controller),
                str(disk.unit),
                disk.controller_model,
                base_name(disk.file_name),
            )
            for disk in hardware.disks
        },
        "drives": {
            (buses.get(drive.bus, drive.bus.value), str(drive.controller), str(drive.unit))
            for drive in hardware.drives
        },
        "nics": [(nic.mac, nic.model, nic.network) for nic in hardware.nics],
    }


@pytest.mark.parametrize("pair", _pairs() or ["missing"])
def test_both_read_the_same(shared_data: Path, pair: str) -> None:
    theirs = libvirt_view(shared_data / "vmx" / f"{pair}.xml")
    vmx = parse_vmx((shared_data / "vmx" / f"{pair}.vmx").read_bytes())
    ours = our_view(read_hardware(vmx))
    differing = {key for key in theirs if theirs[key] != ours[key]}
    expected = {key for name, key in DIFFERENCES if name == pair}
    assert differing == expected, {key: (theirs[key], ours[key]) for key in differing}


def test_the_pairs_are_there(shared_data: Path) -> None:
    assert len(_pairs()) >= 55
    assert {name for name, _ in DIFFERENCES} <= set(_pairs())
