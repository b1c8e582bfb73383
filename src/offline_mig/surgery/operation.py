"""The one place where a plan is applied, journaled and verified."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import GuestRefusedError, VerificationError
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.changes import (
    Before,
    Change,
    DeleteFiles,
    OpenGuest,
    WriteFile,
    subject,
    write_files,
)
from offline_mig.surgery.hive_files import load_hive
from offline_mig.surgery.plan import Plan
from offline_mig.windows.base_block import stamped
from offline_mig.windows.hive import Hive, HiveName

#: Bytes that must stay free on the system volume: Windows itself needs room to boot.
_SPARE_SPACE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A change that was applied and what was there before it."""

    change: Change
    before: Before


@dataclass(frozen=True, slots=True)
class Journal:
    """Everything that was changed, in order."""

    entries: tuple[JournalEntry, ...] = ()


def apply_plan(
    plan: Plan,
    volume: GuestFilesystem,
    hive_files: Mapping[HiveName, str],
    scratch: Path,
    moment: int | None = None,
    *,
    keep_deleted: bool = True,
) -> Journal:
    """Apply ``plan`` to a volume mounted writable and return the journal.

    ``hive_files`` says where the hives lie in the volume; they are edited as copies in the folder
    ``scratch`` and written back whole, after all files are written and before any is deleted, so
    that no driver is registered whose file is not there. ``moment``, in seconds since 1970, is
    when they were written by what they say themselves; the time of the clock if it is None. The
    journal has what deleted files held unless ``keep_deleted`` says that there is no need. Raises
    GuestRefusedError when the volume is too full.
    """
    free = volume.free_space()
    if plan.added_bytes + _SPARE_SPACE > free:
        raise GuestRefusedError(
            f"The guest's system volume has {free // 1024**2} MiB free, and the drivers need "
            f"{(plan.added_bytes + _SPARE_SPACE) // 1024**2 + 1} MiB.",
            "Free some space in the guest where it still runs, then try again.",
        )
    touched = plan.hives
    # A hive on another volume would have that mounted writable for nothing.
    opened = {name: hive_files[name] for name in touched}
    guest = OpenGuest(volume, _open_hives(volume, opened, scratch, writable=True))
    written = [change for change in plan if isinstance(change, WriteFile)]
    entries = list(map(JournalEntry, written, write_files(written, volume)))
    entries += [
        JournalEntry(change, change.apply(guest))
        for change in plan
        if not isinstance(change, WriteFile | DeleteFiles)
    ]
    _write_back(guest, touched, hive_files, scratch, moment)
    entries += [
        JournalEntry(change, change.apply(guest) if keep_deleted else change.apply_unkept(guest))
        for change in plan
        if isinstance(change, DeleteFiles)
    ]
    return Journal(tuple(entries))


def verify_plan(
    plan: Plan, volume: GuestFilesystem, hive_files: Mapping[HiveName, str], scratch: Path
) -> None:
    """Read every change of ``plan`` back from a freshly mounted volume.

    Raises VerificationError that names what does not read back.
    """
    guest = OpenGuest(volume, _open_hives(volume, hive_files, scratch, writable=False))
    for hive in guest.hives.values():
        hive.require_readable()
    require_done(plan, guest)


def require_done(plan: Plan, guest: OpenGuest) -> None:
    """Raise VerificationError, which names them, when a guest lacks changes of ``plan``."""
    missing = [change for change in plan if not change.is_done(guest)]
    if missing:
        shown = "; ".join(subject(change) for change in missing[:5])
        raise VerificationError(
            f"{len(missing)} of {len(plan)} changes do not read back from the image: {shown}.",
            "Nothing was published. Please report this with the output of --dry-run --json.",
        )


def _open_hives(
    volume: GuestFilesystem, hive_files: Mapping[HiveName, str], scratch: Path, *, writable: bool
) -> dict[HiveName, Hive]:
    return {
        name: load_hive(volume, path, name, scratch, writable=writable)[0]
        for name, path in hive_files.items()
    }


def _write_back(
    guest: OpenGuest,
    touched: Collection[HiveName],
    hive_files: Mapping[HiveName, str],
    scratch: Path,
    moment: int | None,
) -> None:
    for name in sorted(touched):
        edited = scratch / f"{name}.edited"
        guest.hives[name].commit(edited)
        if moment is not None:
            edited.write_bytes(stamped(edited.read_bytes(), moment))
        # A hive that hivex cannot read again must not replace the guest's.
        Hive(edited, name).require_readable()
        guest.files.write(hive_files[name], edited.read_bytes())
        shutil.move(edited, scratch / name.value)
