r"""What the state of the volume, and what the guest brings along, mean for its next start."""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import BootFacts, value_evidence
from offline_mig.diagnosis.boot_service import image_of, service_key
from offline_mig.diagnosis.finding import Confidence, Finding
from offline_mig.guest.ntfs import NtfsState
from offline_mig.windows.hibernation import Certainty, Hibernation, Session
from offline_mig.windows.processor_drivers import PROCESSOR_DRIVERS

#: What is taken for a full hibernation because it cannot be told may be a fast startup.
_CONFIDENCES = {
    Certainty.KNOWN: Confidence.HIGH,
    Certainty.LIKELY: Confidence.MEDIUM,
    Certainty.UNKNOWN: Confidence.LOW,
}
#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4
#: Policies that keep devices from being installed (Microsoft, "Device Installation Restrictions").
_POLICY = r"Policies\Microsoft\Windows\DeviceInstall\Restrictions"
_RESTRICTIONS = (
    "DenyAll",
    "DenyUnspecified",
    "DenyDeviceIDs",
    "DenyDeviceClasses",
    "DenyInstanceIDs",
)
#: The service by which virt-v2v runs scripts at the first boot.
FIRST_BOOT_SERVICE = "firstboot"


def volume_findings(state: NtfsState, name: str) -> Iterator[Finding]:
    """Yield what the NTFS metadata of the system volume ``name`` says of its last use."""
    if state.dirty:
        yield Finding(
            kinds.VOLUME_DIRTY,
            f"The NTFS volume {name} is marked dirty.",
            (f"volume {name}: the dirty flag of $Volume",),
        )
    elif state.journal_open:
        yield Finding(
            kinds.VOLUME_DIRTY,
            f"The NTFS volume {name} was not closed properly: changes wait in its journal.",
            (f"volume {name}: $LogFile is open",),
        )


def session_findings(hibernation: Hibernation | None, name: str) -> Iterator[Finding]:
    """Yield whose session waits in hiberfil.sys on the system volume ``name``."""
    if hibernation is None:
        return
    kernel = hibernation.session is Session.KERNEL
    whose = "the kernel's session for a fast startup" if kernel else "a session"
    doubt = ""
    if hibernation.certainty is Certainty.UNKNOWN:
        doubt = "; whether of users or for a fast startup cannot be told"
    yield Finding(
        kinds.FAST_STARTUP if kernel else kinds.HIBERNATED,
        f"hiberfil.sys on volume {name} holds {whose}{doubt}.",
        hibernation.evidence,
        _CONFIDENCES[hibernation.certainty],
    )


def guest_findings(facts: BootFacts) -> Iterator[Finding]:
    """Yield what may go wrong in this guest once its system volume is mounted."""
    yield from _processor_findings(facts)
    yield from _policy_findings(facts)
    yield from _first_boot_findings(facts)


def _processor_findings(facts: BootFacts) -> Iterator[Finding]:
    if not facts.nt5:
        return
    for control_set in facts.control_sets[:1]:
        for service in PROCESSOR_DRIVERS:
            key = service_key(control_set, service)
            start = facts.number(key, "Start")
            if start is None or start == _DISABLED:
                continue
            yield Finding(
                kinds.PROCESSOR_DRIVER,
                f"The processor driver {service} of the old machine is in use.",
                (value_evidence(key, "Start", facts.system.value(key, "Start")),),
                Confidence.LOW,
                service=service,
                key=key,
            )


def _policy_findings(facts: BootFacts) -> Iterator[Finding]:
    for name in _RESTRICTIONS:
        value = facts.guest.software.value(_POLICY, name)
        if value is not None and value.as_int():
            yield Finding(
                kinds.INSTALL_POLICY,
                f"The policy {name} restricts which devices this Windows installs.",
                (rf"SOFTWARE\{_POLICY}: {name} = {value}",),
                Confidence.LOW,
                name=name,
            )


def _first_boot_findings(facts: BootFacts) -> Iterator[Finding]:
    control_set = facts.control_sets[0]
    key = service_key(control_set, FIRST_BOOT_SERVICE)
    start = facts.number(key, "Start")
    image = image_of(facts, control_set, FIRST_BOOT_SERVICE).lower()
    if start in (None, _DISABLED) or ("rhsrvany" not in image and "pvvxsvc" not in image):
        return
    yield Finding(
        kinds.FIRST_BOOT_LOOP,
        "virt-v2v's service for the first boot has not run to its end.",
        (value_evidence(key, "ImagePath", facts.system.value(key, "ImagePath")),),
        Confidence.LOW,
        service=FIRST_BOOT_SERVICE,
        key=key,
    )
