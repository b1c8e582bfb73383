r"""The way back: a guest that also boots from the emulated IDE or AHCI disk.

Windows 2000, XP and 2003 know only the IDE controllers that they have met; they get the entries
of KB 314082, the services and, from their own driver cabinets, the files. Vista and later have
it all in the box and need only have the services start at boot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from offline_mig.surgery.changes import Change, RegistryChange, SetValue, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import (
    critical_device_entries,
    set_values,
    without_start_override,
)
from offline_mig.windows.critical_devices import KB_314082, NT6_EMULATED
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue


@dataclass(frozen=True, slots=True)
class CabinetFile:
    """A file taken out of one of the guest's own driver cabinets, and which one."""

    content: bytes
    cabinet: str


@dataclass(frozen=True, slots=True)
class _IdeService:
    """A service as Windows XP's mshdc.inf installs it; ``files`` are what it needs to run."""

    name: str
    group: str
    tag: int
    files: tuple[str, ...]


#: Groups and tags: the registry of an installed Windows XP, and KB 314082.
_NT5_SERVICES = (
    _IdeService("atapi", "SCSI miniport", 0x19, ("atapi.sys",)),
    _IdeService("intelide", "System Bus Extender", 4, ("intelide.sys", "pciidex.sys")),
    _IdeService("pciide", "System Bus Extender", 3, ("pciide.sys", "pciidex.sys")),
)
#: msahci up to Windows 7, storahci from Windows 8 on (KB 922976 and its successors).
_NT6_SERVICES = ("atapi", "intelide", "pciide", "msahci", "storahci")
_REASON_KB = "KB 314082: Windows then knows every IDE controller, not only the one it was set up on"


def missing_ide_files(facts: GuestFacts) -> frozenset[str]:
    """Return the driver files that the IDE fall-back of an NT 5 guest lacks."""
    if facts.version.nt >= (6, 0):
        return frozenset()
    needed = {name for service in _NT5_SERVICES for name in service.files}
    return frozenset(needed - facts.driver_files)


def usable_ide_services(facts: GuestFacts, found: Collection[str]) -> frozenset[str]:
    """Return the IDE services of an NT 5 guest whose files are there or among ``found``."""
    there = facts.driver_files | frozenset(found)
    return frozenset(service.name for service in _NT5_SERVICES if there.issuperset(service.files))


def plan_emulated_storage(
    facts: GuestFacts, cabinet_files: Mapping[str, CabinetFile]
) -> tuple[PlanBlock, tuple[str, ...]]:
    """Return the changes for booting from emulated disks, and notes about what is impossible.

    ``cabinet_files`` are what could be found of ``missing_ide_files``, by lower-case name.
    """
    if facts.version.nt >= (6, 0):
        return _plan_nt6(facts)
    return _plan_nt5(facts, cabinet_files)


def _plan_nt5(
    facts: GuestFacts, cabinet_files: Mapping[str, CabinetFile]
) -> tuple[PlanBlock, tuple[str, ...]]:
    files: list[Change] = []
    registry: list[RegistryChange] = []
    notes: list[str] = []
    usable = {"disk"} | usable_ide_services(facts, cabinet_files.keys())
    for name in sorted(missing_ide_files(facts) & cabinet_files.keys()):
        found = cabinet_files[name]
        files.append(
            WriteFile(
                f"{facts.drivers_directory}/{name}",
                found.content,
                found.cabinet,
                "the IDE driver that this Windows was set up without",
            )
        )
    for service in _NT5_SERVICES:
        if service.name not in usable:
            lacking = [
                name
                for name in service.files
                if name not in facts.driver_files and name not in cabinet_files
            ]
            notes.append(
                f"The IDE fall-back goes without {service.name}: {', '.join(lacking)} is neither "
                f"in {facts.drivers_directory} nor in "
                f"{', '.join(facts.cabinets) or 'a driver cabinet (none was found)'}. VirtIO is "
                "not affected; to have it, copy the file there from the Windows CD."
            )
            continue
        for control_set in facts.control_sets.bootable:
            registry += _nt5_service(facts, control_set, service)
    devices = tuple(device for device in KB_314082 if device.service in usable)
    registry += critical_device_entries(facts, devices, _REASON_KB)
    registry += without_start_override(facts, sorted(usable - {"disk"}))
    return PlanBlock("Boot from emulated IDE (fall-back)", (*files, *registry)), tuple(notes)


def _nt5_service(
    facts: GuestFacts, control_set: str, service: _IdeService
) -> tuple[RegistryChange, ...]:
    key = rf"{control_set}\Services\{service.name}"
    wanted = {
        "Type": RegistryValue.dword(1),
        "Start": RegistryValue.dword(0),
        "ErrorControl": RegistryValue.dword(1),
        "Group": RegistryValue.sz(service.group),
        "Tag": RegistryValue.dword(service.tag),
        "ImagePath": RegistryValue.expand_sz(rf"system32\DRIVERS\{service.files[0]}"),
    }
    if facts.system.has_key(key):
        # Windows set it up itself: all it may lack is to be started at boot.
        wanted = {
            name: value
            for name, value in wanted.items()
            if name == "Start"
            or (name in ("Type", "ErrorControl") and facts.system.value(key, name) is None)
        }
    return set_values(key, wanted, "IDE disks are then found at boot")


def _plan_nt6(facts: GuestFacts) -> tuple[PlanBlock, tuple[str, ...]]:
    changes: list[RegistryChange] = []
    notes: list[str] = []
    usable = []
    for service in _NT6_SERVICES:
        key = rf"Services\{service}"
        if not facts.system.has_key(rf"{facts.control_sets.current}\{key}"):
            continue
        if f"{service}.sys" not in facts.driver_files:
            notes.append(
                f"The fall-back goes without {service}: {facts.drivers_directory}/{service}.sys "
                "is missing."
            )
            continue
        usable.append(service)
        changes += (
            SetValue(
                HiveName.SYSTEM,
                rf"{control_set}\{key}",
                "Start",
                RegistryValue.dword(0),
                "the in-box driver is then loaded at boot (KB 922976)",
            )
            for control_set in facts.control_sets.bootable
            if facts.system.has_key(rf"{control_set}\{key}")
        )
    if not usable:
        notes.append("This Windows has no in-box IDE or AHCI driver: it boots from VirtIO only.")
    changes += without_start_override(facts, usable)
    if not facts.has_driver_database:
        devices = tuple(device for device in NT6_EMULATED if device.service in usable)
        reason = "Windows then knows the emulated IDE and AHCI controllers"
        changes += critical_device_entries(facts, devices, reason, only_missing=True)
    return PlanBlock("Boot from emulated IDE or AHCI (fall-back)", tuple(changes)), tuple(notes)
