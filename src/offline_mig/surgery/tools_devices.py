r"""Devices that the drivers of guest tools drive or filter: they go with them.

On the new machine they are ghosts. Should one of them appear again, Windows meets it anew. Three
kinds stay: network cards, since addresses are kept with them; disk controllers, which are the way
back; and devices of the old machine that drivers of Windows drive (bridges, USB controllers).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from offline_mig.surgery.changes import Change, DeleteKey, DeleteValue, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.tools_facts import STAYING_CLASSES, device_keys
from offline_mig.windows import critical_devices
from offline_mig.windows.guest_tools import GuestTools
from offline_mig.windows.hive import HiveName, RegistryView
from offline_mig.windows.registry import RegistryValue

_FILTER_LISTS = ("UpperFilters", "LowerFilters")


@dataclass(frozen=True, slots=True)
class ToolsDevice:
    r"""A device instance of a control set: ``PCI\VEN_15AD&DEV_0740&...\3&...`` below Enum.

    ``service`` drives it, in lower case; ``driver`` is its key below Control\Class, and
    ``provider`` is who made that, in lower case.
    """

    control_set: str
    instance: str
    service: str
    driver: str
    provider: str
    class_guid: str

    @property
    def key(self) -> str:
        """Its key in the hive SYSTEM."""
        return rf"{self.control_set}\Enum\{self.instance}"

    @property
    def stays(self) -> bool:
        """Whether it is of a class whose devices stay."""
        return self.class_guid.startswith(STAYING_CLASSES)


def find_devices(
    facts: GuestFacts, tools: GuestTools, services: Collection[str], gone: Collection[str]
) -> tuple[ToolsDevice, ...]:
    """Return the devices that ``services`` (lower case) drive, without those whose key is gone.

    Hardware of the old machine that a package of the tools installed is among them, even if a
    driver of Windows drives it: so it is with mice. ``gone`` are keys in lower case.
    """
    return tuple(
        device
        for control_set in facts.control_sets.bootable
        for device in _devices(facts.system, control_set)
        if (
            device.service in services
            or (device.provider in tools.providers and tools.is_hardware(device.instance))
        )
        and device.service not in tools.kept_services
        and not is_below(device.key.lower(), gone)
    )


def _devices(system: RegistryView, control_set: str) -> Iterator[ToolsDevice]:
    for instance, key in device_keys(system, control_set):
        values = {name.lower(): value.as_text() for name, value in system.values(key).items()}
        driver = values.get("driver") or ""
        provider = system.value(rf"{control_set}\Control\Class\{driver}", "ProviderName")
        yield ToolsDevice(
            control_set,
            instance,
            (values.get("service") or "").lower(),
            driver,
            ((provider.as_text() if provider else None) or "").lower(),
            (values.get("classguid") or "").lower(),
        )


def is_below(key: str, gone: Collection[str]) -> bool:
    """Tell whether a key, in lower case, is one of those that are gone or below one."""
    return any(key == other or key.startswith(f"{other}\\") for other in gone)


def device_changes(
    facts: GuestFacts, devices: Iterable[ToolsDevice], services: Collection[str], tools: str
) -> Iterator[Change]:
    """Yield what takes ``devices`` out, with their drivers' keys and their interfaces.

    ``services`` (lower case) are those that drove them.
    """
    reason = f"a device that only {tools} drove"
    leaving = tuple(devices)
    for control_set in facts.control_sets.bootable:
        mine = [device for device in leaving if device.control_set == control_set]
        yield from _enum_keys(facts.system, mine, reason)
        drivers = rf"{control_set}\Control\Class"
        for driver in dict.fromkeys(device.driver for device in mine if device.driver):
            if facts.system.has_key(rf"{drivers}\{driver}"):
                yield DeleteKey(HiveName.SYSTEM, rf"{drivers}\{driver}", reason)
        for guid in facts.system.subkeys(drivers):
            # Classes that a driver made up for itself are named as it is.
            value = facts.system.value(rf"{drivers}\{guid}", "Class")
            if ((value.as_text() if value else None) or "").lower() in services:
                yield DeleteKey(HiveName.SYSTEM, rf"{drivers}\{guid}", reason)
        yield from _interfaces(facts.system, control_set, mine, reason)
        yield from _containers(facts.system, control_set, mine, reason)
        yield from _video(facts.system, control_set, services, reason)


def _enum_keys(
    system: RegistryView, devices: Iterable[ToolsDevice], reason: str
) -> Iterator[Change]:
    by_parent: dict[str, list[ToolsDevice]] = {}
    for device in devices:
        by_parent.setdefault(device.key.rpartition("\\")[0], []).append(device)
    for parent, below in by_parent.items():
        if len(system.subkeys(parent)) == len(below):
            yield DeleteKey(HiveName.SYSTEM, parent, reason)
            continue
        for device in below:
            yield DeleteKey(HiveName.SYSTEM, device.key, reason)


def _interfaces(
    system: RegistryView, control_set: str, devices: Iterable[ToolsDevice], reason: str
) -> Iterator[Change]:
    starts = tuple(f"##?#{d.instance}#".replace("\\", "#").lower() for d in devices)
    root = rf"{control_set}\Control\DeviceClasses"
    for guid in system.subkeys(root) if starts else ():
        for interface in system.subkeys(rf"{root}\{guid}"):
            if interface.lower().startswith(starts):
                yield DeleteKey(HiveName.SYSTEM, rf"{root}\{guid}\{interface}", reason)


def _containers(
    system: RegistryView, control_set: str, devices: Iterable[ToolsDevice], reason: str
) -> Iterator[Change]:
    """Yield what takes devices out of the boxes that Windows shows them in, which may hold more."""
    instances = {device.instance.lower() for device in devices}
    root = rf"{control_set}\Control\DeviceContainers"
    for container in system.subkeys(root) if instances else ():
        for base in system.subkeys(rf"{root}\{container}\BaseContainers"):
            key = rf"{root}\{container}\BaseContainers\{base}"
            for name in system.values(key):
                if name.lower() in instances:
                    yield DeleteValue(HiveName.SYSTEM, key, name, reason)


def _video(
    system: RegistryView, control_set: str, services: Collection[str], reason: str
) -> Iterator[Change]:
    root = rf"{control_set}\Control\Video"
    for guid in system.subkeys(root):
        value = system.value(rf"{root}\{guid}\Video", "Service")
        if ((value.as_text() if value else None) or "").lower() in services:
            yield DeleteKey(HiveName.SYSTEM, rf"{root}\{guid}", reason)


def filter_changes(
    facts: GuestFacts,
    services: Collection[str],
    gone: Collection[str],
    planned: Mapping[tuple[str, str], RegistryValue],
    tools: str,
) -> Iterator[Change]:
    """Yield what takes ``services`` (lower case) out of the lists of filters.

    A device whose list names a filter that cannot be loaded does not start; if it is on the way
    to the system disk, nor does Windows. The lists are those of classes, of devices, and of devices
    to come: Windows 7 has vmmouse in the CriticalDeviceDatabase, for any PS/2 mouse. Keys that are
    ``gone`` need none of it, and values that are ``planned`` (by key and name) count as set
    already; all of them in lower case.
    """
    for control_set in facts.control_sets.bootable:
        classes = rf"{control_set}\Control\Class"
        keys = [rf"{classes}\{guid}" for guid in facts.system.subkeys(classes)]
        keys += [key for _, key in device_keys(facts.system, control_set)]
        critical = rf"{control_set}\{critical_devices.KEY}"
        keys += [rf"{critical}\{device}" for device in facts.system.subkeys(critical)]
        for key in keys:
            if is_below(key.lower(), gone):
                continue
            values = {name.lower(): value for name, value in facts.system.values(key).items()}
            for name in _FILTER_LISTS:
                value = planned.get((key.lower(), name.lower())) or values.get(name.lower())
                filters = value.as_texts() if value else ()
                left = [text for text in filters if text.lower() not in services]
                if len(left) == len(filters):
                    continue
                reason = f"a filter of {tools}"
                if left:
                    wanted = RegistryValue.multi_sz(left)
                    yield SetValue(HiveName.SYSTEM, key, name, wanted, reason)
                else:
                    yield DeleteValue(HiveName.SYSTEM, key, name, reason)
