r"""Network interfaces as the SYSTEM hive knows them: one for each card that Windows ever installed.

An interface is known by a GUID. Its card's software key, ``Class\{4D36E972-...}\NNNN``, has that
as NetCfgInstanceId; its device instance, below ``Enum\PCI``, names the software key as Driver.
Everything that a user set is kept under the GUID (``Services\Tcpip\Parameters\Interfaces`` and the
like), or since Windows Vista under the interface's LUID, which is made of its type and NetLuidIndex
(``Control\Nsi``): whichever card has the GUID and the index has the settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from offline_mig.windows.hive import RegistryView
from offline_mig.windows.interface_settings import InterfaceSettings, read_interface_settings

#: The class of network adapters (Microsoft, "System-defined device setup classes").
NET_CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
#: CONFIGFLAG_DISABLED of regstr.h.
CONFIGFLAG_DISABLED = 0x1
#: The devices of teams, bridges and virtual switches, by the start of their component ids: LBFO of
#: Windows Server 2012 and later, the network bridge, Hyper-V's switch, Intel's and Broadcom's
#: teams.
_VIRTUAL = {
    "ms_implat": "a team",
    "ms_bridgemp": "a network bridge",
    "vms_mp": "a virtual switch of Hyper-V",
    "vms_vsmp": "a virtual switch of Hyper-V",
    "iansminiport": "a team of Intel's driver",
    "brcm_blfmp": "a team of Broadcom's driver",
}
#: What the paths of VirtIO devices begin with (virtio 1.2, 4.1.2 "PCI Device Discovery").
_VIRTIO = "PCI\\VEN_1AF4&"
_DRIVER_KEY = re.compile(r"\d{4}", re.ASCII)
_GUID = re.compile(r"\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.IGNORECASE)
_SERIAL = re.compile(r"[0-9A-F]{16}00", re.IGNORECASE)
#: Instance ids without a serial number on the root bus and behind one bridge, and their places.
_ON_ROOT_BUS = re.compile(r"3&[0-9a-f]+&[0-9a-f]+&([0-9A-F]{2})", re.IGNORECASE)
_BEHIND_BRIDGE = re.compile(r"4&[0-9a-f]+&[0-9a-f]+&([0-9A-F]{2})([0-9A-F]{2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    r"""An interface on a PCI card. ``guid`` is as NetCfgInstanceId has it.

    ``driver_key`` is NNNN, ``device`` the device instance path. ``mac`` is the card's permanent
    address, where the hive tells; ``own_mac`` one that the user gave it (NetworkAddress).
    ``slot`` is VMware's number of the card's PCI slot. ``settings`` are what the user set.
    """

    guid: str
    name: str
    driver_key: str
    device: str
    description: str
    service: str
    config_flags: int
    settings: InterfaceSettings
    mac: str | None = None
    own_mac: str | None = None
    slot: int | None = None

    @property
    def disabled(self) -> bool:
        """Whether the user disabled the card."""
        return bool(self.config_flags & CONFIGFLAG_DISABLED)


@dataclass(frozen=True, slots=True)
class VirtualInterface:
    """An interface that is made of others; ``kind`` says what it is, such as a team."""

    guid: str
    name: str
    kind: str
    settings: InterfaceSettings


@dataclass(frozen=True, slots=True)
class PersistentRoute:
    """A persistent route of IPv4; ``metric`` is 0 where Windows chooses it."""

    network: IPv4Network
    gateway: IPv4Address
    metric: int = 0


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The interfaces of a control set, in the order of their driver keys, and its routes.

    Default routes are not among the latter: they are gateways of interfaces.
    """

    interfaces: tuple[NetworkInterface, ...]
    virtual: tuple[VirtualInterface, ...] = ()
    routes: tuple[PersistentRoute, ...] = ()


def read_network(system: RegistryView, control_set: str) -> NetworkState:
    """Return what a control set knows of network cards."""
    devices = dict(_devices_by_driver_key(system, control_set))
    interfaces = []
    virtual = []
    for driver_key, guid in _adapters(system, control_set):
        software = rf"{control_set}\Control\Class\{NET_CLASS}\{driver_key}"
        index = system.value(software, "NetLuidIndex")
        settings = read_interface_settings(
            system, control_set, guid, index.as_int() if index else None
        )
        name = _text(
            system, rf"{control_set}\Control\Network\{NET_CLASS}\{guid}\Connection", "Name"
        )
        device = devices.get(driver_key)
        if device is not None:
            interfaces.append(
                _interface(system, control_set, (guid, name, driver_key), device, settings)
            )
            continue
        component = _text(system, software, "ComponentId").casefold()
        for start, kind in _VIRTUAL.items():
            if component.startswith(start):
                virtual.append(VirtualInterface(guid, name or guid, kind, settings))
    return NetworkState(tuple(interfaces), tuple(virtual), tuple(_routes(system, control_set)))


def mac_of_serial(instance_id: str) -> str | None:
    """Return the address in the serial number of a PCI Express card, None where there is none.

    The number is an EUI-64: the address with FF:FF (e1000e) or FF:FE (vmxnet3) in its middle.
    Windows shows e1000e's bytes in their order, vmxnet3's with each half reversed: the address
    00:50:56:95:08:BB was seen as FF565000BB0895FE00, 00:0C:29:66:1A:A2 as 000C29FFFF661AA200.
    """
    if not _SERIAL.fullmatch(instance_id):
        return None
    shown = bytes.fromhex(instance_id[:16])
    for octets in (shown, shown[3::-1] + shown[:3:-1]):
        if octets[3] == 0xFF and octets[4] in (0xFE, 0xFF):
            return (octets[:3] + octets[5:]).hex(":")
    return None


def vmware_slot(instance_id: str) -> int | None:
    """Return VMware's number of the slot that an instance id without a serial number names.

    ``ethernetN.pciSlotNumber`` is the slot on the root bus, or counts 32 slots for each bridge
    from 17 on (the first slots behind bridge 17 are 32 and 33, behind the port 21 it is 160), and
    1024 more for each function of a port.
    """
    place = _ON_ROOT_BUS.fullmatch(instance_id)
    if place is not None:
        return int(place[1], 16) >> 3
    place = _BEHIND_BRIDGE.fullmatch(instance_id)
    if place is None:
        return None
    slot = int(place[1], 16) >> 3
    bridge, function = divmod(int(place[2], 16), 8)
    return (bridge - 16) * 32 + function * 1024 + slot if bridge > 16 else None


def _interface(
    system: RegistryView,
    control_set: str,
    names: tuple[str, str, str],
    device: str,
    settings: InterfaceSettings,
) -> NetworkInterface:
    guid, name, driver_key = names
    software = rf"{control_set}\Control\Class\{NET_CLASS}\{driver_key}"
    enum = rf"{control_set}\Enum\{device}"
    instance_id = device.rpartition("\\")[2]
    flags = system.value(enum, "ConfigFlags")
    return NetworkInterface(
        guid=guid,
        name=name or guid,
        driver_key=driver_key,
        device=device,
        description=_text(system, software, "DriverDesc") or device,
        service=_text(system, enum, "Service"),
        config_flags=(flags.as_int() if flags else None) or 0,
        settings=settings,
        mac=_permanent_mac(system, control_set, guid) or mac_of_serial(instance_id),
        own_mac=_hexadecimal_mac(_text(system, software, "NetworkAddress")),
        slot=_slot(system, enum, device),
    )


def _slot(system: RegistryView, enum: str, device: str) -> int | None:
    """Return VMware's slot number: what ACPI says (_SUN), which Windows keeps as UINumber."""
    if device.upper().startswith(_VIRTIO):
        return None  # A card of another hypervisor's.
    number = system.value(enum, "UINumber")
    slot = number.as_int() if number else None
    return vmware_slot(device.rpartition("\\")[2]) if slot is None else slot


def _routes(system: RegistryView, control_set: str) -> Iterator[PersistentRoute]:
    """Yield what the value names say: network, mask, gateway, and metric, -1 for Windows' own."""
    for name in system.values(rf"{control_set}\Services\Tcpip\Parameters\PersistentRoutes"):
        parts = name.split(",")
        if len(parts) != 4:
            continue
        try:
            route = PersistentRoute(
                IPv4Network(f"{parts[0]}/{parts[1]}"), IPv4Address(parts[2]), max(int(parts[3]), 0)
            )
        except ValueError:
            continue
        if route.network.prefixlen:
            yield route


def _adapters(system: RegistryView, control_set: str) -> Iterator[tuple[str, str]]:
    """Yield the driver keys of adapters, with their GUIDs."""
    key = rf"{control_set}\Control\Class\{NET_CLASS}"
    for name in sorted(system.subkeys(key)):
        if not _DRIVER_KEY.fullmatch(name):
            continue
        guid = _text(system, rf"{key}\{name}", "NetCfgInstanceId")
        if _GUID.fullmatch(guid):
            yield name, guid


def _devices_by_driver_key(system: RegistryView, control_set: str) -> Iterator[tuple[str, str]]:
    bus = rf"{control_set}\Enum\PCI"
    for device in system.subkeys(bus):
        for instance in system.subkeys(rf"{bus}\{device}"):
            driver = _text(system, rf"{bus}\{device}\{instance}", "Driver")
            device_class, _, number = driver.rpartition("\\")
            if device_class.casefold() == NET_CLASS.casefold():
                yield number, f"PCI\\{device}\\{instance}"


def _permanent_mac(system: RegistryView, control_set: str, guid: str) -> str | None:
    """Return what Windows 10 and later remember of the card, which mm goes by too."""
    key = rf"{control_set}\Control\NetworkSetup2\Interfaces\{guid}\Kernel"
    value = system.value(key, "PermanentAddress")
    return value.data.hex(":") if value is not None and len(value.data) == 6 else None


def _hexadecimal_mac(text: str) -> str | None:
    digits = re.sub("[-:]", "", text).lower()
    if not re.fullmatch("[0-9a-f]{12}", digits):
        return None
    return bytes.fromhex(digits).hex(":")


def _text(system: RegistryView, key: str, name: str) -> str:
    value = system.value(key, name)
    return (value.as_text() or "") if value else ""
