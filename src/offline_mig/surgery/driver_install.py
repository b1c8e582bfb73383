r"""What Windows does with a package beyond storing it: its files in their places, its services.

It does so as soon as a package is added, device or not, where it installs without asking a class
installer (see ``driver_store``); for a boot driver it has to be done beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.drivers.directories import DirId
from offline_mig.drivers.install import ServiceInstall
from offline_mig.drivers.package import DriverPackage
from offline_mig.surgery.changes import Change, RegistryChange, SetValue, WriteFile
from offline_mig.surgery.driver_store import store_changes, with_owner
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import registry_changes
from offline_mig.surgery.stored_package import StoredPackage
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

#: SERVICE_BOOT_START of winnt.h.
_BOOT_START = 0


@dataclass(frozen=True, slots=True)
class PlacedDriver:
    """A driver package that goes into the guest; ``location`` says where it was found."""

    name: str
    package: DriverPackage
    location: str


def plan_stored_driver(facts: GuestFacts, driver: PlacedDriver, stored: StoredPackage) -> PlanBlock:
    """Return the changes that put a driver into the driver store, for Windows to find it there."""
    changes: list[Change] = []
    if stored.configured:
        changes += install_changes(facts, driver, stored, f"{driver.name} where its service looks")
    changes += store_changes(facts, stored, driver.location)
    version = driver.package.driver_version_text
    return PlanBlock(f"Driver store: {driver.name} ({version})", tuple(changes))


def install_changes(
    facts: GuestFacts, driver: PlacedDriver, stored: StoredPackage | None, reason: str
) -> Iterator[Change]:
    """Yield the changes that copy a package's files and make its services.

    ``stored`` is its place in the driver store, where there is one.
    """
    package = driver.package
    for file in package.copied_files:
        below = file.path.below_windows
        if file.directory == DirId.DRIVER_STORE or below is None:
            continue
        content = package.files.get(file.source.lower())
        if content is not None:
            path = f"{facts.root}/{below.replace(chr(92), '/')}"
            yield WriteFile(path, content, driver.location, reason)
    versions = {
        install.function_driver.name: install.kmdf_library_version
        for install in package.installs
        if install.function_driver is not None and install.kmdf_library_version
    }
    for service in package.services:
        for control_set in facts.control_sets.bootable:
            yield from _service(facts, control_set, service, package, stored)
            if stored is not None and service.name in versions:
                # Where there is a co-installer of the framework, that writes it.
                yield SetValue(
                    HiveName.SYSTEM,
                    rf"{control_set}\Services\{service.name}\Parameters\Wdf",
                    "KmdfLibraryVersion",
                    RegistryValue.sz(versions[service.name]),
                    f"the driver framework as {package.inf_name} has it",
                )


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
        values["DisplayName"] = RegistryValue.sz(_display_name(service, stored))
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


def _display_name(service: ServiceInstall, stored: StoredPackage | None) -> str:
    # Windows 8 and later look a name up in the INF and keep the text for want of it.
    if stored is None or service.display_name_token == service.display_name:
        return service.display_name
    return f"@{stored.oem_inf},{service.display_name_token};{service.display_name}"


def _image_path(service: ServiceInstall, stored: StoredPackage | None) -> str:
    below = service.binary.below_windows
    if below is not None:
        # Relative to the Windows directory: the one form that every loader since NT 5 takes. What
        # is loaded later has the full one on Windows 8 and later.
        later = stored is not None and service.start_type != _BOOT_START
        return rf"\SystemRoot\{below}" if later else below
    if service.binary.directory == DirId.DRIVER_STORE and stored is not None:
        return rf"\SystemRoot\{stored.repository}\{service.binary.relative}".replace("/", "\\")
    return service.binary.relative
