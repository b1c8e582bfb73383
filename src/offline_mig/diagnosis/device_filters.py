r"""Filter drivers around the devices on the way to the system volume.

``UpperFilters`` and ``LowerFilters`` stand in the class of a device (``Control\Class\{...}``) and
in its instance. Each name in them is a service that must have been loaded at boot; if it was not,
the device does not start (Microsoft, "Filter drivers").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus, BootController
from offline_mig.diagnosis.boot_facts import BootFacts, value_evidence
from offline_mig.diagnosis.boot_service import core_services, image_of, service_key
from offline_mig.diagnosis.finding import Confidence, Finding
from offline_mig.windows.critical_devices import CLASS_DISK, CLASS_HDC

#: Microsoft, "System-defined device setup classes".
CLASS_SCSI_ADAPTER = "{4D36E97B-E325-11CE-BFC1-08002BE10318}"
_CLASS_SYSTEM = "{4D36E97D-E325-11CE-BFC1-08002BE10318}"
_CLASS_VOLUME = "{71A27CDD-812A-11D0-BEC7-08002BE2092F}"
FILTER_LISTS = ("UpperFilters", "LowerFilters")
#: SERVICE_BOOT_START and SERVICE_DISABLED of winnt.h.
_BOOT_START, _DISABLED = 0, 4


@dataclass(frozen=True, slots=True)
class FilterList:
    """A value that lists filters: its key in the hive SYSTEM, and UpperFilters or LowerFilters."""

    key: str
    name: str


def controller_class(bus: BootBus) -> str:
    """Return the setup class of a bus' controller."""
    return CLASS_HDC if bus in (BootBus.IDE, BootBus.SATA) else CLASS_SCSI_ADAPTER


def filters_on_the_path(
    facts: BootFacts, control_set: str, controller: BootController
) -> Iterator[tuple[FilterList, str, str]]:
    """Yield each filter on the way to the system volume: its list, what it filters, its service.

    The class of system devices is that of the PCI bus itself.
    """
    classes = {
        _CLASS_SYSTEM: "system devices",
        controller_class(controller.bus): "disk controllers",
        CLASS_DISK: "disks",
        _CLASS_VOLUME: "volumes",
    }
    places = {
        rf"{control_set}\Control\Class\{guid}": f"all {name}" for guid, name in classes.items()
    }
    for device in controller.devices:
        parent = rf"{control_set}\Enum\{device.enum_key}"
        for instance in facts.system.subkeys(parent) if device.enum_key else ():
            if device.instance in (None, instance):
                places[rf"{parent}\{instance}"] = f"the {device.name}"
    for key, what in places.items():
        for name in FILTER_LISTS:
            value = facts.system.value(key, name)
            for service in value.as_texts() if value else ():
                yield FilterList(key, name), what, service


def filter_findings(
    facts: BootFacts, control_set: str, controller: BootController
) -> Iterator[Finding]:
    """Yield the filters on the way to the system volume that cannot be loaded."""
    for place, what, service in filters_on_the_path(facts, control_set, controller):
        reason = _unloadable(facts, control_set, service)
        late = not reason and is_late_filter(facts, control_set, service)
        if reason or late:
            reason = reason or "it is not among the drivers that are loaded at boot"
            start = (
                value_evidence(
                    key := service_key(control_set, service),
                    "Start",
                    facts.system.value(key, "Start"),
                ),
            )
            yield Finding(
                kinds.FILTER_MISSING,
                f"{service}, a filter of {what}, cannot be loaded: {reason}.",
                (
                    value_evidence(
                        place.key, place.name, facts.system.value(place.key, place.name)
                    ),
                    *(start if late else ()),
                ),
                Confidence.MEDIUM if late else Confidence.HIGH,
                service=service,
                key=place.key,
                name=place.name,
            )


def is_loadable_filter(facts: BootFacts, control_set: str, service: str) -> bool:
    """Tell whether a filter's service and its file are there."""
    return not _unloadable(facts, control_set, service)


def is_late_filter(facts: BootFacts, control_set: str, service: str) -> bool:
    """Tell whether a filter that is there is loaded only after the disk is needed.

    Microsoft, "Specifying driver load order": a filter of a device that is needed for the boot
    must be a boot-start driver as well.
    """
    key = service_key(control_set, service)
    if service.casefold() in core_services(facts):
        return False
    override = facts.number(rf"{key}\StartOverride", "0")
    put_off = not facts.nt5 and override not in (None, _BOOT_START)
    return put_off or facts.number(key, "Start") != _BOOT_START


def _unloadable(facts: BootFacts, control_set: str, service: str) -> str:
    key = service_key(control_set, service)
    if service.casefold() in core_services(facts):
        return ""  # partmgr, which no disk goes without: it is looked at as what it is.
    if not facts.system.has_key(key):
        return "there is no such service"
    if facts.number(key, "Start") == _DISABLED:
        return "its service is disabled"
    file = facts.file(image_of(facts, control_set, service))
    return "" if file.found else f"its file {file.path} is missing"
