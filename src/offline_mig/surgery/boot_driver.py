r"""Making a storage driver boot-start: its files, its service, and the record that binds it.

Everything comes from the INF in use. Up to Windows 7 the record is the CriticalDeviceDatabase;
where the SYSTEM hive has a ``DriverDatabase`` (Windows 8 and later) it is a package in there, see
``driver_store``.
"""

from __future__ import annotations

import re

from offline_mig.drivers.package import DriverPackage
from offline_mig.surgery.changes import Change, RegistryChange
from offline_mig.surgery.driver_install import PlacedDriver, install_changes
from offline_mig.surgery.driver_store import store_changes
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import critical_device_entries, without_start_override
from offline_mig.surgery.stored_package import StoredPackage
from offline_mig.windows import critical_devices
from offline_mig.windows.critical_devices import CriticalDevice
from offline_mig.windows.pe import pe_imports

_VENDOR_AND_DEVICE = re.compile(r"(PCI\\VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4})", re.IGNORECASE)


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
        *install_changes(facts, driver, stored, "the driver that Windows loads at boot")
    ]
    changes += without_start_override(facts, [service.name for service in package.services])
    if stored is not None:
        changes += store_changes(facts, stored, driver.location)
    else:
        changes += _critical_devices(facts, package)
    return PlanBlock(f"Boot from {driver.name} ({package.driver_version_text})", tuple(changes))


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
