"""A result that is one file: made under a hidden name beside it, and given its own when whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from offline_mig.conversion.workspace import output_refused
from offline_mig.errors import OutputRefusedError
from offline_mig.images.commit import sync


def refuse_existing_file(path: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace an earlier result, unless asked to, and an input, whatever is asked.

    ``inputs`` are what the result is made from, files and folders. Raises OutputRefusedError.
    """
    try:
        if not os.path.lexists(path):
            return
        for read in inputs:
            if read.exists() and path.exists() and read.samefile(path):
                raise OutputRefusedError(
                    f"The result {path} would replace {read}, which it is made from.",
                    "Choose another name with -o.",
                )
        if path.is_symlink() or not path.is_file():
            raise OutputRefusedError(
                f"{path} is in the way and is no plain file.",
                "Move it away, or choose another name with -o.",
            )
    except OSError as error:
        raise output_refused(error, path) from error
    if not overwrite:
        raise _exists(path)


@contextmanager
def result_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open the file in which a result is made; it gets its name when the block ends well.

    ``path`` is absolute. Whatever happens, nothing else stays behind; what a killed run left is
    used again. Raises OutputRefusedError when the file cannot be written or has come to be
    meanwhile.
    """
    draft = path.with_name(f".{path.name}.offline-mig")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o666)
    except OSError as error:
        raise output_refused(error, path) from error
    with os.fdopen(descriptor, "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputRefusedError(
                f"Another run is making {path}.", "Wait for it, or choose another name with -o."
            ) from error
        published = False
        try:
            stream.truncate(0)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            _publish(draft, path, overwrite=overwrite)
            published = True
        except OSError as error:
            raise output_refused(error, path) from error
        finally:
            if not published:
                draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path, *, overwrite: bool) -> None:
    if not overwrite:
        try:
            # Unlike a rename it never takes the place of what somebody has put there since.
            path.hardlink_to(draft)
        except FileExistsError as error:
            raise _exists(path) from error
        except OSError:  # no links on this file system
            if os.path.lexists(path):
                raise _exists(path) from None
        else:
            draft.unlink()
            sync(path.parent)
            return
    draft.replace(path)
    sync(path.parent)


def _exists(path: Path) -> OutputRefusedError:
    return OutputRefusedError(
        f"{path} is there already.",
        "Choose another name with -o, or give --overwrite to replace it.",
    )
