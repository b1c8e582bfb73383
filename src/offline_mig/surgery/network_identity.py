r"""The new network card takes over the interface of the old one: its GUID, and all under that.

Windows knows the new card by its device instance path, which follows from its place. A device
record of that name is made before Windows ever sees the card, with a software key that has the old
GUID, the old LUID index and the old bindings; the old card's records go, so that nothing claims the
addresses or the name of the connection any more. Settings themselves are not touched.

How much of the record is made depends on the Windows (``docs/network.md`` says why):

- Windows XP and 2003: all of it, driver included. The kernel starts the card at once; nothing is
  installed, and no wizard asks.
- Windows Vista and later: who the card is, and CONFIGFLAG_REINSTALL. Windows installs the driver
  from its store as it updates one, which keeps the GUID that it finds in the software key.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_mig.surgery.adapter_driver import AdapterDriver, adapter_driver_changes
from offline_mig.surgery.adapter_matching import MatchedAdapter
from offline_mig.surgery.changes import DeleteKey, RegistryChange, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import set_values
from offline_mig.windows.device_instance import PlacedDevice, pci_instance_path
from offline_mig.windows.hive import HiveName, RegistryView
from offline_mig.windows.network_config import read_network_config
from offline_mig.windows.network_interfaces import (
    CONFIGFLAG_DISABLED,
    NET_CLASS,
    NetworkInterface,
    read_network,
)
from offline_mig.windows.registry import RegistryValue

#: CONFIGFLAG_REINSTALL of regstr.h: the driver is to be installed again, the device is known.
CONFIGFLAG_REINSTALL = 0x20
#: What of a software key is the interface's and not the driver's.
_OF_THE_INTERFACE = (
    "NetCfgInstanceId",
    "NetLuidIndex",
    "InstallTimeStamp",
    "NetworkInterfaceInstallTimestamp",
    "NetworkAddress",
    "Characteristics",
    "BusType",
    "*IfType",
    "*MediaType",
    "*PhysicalMediaType",
    "IfTypePreStart",
)
#: The property of an interface that names its device, in NetworkSetup2 of Windows 10 and later.
_DEVICE_PROPERTY = r"Properties\{a111f1f4-5923-47c0-9a68-d0bafb577901}\0032"
#: Its type there, DEVPROP_TYPE_STRING of devpropdef.h with the mark of a property.
_PROPERTY_STRING = 0xFFFF0012
_VISTA = (6, 0)
#: Where Windows keeps a list of cards by number, with GUID and name.
_NETWORK_CARDS = r"Microsoft\Windows NT\CurrentVersion\NetworkCards"


@dataclass(frozen=True, slots=True)
class NewAdapter:
    """A card of the machine, the interface that it had, and where Windows will find the new one.

    ``driver`` is what drives it on a Windows that does not install it itself.
    """

    match: MatchedAdapter
    device: PlacedDevice
    driver: AdapterDriver | None = None


def installs_by_itself(facts: GuestFacts) -> bool:
    """Tell whether Windows is left to install the driver of the new card."""
    return facts.version.nt >= _VISTA


def plan_network_identity(facts: GuestFacts, adapters: Sequence[NewAdapter]) -> PlanBlock | None:
    """Return the changes that give the new cards the interfaces of the old, None for no card."""
    if not adapters:
        return None
    changes = [
        change
        for control_set in facts.control_sets.bootable
        for change in _control_set(facts, control_set, adapters)
    ]
    changes += _network_cards(facts, adapters)
    names = ", ".join(f'"{adapter.match.interface.name}"' for adapter in adapters)
    return PlanBlock(f"Network connections kept: {names}", tuple(changes))


def _control_set(
    facts: GuestFacts, control_set: str, adapters: Sequence[NewAdapter]
) -> Iterator[RegistryChange]:
    system = facts.system
    known = {i.guid.casefold(): i for i in read_network(system, control_set).interfaces}
    net_class = rf"{control_set}\Control\Class\{NET_CLASS}"
    taken = [int(name) for name in system.subkeys(net_class) if name.isascii() and name.isdigit()]
    number = max(taken, default=-1)
    removed = []
    devices = {}
    for adapter in adapters:
        # An older control set need not know the card.
        interface = known.get(adapter.match.interface.guid.casefold())
        if interface is None:
            continue
        path = pci_instance_path(system, control_set, adapter.device)
        if path.casefold() == interface.device.casefold():
            continue
        number += 1
        yield from _software(system, control_set, interface, f"{number:04}", path)
        yield from _record(facts, control_set, adapter, interface, (f"{number:04}", path))
        yield from _names_of_device(system, control_set, interface.guid, path)
        removed.append(interface)
        devices[uuid.UUID(interface.guid)] = path
        reason = "the software key of the card that is gone"
        yield DeleteKey(HiveName.SYSTEM, rf"{net_class}\{interface.driver_key}", reason)
    yield from _configuration(system, control_set, devices)
    yield from _gone(system, control_set, removed)


def _software(
    system: RegistryView, control_set: str, interface: NetworkInterface, number: str, path: str
) -> Iterator[RegistryChange]:
    """Yield the software key of the new card: the interface's own values and its bindings."""
    net_class = rf"{control_set}\Control\Class\{NET_CLASS}"
    old, new = rf"{net_class}\{interface.driver_key}", rf"{net_class}\{number}"
    reason = f'the new card is the connection "{interface.name}"'
    present = {name.casefold(): (name, v) for name, v in system.values(old).items()}
    kept = dict(present[n.casefold()] for n in _OF_THE_INTERFACE if n.casefold() in present)
    if "deviceinstanceid" in present:
        kept[present["deviceinstanceid"][0]] = RegistryValue.sz(path)
    yield from set_values(new, kept, reason)
    yield from _copied(system, rf"{old}\Linkage", rf"{new}\Linkage", reason)


def _copied(system: RegistryView, old: str, new: str, reason: str) -> Iterator[RegistryChange]:
    yield from set_values(new, system.values(old), reason)
    for name in system.subkeys(old):
        yield from _copied(system, rf"{old}\{name}", rf"{new}\{name}", reason)


def _record(
    facts: GuestFacts,
    control_set: str,
    adapter: NewAdapter,
    interface: NetworkInterface,
    names: tuple[str, str],
) -> Iterator[RegistryChange]:
    """Yield the device record: which software key the card in that place has."""
    number, path = names
    identity = adapter.device.identity
    by_itself = installs_by_itself(facts)
    flags = interface.config_flags & CONFIGFLAG_DISABLED
    values = {
        "ClassGUID": RegistryValue.sz(NET_CLASS.lower() if by_itself else NET_CLASS),
        "Class": RegistryValue.sz("Net"),
        "Driver": RegistryValue.sz(rf"{NET_CLASS}\{number}"),
        "HardwareID": RegistryValue.multi_sz(identity.hardware_ids),
        "CompatibleIDs": RegistryValue.multi_sz(identity.compatible_ids),
        "ConfigFlags": RegistryValue.dword(flags | CONFIGFLAG_REINSTALL if by_itself else flags),
    }
    reason = f'the VirtIO card that becomes "{interface.name}"'
    yield from set_values(rf"{control_set}\Enum\{path}", values, reason)
    if adapter.driver is not None and not by_itself:
        yield from adapter_driver_changes(facts, control_set, adapter.driver, names, reason)


def _names_of_device(
    system: RegistryView, control_set: str, guid: str, path: str
) -> Iterator[RegistryChange]:
    """Yield the changes where the interface names its device."""
    control = rf"{control_set}\Control"
    connection = rf"{control}\Network\{NET_CLASS}\{guid}\Connection"
    reason = "the connection names its card"
    for name in system.values(connection):
        if name.casefold() == "pnpinstanceid":
            value = RegistryValue.sz(path)
            yield SetValue(HiveName.SYSTEM, connection, name, value, reason)
    device = rf"{control}\NetworkSetup2\Interfaces\{guid}\{_DEVICE_PROPERTY}"
    if system.has_key(device):
        value = RegistryValue(_PROPERTY_STRING, RegistryValue.sz(path).data)
        yield SetValue(HiveName.SYSTEM, device, "", value, reason)


def _network_cards(facts: GuestFacts, adapters: Sequence[NewAdapter]) -> Iterator[RegistryChange]:
    """Yield the names of cards in SOFTWARE, where nothing installs the new ones."""
    names = {
        adapter.match.interface.guid.casefold(): adapter.driver.model.description
        for adapter in adapters
        if adapter.driver is not None
    }
    for number in facts.software.subkeys(_NETWORK_CARDS):
        key = rf"{_NETWORK_CARDS}\{number}"
        guid = facts.software.value(key, "ServiceName")
        name = names.get(((guid.as_text() if guid else None) or "").casefold())
        if name is not None:
            reason = "the name of the card that the connection has now"
            value = RegistryValue.sz(name)
            yield SetValue(HiveName.SOFTWARE, key, "Description", value, reason)


def _configuration(
    system: RegistryView, control_set: str, devices: dict[uuid.UUID, str]
) -> Iterator[RegistryChange]:
    """Yield the change to the list of network components, which Windows has up to 7."""
    key = rf"{control_set}\Control\Network"
    value = system.value(key, "Config")
    config = read_network_config(value.data) if value is not None else None
    if value is None or config is None or not devices:
        return
    for guid, path in devices.items():
        component = "&".join(path.split("\\")[1].split("&")[:2]).lower()
        config = config.with_device(guid, rf"pci\{component}", path.upper())
    changed = RegistryValue(value.type, config.to_bytes())
    yield SetValue(HiveName.SYSTEM, key, "Config", changed, "the list of network components")


def _gone(
    system: RegistryView, control_set: str, interfaces: Sequence[NetworkInterface]
) -> Iterator[RegistryChange]:
    """Yield the changes that take away the device records of cards that are no more."""
    reason = "a card that is gone would keep its addresses as a hidden device"
    profiles = rf"{control_set}\Hardware Profiles"
    trees = [rf"{control_set}\Enum"]
    trees += [
        rf"{profiles}\{profile}\System\CurrentControlSet\Enum"
        for profile in system.subkeys(profiles)
    ]
    by_card: dict[str, set[str]] = {}
    for interface in interfaces:
        card, _, instance = interface.device.rpartition("\\")
        by_card.setdefault(card, set()).add(instance.casefold())
    for tree in trees:
        for card, instances in by_card.items():
            present = system.subkeys(rf"{tree}\{card}")
            gone = [name for name in present if name.casefold() in instances]
            if gone and len(gone) == len(present):
                yield DeleteKey(HiveName.SYSTEM, rf"{tree}\{card}", reason)
                continue
            for name in gone:
                yield DeleteKey(HiveName.SYSTEM, rf"{tree}\{card}\{name}", reason)
    classes = rf"{control_set}\Control\DeviceClasses"
    starts = tuple(
        rf"##?#{interface.device}".replace("\\", "#").casefold() + "#{" for interface in interfaces
    )
    for device_class in system.subkeys(classes) if starts else ():
        for name in system.subkeys(rf"{classes}\{device_class}"):
            if name.casefold().startswith(starts):
                yield DeleteKey(HiveName.SYSTEM, rf"{classes}\{device_class}\{name}", reason)
