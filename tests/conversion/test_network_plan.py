"""Two cards with fixed addresses keep their connections, whatever Windows it is.

The hives are edited by hivex for real; hivexget reads what a booted Windows would read for a GUID.
"""

from __future__ import annotations

import struct
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fixtures import real_hives, two_cards
from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.registry_parts import INTERFACE, DeviceClass
from fixtures.target_machines import machine
from fixtures.two_cards import SECOND, TwoCards
from fixtures.undone import undo
from fixtures.virtio_win import EVERY_RELEASE, write_tree
from fixtures.windows_tree import system_volume
from offline_mig.conversion.address_override import parse_override
from offline_mig.conversion.driver_choice import ChosenDrivers, choose_drivers, open_sources
from offline_mig.conversion.network_plan import Kept, NetworkPlan, plan_network
from offline_mig.conversion.options import ConvertOptions
from offline_mig.errors import UnfitRequestError
from offline_mig.machine import Machine, Nic
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.targets.devices import NicModel
from offline_mig.targets.hardware import plan_hardware
from offline_mig.targets.options import TargetKind
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue

NET = f"Control\\Class\\{DeviceClass.NET.value}"
CONNECTION = f"Control\\Network\\{DeviceClass.NET.value}"
PC = r"PCI\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00\3&267a616a&0"
#: Of ports in slots 18 and 19 of q35, each with its hash.
Q35 = r"PCI\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01"


@dataclass
class Bench:
    volume: MemoryVolume
    facts: GuestFacts
    machine: Machine
    drivers: ChosenDrivers
    plan: NetworkPlan
    scratch: Path

    @property
    def wanted(self) -> Plan:
        return Plan(self.plan.blocks)

    def hives(self) -> dict[HiveName, Hive]:
        opened = {}
        for name, path in self.facts.hive_files.items():
            local = self.scratch / f"read-{name}"
            local.write_bytes(self.volume.read(path))
            opened[name] = Hive(local, name)
        return opened

    def get(self, key: str, name: str | None = None) -> str:
        """Ask hivexget, an independent reader."""
        local = self.scratch / "for-hivexget"
        local.write_bytes(self.volume.read(self.facts.hive_files[HiveName.SYSTEM]))
        command = ["hivexget", local, "\\" + key, *([] if name is None else [name])]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def apply(self) -> None:
        guest = OpenGuest(self.volume, self.hives())
        journal = apply_plan(
            self.wanted.pending(guest), self.volume, self.facts.hive_files, self.scratch
        )
        assert journal.entries
        self.journal = journal
        verify_plan(self.wanted, self.volume, self.facts.hive_files, self.scratch)

    def reread(self) -> NetworkPlan:
        root = self.volume.resolve("/windows")
        assert root is not None
        facts = examine(self.volume, root, self.scratch)
        return plan_network(facts, self.machine, self.drivers, ConvertOptions(Path("/o"), ()))


def bench(
    volume: MemoryVolume,
    nics: Sequence[Nic],
    drivers_folder: Path,
    scratch: Path,
    targets: tuple[TargetKind, ...] = (TargetKind.LIBVIRT,),
) -> Bench:
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, scratch)
    source = machine("guest", nics=tuple(nics))
    chosen = choose_drivers(open_sources([drivers_folder]), facts.version, allow_unsigned=True)
    options = ConvertOptions(Path("/o"), (), targets=targets)
    plan = plan_network(facts, source, chosen, options)
    return Bench(volume, facts, source, chosen, plan, scratch)


@pytest.fixture(scope="module")
def every_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("every") / "drivers", EVERY_RELEASE)


def made(guest: TwoCards, drivers: Path, scratch: Path, **more: tuple[TargetKind, ...]) -> Bench:
    volume = MemoryVolume(system_volume(guest.spec, guest.hives()))
    return bench(volume, guest.cards, drivers, scratch, **more)


GUESTS = [
    pytest.param(two_cards.XP, id="xp"),
    pytest.param(two_cards.WINDOWS_7, id="w7"),
    pytest.param(two_cards.WINDOWS_10, id="w10"),
    pytest.param(two_cards.SERVER_2019, id="2019"),
]


def _paths(guest: TwoCards) -> dict[str, tuple[str, str]]:
    """Return for each GUID the device id and the instance that its new card has."""
    first, second = (1, 0) if guest is two_cards.WINDOWS_7 else (0, 1)
    if guest is two_cards.XP:
        card, _, prefix = PC.rpartition("\\")
        return {
            INTERFACE: (card, f"{prefix}&{0x90 + 8 * first:02X}"),
            SECOND: (card, f"{prefix}&{0x90 + 8 * second:02X}"),
        }
    # The hashes of PCI\VEN_1B36&DEV_000C&SUBSYS_00001B36&REV_00\3&11583659&0&90 and ...&98.
    instances = ("4&1a7a54ae&0&0090", "4&41d9c6c&0&0098")
    return {INTERFACE: (Q35, instances[first]), SECOND: (Q35, instances[second])}


@pytest.mark.parametrize("guest", GUESTS)
def test_the_new_cards_are_the_old_connections(
    guest: TwoCards, every_driver: Path, tmp_path: Path
) -> None:
    found = made(guest, every_driver, tmp_path)
    by_kernel = guest is two_cards.XP
    kept = Kept.IN_PLACE if by_kernel else Kept.CHECKED
    assert [c.kept for c in found.plan.connections] == [kept] * 2
    assert found.plan.notes == ()
    assert len(found.plan.steps) == (0 if by_kernel else 1)
    settings_before = {
        guid: found.get(rf"ControlSet001\Services\Tcpip\Parameters\Interfaces\{guid}")
        for guid in (INTERFACE, SECOND)
    }
    found.apply()
    system = found.hives()[HiveName.SYSTEM]
    for control_set in found.facts.control_sets.bootable:
        names = dict(zip((INTERFACE, SECOND), guest.names, strict=True))
        drivers = set()
        for guid, (card, instance) in _paths(guest).items():
            # What Windows goes through when it meets the card: record, software key, GUID.
            record = rf"{control_set}\Enum\{card}\{instance}"
            device_class, _, number = found.get(record, "Driver").rpartition("\\")
            drivers.add(number)
            assert device_class == DeviceClass.NET.value
            assert found.get(record, "ClassGUID").upper() == DeviceClass.NET.value
            software = rf"{control_set}\{NET}\{number}"
            assert found.get(software, "NetCfgInstanceId") == guid
            assert found.get(rf"{software}\Linkage", "Export") == rf"\Device\{guid}"
            assert found.get(rf"{software}\Linkage", "UpperBind") == "Tcpip"
            connection = rf"{control_set}\{CONNECTION}\{guid}\Connection"
            assert found.get(connection, "Name") == names[guid]
            assert found.get(connection, "PnpInstanceID") == rf"{card}\{instance}"
            assert system.value(software, "*JumboPacket") is None, "a setting of the old driver"
            if guest is not two_cards.XP:
                index = int(found.get(software, "NetLuidIndex"))
                assert index == two_cards.LUID_INDEX[guid]
                assert found.get(record, "ConfigFlags") == "32"
        assert len(drivers) == 2
        # Nothing is left of the old cards.
        for device in guest.devices:
            assert not system.has_key(rf"{control_set}\Enum\{device}")
        assert not system.has_key(rf"{control_set}\{NET}\0000")
        assert not system.has_key(rf"{control_set}\{NET}\0004")
        old = guest.devices[0].split("\\")[1].casefold()
        left = [key for key, _ in system.walk() if old in key.casefold()]
        assert not [key for key in left if "Enum" in key or "DeviceClasses" in key]
    for guid, before in settings_before.items():
        key = rf"ControlSet001\Services\Tcpip\Parameters\Interfaces\{guid}"
        assert found.get(key) == before


@pytest.mark.parametrize("guest", [two_cards.XP, two_cards.WINDOWS_7])
def test_the_component_list_names_the_new_cards(
    guest: TwoCards, every_driver: Path, tmp_path: Path
) -> None:
    found = made(guest, every_driver, tmp_path)
    found.apply()
    value = found.hives()[HiveName.SYSTEM].value(r"ControlSet001\Control\Network", "Config")
    assert value is not None
    data = value.data
    for guid, (card, instance) in _paths(guest).items():
        position = data.index(uuid.UUID(guid).bytes_le) + 24
        component, path = data[position:].decode("utf-16-le", "replace").split("\0")[:2]
        assert path == rf"{card}\{instance}".upper()
        assert component == "pci\\" + "&".join(card.split("\\")[1].split("&")[:2]).lower()
    assert data.endswith(struct.pack("<5I", 2, 1, 0, 1, 2)), "the bindings are as they were"


def test_windows_10_knows_the_new_device_of_its_interface(
    every_driver: Path, tmp_path: Path
) -> None:
    found = made(two_cards.WINDOWS_10, every_driver, tmp_path)
    found.apply()
    system = found.hives()[HiveName.SYSTEM]
    for guid, (card, instance) in _paths(two_cards.WINDOWS_10).items():
        key = (
            rf"ControlSet001\Control\NetworkSetup2\Interfaces\{guid}"
            r"\Properties\{a111f1f4-5923-47c0-9a68-d0bafb577901}\0032"
        )
        value = system.value(key, "")
        assert value is not None
        assert value.type == 0xFFFF0012
        assert value.data.decode("utf-16-le") == rf"{card}\{instance}" + "\0"


def test_xp_starts_the_card_without_installing_anything(every_driver: Path, tmp_path: Path) -> None:
    found = made(two_cards.XP, every_driver, tmp_path)
    found.apply()
    card, instance = _paths(two_cards.XP)[INTERFACE]
    record = rf"ControlSet001\Enum\{card}\{instance}"
    assert found.get(record, "Service") == "netkvm"
    assert found.get(record, "ConfigFlags") == "0"
    assert found.get(record, "DeviceDesc") == "Red Hat VirtIO Ethernet Adapter"
    service = r"ControlSet001\Services\netkvm"
    assert found.get(service, "Start") == "3"
    assert found.get(service, "Group") == "NDIS"
    image = found.get(service, "ImagePath").replace("\\", "/").lower()
    path = found.volume.resolve(f"/windows/{image.removeprefix('/systemroot/')}")
    assert path is not None
    assert found.volume.read(path)[:2] == b"MZ"
    software = rf"ControlSet001\{NET}\{found.get(record, 'Driver')[-4:]}"
    assert found.get(rf"{software}\Ndi", "Service") == "netkvm"
    assert found.get(software, "Characteristics") == "132"
    assert found.get(software, "BusType") == "5"
    assert found.get(software, "MTU") == "1500", "a parameter with a default value"
    assert found.get(software, "ProviderName") == "Red Hat, Inc."
    cards = r"Microsoft\Windows NT\CurrentVersion\NetworkCards"
    for number in ("2", "8"):
        value = found.hives()[HiveName.SOFTWARE].value(rf"{cards}\{number}", "Description")
        assert value is not None
        assert value.as_text() == "Red Hat VirtIO Ethernet Adapter"
    inf = found.get(software, "InfPath")
    assert b"NetKVM" in found.volume.read(f"{found.facts.root}/inf/{inf}")


@pytest.mark.parametrize("guest", GUESTS)
def test_all_of_it_is_undone(guest: TwoCards, every_driver: Path, tmp_path: Path) -> None:
    found = made(guest, every_driver, tmp_path)
    files = found.volume.files
    before = {key: dict(values) for key, values in found.hives()[HiveName.SYSTEM].walk()}
    found.apply()
    undo(found.journal, found.volume, files, found.facts)
    assert {k: dict(v) for k, v in found.hives()[HiveName.SYSTEM].walk()} == before
    assert found.volume.files == files


@pytest.mark.parametrize("guest", GUESTS)
def test_a_second_run_finds_nothing_to_do(
    guest: TwoCards, every_driver: Path, tmp_path: Path
) -> None:
    found = made(guest, every_driver, tmp_path)
    found.apply()
    guest_now = OpenGuest(found.volume, found.hives())
    assert len(found.wanted.pending(guest_now)) == 0
    again = found.reread()
    # The new cards have no serial numbers, and VMware's slots are not those of QEMU.
    pending = Plan(again.blocks).pending(guest_now)
    assert not [c for c in pending if getattr(c, "hive", None) is HiveName.SYSTEM]


@pytest.mark.data
@pytest.mark.parametrize(
    ("chosen", "kind", "nics"),
    [
        (
            RealHives.WINDOWS_7,
            GuestKind.WINDOWS_7,
            (Nic(0, "e1000", "00:0c:29:00:00:01", pci_slot=33), Nic(1, "e1000", pci_slot=35)),
        ),
        (RealHives.XP, GuestKind.XP, (Nic(0, "vlance", "00:0c:29:00:00:01"),)),
        (RealHives.WINDOWS_10, GuestKind.WINDOWS_10, (Nic(0, "e1000e", "00:0c:29:66:1a:a2"),)),
    ],
)
def test_real_guests_keep_their_connections(
    chosen: RealHives,
    kind: GuestKind,
    nics: tuple[Nic, ...],
    every_driver: Path,
    tmp_path: Path,
) -> None:
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    spec = GuestSpec(kind, Variant(real_hives=chosen))
    found = bench(
        MemoryVolume(system_volume(spec, real_hives.hives(chosen))), nics, every_driver, tmp_path
    )
    before = found.plan.state.interfaces
    assert {c.kept for c in found.plan.connections} <= {Kept.IN_PLACE, Kept.CHECKED}
    assert len(found.plan.connections) == len(nics)
    found.apply()
    after = found.reread().state.interfaces
    assert [(i.guid, i.name, i.settings) for i in sorted(after, key=lambda i: i.guid)] == [
        (i.guid, i.name, i.settings) for i in sorted(before, key=lambda i: i.guid)
    ]
    assert all("VEN_1AF4" in interface.device for interface in after)
    # The old cards are named nowhere in what Windows goes by.
    system = found.hives()[HiveName.SYSTEM]
    keys = [key for key, _ in system.walk() if key.startswith("ControlSet001\\")]
    for interface in before:
        name = interface.device.replace("\\", "#").casefold()
        assert not [key for key in keys if name in key.casefold().replace("\\", "#")]


@pytest.mark.parametrize("guest", GUESTS)
def test_the_machine_has_its_cards_in_the_places_that_the_guest_expects(
    guest: TwoCards, every_driver: Path, tmp_path: Path
) -> None:
    found = made(guest, every_driver, tmp_path)
    target = plan_hardware(
        found.machine,
        found.facts.version,
        (),
        options=ConvertOptions(Path("/o"), ()).target,
        realtime_is_universal=False,
        drivers=found.drivers.in_place,
        placed_nics=found.plan.placed,
    )
    assert [(nic.model, nic.slot) for nic in target.nics] == [
        (NicModel.VIRTIO, 0x12),
        (NicModel.VIRTIO, 0x13),
    ]


def _without_network_driver(drivers: ChosenDrivers) -> ChosenDrivers:
    return replace(
        drivers,
        drivers=replace(drivers.drivers, others=()),
        in_place=replace(drivers.in_place, network=False),
    )


def test_what_is_not_kept_is_said_and_set_again(every_driver: Path, tmp_path: Path) -> None:
    found = made(two_cards.WINDOWS_7, every_driver, tmp_path)
    drivers = _without_network_driver(found.drivers)
    plan = plan_network(found.facts, found.machine, drivers, ConvertOptions(Path("/o"), ()))
    assert plan.blocks == ()
    assert plan.placed == frozenset()
    assert [c.kept for c in plan.connections] == [Kept.FIRST_BOOT] * 2
    first, gateway, second = plan.notes
    assert '"Local Area Connection 2" (198.51.100.7/25' in first
    assert 'gateway of IPv6 that was set by hand on "Local Area Connection 2"' in gateway
    assert "192.0.2.10/24" in second
    (step,) = plan.steps
    script = "\n".join(step.commands)
    assert "set MAC=00-50-56-1A-2B-08" in script
    assert '"%CONNECTION%" static 198.51.100.7 255.255.255.128 198.51.100.1 5' in script


def test_a_card_without_an_address_cannot_be_helped(every_driver: Path, tmp_path: Path) -> None:
    found = made(two_cards.WINDOWS_7, every_driver, tmp_path)
    nics = tuple(replace(nic, mac=None) for nic in found.machine.nics)
    drivers = _without_network_driver(found.drivers)
    plan = plan_network(
        found.facts, replace(found.machine, nics=nics), drivers, ConvertOptions(Path("/o"), ())
    )
    assert [c.kept for c in plan.connections] == [Kept.NOT] * 2
    assert plan.steps == ()
    assert "Set them again on the new connection" in plan.notes[0]


def test_other_targets_have_the_cards_elsewhere(every_driver: Path, tmp_path: Path) -> None:
    targets = (TargetKind.LIBVIRT, TargetKind.QEMU, TargetKind.PROXMOX, TargetKind.KUBEVIRT)
    found = made(two_cards.WINDOWS_10, every_driver, tmp_path, targets=targets)
    notes = found.plan.notes
    assert [kind for kind in targets if any(f"'--target {kind}'" in note for note in notes)] == [
        TargetKind.PROXMOX,
        TargetKind.KUBEVIRT,
    ]
    assert any("pod network" in note for note in notes)
    found = made(two_cards.XP, every_driver, tmp_path, targets=targets[:3])
    assert found.plan.notes == (), "slots of i440fx are the same everywhere"


def test_hidden_cards_and_unknown_ones_are_told(every_driver: Path, tmp_path: Path) -> None:
    guest = two_cards.WINDOWS_10
    volume = MemoryVolume(system_volume(guest.spec, guest.hives()))
    nics = (guest.cards[0], Nic(1, "vmxnet3", "00:50:56:ff:ff:ff", pci_slot=224))
    found = bench(volume, nics, every_driver, tmp_path)
    assert [i.name for i in found.plan.absent] == ["Ethernet1"]
    unknown, hidden = found.plan.notes
    assert "Network card 2 (00:50:56:ff:ff:ff) is none that the guest" in unknown
    assert hidden.startswith('"Ethernet1" (198.51.100.7/25')


def test_a_team_is_told(every_driver: Path, tmp_path: Path) -> None:
    guest = two_cards.SERVER_2019
    files = system_volume(guest.spec, guest.hives())
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        team = "{7E0D1F0C-52A7-4B0E-8B8C-0D1F5B6A9C11}"
        key = rf"ControlSet001\{NET}\0009"
        hive.set_value(key, "NetCfgInstanceId", RegistryValue.sz(team))
        hive.set_value(key, "ComponentId", RegistryValue.sz("ms_implat"))
        name = rf"ControlSet001\{CONNECTION}\{team}\Connection"
        hive.set_value(name, "Name", RegistryValue.sz("Team 1"))
    found = bench(MemoryVolume(files), guest.cards, every_driver, tmp_path)
    (note,) = found.plan.notes
    assert note.startswith('"Team 1" (DHCP) is a team.')
    # A member's address is the team's: what the member had of before would come to the team.
    assert found.plan.steps == ()
    assert [c.kept for c in found.plan.connections] == [Kept.IN_PLACE] * 2
    given = (parse_override("00:50:56:1a:2b:10=203.0.113.5/24"),)
    options = ConvertOptions(Path("/o"), (), ip=given)
    (step,) = plan_network(found.facts, found.machine, found.drivers, options).steps
    assert any(team in line for line in step.commands)


def _with_changed(
    guest: TwoCards, key: str, values: dict[str, RegistryValue], drivers: Path, scratch: Path
) -> Bench:
    files = system_volume(guest.spec, guest.hives())
    with edited(files, HiveName.SYSTEM, scratch) as hive:
        for name, value in values.items():
            hive.set_value(rf"ControlSet001\{key}", name, value)
    return bench(MemoryVolume(files), guest.cards, drivers, scratch)


def test_a_disabled_card_is_not_looked_for(every_driver: Path, tmp_path: Path) -> None:
    guest = two_cards.WINDOWS_10
    disabled = {"ConfigFlags": RegistryValue.dword(1)}
    found = _with_changed(guest, rf"Enum\{guest.devices[1]}", disabled, every_driver, tmp_path)
    assert [c.kept for c in found.plan.connections] == [Kept.CHECKED, Kept.IN_PLACE]
    (step,) = found.plan.steps
    assert "00:50:56:1a:2b:10" in step.title
    assert "00:50:56:1a:2b:11" not in step.title
    given = (parse_override("00:50:56:1a:2b:11=203.0.113.5/24"),)
    options = ConvertOptions(Path("/o"), (), ip=given)
    with pytest.raises(UnfitRequestError, match=r'is disabled in the guest \("Ethernet1"\)'):
        plan_network(found.facts, found.machine, found.drivers, options)
    drivers = _without_network_driver(found.drivers)
    plan = plan_network(found.facts, found.machine, drivers, ConvertOptions(Path("/o"), ()))
    assert [c.kept for c in plan.connections] == [Kept.FIRST_BOOT, Kept.NOT]
    assert '"Ethernet1" is disabled in the guest; the new connection is not.' in plan.notes


def test_a_card_with_an_address_of_the_users_is_looked_for_by_it(
    every_driver: Path, tmp_path: Path
) -> None:
    (step,) = made(two_cards.WINDOWS_10, every_driver, tmp_path).plan.steps
    at = step.commands.index("set MAC=00-50-56-1A-2B-11")
    assert step.commands[at + 1] == "set OWN=02-00-00-00-00-42"


def test_name_servers_of_ipv6_are_set_again(every_driver: Path, tmp_path: Path) -> None:
    guest = two_cards.WINDOWS_7
    key = rf"Services\Tcpip6\Parameters\Interfaces\{SECOND}"
    servers = {"NameServer": RegistryValue.sz("2001:db8::53,2001:db8::54")}
    found = _with_changed(guest, key, servers, every_driver, tmp_path)
    drivers = _without_network_driver(found.drivers)
    plan = plan_network(found.facts, found.machine, drivers, ConvertOptions(Path("/o"), ()))
    script = "\n".join(plan.steps[0].commands)
    assert 'ipv6 set dnsserver "%CONNECTION%" static 2001:db8::53' in script
    assert 'ipv6 add dnsserver "%CONNECTION%" 2001:db8::54' in script


def test_notes_say_what_is_given(every_driver: Path, tmp_path: Path) -> None:
    guest = GuestSpec(GuestKind.WINDOWS_10)
    volume = MemoryVolume(system_volume(guest))
    known = Nic(0, "vmxnet3", "00:50:56:1a:2b:10", pci_slot=160)
    nics = (known, Nic(1, "vmxnet3", "00:50:56:ff:ff:ff", pci_slot=224))
    targets = (TargetKind.KUBEVIRT,)
    found = bench(volume, nics, every_driver, tmp_path, targets)
    unknown = "00:50:56:ff:ff:ff"
    assert [note.endswith("by DHCP.") for note in found.plan.notes if unknown in note] == [True]
    assert not any("pod network" in note for note in found.plan.notes)
    given = (parse_override(f"{unknown}=203.0.113.5/24"),)
    options = ConvertOptions(Path("/o"), (), targets=targets, ip=given)
    plan = plan_network(found.facts, found.machine, found.drivers, options)
    (note,) = (note for note in plan.notes if unknown in note)
    assert note.endswith("which is given 203.0.113.5/24 when Windows first starts.")
    assert any("pod network" in note for note in plan.notes)


def test_a_name_that_is_lost_is_told(every_driver: Path, tmp_path: Path) -> None:
    volume = MemoryVolume(system_volume(GuestSpec(GuestKind.WINDOWS_10)))
    nics = (Nic(0, "vmxnet3", "00:50:56:1a:2b:10", pci_slot=160),)
    found = bench(volume, nics, every_driver, tmp_path)
    drivers = _without_network_driver(found.drivers)
    plan = plan_network(found.facts, found.machine, drivers, ConvertOptions(Path("/o"), ()))
    (note,) = plan.notes
    name = plan.connections[0].interface.name
    assert note.startswith(f'The name "{name}" stays with a card that is gone')
    assert note.endswith("a new connection, by DHCP.")


def test_given_addresses_are_set_when_windows_first_starts(
    every_driver: Path, tmp_path: Path
) -> None:
    found = made(two_cards.XP, every_driver, tmp_path)
    given = (
        parse_override("00:50:56:1a:2b:3c=203.0.113.5/24,203.0.113.1"),
        parse_override("00:50:56:1a:2b:3c=203.0.113.6/24"),
    )
    options = ConvertOptions(Path("/o"), (), ip=given)
    (step,) = plan_network(found.facts, found.machine, found.drivers, options).steps
    script = "\n".join(step.commands)
    assert '"%CONNECTION%" static 203.0.113.5 255.255.255.0 203.0.113.1 1' in script
    assert 'add address "%CONNECTION%" 203.0.113.6 255.255.255.0' in script
    assert "192.0.2.10" not in script


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("00:50:56:00:00:99=192.0.2.9/24", "no network card with the address 00:50:56:00:00:99"),
        ("00:50:56:1a:2b:3c=2001:db8::1/64", "cannot be given the IPv6 address 2001:db8::1"),
    ],
)
def test_addresses_that_do_not_fit_are_refused(
    text: str, words: str, every_driver: Path, tmp_path: Path
) -> None:
    found = made(two_cards.XP, every_driver, tmp_path)
    options = ConvertOptions(Path("/o"), (), ip=(parse_override(text),))
    with pytest.raises(UnfitRequestError, match=words):
        plan_network(found.facts, found.machine, found.drivers, options)
