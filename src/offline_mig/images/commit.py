"""Bringing an overlay into the image beneath it, so that a crash leaves the old or the new disk.

``qemu-img commit`` writes into an image piece by piece: what is left when it is cut off is neither
the old disk nor the new. But the overlay holds all that is to be written and stays until it is, so
committing again mends what a crash tore. The one thing to see to is that nobody meets the image
under its name meanwhile. So it is renamed aside first, in the same folder and hence at once:

* A qcow2 image gets its second name by a link, and the overlay, told to be based on that, takes
  the image's own name in a single step. Until then the name stands for the old disk, from then on
  for the new one: the overlay hides every piece that is being written beneath it. This even goes
  for a host that lost power and a guest started after that.
* Another image cannot be stood in for by a qcow2 file, since whoever uses it was told its format.
  For the moment of the commit nothing bears its name. So it is, too, where there are no links.

Then the commit, and the image gets its name back. What an interrupted edit was at is told by the
files (see ``edit_files``): with the base aside the change counts and is carried through, else it
is dropped with its journal. Both can be cut off anywhere and done again.

A copy that takes the place of the image would need no rename (and on some file systems no room,
by reflink), but elsewhere all the room of the disk; it would also part the image from its other
names, its owner's labels and whoever has it open.

The commit runs in a process that this one's death does not end: a name that is missing should not
be so for longer than it must. Run as a module, this is that process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from offline_mig.errors import (
    HostNotReadyError,
    OfflineMigError,
    OutputRefusedError,
    ToolFailedError,
)
from offline_mig.images import qemu_img
from offline_mig.images.edit_files import (
    EditFiles,
    EditState,
    folder_refused,
    read_state,
    remove_state,
)
from offline_mig.images.qcow2_header import MAGIC, MAX_HEADER, parse_qcow2_header
from offline_mig.machine import DiskFormat
from offline_mig.processes import run_to_its_end

#: Bytes that must be free beyond the size of the overlay: tables of the image that grow as well.
_SPARE_SPACE = 4 * 1024 * 1024
#: Where in a journal its schema and its identity stand: they are the first fields.
_JOURNAL_HEAD = 4096
_JOURNAL_SCHEMA = b'"schema": "offline-mig/journal/'


def commit_edit(
    files: EditFiles, image_format: DiskFormat, claim: int, release: Callable[[], None]
) -> None:
    """Make the finished overlay part of the image.

    ``claim`` is the descriptor of ``edit_files.claimed``. ``release`` gives up the locks that kept
    others from the image; it is called as soon as they cannot find it any more. Raises
    OutputRefusedError and ToolFailedError; when the change counts already, the error says so and
    ``recover`` carries it through.
    """
    _require_space(files)
    _set_aside(files, image_format)
    release()
    # -P: whatever lies in the current folder is no module of this program.
    command = [sys.executable, "-P", "-m", __name__, str(files.image), str(claim)]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = run_to_its_end(command, pass_fds=[claim], environment=environment)
        told = json.loads(done.stdout)
    except (HostNotReadyError, ToolFailedError, ValueError) as error:
        raise _not_through(files, str(error)) from error
    if told is not None:
        kind = OutputRefusedError if told["full"] else ToolFailedError
        raise kind(told["message"], told["remedy"])


def recover(files: EditFiles, claim: int) -> bool:
    """End what an interrupted edit began; returns whether its change counts.

    Raises OfflineMigError; then everything is as it was found and can be tried again.
    """
    state = read_state(files)
    try:
        if files.base_is_aside:
            _carry_through(files, state)
            remove_state(files, claim)
            return True
        _drop(files, state)
    except OSError as error:
        raise folder_refused(error, files.image) from error
    return False


def _require_space(files: EditFiles) -> None:
    needed = files.overlay.stat().st_blocks * 512 + _SPARE_SPACE
    free = shutil.disk_usage(files.image.parent).free
    if free < needed:
        raise OutputRefusedError(
            f"The disk with {files.image} is too full: {needed // 1024**2 + 1} MiB are needed to "
            f"write the changes into it, and {free // 1024**2} MiB are free.",
            "Free some space, then try again; nothing was changed.",
        )


def _set_aside(files: EditFiles, image_format: DiskFormat) -> None:
    try:
        # A name with a slash before any colon is none of qemu's protocols. It is relative, so that
        # the folder can be moved.
        qemu_img.rebase_onto_name(files.overlay, f"./{files.base.name}", image_format)
        linked = image_format is DiskFormat.QCOW2 and _link(files)
        if linked:
            _take_after(files.image, files.overlay)
        sync(files.overlay)
        sync(files.image.parent)
        if linked:
            files.overlay.replace(files.image)
        else:
            files.image.rename(files.base)
        sync(files.image.parent)
    except OSError as error:
        raise folder_refused(error, files.image) from error


def _link(files: EditFiles) -> bool:
    try:
        files.base.hardlink_to(files.image)
    except OSError:
        # No links on this file system, or not to what belongs to others: there is the other way.
        return False
    return True


def _take_after(image: Path, overlay: Path) -> None:
    """Give the overlay the owner, rights and labels of the image that it stands in for."""
    status = image.stat()
    with suppress(PermissionError):
        os.chown(overlay, status.st_uid, status.st_gid)
    with suppress(OSError):
        shutil.copystat(image, overlay)


def _carry_through(files: EditFiles, state: EditState | None) -> None:
    overlay = _to_be_committed(files)
    if overlay is not None:
        try:
            qemu_img.commit(overlay)
        except OutputRefusedError as error:
            raise _not_through(files, "the disk is full", full=True) from error
        except ToolFailedError as error:
            raise _not_through(files, error.message) from error
    for path in (files.base, *(state.files if state else ())):
        sync(path)
    if overlay == files.overlay:
        overlay.unlink()
        sync(files.image.parent)
    files.base.replace(files.image)
    sync(files.image.parent)


def _to_be_committed(files: EditFiles) -> Path | None:
    """Return the overlay whose changes the base may lack; None when it has them all."""
    overlay = files.image if os.path.lexists(files.image) else files.overlay
    if not os.path.lexists(overlay):
        return None
    # What was planted under these names, by whoever made the folder, could lead anywhere.
    if all(map(_is_plain, (files.base, overlay))) and _is_based_on(overlay, files.base.name):
        return overlay
    raise OutputRefusedError(
        f"{overlay} does not hold the changes of an edit that was interrupted, though "
        f"{files.base.name} is beside it, as the image is while it takes changes in.",
        f"See which of them is the image that you want, move the other one and "
        f"{files.overlay.name} away, then try again.",
    )


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_based_on(image: Path, name: str) -> bool:
    with image.open("rb") as stream:
        head = stream.read(MAX_HEADER)
    if not head.startswith(MAGIC):
        return False
    header = parse_qcow2_header(head, str(image))
    return header.backing_file == f"./{name}" and header.data_file is None


def _drop(files: EditFiles, state: EditState | None) -> None:
    if not files.left_behind:
        return
    if state is not None and state.journal is not None:
        _drop_journal(state.journal, state.identity)
    files.base.unlink(missing_ok=True)
    # Last: as long as it is there, this is done again.
    files.overlay.unlink(missing_ok=True)


def _drop_journal(journal: Path, identity: str) -> None:
    draft_of(journal, identity).unlink(missing_ok=True)
    if journal.is_file():
        with journal.open("rb") as stream:
            head = stream.read(_JOURNAL_HEAD)
        # It names any file at all, and only its own journal is to go.
        if _JOURNAL_SCHEMA in head and f'"identity": "{identity}"'.encode() in head:
            journal.unlink()


def draft_of(journal: Path, identity: str) -> Path:
    """Return the name under which the journal of an edit is written before it gets its own."""
    return journal.with_name(f".{journal.name}.{identity}")


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on stable storage."""
    # Should it be a pipe that somebody put there, this does not wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_through(
    files: EditFiles, reason: str, *, full: bool = False
) -> OutputRefusedError | ToolFailedError:
    if files.image.exists():
        where = f"{files.image} has them already, for now as an overlay of {files.base.name}"
    else:
        where = (
            f"until it is done, {files.image} lies beside it as {files.base.name}, and the changes "
            f"in {files.overlay.name}"
        )
    kind = OutputRefusedError if full else ToolFailedError
    return kind(
        f"The changes could not yet be written into {files.image} ({reason.rstrip('.')}); {where}.",
        f"Mend the cause, then run 'offline-mig recover {files.image}'; delete nothing.",
    )


def _main(image: str, claim: str) -> None:
    # Whoever interrupts the run that began it wants that run to end, and not the name missing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    told = None
    try:
        recover(EditFiles(Path(image)), int(claim))
    except OfflineMigError as error:
        told = {
            "message": error.message,
            "remedy": error.remedy,
            "full": isinstance(error, OutputRefusedError),
        }
    # The one who is to read it may be gone.
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(told))
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
