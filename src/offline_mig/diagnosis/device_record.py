r"""Which driver Windows takes for a device that it meets while it boots.

Three places are asked, in this order: the device's own instance below ``Enum``, where it has been
seen before; up to Windows 7 the CriticalDeviceDatabase; from Windows 8 on the DriverDatabase. In
both databases the ids of the device are looked up from the most exact one on, and **the first
that is there wins, right or wrong** (seen with an NT 5 like kernel for the CriticalDeviceDatabase;
the DriverDatabase ranks alike: Microsoft, "How Setup ranks drivers").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootDevice
from offline_mig.diagnosis.boot_facts import BootFacts, terminated, value_evidence
from offline_mig.diagnosis.finding import Confidence, Finding
from offline_mig.windows import critical_devices, driver_database
from offline_mig.windows.driver_database import driver_version

#: CONFIGFLAG_DISABLED of regstr.h. Windows heeds it; the kernel of the experiments did not.
_DISABLED = 0x1
_DATABASE = driver_database.KEY


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """What Windows finds for a device.

    ``service`` is the driver that it takes, "" for none; ``place`` the key that says so.
    ``findings`` are what is wrong with the record itself, ``known_slot`` whether it is of one
    slot only, so that a device in another one is not covered by it.
    """

    service: str
    place: str
    findings: tuple[Finding, ...] = ()
    known_slot: bool = False


def find_record(facts: BootFacts, control_set: str, device: BootDevice) -> DeviceRecord:
    """Return what a control set says of a device."""
    return _known_instance(facts, control_set, device) or new_device_record(
        facts, control_set, device
    )


def new_device_record(facts: BootFacts, control_set: str, device: BootDevice) -> DeviceRecord:
    """Return what a control set says of a device that Windows has never met."""
    if facts.guest.has_driver_database:
        return _database_record(facts, device)
    return _critical_device(facts, control_set, device)


def _known_instance(facts: BootFacts, control_set: str, device: BootDevice) -> DeviceRecord | None:
    """Return what Enum says of the device, None when it says nothing.

    Without knowing the slot that the device gets, any of its instances may be met: that is so
    where a guest was started on this machine before. One that stops it is the one to know of.
    """
    if not device.enum_key:
        return None
    parent = rf"{control_set}\Enum\{device.enum_key}"
    records = []
    for instance in facts.system.subkeys(parent):
        if device.instance not in (None, instance):
            continue
        key = rf"{parent}\{instance}"
        class_guid, service = facts.text(key, "ClassGUID"), facts.text(key, "Service")
        if not class_guid and not service:
            continue  # Made beforehand and empty: Windows looks further, as for a new device.
        findings = tuple(_instance_findings(facts, key, service, class_guid, device))
        records.append(DeviceRecord(service, key, findings, known_slot=True))
    return next((record for record in records if record.findings), records[0] if records else None)


def _instance_findings(
    facts: BootFacts, key: str, service: str, class_guid: str, device: BootDevice
) -> Iterator[Finding]:
    sure = Confidence.HIGH if device.instance else Confidence.MEDIUM
    if not service:
        yield Finding(
            kinds.DEVICE_WITHOUT_DRIVER,
            f"Windows has met this {device.name} before, found no driver, and does "
            "not look for one again while it boots.",
            (value_evidence(key, "ClassGUID", facts.system.value(key, "ClassGUID")), _missing(key)),
            sure,
            key=key,
        )
    elif not class_guid:
        yield Finding(
            kinds.RECORD_INCOMPLETE,
            f"What Windows knows of this {device.name} lacks its class.",
            (rf"SYSTEM\{key}: ClassGUID is missing",),
            Confidence.LOW,
            key=key,
        )
    flags = facts.number(key, "ConfigFlags") or 0
    if flags & _DISABLED:
        yield Finding(
            kinds.DEVICE_DISABLED,
            f"The {device.name} is disabled in the device manager.",
            (value_evidence(key, "ConfigFlags", facts.system.value(key, "ConfigFlags")),),
            sure,
            key=key,
        )


def _missing(key: str) -> str:
    return rf"SYSTEM\{key}: Service is missing"


def _critical_device(facts: BootFacts, control_set: str, device: BootDevice) -> DeviceRecord:
    database = rf"{control_set}\{critical_devices.KEY}"
    for identity in device.ids:
        key = rf"{database}\{critical_devices.key_name(identity)}"
        if not facts.system.has_key(key):
            continue
        findings = tuple(_entry_findings(facts, key, device))
        return DeviceRecord(facts.text(key, "Service"), key, findings)
    return DeviceRecord("", database, (_no_record(facts, database, device),))


def _entry_findings(facts: BootFacts, key: str, device: BootDevice) -> Iterator[Finding]:
    for name in ("Service", "ClassGUID"):
        value = facts.system.value(key, name)
        if value is None or not value.as_text():
            yield Finding(
                kinds.RECORD_INCOMPLETE,
                f"The best entry for the {device.name} lacks {name}, and Windows takes no other.",
                (value_evidence(key, name, value),),
                # That ClassGUID must be there is explicit in the kernel of the experiments, and
                # unproven for Windows.
                Confidence.HIGH if name == "Service" else Confidence.MEDIUM,
                key=key,
                name=name,
            )
        elif facts.nt5 and not terminated(value):
            yield Finding(
                kinds.UNTERMINATED,
                f"{name} of the entry for the {device.name} lacks its terminator, "
                "and Windows reads on behind it.",
                (value_evidence(key, name, value),),
                key=key,
                name=name,
            )


def _no_record(facts: BootFacts, place: str, device: BootDevice) -> Finding:
    shown_id = device.enum_key or device.ids[0]
    return Finding(
        kinds.NO_DRIVER_RECORD,
        f"Windows has never met this {device.name} ({shown_id}), and its database of "
        "devices for the boot has no driver for it.",
        (rf"SYSTEM\{place}: none of the {len(device.ids)} ids of {shown_id}",),
        service=device.driver,
        key=place,
    )


def _database_record(facts: BootFacts, device: BootDevice) -> DeviceRecord:
    """Return what the DriverDatabase says: id, INF, package, configuration, service."""
    place = rf"{_DATABASE}\DeviceIds"
    for identity in device.ids:
        key = rf"{place}\{identity}"
        infs = [name for name in facts.system.values(key) if name]
        if not infs:
            continue
        records = [_packaged(facts, inf, identity, device) for inf in infs]
        # Of several packages for one id the newest is taken.
        best = max(records, key=lambda record: record[0])
        return best[1]
    return DeviceRecord("", place, (_no_record(facts, place, device),))


def _packaged(
    facts: BootFacts, inf: str, identity: str, device: BootDevice
) -> tuple[bytes, DeviceRecord]:
    """Return a package's record of an id, behind what it is ranked by."""
    key = rf"{_DATABASE}\DriverInfFiles\{inf}"
    label = facts.text(key, "Active")
    package = rf"{_DATABASE}\DriverPackages\{label}"
    version = facts.system.value(package, "Version") if label else None
    descriptor = rf"{package}\Descriptors\{identity}"
    configuration = facts.text(descriptor, "Configuration") if label else ""
    service_at = rf"{package}\Configurations\{configuration}"
    service = facts.text(service_at, "Service") if configuration else ""
    steps = (
        (label, rf"SYSTEM\{key}: Active is missing"),
        (version, rf"SYSTEM\{package}: Version is missing"),
        (configuration, rf"SYSTEM\{descriptor}: Configuration is missing"),
        (service, rf"SYSTEM\{service_at}: Service is missing"),
    )
    lacking = next((evidence for found, evidence in steps if not found), None)
    findings: tuple[Finding, ...] = ()
    if lacking is not None:
        findings = (
            Finding(
                kinds.HALF_PACKAGE,
                f"The package {inf} is registered for the {device.name} by half.",
                (rf"SYSTEM\{_DATABASE}\DeviceIds\{identity}: names {inf}", lacking),
                Confidence.MEDIUM,
                service=device.driver,
                key=key,
                name=inf,
            ),
        )
    rank = driver_version(version.data) if version else b""
    return rank, DeviceRecord(service, service_at, findings)
