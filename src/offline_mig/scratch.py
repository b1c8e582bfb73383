"""The folder for temporary files of this run, which does not outlive it for long.

A run that is killed cannot tidy up. So everything that it needs for a moment lies in one folder,
which it holds a lock on; the next run removes folders that nobody holds any more. Copies of a
guest's registry are among it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "offline-mig-run-"
_LOCK = "lock"
#: Seconds after which a folder that nobody holds is left over, and not just being made.
_SETTLED = 60


@contextmanager
def own_scratch() -> Iterator[None]:
    """Give this process a folder of its own for temporary files, for the time of a ``with`` block.

    It lies in the folder that TMPDIR names, or the system's. Where none can be made everything
    stays as it is, and whoever needs one says so.
    """
    before = tempfile.tempdir
    try:
        parent = Path(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError:
        yield
        return
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _remove_left_over(parent)
            tempfile.tempdir = os.fspath(folder)
            yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_over(parent: Path) -> None:
    """Remove the folders of runs of this user that are no more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _SETTLED:
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
