"""Why a guest boots or stops: looked at from outside, nothing changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.examination import (
    examined_volume,
    read_source,
    source_images,
    with_found_firmware,
)
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus, BootController, boot_controller
from offline_mig.diagnosis.boot_drivers import with_drivers
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.start_examination import examine_start
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.diagnosis.start_rules import start_findings, takes_unsigned
from offline_mig.diagnosis.state_rules import guest_findings, volume_findings
from offline_mig.diagnosis.verdict import Verdict, judge
from offline_mig.errors import SourceUnreadableError
from offline_mig.guest.engine import Engine, GuestDisks
from offline_mig.guest.ntfs import read_state
from offline_mig.machine import Firmware, Machine
from offline_mig.surgery.system_volume import (
    DiskLayout,
    LockedVolumeError,
    SystemVolume,
    find_system_volume,
    read_layout,
)
from offline_mig.targets.defined_domain import DefinedDomain
from offline_mig.targets.devices import MachineType
from offline_mig.windows.version import WindowsVersion

_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class BootQuestion:
    """The machine that the guest is to start on.

    ``firmware`` None is what its disks are laid out for, ``machine_type`` None what a converted
    guest of its Windows gets. A ``domain`` says all of it itself. ``trusted`` says that the guest
    takes unsigned drivers (test-signing).
    """

    bus: BootBus = BootBus.VIRTIO
    firmware: Firmware | None = None
    machine_type: MachineType | None = None
    domain: DefinedDomain | None = None
    trusted: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what it amounts to.

    ``volume``, ``facts`` and ``controller`` are None for a guest that cannot be seen into.
    """

    machine: Machine
    layout: DiskLayout
    firmware: Firmware
    verdict: Verdict
    volume: SystemVolume | None = None
    facts: BootFacts | None = None
    controller: BootController | None = None
    notes: tuple[str, ...] = ()


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
    return BootQuestion(bus, firmware, None, domain, trusted)


def diagnose(
    source: Path, question: BootQuestion, engine: Engine, system_partition: str | None = None
) -> Diagnosis:
    """Say whether a guest starts on a machine, and what keeps it from that.

    The guest is opened read-only and once. Raises OfflineMigError for what is no Windows guest.
    """
    machine = read_source(source)
    with engine.open(source_images(machine), writable=False) as disks:
        layout = read_layout(disks, len(machine.disks))
        machine = with_found_firmware(machine, layout)
        firmware = question.firmware or machine.firmware
        try:
            volume = find_system_volume(disks, layout, system_partition)
        except LockedVolumeError as error:
            locked = Finding(kinds.BITLOCKER, error.message)
            return Diagnosis(machine, layout, firmware, judge([locked]), notes=disks.notes)
        with (
            examined_volume(disks, volume) as (files, guest),
            tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
        ):
            start = examine_start(
                disks, layout, volume, files, guest.version, firmware, Path(scratch)
            )
            controller = _controller(question, guest.version)
            trusted = question.trusted or takes_unsigned(start)
            facts = with_drivers(guest, controller, files, trusted=trusted)
        findings = tuple(_findings(disks, volume, start, facts, controller))
        return Diagnosis(
            machine,
            layout,
            firmware,
            judge(findings),
            volume,
            facts,
            controller,
            (*disks.notes, *volume.notes, *guest.notes),
        )


def _controller(question: BootQuestion, windows: WindowsVersion) -> BootController:
    if question.domain is not None:
        modern = question.domain.modern
    else:
        default = MachineType.PC if windows.nt < _NT6 else MachineType.Q35
        modern = (question.machine_type or default) is MachineType.Q35
    return boot_controller(question.bus, modern=modern, nt=windows.nt)


def _findings(
    disks: GuestDisks,
    volume: SystemVolume,
    start: StartFacts,
    facts: BootFacts,
    controller: BootController,
) -> Iterator[Finding]:
    at = volume.partition.start
    state = read_state(lambda offset, size: disks.read(volume.disk, at + offset, size))
    yield from start_findings(start, facts.version)
    yield from volume_findings(state, volume.name)
    yield from disk_path_findings(facts, controller)
    yield from guest_findings(facts)
