"""Everything that the boot model is asked about a guest, in one look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.boot_question import BootQuestion, controller_of
from offline_mig.conversion.examination import found_firmware
from offline_mig.diagnosis.boot_bus import BootController
from offline_mig.diagnosis.boot_drivers import with_drivers
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.drive_letter import letter_findings
from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.start_examination import examine_start
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.diagnosis.start_rules import start_findings, takes_test_signed, takes_unsigned
from offline_mig.diagnosis.state_rules import guest_findings, session_findings, volume_findings
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.ntfs import read_state
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume


@dataclass(frozen=True)
class BootExamination:
    """The facts of a boot, and what is wrong with it."""

    controller: BootController
    start: StartFacts
    facts: BootFacts
    findings: tuple[Finding, ...]


def examine_boot(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    files: GuestFilesystem,
    guest: GuestFacts,
    question: BootQuestion,
    scratch: Path,
) -> BootExamination:
    """Return what the boot model finds when ``guest`` is started as ``question`` says.

    ``files`` is its mounted system volume, ``scratch`` a folder for copies of hives.
    """
    firmware = question.firmware or found_firmware(layout)
    start = examine_start(disks, layout, volume, files, guest.version, firmware, scratch)
    controller = controller_of(question, guest.version)
    # With Secure Boot on, Windows takes no notice of a wish for unsigned drivers.
    facts = with_drivers(
        guest,
        controller,
        files,
        trusted=question.trusted or (takes_unsigned(start) and not question.secure_boot),
        test_signing=takes_test_signed(start) and not question.secure_boot,
        secure_boot=question.secure_boot,
    )
    findings = tuple(_findings(disks, volume, start, facts, controller))
    return BootExamination(controller, start, facts, findings)


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
    yield from session_findings(facts.guest.hibernation, volume.name)
    yield from disk_path_findings(facts, controller)
    yield from guest_findings(facts)
    yield from letter_findings(facts, start)
