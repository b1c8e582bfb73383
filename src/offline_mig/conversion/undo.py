"""Undoing an edit by its journal, in place like the edit itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from offline_mig.conversion.edit import examine_at_rest, open_edit, opened_image
from offline_mig.conversion.examination import joined_volumes
from offline_mig.conversion.journal_file import read_journal
from offline_mig.conversion.progress import Progress
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import Engine, GuestDisks
from offline_mig.guest.ntfs import serial_number
from offline_mig.guest.refusal import volume_name
from offline_mig.sources.file_access import shown
from offline_mig.surgery.stored_journal import StoredJournal
from offline_mig.surgery.system_volume import (
    DiskLayout,
    SystemVolume,
    find_system_volume,
    read_layout,
    require_clean,
)
from offline_mig.surgery.undo import UndoPlan, apply_undo, plan_undo, verify_undo


@dataclass(frozen=True)
class UndoResult:
    """What an undo came to, or in a dry run would come to."""

    image: Path
    journal: StoredJournal
    plan: UndoPlan
    dry_run: bool
    notes: tuple[str, ...] = ()


def undo_edit(
    image: Path, journal_file: Path, engine: Engine, progress: Progress, *, dry_run: bool = False
) -> UndoResult:
    """Put back what the edit of ``journal_file`` changed in ``image``.

    What has changed since is left alone and listed in the plan. Raises OfflineMigError; then the
    image is as it was, unless the error says otherwise.
    """
    journal = read_journal(journal_file)
    if dry_run:
        examined = examine_at_rest(image)
        progress.step("Opening the guest")
        with engine.open((opened_image(examined),), writable=False) as disks:
            layout, volume = _volume_of(journal, disks, image)
            progress.step("Planning")
            plan = _planned(journal, disks, layout, volume)
            return UndoResult(image, journal, plan, dry_run, disks.notes)
    with open_edit(image, progress) as edit:
        progress.step("Opening the guest")
        with engine.open((edit.overlay,), writable=True) as disks:
            layout, volume = _volume_of(journal, disks, image)
            progress.step("Planning")
            plan = _planned(journal, disks, layout, volume)
            result = UndoResult(image, journal, plan, dry_run, disks.notes)
            if not plan.files and not plan.made:
                return result
            progress.step(f"Putting back {len(plan.files)} files")
            with joined_volumes(disks, layout, volume, writable=True) as files:
                kept = apply_undo(plan, files)
            with joined_volumes(disks, layout, volume, writable=False) as files:
                verify_undo(plan, files)
        if engine.quick:
            # Once more from the overlay itself, as whoever opens it next will find it.
            with (
                engine.open((edit.overlay,), writable=False) as disks,
                joined_volumes(disks, layout, volume, writable=False) as files,
            ):
                verify_undo(plan, files)
        progress.step("Writing the changes into the image")
        edit.commit()
        return replace(result, plan=replace(plan, left_alone=(*plan.left_alone, *kept)))


def _planned(
    journal: StoredJournal, disks: GuestDisks, layout: DiskLayout, volume: SystemVolume
) -> UndoPlan:
    with (
        tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
        joined_volumes(disks, layout, volume, writable=False) as files,
    ):
        return plan_undo(journal, files, Path(scratch))


def _volume_of(
    journal: StoredJournal, disks: GuestDisks, image: Path
) -> tuple[DiskLayout, SystemVolume]:
    """Return the volume that the journal is about; raises GuestRefusedError if it is not here."""
    known = journal.image
    layout = read_layout(disks, 1)
    found = [
        partition
        for partition in layout.tables[0].partitions
        if (partition.start, partition.size) == (known.volume_start, known.volume_size)
        and serial_number(disks.read(0, partition.start, 512)) == known.volume_serial
    ]
    if disks.size(0) < known.virtual_size or not found:
        raise GuestRefusedError(
            f"The journal is of another image: of {shown(known.path)}, a disk of "
            f"{known.virtual_size} bytes with Windows on a volume with the serial number "
            f"{known.volume_serial}. "
            f"{image} has {disks.size(0)} bytes, and no such volume at that place.",
            "Give the journal that was written when this image was edited.",
        )
    name = volume_name(0, found[0])
    if known.choice.partition("/")[0] != name:
        # The journal's places on other volumes go by numbers as well.
        raise GuestRefusedError(
            f"The partitions of {image} have other numbers than when the journal was written: "
            f"{shown(known.choice)} is {name} by now.",
            "Put the entries of the partition table back in the order that they had.",
        )
    volume = find_system_volume(disks, layout, known.choice)
    require_clean(disks, volume)
    return layout, volume
