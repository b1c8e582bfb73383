r"""Making a storage driver boot-start: its files, its service, and the record that binds it.

Everything comes from the INF in use. Up to Windows 7 the record is the CriticalDeviceDatabase;
where the SYSTEM hive has a ``DriverDatabase`` (Windows 8 and later) it is a package in there, see
``driver_store``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from offline_mig.drivers.directories import DirId
from offline_mig.drivers.install import ServiceInstall
from offline_mig.drivers.package import DriverPackage
from offline_mig.surgery.changes import Change, RegistryChange, SetValue, WriteFile
from offline_mig.surgery.driver_store import StoredPackage, store_changes, with_owner
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import (
    critical_device_entries,
    registry_changes,
    without_start_override,
)
from offline_mig.windows import critical_devices
from offline_mig.windows.critical_devices import CriticalDevice
from offline_mig.windows.hive import HiveName
from offline_mig.windows.pe import pe_imports
from offline_mig.windows.registry import RegistryValue

_VENDOR_AND_DEVICE = re.compile(r"(PCI\\VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PlacedDriver:
    """A driver package that goes into the guest; ``location`` says where it was found."""

    name: str
    package: DriverPackage
    location: str


def boot_imports(package: DriverPackage) -> frozenset[str]:
    """Return the drivers that a package's own drivers import, such as storport.sys.

    The loader refuses a boot driver whose imports are not in system32\\drivers.
    """
    return frozenset(
        module
        for name, content in package.files.items()
        if name.endswith(".sys")
        for module in pe_imports(content)
        if module.endswith(".sys") and module not in package.files
    )


def device_ids(package: DriverPackage) -> tuple[str, ...]:
    """Return the device ids to register: every form that the INF gives, and the bare devices.

    The bare form (vendor and device alone) also matches a device whose subsystem is another
    vendor's; it is the least specific, so a more specific entry always wins over it.
    """
    ids: dict[str, None] = {}
    for model in package.models:
        for identity in (model.hardware_id, *model.compatible_ids):
            ids[identity] = None
    for identity in tuple(ids):
        bare = _VENDOR_AND_DEVICE.match(identity)
        if bare is not None and all(bare[1].casefold() != known.casefold() for known in ids):
            ids[bare[1]] = None
    return tuple(ids)


def plan_boot_driver(
    facts: GuestFacts, driver: PlacedDriver, stored: StoredPackage | None
) -> PlanBlock:
    """Return the changes that make Windows load ``driver`` at boot for its devices.

    ``stored`` is the package's place in the driver store of a Windows with a DriverDatabase.
    """
    package = driver.package
    changes: list[Change] = [
        WriteFile(
            f"{facts.root}/{below.replace(chr(92), '/')}",
            package.files[file.source.lower()],
            driver.location,
            "the driver that Windows loads at boot",
        )
        for file in package.copied_files
        if file.directory != DirId.DRIVER_STORE
        and (below := file.path.below_windows) is not None
        and file.source.lower() in package.files
    ]
    for service in package.services:
        for control_set in facts.control_sets.bootable:
            changes += _service(facts, control_set, service, package, stored)
    changes += without_start_override(facts, [service.name for service in package.services])
    if stored is not None:
        changes += store_changes(facts, stored, driver.location)
    else:
        changes += _critical_devices(facts, package)
    return PlanBlock(f"Boot from {driver.name} ({package.driver_version_text})", tuple(changes))


def _service(
    facts: GuestFacts,
    control_set: str,
    service: ServiceInstall,
    package: DriverPackage,
    stored: StoredPackage | None,
) -> tuple[RegistryChange, ...]:
    key = rf"{control_set}\Services\{service.name}"
    reason = f"the service as {package.inf_name} installs it"
    values = {
        "Type": RegistryValue.dword(service.service_type),
        "Start": RegistryValue.dword(service.start_type),
        "ErrorControl": RegistryValue.dword(service.error_control),
        "ImagePath": RegistryValue.expand_sz(_image_path(service, stored)),
    }
    if service.load_order_group:
        values["Group"] = RegistryValue.sz(service.load_order_group)
    if service.display_name:
        values["DisplayName"] = RegistryValue.sz(service.display_name)
    if stored is not None:
        values["Owners"] = with_owner(facts, HiveName.SYSTEM, key, stored.oem_inf)
    changes: list[RegistryChange] = [
        SetValue(HiveName.SYSTEM, key, name, value, reason) for name, value in values.items()
    ]
    changes += registry_changes(facts, key, service.registry, reason)
    if service.event_log is not None:
        log = service.event_log
        event_key = rf"{control_set}\Services\EventLog\{log.log}\{log.source}"
        changes += registry_changes(facts, event_key, log.registry, "its messages in the event log")
    return tuple(changes)


def _image_path(service: ServiceInstall, stored: StoredPackage | None) -> str:
    below = service.binary.below_windows
    if below is not None:
        # Relative to the Windows directory: the one form that every loader since NT 5 takes.
        return below
    if service.binary.directory == DirId.DRIVER_STORE and stored is not None:
        return rf"\SystemRoot\{stored.repository}\{service.binary.relative}".replace("/", "\\")
    return service.binary.relative


def _critical_devices(facts: GuestFacts, package: DriverPackage) -> tuple[RegistryChange, ...]:
    entries: dict[str, CriticalDevice] = {}
    for service in package.services:
        if not service.is_function_driver:
            continue
        for identity in device_ids(package):
            name = critical_devices.key_name(identity)
            entries[name] = CriticalDevice(name, service.name, package.class_guid)
        # The best match wins, right or wrong: entries of earlier attempts are mended as well.
        prefixes = {name.split("&subsys")[0].split("&rev")[0] for name in entries}
        for control_set in facts.control_sets.bootable:
            for present in facts.system.subkeys(rf"{control_set}\{critical_devices.KEY}"):
                folded = present.lower()
                if any(folded == p or folded.startswith(f"{p}&") for p in prefixes):
                    entries.setdefault(
                        folded, CriticalDevice(folded, service.name, package.class_guid)
                    )
    reason = f"{package.inf_name} drives this device; Windows must know it before it can ask"
    return critical_device_entries(facts, entries.values(), reason)
