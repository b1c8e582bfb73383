"""An image while it is edited: claimed, kept from others, with an overlay that takes the changes.

Up to the commit the image is only read. Whatever ends a run before takes everything back, the run
itself on its way out or the next one on this image; after, the next one carries everything through
(see ``images.commit``). So an image is at any time what it was or what it is to be.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.examination import require_text_name
from offline_mig.conversion.journal_file import write_journal
from offline_mig.conversion.progress import Progress
from offline_mig.errors import OutputRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.images import qemu_img
from offline_mig.images.commit import commit_edit, recover, sync
from offline_mig.images.edit_files import (
    EditFiles,
    EditState,
    claimed,
    folder_refused,
    write_state,
)
from offline_mig.images.image_lock import kept_from_others
from offline_mig.machine import DiskFormat, DiskImage
from offline_mig.sources.disk_image import ExaminedImage, examine_disk_image
from offline_mig.sources.editable_image import examine_for_editing
from offline_mig.sources.file_access import stat_regular_file, unreadable
from offline_mig.surgery.stored_journal import StoredJournal


@dataclass(frozen=True)
class Edit:
    """An edit under way, see ``open_edit``. ``identity`` is a random word."""

    examined: ExaminedImage
    identity: str
    files: EditFiles
    claim: int
    kept: ExitStack

    @property
    def image(self) -> DiskImage:
        """The image that is edited."""
        return self.examined.image

    @property
    def overlay(self) -> OpenedDisk:
        """What to work on."""
        return OpenedDisk(self.files.overlay, DiskFormat.QCOW2, self.image.files)

    def keep_journal(self, journal: StoredJournal, wanted: Path | None) -> Path:
        """Write the journal; it goes again should the edit not come to be.

        Returns its path, which is ``wanted`` or one beside the image.
        """
        return write_journal(journal, self.image.path, wanted, self.write_state)

    def commit(self) -> None:
        """Make the overlay part of the image."""
        commit_edit(self.files, self.image.format, self.claim, self.kept.close)

    def leave_overlay(self, path: Path) -> None:
        """Leave the overlay under a name of its own."""
        try:
            sync(self.files.overlay)
            self.files.overlay.rename(path)
            sync(path.parent)
        except OSError as error:
            raise folder_refused(error, self.image.path) from error

    def write_state(self, journal: Path | None = None) -> None:
        """Write down what whoever ends this edit has to know."""
        others = tuple(file for file in self.image.files if file != self.image.path)
        try:
            write_state(self.claim, EditState(self.identity, journal, others))
        except OSError as error:
            raise folder_refused(error, self.image.path) from error


@contextmanager
def open_edit(image: Path, progress: Progress) -> Iterator[Edit]:
    """Claim an image and make the overlay of an edit for the time of a ``with`` block.

    What an interrupted edit began is ended first. Raises OfflineMigError: for an image that is in
    use, that cannot be written, or that other images are based on.
    """
    files = _edit_files(image)
    with claimed(files) as claim:
        if _recover(files, claim):
            progress.note(f"An edit of {image} that was interrupted has been carried through.")
        examined = examine_for_editing(files.image)
        with ExitStack() as kept:
            kept.enter_context(kept_from_others(examined.image.path))
            edit = Edit(examined, secrets.token_hex(16), files, claim, kept)
            edit.write_state()
            try:
                qemu_img.create_overlay(files.overlay, files.image, examined.image.format)
                yield edit
            finally:
                if not files.base_is_aside:
                    recover(files, claim)


def examine_at_rest(image: Path) -> ExaminedImage:
    """Check an image that could be edited, to look at it only.

    Raises OutputRefusedError when an edit of it was interrupted.
    """
    files = _edit_files(image)
    if files.base_is_aside:
        raise OutputRefusedError(
            f"An edit of {image} was interrupted while its changes were being written.",
            f"Run 'offline-mig recover {image}' first.",
        )
    if files.left_behind:
        raise OutputRefusedError(
            f"{image} is being edited by another run, or an edit of it was interrupted.",
            f"Wait for that run; if there is none, run 'offline-mig recover {image}'.",
        )
    return examine_for_editing(files.image)


def opened_image(examined: ExaminedImage) -> OpenedDisk:
    """Return the image itself as an engine opens it."""
    image = examined.image
    return OpenedDisk(image.path, image.format, image.files)


def recover_image(image: Path) -> bool:
    """End what an interrupted edit of ``image`` began.

    Returns whether its changes count and are now in the image; else there was no such edit, or it
    was dropped. Raises OfflineMigError.
    """
    files = _edit_files(image)
    with claimed(files) as claim:
        return _recover(files, claim)


def _recover(files: EditFiles, claim: int) -> bool:
    if files.base_is_aside:
        # It is about to be written, and came from elsewhere as likely as any other image.
        tops = (files.image, files.overlay, files.base)
        examine_disk_image(next(path for path in tops if os.path.lexists(path)))
    return recover(files, claim)


def _edit_files(image: Path) -> EditFiles:
    require_text_name(image)
    try:
        # A link stays one: it is the file that it leads to whose name is lent and given back.
        files = EditFiles(image.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise unreadable(image, OSError(str(error))) from error
    if not files.left_behind:
        stat_regular_file(image)
    return files
