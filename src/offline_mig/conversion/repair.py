"""Mending a guest that would stop, in place: the findings cleared, and the model asked again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from offline_mig.conversion.boot_examination import BootExamination, examine_boot
from offline_mig.conversion.boot_question import BootQuestion
from offline_mig.conversion.driver_choice import open_sources
from offline_mig.conversion.examination import examined_volume
from offline_mig.conversion.in_place import (
    InPlaceOptions,
    InPlaceResult,
    OpenedGuest,
    PlannedEdit,
    edit_in_place,
)
from offline_mig.conversion.progress import Progress
from offline_mig.conversion.tools_choice import plan_tools_removal
from offline_mig.diagnosis.boot_bus import BootController
from offline_mig.diagnosis.drive_letter import plan_letter
from offline_mig.diagnosis.finding import Link
from offline_mig.diagnosis.repair_plan import plan_repair, takes_drivers
from offline_mig.diagnosis.start_examination import boot_store_path
from offline_mig.diagnosis.start_repair import needed_contents, plan_start_repair
from offline_mig.diagnosis.verdict import Outcome, Verdict, judge
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.selection import choose_package, no_driver_error
from offline_mig.errors import NotMendedError
from offline_mig.guest.engine import Engine, GuestDisks
from offline_mig.guest.joined_volumes import on_partition
from offline_mig.machine import Firmware
from offline_mig.surgery.conversion_plan import DriverSet, missing_files
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.driver_install import PlacedDriver
from offline_mig.surgery.hibernation import plan_discard
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume, read_layout
from offline_mig.surgery.tools_removal import without_superseded
from offline_mig.windows.hive import HiveName


@dataclass(frozen=True)
class RepairOptions:
    """How a guest is to be mended: for which machine, with which driver sources.

    ``remove_tools`` takes the old hypervisor's guest tools out as well.
    """

    question: BootQuestion
    drivers: tuple[Path, ...] = ()
    remove_tools: bool = False
    in_place: InPlaceOptions = field(default_factory=InPlaceOptions)


@dataclass(frozen=True)
class Repair:
    """What a repair came to. ``after`` is None where nothing was changed."""

    question: BootQuestion
    examined: BootExamination
    before: Verdict
    result: InPlaceResult
    driver: PlacedDriver | None
    after: Verdict | None = None


class _Mending:
    """A repair while it is made: what was found before, and after."""

    def __init__(self, options: RepairOptions, media: tuple[DriverMedia, ...]) -> None:
        self._options = options
        self._media = media
        self.before: BootExamination | None = None
        self.after: Verdict | None = None
        self.driver: PlacedDriver | None = None

    def plan(self, guest: OpenedGuest) -> PlannedEdit:
        """Return what clears the findings of a guest."""
        found = examine_boot(
            guest.disks,
            guest.layout,
            guest.volume,
            guest.files,
            guest.facts,
            self._options.question,
            guest.scratch,
        )
        self.before = found
        if takes_drivers(found.facts, found.controller):
            self.driver = self._choose(found)
        chosen = DriverSet(() if self.driver is None else (self.driver,))
        cabinet_files, notes = take_from_cabinets(
            guest.files, guest.facts, missing_files(guest.facts, chosen)
        )
        plan = plan_repair(
            found.facts, found.controller, found.findings, self.driver, cabinet_files
        )
        contents = {
            name: guest.files.read(name) for name in needed_contents(found.start, found.findings)
        }
        start = plan_start_repair(found.start, guest.facts.version, found.findings, contents)
        letter = plan_letter(found.facts, found.start)
        whole = Plan((*start, *plan.blocks, *letter), (*plan.notes, *(notes if len(plan) else ())))
        if self._options.remove_tools:
            whole = _with_removal(guest, whole)
        if guest.facts.hibernation is not None:
            # Only whoever asked for it gets here with a session.
            block, note = plan_discard(guest.facts.hibernation, in_place=True)
            whole = Plan((block, *whole.blocks), (note, *whole.notes))
        return PlannedEdit(whole, _store_file(found))

    def judge(self, disks: GuestDisks, layout: DiskLayout, volume: SystemVolume) -> None:
        """Ask the model again; raises NotMendedError when it says that the guest still stops."""
        # The partition table may be among what was mended.
        layout = read_layout(disks, len(layout.tables))
        at = volume.partition.start
        partitions = layout.tables[volume.disk].partitions
        volume = replace(volume, partition=next(p for p in partitions if p.start == at))
        with (
            examined_volume(disks, volume) as (files, facts),
            tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
        ):
            found = examine_boot(
                disks, layout, volume, files, facts, self._options.question, Path(scratch)
            )
        self.after = judge(found.findings)
        require_mended(self.after, found.controller)

    def _choose(self, found: BootExamination) -> PlacedDriver:
        windows = found.facts.version
        choice = choose_package(
            self._media,
            found.controller.devices[0].driver,
            windows,
            allow_unsigned=self._options.question.trusted,
        )
        if choice.package is None:
            raise no_driver_error(choice, windows, self._media)
        return PlacedDriver(choice.driver, choice.package, choice.location)


def repair(image: Path, options: RepairOptions, engine: Engine, progress: Progress) -> Repair:
    """Mend the guest in a powered-off disk image so that it starts on a machine.

    Raises NotMendedError when it would still stop after all that can be mended, and OfflineMigError
    besides; then the image is as it was.
    """
    mending = _Mending(options, open_sources(options.drivers))
    result = edit_in_place(image, engine, mending.plan, options.in_place, progress, mending.judge)
    if mending.before is None:
        raise AssertionError("an edit was made without a plan")
    before = judge(mending.before.findings)
    if not len(result.pending):
        require_mended(before, mending.before.controller)
    return Repair(options.question, mending.before, before, result, mending.driver, mending.after)


def require_mended(verdict: Verdict, controller: BootController) -> None:
    """Raise NotMendedError for a guest that stops all the same."""
    if verdict.outcome is not Outcome.STOPS or verdict.broken is None:
        return
    finding = verdict.broken
    remedy = finding.kind.remedy.replace("`", "")
    if finding.kind.mendable:
        # Others of its kind can be mended: it is this guest, or this machine, that lacks something.
        remedy = f"See 'offline-mig explain {finding.id}'."
        if finding.kind.link is Link.CONTROLLER:
            remedy = (
                f"This Windows may have no driver of its own for the {controller.name}: ask "
                "'offline-mig doctor' with another --bus for one that it can boot from."
            )
    raise NotMendedError(
        f"Nothing was changed: what stops this guest cannot be mended from outside. "
        f"{finding.id}: {finding.detail}",
        remedy,
    )


def _with_removal(guest: OpenedGuest, plan: Plan) -> Plan:
    """Return a plan that takes guest tools out, too."""
    removals = plan_tools_removal(guest.files, guest.facts, plan.blocks)
    blocks = without_superseded(plan.blocks, removals)
    return Plan(
        (*blocks, *(removal.block for removal in removals)),
        (*plan.notes, *(note for removal in removals for note in removal.notes)),
    )


def _store_file(found: BootExamination) -> dict[HiveName, str]:
    """Return where the boot configuration lies, if the plan can be about it."""
    started = found.start.started
    if started is None or started.store is None:
        return {}
    path = boot_store_path(uefi=found.start.firmware is Firmware.UEFI)
    return {HiveName.BCD: on_partition(started.place.disk, started.place.partition, path)}
