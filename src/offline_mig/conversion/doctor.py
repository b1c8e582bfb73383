"""Why a guest boots or stops: looked at from outside, nothing changed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.boot_examination import examine_boot
from offline_mig.conversion.boot_question import BootQuestion
from offline_mig.conversion.examination import (
    examined_volume,
    found_firmware,
    opened_source,
    source_images,
)
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootController
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.finding import Finding, FindingKind
from offline_mig.diagnosis.repair_plan import takes_drivers
from offline_mig.diagnosis.verdict import Verdict, judge
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import Engine
from offline_mig.machine import Firmware, Machine
from offline_mig.sources.options import SourceOptions
from offline_mig.surgery.facts import NoKernelError
from offline_mig.surgery.system_volume import (
    DiskLayout,
    LockedVolumeError,
    SystemVolume,
    find_system_volume,
    read_layout,
)
from offline_mig.windows.base_block import DamagedHiveError, DirtyHiveError

#: What keeps the model from seeing into a guest and is a finding by itself.
_BLIND: dict[type[GuestRefusedError], FindingKind] = {
    LockedVolumeError: kinds.BITLOCKER,
    NoKernelError: kinds.NO_KERNEL,
    DamagedHiveError: kinds.HIVE_DAMAGED,
    DirtyHiveError: kinds.HIVE_DIRTY,
}
#: States in which no guest is edited, unless the user says what is to be given up.
_NOT_EDITED = (*_BLIND.values(), kinds.HIBERNATED, kinds.FAST_STARTUP, kinds.VOLUME_DIRTY)


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

    @property
    def is_disk_image(self) -> bool:
        """Whether a disk image was named, which a repair can change, and not a whole machine."""
        image = self.machine.disks[0].image
        # An OVA is the file of its disks as well, but no image.
        return image.member is None and self.machine.source == image.path

    @property
    def mendable(self) -> bool:
        """Whether a repair has something to do, and a guest that it may edit as it is."""
        found = {finding.kind for finding in self.verdict.findings}
        return found.isdisjoint(_NOT_EDITED) and any(kind.mendable for kind in found)

    @property
    def needs_drivers(self) -> bool:
        """Whether it takes a source of drivers to mend the guest."""
        return (
            self.facts is not None
            and self.controller is not None
            and takes_drivers(self.facts, self.controller)
        )


def diagnose(
    source: Path,
    question: BootQuestion,
    engine: Engine,
    system_partition: str | None = None,
    options: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
) -> Diagnosis:
    """Say whether a guest starts on a machine, and what keeps it from that.

    The guest is opened read-only and once. Raises OfflineMigError for what is no Windows guest.
    """
    with (
        opened_source(source, options) as machine,
        engine.open(source_images(machine), writable=False) as disks,
    ):
        layout = read_layout(disks, len(machine.disks))
        firmware = question.firmware or found_firmware(layout)
        try:
            volume = find_system_volume(disks, layout, system_partition)
            with (
                examined_volume(disks, volume) as (files, guest),
                tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
            ):
                found = examine_boot(disks, layout, volume, files, guest, question, Path(scratch))
        except tuple(_BLIND) as error:
            kind = next(kind for blind, kind in _BLIND.items() if isinstance(error, blind))
            verdict = judge([Finding(kind, error.message)])
            return Diagnosis(machine, layout, firmware, verdict, notes=disks.notes)
        return Diagnosis(
            machine,
            layout,
            firmware,
            judge(found.findings),
            volume,
            found.facts,
            found.controller,
            (*disks.notes, *volume.notes, *guest.notes),
        )
