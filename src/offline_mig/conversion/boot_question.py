"""On which machine a guest is to start."""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.diagnosis.boot_bus import BootBus, BootController, boot_controller
from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import Firmware
from offline_mig.sources.defined_domain import DefinedDomain
from offline_mig.targets.devices import MachineType
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.limits import has_modern_ids
from offline_mig.targets.options import TargetKind
from offline_mig.windows.version import WindowsVersion

_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class BootQuestion:
    """The machine that the guest is to start on.

    ``firmware`` None is what its disks are laid out for, ``machine_type`` None what a converted
    guest of its Windows gets. A ``domain`` says all of it itself. ``trusted`` says that the guest
    takes unsigned drivers (test-signing), ``modern`` that VirtIO devices show no legacy ids, where
    that is decided already, ``secure_boot`` that the firmware insists on signatures.
    """

    bus: BootBus = BootBus.VIRTIO
    firmware: Firmware | None = None
    machine_type: MachineType | None = None
    domain: DefinedDomain | None = None
    trusted: bool = False
    modern: bool | None = None
    secure_boot: bool = False


#: Buses by libvirt's name of the disk's bus and, for SCSI, of the controller's model.
_DOMAIN_BUSES = {
    ("virtio", ""): BootBus.VIRTIO,
    ("scsi", "virtio-scsi"): BootBus.VIRTIO_SCSI,
    ("scsi", "virtio-transitional"): BootBus.VIRTIO_SCSI,
    ("scsi", "virtio-non-transitional"): BootBus.VIRTIO_SCSI,
    ("ide", ""): BootBus.IDE,
    ("sata", ""): BootBus.SATA,
    ("nvme", ""): BootBus.NVME,
}


def question_of(domain: DefinedDomain, *, trusted: bool) -> BootQuestion:
    """Return what a domain asks. Raises SourceUnreadableError for a bus that is not known."""
    bus = _DOMAIN_BUSES.get((domain.disk_bus, domain.controller_model))
    if bus is None:
        kind = " ".join(part for part in (domain.disk_bus, domain.controller_model) if part)
        raise SourceUnreadableError(
            f'The system disk of the domain {domain.name} hangs on "{kind or "no bus"}", of which '
            "the boot model knows nothing.",
            f"Known are {', '.join(known.value for known in BootBus)}.",
        )
    firmware = Firmware.UEFI if domain.uefi else Firmware.BIOS
    return BootQuestion(bus, firmware, None, domain, trusted, secure_boot=domain.secure_boot)


def questions_of_targets(
    target: TargetMachine, kinds: tuple[TargetKind, ...], *, trusted: bool
) -> tuple[BootQuestion, ...]:
    """Return what a machine asks that a conversion has decided on, once for targets alike."""
    bus = BootBus(target.disk_bus.value)
    return tuple(
        BootQuestion(
            bus,
            target.firmware,
            target.machine_type,
            None,
            trusted,
            modern,
            target.secure_boot,
        )
        for modern in dict.fromkeys(has_modern_ids(target, kind) for kind in kinds)
    )


def controller_of(question: BootQuestion, windows: WindowsVersion) -> BootController:
    """Return the controller that a machine has for the system disk."""
    if question.domain is not None:
        modern = question.domain.modern
    elif question.modern is not None:
        modern = question.modern
    else:
        default = MachineType.PC if windows.nt < _NT6 else MachineType.Q35
        modern = (question.machine_type or default) is MachineType.Q35
    return boot_controller(question.bus, modern=modern, nt=windows.nt)
