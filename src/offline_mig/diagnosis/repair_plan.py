r"""The plan that clears findings: for each what mends it, and nothing that is not broken.

A driver that is in place is registered value by value. Where its package is needed, or the guest's
own cabinets are, all of it is done as a conversion would do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus, BootController
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.boot_service import service_key
from offline_mig.diagnosis.device_filters import (
    controller_class,
    is_late_filter,
    is_loadable_filter,
)
from offline_mig.diagnosis.disk_path import BUS_TYPES, driver_findings
from offline_mig.diagnosis.finding import Finding, FindingKind, Severity
from offline_mig.surgery.changes import Change, DeleteKey, RegistryChange, SetValue
from offline_mig.surgery.conversion_plan import DriverSet, plan_drivers
from offline_mig.surgery.driver_install import PlacedDriver
from offline_mig.surgery.emulated_storage import CabinetFile, plan_emulated_storage
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.registration import critical_device_entries
from offline_mig.windows import critical_devices
from offline_mig.windows.critical_devices import CriticalDevice
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

#: SERVICE_BOOT_START, SERVICE_DISABLED and SERVICE_KERNEL_DRIVER of winnt.h.
_BOOT_START, _DISABLED, _KERNEL_DRIVER = 0, 4, 1
#: CONFIGFLAG_DISABLED of regstr.h.
_DEVICE_DISABLED = 0x1
#: The group of every SCSI port driver, viostor.inx.
_GROUP = "SCSI miniport"
#: What is mended by values of the service alone.
_SERVICE_KINDS = (
    kinds.NOT_BOOT_START,
    kinds.START_OVERRIDE,
    kinds.SERVICE_TYPE,
    kinds.IMAGE_PATH,
    kinds.UNTERMINATED,
    kinds.BUS_TYPE,
    kinds.DRIVER_GROUP,
)
#: What is mended by an entry in the CriticalDeviceDatabase, where Windows goes by that.
_ENTRY_KINDS = (
    kinds.NO_DRIVER_RECORD,
    kinds.WRONG_DRIVER_RECORD,
    kinds.RECORD_INCOMPLETE,
    kinds.UNTERMINATED,
)
_VIRTIO = (BootBus.VIRTIO, BootBus.VIRTIO_SCSI)


def needs_package(facts: BootFacts, controller: BootController) -> bool:
    """Tell whether the controller's driver can be mended by its package only.

    That is so when a file is missing or of no use, and from Windows 8 on when the driver is not
    registered for the controller.
    """
    mendable = (*_SERVICE_KINDS, *(() if facts.guest.has_driver_database else _ENTRY_KINDS))
    return any(finding.kind not in mendable for finding in _driver_needs(facts, controller))


def takes_drivers(facts: BootFacts, controller: BootController) -> bool:
    """Tell whether mending takes a package that a source of drivers must hold."""
    return controller.bus in _VIRTIO and needs_package(facts, controller)


def plan_repair(
    facts: BootFacts,
    controller: BootController,
    findings: Sequence[Finding],
    driver: PlacedDriver | None,
    cabinet_files: Mapping[str, CabinetFile],
) -> Plan:
    """Return the plan that clears ``findings``, as far as they can be mended in the registry.

    ``driver`` is the package of the controller's driver, where one is needed and was found;
    ``cabinet_files`` are what could be found of the files that a conversion would take from the
    guest's own cabinets. Raises NoDriverError like ``plan_drivers``.
    """
    notes: tuple[str, ...] = ()
    blocks: list[PlanBlock] = []
    if _driver_needs(facts, controller):
        if controller.bus in _VIRTIO and driver is not None:
            whole = plan_drivers(facts.guest, DriverSet((driver,)), cabinet_files)
            blocks += whole.blocks
            notes = whole.notes
        elif controller.bus in (BootBus.IDE, BootBus.SATA):
            block, notes = plan_emulated_storage(facts.guest, cabinet_files)
            blocks.append(block)
        else:
            blocks.append(_registered_driver(facts, controller))
    blocks.append(PlanBlock("What Windows remembers of the controller", _devices(facts, findings)))
    blocks.append(PlanBlock("Filters that cannot be loaded", tuple(_filters(facts, findings))))
    blocks.append(PlanBlock("Drivers that every boot needs", tuple(_core(facts, findings))))
    blocks.append(PlanBlock("Services of the old machine", tuple(_services(facts, findings))))
    if any(finding.kind.severity is Severity.STOP for finding in findings):
        blocks.append(PlanBlock("Should it stop once more", tuple(_stay_on_screen(facts))))
    return Plan(tuple(block for block in blocks if block.changes), notes)


def _driver_needs(facts: BootFacts, controller: BootController) -> tuple[Finding, ...]:
    device = controller.devices[0]
    return tuple(
        finding
        for control_set in facts.guest.control_sets.bootable
        for finding in driver_findings(facts, control_set, device)
    )


def _registered_driver(facts: BootFacts, controller: BootController) -> PlanBlock:
    """Return what registers a driver whose file is there, in every control set."""
    device = controller.devices[0]
    service = device.driver
    changes: list[RegistryChange] = []
    for control_set in facts.guest.control_sets.bootable:
        key = service_key(control_set, service)
        found = {
            finding.kind
            for finding in driver_findings(facts, control_set, device)
            if finding.key.startswith(key)
        }
        changes += _service_values(key, service, found)
        if kinds.START_OVERRIDE in found:
            override = rf"{key}\StartOverride"
            changes.append(DeleteKey(HiveName.SYSTEM, override, "it wins over Start"))
    if not facts.guest.has_driver_database:
        guid = controller_class(controller.bus)
        entries = [
            CriticalDevice(critical_devices.key_name(identity), service, guid)
            for identity in _registered_ids(facts, controller)
        ]
        reason = f"Windows then takes {service} for the {controller.name}"
        changes += critical_device_entries(facts.guest, entries, reason)
    return PlanBlock(f"Boot from {service}, which is in place", tuple(changes))


def _registered_ids(facts: BootFacts, controller: BootController) -> tuple[str, ...]:
    """Return the ids to have entries: the whole one, the bare device, and any that is there.

    The best one wins, so one that is there and wrong must be mended.
    """
    ids = controller.devices[0].ids
    bare = next(identity for identity in ids if identity.count("&") == 1 and "DEV_" in identity)
    specific = ids[: ids.index(bare) + 1]
    present = [
        identity
        for identity in specific
        if any(
            facts.system.has_key(
                rf"{control_set}\{critical_devices.KEY}\{critical_devices.key_name(identity)}"
            )
            for control_set in facts.guest.control_sets.bootable
        )
    ]
    return tuple(dict.fromkeys((ids[0], bare, *present)))


def _service_values(key: str, service: str, found: Iterable[FindingKind]) -> Iterator[SetValue]:
    relative = RegistryValue.expand_sz(rf"system32\drivers\{service}.sys")
    wanted = {
        kinds.NOT_BOOT_START: ("", "Start", RegistryValue.dword(_BOOT_START)),
        kinds.SERVICE_TYPE: ("", "Type", RegistryValue.dword(_KERNEL_DRIVER)),
        kinds.IMAGE_PATH: ("", "ImagePath", relative),
        kinds.UNTERMINATED: ("", "ImagePath", relative),
        kinds.DRIVER_GROUP: ("", "Group", RegistryValue.sz(_GROUP)),
        kinds.BUS_TYPE: (
            r"\Parameters",
            "BusType",
            RegistryValue.dword(BUS_TYPES.get(service.lower(), 0)),
        ),
    }
    for kind in found:
        if kind in wanted:
            below, name, value = wanted[kind]
            yield SetValue(HiveName.SYSTEM, key + below, name, value, f"{kind.id}: {kind.title}")


def _devices(facts: BootFacts, findings: Iterable[Finding]) -> tuple[Change, ...]:
    """Return what makes Windows meet devices anew, or start those that were disabled."""
    changes: dict[str, Change] = {}
    for finding in findings:
        if "\\Enum\\" not in finding.key:
            continue
        # The same instance may stand in every control set.
        below = finding.key.split("\\", 1)[1]
        for control_set in facts.guest.control_sets.bootable:
            key = rf"{control_set}\{below}"
            if not facts.system.has_key(key):
                continue
            if finding.fault is kinds.DEVICE_DISABLED:
                flags = (facts.number(key, "ConfigFlags") or 0) & ~_DEVICE_DISABLED
                changes.setdefault(
                    key,
                    SetValue(
                        HiveName.SYSTEM,
                        key,
                        "ConfigFlags",
                        RegistryValue.dword(flags),
                        "the device was disabled",
                    ),
                )
            elif finding.fault is not kinds.FILTER_MISSING:
                changes[key] = DeleteKey(HiveName.SYSTEM, key, "Windows then meets the device anew")
    return tuple(changes.values())


def _filters(facts: BootFacts, findings: Iterable[Finding]) -> Iterator[Change]:
    done = set()
    for finding in findings:
        if finding.fault is not kinds.FILTER_MISSING:
            continue
        below = finding.key.split("\\", 1)[1]
        for control_set in facts.guest.control_sets.bootable:
            key = rf"{control_set}\{below}"
            value = facts.system.value(key, finding.name)
            if value is None or (key, finding.name) in done:
                continue
            done.add((key, finding.name))
            kept = [n for n in value.as_texts() if is_loadable_filter(facts, control_set, n)]
            for service in kept:
                if is_late_filter(facts, control_set, service):
                    reason = f"{service} filters what Windows boots from"
                    yield from _loaded_at_boot(facts, control_set, service, reason)
            if len(kept) == len(value.as_texts()):
                continue
            yield SetValue(
                HiveName.SYSTEM,
                key,
                finding.name,
                RegistryValue.multi_sz(kept),
                f"{finding.service} cannot be loaded",
            )


def _core(facts: BootFacts, findings: Iterable[Finding]) -> Iterator[Change]:
    """Yield what has a driver that is in place loaded at boot again."""
    for finding in findings:
        if finding.fault is not kinds.CORE_DRIVER or not finding.key:
            continue
        for control_set in facts.guest.control_sets.bootable:
            if facts.system.has_key(service_key(control_set, finding.service)):
                reason = f"no boot goes without {finding.service}"
                yield from _loaded_at_boot(facts, control_set, finding.service, reason)


def _loaded_at_boot(
    facts: BootFacts, control_set: str, service: str, reason: str
) -> Iterator[Change]:
    key = service_key(control_set, service)
    if facts.number(key, "Start") != _BOOT_START:
        yield SetValue(HiveName.SYSTEM, key, "Start", RegistryValue.dword(_BOOT_START), reason)
    if facts.system.has_key(rf"{key}\StartOverride"):
        yield DeleteKey(HiveName.SYSTEM, rf"{key}\StartOverride", reason)


def _services(facts: BootFacts, findings: Iterable[Finding]) -> Iterator[Change]:
    """Yield what keeps services from running that do harm on the new machine."""
    for finding in findings:
        if finding.kind not in (kinds.PROCESSOR_DRIVER, kinds.FIRST_BOOT_LOOP):
            continue
        for control_set in facts.guest.control_sets.bootable:
            key = service_key(control_set, finding.service)
            if facts.system.has_key(key):
                yield SetValue(
                    HiveName.SYSTEM,
                    key,
                    "Start",
                    RegistryValue.dword(_DISABLED),
                    f"{finding.id}: {finding.kind.title}",
                )


def _stay_on_screen(facts: BootFacts) -> Iterator[Change]:
    """Yield what keeps a STOP on the screen (Microsoft KB 307973)."""
    for control_set in facts.guest.control_sets.bootable:
        yield SetValue(
            HiveName.SYSTEM,
            rf"{control_set}\Control\CrashControl",
            "AutoReboot",
            RegistryValue.dword(0),
            "the STOP code then stays on the screen",
        )
