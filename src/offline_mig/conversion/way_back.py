"""What undoing a conversion takes beside the journal in its report: the same as undoing an edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from offline_mig.conversion.hive_history import edited_image
from offline_mig.guest.engine import GuestDisks
from offline_mig.machine import DiskFormat
from offline_mig.surgery.changes import DeleteFiles, NotKept, WriteFile
from offline_mig.surgery.operation import Journal
from offline_mig.surgery.record_form import EditedHiveForm, EditedImageForm
from offline_mig.surgery.stored_journal import (
    EditedHive,
    EditedImage,
    hive_record,
    image_record,
)
from offline_mig.surgery.system_volume import SystemVolume
from offline_mig.windows.hive import HiveName


@dataclass(frozen=True)
class WayBack:
    """The converted disk with Windows on it and its hives.

    ``image`` is None without a way back, and ``reason`` then says why, "" where nothing was done.
    """

    image: EditedImage | None
    hives: Mapping[HiveName, EditedHive] = field(default_factory=dict)
    reason: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of a result that cannot be undone by itself."""
        if not self.reason:
            return ()
        return (f"'offline-mig undo' cannot take this conversion back: {self.reason}.",)


class WayBackForm(TypedDict):
    """What ``undo`` needs beside the journal."""

    image: EditedImageForm
    hives: dict[HiveName, EditedHiveForm]


def find_way_back(
    disks: GuestDisks,
    volume: SystemVolume,
    result: Path,
    image_format: DiskFormat,
    journal: Journal,
    hives: Mapping[HiveName, EditedHive],
) -> WayBack:
    """Return the way back of a conversion; ``result`` is where the disk will be."""
    reason = _obstacle(volume.disk, journal)
    if reason or not journal.entries:
        return WayBack(None, reason=reason)
    return WayBack(edited_image(disks, volume, result, image_format), hives)


def way_back_record(back: WayBack) -> WayBackForm | None:
    """Return a way back as plain data."""
    if back.image is None:
        return None
    return {
        "image": image_record(back.image),
        "hives": {name: hive_record(hive) for name, hive in back.hives.items()},
    }


def _obstacle(disk: int, journal: Journal) -> str:
    """Return what keeps a conversion from being undone, as Windows is on ``disk``; "" for nothing.

    An undo has one disk before it, and names go by the number of the disk. And services must not
    come back whose files do not.
    """
    paths = (entry.change.path for entry in journal.entries if isinstance(entry.change, WriteFile))
    # What is not on the system volume begins with the number of its disk, see JoinedVolumes.
    if disk != 0 or not all(path.startswith(("/", "1:")) for path in paths):
        return "Windows is not on the first disk, or another disk was changed as well"
    if any(
        isinstance(entry.change, DeleteFiles) and isinstance(entry.before, NotKept)
        for entry in journal.entries
    ):
        return "what was deleted is in the source only (--undoable keeps it in the report)"
    return ""
