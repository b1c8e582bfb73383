r"""The links from the boot-start drivers to the system disk, as the registry decides them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootController, BootDevice
from offline_mig.diagnosis.boot_facts import BootFacts, value_evidence
from offline_mig.diagnosis.boot_service import (
    core_services,
    image_of,
    service_findings,
    service_key,
)
from offline_mig.diagnosis.device_filters import filter_findings, filters_on_the_path
from offline_mig.diagnosis.device_record import DeviceRecord, find_record, new_device_record
from offline_mig.diagnosis.finding import Confidence, Finding, Severity

#: Where drivers of that version begin to know the ids of VirtIO 1.0 devices: those of 2012 to
#: 2014 (builds 48 to 94) list 1000 to 1005 only, and viostor of build 130 lists 1042 as well. The
#: build is the last number of the version, divided by 100.
_FIRST_MODERN_BUILD = 100
_MODERN = "DEV_1042"
#: viostor.inx and vioscsi.inx of virtio-win.
BUS_TYPES = {"viostor": 1, "vioscsi": 0x0A}
#: Drivers that are known to drive something else than VirtIO disks of the other kind. Any further
#: service is taken to be a driver of another vendor for them (SUSE and Nutanix have theirs).
_OTHER_DRIVERS = frozenset(
    {
        *("viostor", "vioscsi", "netkvm", "balloon"),
        *("atapi", "intelide", "pciide", "msahci", "storahci", "stornvme", "iastorv"),
        *("lsi_sas", "lsi_sas2", "lsi_scsi", "symmpi", "buslogic", "vmscsi", "pvscsi"),
        *("disk", "cdrom"),
    }
)


def disk_path_findings(facts: BootFacts, controller: BootController) -> Iterator[Finding]:
    """Yield what keeps Windows from its system disk on ``controller``, in every control set.

    What is wrong in one of two control sets only is told as such.
    """
    by_set = {name: tuple(_in_set(facts, name, controller)) for name in facts.control_sets}
    identities = {name: {_identity(f) for f in found} for name, found in by_set.items()}
    told = set()
    for name, findings in by_set.items():
        for finding in findings:
            identity = _identity(finding)
            if identity in told:
                continue
            told.add(identity)
            sound = [other for other in identities if identity not in identities[other]]
            if sound and finding.kind.severity is Severity.STOP:
                detail = f"{name} is not as {sound[0]}: {finding.detail}"
                yield replace(finding, kind=kinds.CONTROL_SET, cause=finding.kind, detail=detail)
            else:
                yield finding


def services_on_the_path(facts: BootFacts, controller: BootController) -> Iterator[tuple[str, str]]:
    """Yield control set and name of every service whose driver decides about the path."""
    for control_set in facts.control_sets:
        for service in core_services(facts):
            yield control_set, service
        for device in controller.devices:
            yield control_set, device.driver
            record = find_record(facts, control_set, device)
            if record.service:
                yield control_set, record.service
        for _, _, service in filters_on_the_path(facts, control_set, controller):
            yield control_set, service


def _identity(finding: Finding) -> tuple[str, str, str]:
    return (finding.id, finding.service, finding.name)


def driver_findings(facts: BootFacts, control_set: str, device: BootDevice) -> tuple[Finding, ...]:
    """Return what keeps a control set from driving a device that it has never met.

    The driver that is meant for the device is looked at as well where another one is recorded.
    """
    record = new_device_record(facts, control_set, device)
    found = list(record.findings)
    wrong = _wrong_driver(facts, control_set, device, record) if record.service else None
    if wrong is not None:
        found.append(wrong)
    service = device.driver if wrong is not None or not record.service else record.service
    purpose = f"which drives the {device.name}"
    found += service_findings(facts, control_set, service, purpose)
    found += _group_findings(facts, control_set, service)
    found += _virtio_findings(facts, control_set, device, service)
    return tuple(found)


def _in_set(facts: BootFacts, control_set: str, controller: BootController) -> Iterator[Finding]:
    yield from _core_findings(facts, control_set)
    for device in controller.devices:
        yield from _device_findings(facts, control_set, device)
    yield from filter_findings(facts, control_set, controller)


def _core_findings(facts: BootFacts, control_set: str) -> Iterator[Finding]:
    for service in core_services(facts):
        for finding in service_findings(facts, control_set, service, "which every boot needs"):
            if finding.kind.severity is Severity.STOP:
                yield replace(finding, kind=kinds.CORE_DRIVER)
            else:
                yield finding


def _device_findings(facts: BootFacts, control_set: str, device: BootDevice) -> Iterator[Finding]:
    record = find_record(facts, control_set, device)
    if _found_by_itself(facts, control_set, device, record):
        yield Finding(
            kinds.LEGACY_DETECTION,
            f"{device.driver} finds the {device.name} by itself; Windows does not know it.",
            (rf"SYSTEM\{record.place}: no id of the device",),
            Confidence.LOW,
            service=device.driver,
        )
        record = replace(record, service=device.driver, findings=())
    yield from record.findings
    if not record.service:
        return
    service = record.service
    wrong = _wrong_driver(facts, control_set, device, record)
    if wrong is not None:
        yield wrong
        return
    purpose = f"which drives the {device.name}"
    yield from service_findings(facts, control_set, service, purpose)
    yield from _group_findings(facts, control_set, service)
    yield from _virtio_findings(facts, control_set, device, service)


def _found_by_itself(
    facts: BootFacts, control_set: str, device: BootDevice, record: DeviceRecord
) -> bool:
    """Tell whether a SCSI port driver of NT 5 searches the bus for its hardware by itself.

    It does where Parameters has no key PnpInterface; only the key counts, not what is in it.
    """
    key = service_key(control_set, device.driver)
    if not facts.nt5 or record.service or not facts.system.has_key(key):
        return False
    if facts.system.has_key(rf"{key}\Parameters\PnpInterface"):
        return False
    nowhere = all(finding.kind is kinds.NO_DRIVER_RECORD for finding in record.findings)
    return (
        nowhere
        and "scsiport.sys" in facts.file(image_of(facts, control_set, device.driver)).imports
    )


def _wrong_driver(
    facts: BootFacts, control_set: str, device: BootDevice, record: DeviceRecord
) -> Finding | None:
    service = record.service
    if service.casefold() == device.driver.casefold():
        return None
    key = service_key(control_set, service)
    if not facts.system.has_key(key):
        reason = "which is not there"
    elif device.driver in BUS_TYPES and service.casefold() in _OTHER_DRIVERS:
        reason = "which drives other devices"
    else:
        return None
    return Finding(
        kinds.WRONG_DRIVER_RECORD,
        f"What Windows takes for the {device.name} is the service {service}, {reason}.",
        (rf"SYSTEM\{record.place}: Service = {service}", rf"SYSTEM\{key}"),
        Confidence.MEDIUM if record.known_slot and device.instance is None else Confidence.HIGH,
        service=service,
        key=record.place,
        name="Service",
    )


def _group_findings(facts: BootFacts, control_set: str, service: str) -> Iterator[Finding]:
    r"""Yield what is odd about a driver's load order group.

    Windows sorts the boot drivers by ServiceGroupOrder and leaves those of no group in it at the
    end of the list; the kernel of the experiments left them out (its loader goes through the
    groups), and had a driver without any group loaded. So it is a warning here.
    """
    key = service_key(control_set, service)
    group = facts.text(key, "Group")
    order = facts.system.value(rf"{control_set}\Control\ServiceGroupOrder", "List")
    known = {name.casefold() for name in order.as_texts()} if order else set()
    if known and group and group.casefold() not in known:
        yield Finding(
            kinds.DRIVER_GROUP,
            f"The group of {service} is in no list of groups.",
            (value_evidence(key, "Group", facts.system.value(key, "Group")),),
            Confidence.LOW,
            service=service,
            key=key,
        )


def _virtio_findings(
    facts: BootFacts, control_set: str, device: BootDevice, service: str
) -> Iterator[Finding]:
    wanted = BUS_TYPES.get(service.casefold())
    if wanted is None:
        return
    key = rf"{service_key(control_set, service)}\Parameters"
    value = facts.system.value(key, "BusType")
    if value is not None and value.as_int() != wanted:
        yield Finding(
            kinds.BUS_TYPE,
            f"{service} is registered for another kind of bus.",
            (value_evidence(key, "BusType", value),),
            Confidence.LOW,
            service=service,
            key=key,
        )
    file = facts.file(image_of(facts, control_set, service))
    modern = any(_MODERN in identity for identity in device.ids[:1])
    if modern and file.version and file.version[-1] // 100 < _FIRST_MODERN_BUILD:
        version = ".".join(map(str, file.version))
        yield Finding(
            kinds.MODERN_DEVICE,
            f"The guest's {service} ({version}) knows legacy VirtIO devices only, and the "
            f"{device.name} shows modern ids only.",
            (f"{file.path}: version {version}", f"the device: {device.ids[0]}"),
            service=service,
        )
