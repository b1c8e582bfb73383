"""Network cards in fixed places: QEMU and libvirt's QEMU driver put them where Windows looks."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fixtures.qemu_oracle import QemuDriver
from fixtures.scripted_qemu import started, write_script
from fixtures.target_machines import SAMPLES
from offline_mig.machine import Nic
from offline_mig.targets.devices import MachineType
from offline_mig.targets.hardware import TargetMachine, plan_hardware
from offline_mig.targets.kubevirt import kubevirt_yaml
from offline_mig.targets.libvirt import domain_xml
from offline_mig.targets.nic_places import PLACES, nic_place
from offline_mig.targets.options import TargetKind
from offline_mig.windows.device_instance import PlacedDevice

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing"
)
#: A device of "info qtree" on PCI: its indentation and name, its place, its ids.
_DEVICE = re.compile(
    r"^( *)dev: ([-\w]+)[^\n]*\n(?:(?! *dev:)[^\n]*\n)*? *class [^\n]*, "
    r"addr [0-9a-f]+:([0-9a-f]{2})\.([0-7]), "
    r"pci id ([0-9a-f]{4}):([0-9a-f]{4}) \(sub ([0-9a-f]{4}):([0-9a-f]{4})\)$",
    re.MULTILINE,
)
#: No host has the bridges of machines that are made up.
USER = {f"NET{number}": "user" for number in range(1, PLACES + 1)}
MACS = ("00:50:56:00:00:01", "00:50:56:00:00:02")


def planned(name: str, count: int = 2) -> TargetMachine:
    sample = SAMPLES[name]
    nics = tuple(Nic(index, "vmxnet3", f"00:50:56:00:00:{index + 1:02x}") for index in range(count))
    return plan_hardware(
        replace(sample.machine, nics=nics),
        sample.windows,
        sample.disks,
        options=sample.options,
        realtime_is_universal=False,
        drivers=sample.drivers,
        placed_nics=range(count),
    )


#: What a chain of bridges to a card is made of: slot, vendor and device.
Bridges = tuple[tuple[str, str, str], ...]


def cards(tree: str) -> list[tuple[tuple[str, ...], Bridges]]:
    """Return each network card with its slot, and its bridges, the outermost first."""
    above: list[tuple[int, tuple[str, str, str]]] = []
    found = []
    for match in _DEVICE.finditer(tree.replace("\r", "")):
        depth, (device, slot, _, *ids) = len(match[1]), match.groups()[1:]
        above = [bridge for bridge in above if bridge[0] < depth]
        if device.startswith("virtio-net"):
            found.append(((slot, *ids), tuple(bridge for _, bridge in above)))
        # QEMU shows no subsystem of a bridge, which has it in a capability.
        above.append((depth, (slot, ids[0], ids[1])))
    return found


def expected(placed: PlacedDevice | None) -> tuple[tuple[str, ...], Bridges]:
    assert placed is not None
    card = placed.identity
    numbers = (card.vendor, card.device, card.subsystem_vendor, card.subsystem)
    bridges = tuple(
        (f"{b.slot:02x}", f"{b.identity.vendor:04x}", f"{b.identity.device:04x}")
        for b in placed.place.bridges
    )
    return (f"{placed.place.slot:02x}", *(f"{number:04x}" for number in numbers)), bridges


@needs_qemu
@pytest.mark.parametrize("name", ["xp-sp3-x86", "7-x64-bios", "10-bios"])
def test_the_script_has_them_there(name: str, tmp_path: Path) -> None:
    target = planned(name)
    with started(write_script(target, tmp_path), **USER) as qemu:
        tree = qemu.monitor("info qtree")
    assert sorted(cards(tree)) == sorted(
        expected(nic_place(TargetKind.QEMU, target.machine_type, index, transitional=False))
        for index in range(2)
    )
    assert all(mac in tree for mac in MACS)


@pytest.mark.parametrize("name", ["xp-sp3-x86", "7-x64-bios", "10-bios"])
def test_libvirt_has_them_there(name: str, qemu_driver: QemuDriver, tmp_path: Path) -> None:
    target = planned(name, PLACES)
    document = tmp_path / "domain.xml"
    document.write_text(domain_xml(target))
    devices = qemu_driver.defined(document).find("devices")
    assert devices is not None
    ports = {
        int(bridge.get("index", ""), 10): _address(bridge)
        for bridge in devices.findall("controller[@type='pci']")
        if bridge.get("model") == "pcie-root-port"
    }
    for index, interface in enumerate(devices.findall("interface")):
        placed = nic_place(TargetKind.LIBVIRT, target.machine_type, index, transitional=False)
        assert placed is not None
        bus, slot = _address(interface)
        assert slot == placed.place.slot
        assert ([ports[bus]] if bus else []) == [(0, b.slot) for b in placed.place.bridges]
    places = [
        _address(device) for device in devices if device.find("address[@type='pci']") is not None
    ]
    assert len(places) > PLACES + 5, "the others have places too"


@needs_qemu
def test_proxmox_has_them_behind_the_bridges_of_its_q35() -> None:
    """The devices as pve-q35-4.0.cfg has them, and net0 as PVE::QemuServer places it."""
    devices = (
        "i82801b11-bridge,id=pcidmi,bus=pcie.0,addr=1e.0",
        "pci-bridge,id=pci.0,bus=pcidmi,addr=1.0,chassis_nr=1",
        "virtio-net-pci,bus=pci.0,addr=0x12",
    )
    tree = _tree_of(*devices)
    placed = nic_place(TargetKind.PROXMOX, MachineType.Q35, 0, transitional=False)
    assert cards(tree) == [expected(placed)]


@needs_qemu
def test_kubevirts_libvirt_takes_a_card_on_the_root_bus(
    qemu_driver: QemuDriver, tmp_path: Path
) -> None:
    """KubeVirt hands pciAddress to libvirt as it is, with a model that has modern ids only."""
    domain = ET.fromstring(domain_xml(planned("10-bios", 1)))
    devices = domain.find("devices")
    assert devices is not None
    for port in devices.findall("controller[@model='pcie-root-port']"):
        devices.remove(port)
    interface = devices.find("interface")
    assert interface is not None
    model, address = interface.find("model"), interface.find("address")
    assert model is not None and address is not None
    model.set("type", "virtio-non-transitional")
    address.set("bus", "0x00")
    address.set("slot", "0x12")
    document = tmp_path / "domain.xml"
    document.write_text(ET.tostring(domain, encoding="unicode"))
    defined = qemu_driver.defined(document).find("devices/interface")
    assert defined is not None
    assert _address(defined) == (0, 0x12)
    tree = _tree_of("virtio-net-pci-non-transitional,bus=pcie.0,addr=0x12")
    placed = nic_place(TargetKind.KUBEVIRT, MachineType.Q35, 0, transitional=False)
    assert cards(tree) == [expected(placed)]


def _tree_of(*devices: str) -> str:
    """Return "info qtree" of a q35 with these devices."""
    return subprocess.run(
        [
            *("qemu-system-x86_64", "-M", "q35", "-nodefaults", "-display", "none", "-S"),
            *("-accel", "tcg", "-monitor", "stdio"),
            *(word for device in devices for word in ("-device", device)),
        ],
        input="info qtree\nquit\n",
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def _address(device: ET.Element) -> tuple[int, int]:
    address = device.find("address[@type='pci']")
    assert address is not None
    return int(address.get("bus", ""), 16), int(address.get("slot", ""), 16)


@needs_qemu
@pytest.mark.parametrize("name", ["xp-sp3-x86", "10-bios"])
def test_as_many_as_have_a_place(name: str, tmp_path: Path) -> None:
    target = planned(name, PLACES)
    with started(write_script(target, tmp_path), **USER) as qemu:
        assert len(cards(qemu.monitor("info qtree"))) == PLACES


def test_kubevirt_is_told_the_address() -> None:
    text = kubevirt_yaml(planned("10-bios"))
    assert re.findall(r"pciAddress: \W?(0000:00:1[0-9a-f]\.0)", text) == [
        "0000:00:12.0",
        "0000:00:13.0",
    ]
