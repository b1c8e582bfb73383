"""Building blocks of registration, for every control set that Windows may boot from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.surgery.changes import CreateKey, DeleteKey, RegistryChange, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows import critical_devices
from offline_mig.windows.critical_devices import CriticalDevice
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue


def set_values(
    key: str, values: Mapping[str, RegistryValue], reason: str
) -> tuple[RegistryChange, ...]:
    """Return the changes that put ``values`` into a key of the SYSTEM hive."""
    return tuple(SetValue(HiveName.SYSTEM, key, name, v, reason) for name, v in values.items())


def critical_device_entries(
    facts: GuestFacts, devices: Iterable[CriticalDevice], reason: str, *, only_missing: bool = False
) -> tuple[RegistryChange, ...]:
    """Return the changes that register ``devices`` in the CriticalDeviceDatabase.

    An entry that says the same in other letter case is left as it is; with ``only_missing`` any
    entry that is there is.
    """
    changes: list[RegistryChange] = []
    for control_set in facts.control_sets.bootable:
        for device in devices:
            key = rf"{control_set}\{critical_devices.KEY}\{device.device}"
            if only_missing and facts.system.has_key(key):
                continue
            for name, wanted in (("Service", device.service), ("ClassGUID", device.class_guid)):
                present = facts.system.value(key, name)
                text = present.as_text() if present else None
                # A string without its terminator is read past its end by an NT 5 loader.
                sound = present is not None and present.data.endswith(b"\0\0")
                if sound and text is not None and text.casefold() == wanted.casefold():
                    continue
                changes.append(
                    SetValue(HiveName.SYSTEM, key, name, RegistryValue.sz(wanted), reason)
                )
    return tuple(changes)


def without_start_override(
    facts: GuestFacts, services: Iterable[str]
) -> tuple[RegistryChange, ...]:
    """Return the changes that take ``StartOverride`` away from services.

    Windows 8 and later mark a driver whose device was absent so, and the mark (``0`` = 3) wins
    over Start = 0: the guest would stop with 0x7B although its driver is in place. NT 5 does not
    know the key, and taking it away there harms nothing.
    """
    reason = "a StartOverride keeps Windows from loading the driver at boot"
    changes: list[RegistryChange] = []
    for control_set in facts.control_sets.bootable:
        for service in services:
            key = rf"{control_set}\Services\{service}\StartOverride"
            if facts.system.has_key(key):
                changes.append(DeleteKey(HiveName.SYSTEM, key, reason))
    return tuple(changes)


def registry_changes(
    facts: GuestFacts, key: str, lines: Iterable[InfRegistryValue], reason: str
) -> tuple[RegistryChange, ...]:
    """Return what the HKR lines of an INF do to ``key`` of the SYSTEM hive."""
    changes: list[RegistryChange] = []
    for line in lines:
        if line.root != "HKR" or line.delete:
            continue
        where = rf"{key}\{line.subkey}" if line.subkey else key
        if line.value is None or line.name is None:
            changes.append(CreateKey(HiveName.SYSTEM, where, reason))
            continue
        present = facts.system.value(where, line.name)
        if present is not None and line.no_clobber:
            continue
        value = line.value
        if line.append and present is not None:
            kept = [text for text in present.as_texts() if text not in value.as_texts()]
            value = RegistryValue.multi_sz([*kept, *value.as_texts()])
        changes.append(SetValue(HiveName.SYSTEM, where, line.name, value, reason))
    return tuple(changes)
