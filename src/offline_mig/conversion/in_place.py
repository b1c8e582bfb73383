"""Editing an image in place: plan, work on an overlay, verify, write a journal, commit."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from offline_mig import __version__
from offline_mig.conversion.edit import Edit, examine_at_rest, open_edit, opened_image
from offline_mig.conversion.examination import (
    examined_volume,
    joined_volumes,
    locate_windows,
    readable_hives,
)
from offline_mig.conversion.hive_history import edited_hives, edited_image, hive_contents
from offline_mig.conversion.journal_file import refuse_existing_journal
from offline_mig.conversion.progress import Progress
from offline_mig.errors import OutputRefusedError
from offline_mig.guest.engine import Engine, GuestDisks
from offline_mig.guest.joined_volumes import JoinedVolumes
from offline_mig.machine import DiskImage
from offline_mig.sources.disk_image import ExaminedImage
from offline_mig.surgery.changes import DeleteFiles, OpenGuest, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.hive_files import load_hive, replay_note
from offline_mig.surgery.hive_replay import with_replays
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.record import diff_lines
from offline_mig.surgery.stored_journal import (
    StoredJournal,
    stored_entries,
)
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.windows.hive import HiveName


@dataclass(frozen=True)
class OpenedGuest:
    """A guest as plans for it are made: opened, its system volume mounted read-only.

    ``files`` are those of all its volumes; ``scratch`` is a folder that goes when the plan is made.
    """

    disks: GuestDisks
    layout: DiskLayout
    volume: SystemVolume
    files: JoinedVolumes
    facts: GuestFacts
    scratch: Path


@dataclass(frozen=True)
class PlannedEdit:
    """What is to be changed. ``hive_files`` are the hives that it changes besides Windows' own."""

    plan: Plan
    hive_files: Mapping[HiveName, str] = field(default_factory=dict)


#: Decides what is to be changed.
PlanMaker = Callable[[OpenedGuest], PlannedEdit]
#: Looks at a guest that was changed, before that counts; raises OfflineMigError to have none of it.
Judge = Callable[[GuestDisks, DiskLayout, SystemVolume], None]


def no_judge(_disks: GuestDisks, _layout: DiskLayout, _volume: SystemVolume) -> None:
    """Let every edit pass that reads back as planned."""


@dataclass(frozen=True, slots=True)
class InPlaceOptions:
    """How an image is to be edited.

    ``journal`` is where to write the journal, None for beside the image. Without ``commit`` the
    image stays as it is and the overlay is left for a boot to try it out.
    ``discard_hibernation`` lets through a guest whose session the plan gives up.
    """

    journal: Path | None = None
    commit: bool = True
    dry_run: bool = False
    system_partition: str | None = None
    discard_hibernation: bool = False


@dataclass(frozen=True)
class InPlaceResult:
    """What an edit came to.

    ``wanted`` is the whole plan, ``pending`` what of it the guest was not already and what was
    therefore done, unless it was a dry run; ``diff`` shows the latter. ``journal`` is the file to
    undo it with, None when nothing was changed. ``overlay`` is there where the changes were not
    committed, and ``commit_command`` does that later. ``hive_files`` are all hives that were open.
    """

    image: DiskImage
    volume: SystemVolume
    facts: GuestFacts
    wanted: Plan
    pending: Plan
    diff: tuple[str, ...]
    journal: Path | None = None
    overlay: Path | None = None
    notes: tuple[str, ...] = ()
    hive_files: Mapping[HiveName, str] = field(default_factory=dict)

    @property
    def commit_command(self) -> str | None:
        """What to type to bring a left overlay into its image."""
        if self.overlay is None:
            return None
        name = shlex.quote(str(self.overlay))
        return f"qemu-img commit -f qcow2 -d {name} && rm {name}"


def edit_in_place(
    image: Path,
    engine: Engine,
    plan_maker: PlanMaker,
    options: InPlaceOptions,
    progress: Progress,
    judge: Judge = no_judge,
) -> InPlaceResult:
    """Change the guest in a powered-off disk image as ``plan_maker`` says and ``judge`` approves.

    Raises OfflineMigError. Unless the error says that the changes count already, the image is as
    it was and nothing is left beside it.
    """
    refuse_existing_journal(options.journal)
    if options.dry_run:
        return _rehearse(image, engine, plan_maker, options, progress)
    with open_edit(image, progress) as edit:
        left_overlay = None if options.commit else _free_overlay_name(edit.image.path)
        progress.step("Opening the guest")
        with locate_windows(
            engine,
            (edit.overlay,),
            writable=True,
            system_partition=options.system_partition,
            discard_hibernation=options.discard_hibernation,
        ) as (disks, layout, volume):
            progress.step("Planning")
            result = _planned(edit.examined, disks, layout, volume, plan_maker)
            if not len(result.pending):
                return result
            progress.step(f"Operating: {len(result.pending)} changes")
            journal = _operate(disks, layout, volume, result, edit)
            judge(disks, layout, volume)
        if engine.quick:
            # Once more from the overlay itself, as whoever opens it next will find it.
            with (
                engine.open((edit.overlay,), writable=False) as disks,
                joined_volumes(disks, layout, volume, writable=False) as files,
                tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
            ):
                verify_plan(result.wanted, files, result.hive_files, Path(scratch))
        progress.step("Writing the changes into the image" if options.commit else "Finishing")
        journal_file = edit.keep_journal(journal, options.journal)
        if left_overlay is None:
            edit.commit()
        else:
            edit.leave_overlay(left_overlay)
        return replace(result, journal=journal_file, overlay=left_overlay)


def _rehearse(
    image: Path,
    engine: Engine,
    plan_maker: PlanMaker,
    options: InPlaceOptions,
    progress: Progress,
) -> InPlaceResult:
    examined = examine_at_rest(image)
    progress.step("Opening the guest")
    with locate_windows(
        engine,
        (opened_image(examined),),
        writable=False,
        system_partition=options.system_partition,
        discard_hibernation=options.discard_hibernation,
    ) as (disks, layout, volume):
        progress.step("Planning")
        return _planned(examined, disks, layout, volume, plan_maker)


def _planned(
    examined: ExaminedImage,
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    plan_maker: PlanMaker,
) -> InPlaceResult:
    place = (volume.disk, volume.partition)
    with (
        examined_volume(disks, volume) as (system, facts),
        JoinedVolumes(system, disks, layout.tables, place, writable=False) as files,
        tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
    ):
        planned = plan_maker(OpenedGuest(disks, layout, volume, files, facts, Path(scratch)))
        wanted = planned.plan
        hives = readable_hives(facts)
        hive_files = dict(facts.hive_files)
        replays = dict(facts.replays)
        notes = (*disks.notes, *examined.notes, *volume.notes, *facts.notes)
        for name, path in planned.hive_files.items():
            if name not in wanted.hives:
                continue
            hive_files[name] = path
            hives[name], replay = load_hive(files, path, name, Path(scratch))
            if replay is not None:
                replays[name] = replay
                notes = (*notes, replay_note(name, replay))
        wanted = with_replays(wanted, replays)
        guest = OpenGuest(files, hives)
        pending = wanted.pending(guest)
        # Told now: a dry run would not find out, and a real one not before it has begun.
        files.require_writable(_changed_paths(pending, hive_files))
        for change in pending:
            if isinstance(change, DeleteFiles):
                change.require_keepable(guest)
        diff = tuple(diff_lines(pending, guest))
    return InPlaceResult(
        examined.image,
        volume,
        facts,
        wanted,
        pending,
        diff,
        notes=(*notes, *wanted.notes),
        hive_files=hive_files,
    )


def _changed_paths(plan: Plan, hive_files: Mapping[HiveName, str]) -> Iterator[str]:
    """Yield the places of the files that a plan changes."""
    yield from (hive_files[name] for name in plan.hives)
    yield from (change.path for change in plan if isinstance(change, WriteFile))


def _operate(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    result: InPlaceResult,
    edit: Edit,
) -> StoredJournal:
    """Apply and verify what is pending, and return the journal of it."""
    hive_files = result.hive_files
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
        with joined_volumes(
            disks,
            layout,
            volume,
            writable=True,
            discard_session=result.pending.discards_session,
        ) as files:
            old = hive_contents(files, hive_files, result.pending.hives)
            journal = apply_plan(result.pending, files, hive_files, Path(scratch))
        with joined_volumes(disks, layout, volume, writable=False) as files:
            verify_plan(result.wanted, files, hive_files, Path(scratch))
            hives = edited_hives(files, hive_files, old)
    return StoredJournal(
        identity=edit.identity,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        image=edited_image(disks, volume, edit.image.path, edit.image.format),
        hives=hives,
        entries=stored_entries(journal),
    )


def _free_overlay_name(image: Path) -> Path:
    overlay = image.with_name(f"{image.name}.offline-mig.qcow2")
    if os.path.lexists(overlay):
        raise OutputRefusedError(
            f"{overlay} is in the way: the overlay would get this name.",
            "Commit it or delete it, or move it away, then try again.",
        )
    return overlay
