"""The files beside an image while it is edited, and what each of them means after a crash.

Beside ``guest.raw`` there are, with a dot before its name:

* ``.guest.raw.offline-mig-state``: locked for the time of an edit; says which journal is its own.
* ``.guest.raw.offline-mig-overlay``: a qcow2 image with all that is to be changed.
* ``.guest.raw.offline-mig-base``: the image itself, while it takes the changes in.

Which of them are there says how far the edit came; see ``commit``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OutputRefusedError, SourceUnreadableError

#: Seconds to wait for another run: one that was killed leaves a commit to its end behind it.
_PATIENCE = 5.0
_PAUSE = 0.05
#: Bytes of a state file that are read: a disk in thousands of pieces names them all.
_STATE_LIMIT = 16 * 1024 * 1024
_IDENTITY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class EditState:
    """What has to be known of an edit by whoever ends it.

    ``identity`` is a random word that the journal carries too, ``journal`` the file that is taken
    back when the edit never came to be, ``files`` all that the image consists of besides the file
    with its name.
    """

    identity: str
    journal: Path | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class EditFiles:
    """The files of an edit of ``image``, whose path is absolute and leads over no link."""

    image: Path

    @property
    def overlay(self) -> Path:
        """Where the changes are."""
        return self._beside("overlay")

    @property
    def base(self) -> Path:
        """The image while it takes the changes in."""
        return self._beside("base")

    @property
    def state(self) -> Path:
        """The lock, and what an edit says of itself."""
        return self._beside("state")

    def _beside(self, what: str) -> Path:
        return self.image.with_name(f".{self.image.name}.offline-mig-{what}")

    @property
    def base_is_aside(self) -> bool:
        """Whether the edit counts: what bears the image's name is not the old image any more."""
        return os.path.lexists(self.base) and not self._same(self.base, self.image)

    @property
    def left_behind(self) -> bool:
        """Whether an edit began here that has not ended."""
        return any(map(os.path.lexists, (self.overlay, self.base)))

    @staticmethod
    def _same(one: Path, other: Path) -> bool:
        try:
            return os.path.samestat(one.lstat(), other.lstat())
        except OSError:
            return False


@contextmanager
def claimed(files: EditFiles) -> Iterator[int]:
    """Claim an image for the time of a ``with`` block; gives the descriptor that holds the lock.

    Whoever has the descriptor open has the claim: it can be left to another process. Raises
    OutputRefusedError when another run is at work on the image or the folder cannot be written.
    """
    descriptor = _locked(files)
    try:
        yield descriptor
    finally:
        # A state file that is still needed says so by the files beside it.
        if not files.left_behind:
            remove_state(files, descriptor)
        os.close(descriptor)


def remove_state(files: EditFiles, claim: int) -> None:
    """Remove the state file, unless it is another run's by now."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(claim), files.state.lstat()):
            files.state.unlink()


def _locked(files: EditFiles) -> int:
    deadline = time.monotonic() + _PATIENCE
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(files.state, flags, 0o600)
        except OSError as error:
            raise folder_refused(error, files.image) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OutputRefusedError(
                f"{files.state} is in the way: it is no plain file.", "Remove it, then try again."
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise OutputRefusedError(
                    f"Another run is editing {files.image}.", "Wait for it, then try again."
                ) from error
            time.sleep(_PAUSE)
            continue
        except OSError as error:  # Some network file systems know no locks.
            os.close(descriptor)
            raise OutputRefusedError(
                f"{files.state} cannot be locked: {error.strerror}.",
                "Work on a copy on a local file system.",
            ) from error
        # Whoever had it may have removed the file meanwhile; then the lock is on nothing.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), files.state.lstat()):
                return descriptor
        os.close(descriptor)


def write_state(descriptor: int, state: EditState) -> None:
    """Write down what an edit is, on stable storage."""
    record = {
        "schema": "offline-mig/edit/1",
        "identity": state.identity,
        "journal": None if state.journal is None else os.fspath(state.journal),
        "files": [os.fspath(path) for path in state.files],
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(record).encode(), 0)
    os.fsync(descriptor)


def read_state(files: EditFiles) -> EditState | None:
    """Return what an edit said of itself; None when it had not come so far.

    Raises SourceUnreadableError when the change counts and its file makes no sense.
    """
    try:
        with files.state.open("rb") as stream:
            text = stream.read(_STATE_LIMIT)
    except FileNotFoundError:
        return None
    if not text:
        # Somebody tidied up; the image can be helped without it.
        return None
    state = _parsed(text)
    # It is on stable storage before anything else is done: only where the change counts can it not
    # be one that had just been begun.
    if state is None and files.base_is_aside:
        changes = files.image if files.image.exists() else files.overlay
        raise SourceUnreadableError(
            f"{files.state} is damaged: it is no record of an edit.",
            f"The image is {files.base.name} beside it, and what was being changed is in "
            f"{changes.name}; copy both, then bring them together with 'qemu-img commit'.",
        )
    return state


def _parsed(text: bytes) -> EditState | None:
    """Return the state that a file holds; None when it makes no sense."""
    try:
        record = json.loads(text)
        identity, journal = record["identity"], record["journal"]
        state = EditState(
            identity,
            None if journal is None else Path(journal),
            tuple(Path(name) for name in record["files"]),
        )
        return state if _IDENTITY.fullmatch(identity) else None
    except (ValueError, KeyError, TypeError):
        return None


def folder_refused(error: OSError, image: Path) -> OutputRefusedError:
    """Return the error that tells why nothing can be written beside an image."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputRefusedError(
            f"The disk with {image.parent} is full.", "Free some space, then try again."
        )
    return OutputRefusedError(
        f"{image} cannot be edited, since {image.parent} cannot be written: {error.strerror}.",
        "An edit needs room beside the image for what is changed: make the folder writable for "
        "this user, or work on a copy elsewhere.",
    )
