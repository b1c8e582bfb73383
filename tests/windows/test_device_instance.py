"""Device instance paths: what is foretold is what real Windows called its devices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.guest_spec import RealHives
from fixtures.hives import build_hive
from fixtures.registry_parts import dword, sz
from offline_mig.targets.devices import MachineType
from offline_mig.targets.nic_places import nic_place
from offline_mig.targets.options import TargetKind
from offline_mig.windows.device_instance import (
    PciBridge,
    PciIdentity,
    PciPlace,
    PlacedDevice,
    path_hash,
    pci_instance_path,
)
from offline_mig.windows.hive import Hive

_DEVICE_ID = re.compile(r"VEN_(\w{4})&DEV_(\w{4})&SUBSYS_(\w{4})(\w{4})&REV_(\w{2})", re.IGNORECASE)
_INSTANCE = re.compile(r"([0-9a-f])&([0-9a-f]+)&([0-9a-f]+)&((?:[0-9A-F]{2})+)", re.IGNORECASE)


def _identity(device_id: str) -> PciIdentity:
    found = _DEVICE_ID.fullmatch(device_id)
    assert found is not None, device_id
    vendor, product, subsystem, maker, revision = (int(text, 16) for text in found.groups())
    return PciIdentity(vendor, product, maker, subsystem, revision, 0)


@pytest.mark.data
@pytest.mark.parametrize("chosen", [RealHives.XP, RealHives.WINDOWS_7, RealHives.WINDOWS_10])
def test_every_pci_device_of_a_real_windows_has_the_name_that_is_foretold(
    chosen: RealHives, tmp_path: Path
) -> None:
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    path = tmp_path / "SYSTEM"
    path.write_bytes(real_hives.hives(chosen)["SYSTEM"])
    hive = Hive(path, "SYSTEM")
    enum = r"ControlSet001\Enum"
    parents = {}
    for bus in hive.subkeys(enum):
        for device in hive.subkeys(rf"{enum}\{bus}"):
            for instance in hive.subkeys(rf"{enum}\{bus}\{device}"):
                name = rf"{bus}\{device}\{instance}"
                parents[path_hash(name)] = name
    foretold = 0
    for device in hive.subkeys(rf"{enum}\PCI"):
        for instance in hive.subkeys(rf"{enum}\PCI\{device}"):
            form = _INSTANCE.fullmatch(instance)
            if form is None:
                continue  # A device with a serial number.
            octets = bytes.fromhex(form[4])
            bridges = []
            parent = parents[int(form[2], 16)]
            for place in octets[1:]:
                _, bridge, name = parent.split("\\")
                bridges.insert(0, PciBridge(_identity(bridge), place >> 3, place & 7))
                above = _INSTANCE.fullmatch(name)
                assert above is not None, parent
                parent = parents[int(above[2], 16)]
            root = PciPlace(parent, octets[0] >> 3, octets[0] & 7, tuple(bridges))
            path_of = pci_instance_path(
                hive, "ControlSet001", PlacedDevice(_identity(device), root)
            )
            assert path_of.casefold() == rf"pci\{device}\{instance}".casefold()
            foretold += 1
    assert foretold > 10


@pytest.fixture
def empty(tmp_path: Path) -> Hive:
    return _hive(tmp_path, {"ControlSet001\\Enum": {}})


def _hive(folder: Path, keys: dict[str, dict[str, object]]) -> Hive:
    path = folder / "SYSTEM"
    path.write_bytes(build_hive("SYSTEM", keys))  # type: ignore[arg-type]
    return Hive(path, "SYSTEM")


@pytest.mark.parametrize(
    ("kind", "machine_type", "index", "path"),
    [
        # As posted on qemu-devel in March 2021, of net0 of a Proxmox VE under QEMU 5.2.
        (
            TargetKind.PROXMOX,
            MachineType.PC,
            0,
            r"PCI\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00\3&267a616a&0&90",
        ),
        (
            TargetKind.LIBVIRT,
            MachineType.PC,
            1,
            r"PCI\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00\3&267a616a&0&98",
        ),
        # What the rule makes of the two bridges of Proxmox VE's q35.
        (
            TargetKind.PROXMOX,
            MachineType.Q35,
            0,
            r"PCI\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00\5&2490727a&0&9008F0",
        ),
        # The hash of q35's root is that of many a physical machine's: ACPI\PNP0A08\0.
        (
            TargetKind.KUBEVIRT,
            MachineType.Q35,
            0,
            r"PCI\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01\3&11583659&0&90",
        ),
    ],
)
def test_places_of_the_targets(
    kind: TargetKind, machine_type: MachineType, index: int, path: str, empty: Hive
) -> None:
    placed = nic_place(kind, machine_type, index, transitional=False)
    assert placed is not None
    assert pci_instance_path(empty, "ControlSet001", placed) == path


def test_a_card_behind_a_port_is_named_after_the_port(empty: Hive) -> None:
    placed = nic_place(TargetKind.QEMU, MachineType.Q35, 0, transitional=False)
    assert placed is not None
    # As a Windows guest under QEMU was seen to call such a port, but for its slot.
    port = r"PCI\VEN_1B36&DEV_000C&SUBSYS_00001B36&REV_00\3&11583659&0&90"
    card = r"PCI\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01"
    assert pci_instance_path(empty, "ControlSet001", placed) == (
        rf"{card}\4&{path_hash(port):x}&0&0090"
    )


def test_a_parent_that_windows_has_seen_keeps_its_prefix(tmp_path: Path) -> None:
    placed = nic_place(TargetKind.QEMU, MachineType.PC, 0, transitional=False)
    assert placed is not None
    seen = _hive(
        tmp_path,
        {
            "ControlSet001\\Enum\\ACPI\\PNP0A03\\0": {"ParentIdPrefix": sz("3&267a616a&2")},
            # A set in which the parent's key is gone, as after Sysprep, but was counted.
            "ControlSet002\\Enum": {"NextParentID.267a616a.3": dword(1)},
        },
    )
    assert pci_instance_path(seen, "ControlSet001", placed).endswith(r"\3&267a616a&2&90")
    assert pci_instance_path(seen, "ControlSet002", placed).endswith(r"\3&267a616a&1&90")


@pytest.mark.parametrize(
    ("kind", "machine_type", "index", "transitional"),
    [
        (TargetKind.LIBVIRT, MachineType.Q35, 0, True),
        (TargetKind.LIBVIRT, MachineType.Q35, 9, False),
        (TargetKind.PROXMOX, MachineType.PC, 6, False),
        (TargetKind.KUBEVIRT, MachineType.PC, 0, False),
    ],
)
def test_what_a_hypervisor_places_by_itself_is_not_foretold(
    kind: TargetKind, machine_type: MachineType, index: int, transitional: bool
) -> None:
    assert nic_place(kind, machine_type, index, transitional=transitional) is None
