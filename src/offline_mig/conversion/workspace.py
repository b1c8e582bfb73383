"""Where results are made before they are published: a hidden folder beside their final place.

It lies in the output folder itself, so that publishing is a rename within one file system, which
is atomic and keeps sparse files sparse. Its name is fixed for each guest: what a killed run left
behind is found and removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OutputRefusedError


@dataclass(frozen=True, slots=True)
class Workspace:
    """The hidden folder of one guest; nothing in it counts as a result."""

    folder: Path
    output: Path

    def publish(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Give finished files their final names in the output folder, in the given order.

        Each is on stable storage before it appears. Raises OutputRefusedError.
        """
        try:
            for name in names:
                _sync(self.folder / name)
            for name in names:
                (self.folder / name).replace(self.output / name)
            _sync(self.output)
        except OSError as error:
            raise output_refused(error, self.output) from error
        return tuple(self.output / name for name in names)


def file_stem(name: str) -> str:
    """Return a machine's name as a file name: no separators, no control characters, not hidden."""
    cleaned = re.sub(r"[/\\\x00-\x1f\x7f]+", "-", name).strip().lstrip(".-").strip()
    # 255 bytes is the limit of Linux file systems; suffixes and the hidden prefix need room.
    while len(cleaned.encode()) > 200:
        cleaned = cleaned[:-1]
    return cleaned or "guest"


def refuse_existing(output: Path, names: Sequence[str]) -> None:
    """Refuse to replace earlier results; raises OutputRefusedError."""
    existing = [name for name in names if os.path.lexists(output / name)]
    if existing:
        raise OutputRefusedError(
            f"{output} already holds {', '.join(existing)}.",
            "Choose another folder with -o, or give --overwrite to replace them.",
        )


@contextmanager
def open_workspace(output: Path, stem: str) -> Iterator[Workspace]:
    """Make the workspace of a guest and remove it in the end, whatever happens.

    An output folder that was made here and stayed empty is removed too. Raises
    OutputRefusedError when the folder cannot be written or another run is working on this guest.
    """
    made = not output.exists()
    folder = output / f".{stem}.offline-mig"
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise output_refused(error, output) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputRefusedError(
                f"Another run is converting {stem} into {output}.",
                "Wait for it, or choose another folder with -o.",
            ) from error
        try:
            _empty(folder)
            yield Workspace(folder, output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if made:
                with suppress(OSError):
                    output.rmdir()
    finally:
        os.close(lock)


def output_refused(error: OSError, output: Path) -> OutputRefusedError:
    """Return the error that tells why results cannot be written to ``output``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputRefusedError(
            f"The disk with {output} is full.",
            "Free some space or choose another folder with -o; nothing was left behind.",
        )
    return OutputRefusedError(
        f"The results cannot be written to {output}: {error.strerror}.",
        "Choose a folder that you may write to with -o.",
    )


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
