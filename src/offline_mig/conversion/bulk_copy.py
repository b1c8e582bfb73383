"""Copying disks while they are being operated on.

The copy takes what the disks were before the operation; afterwards only what the operation
changed is brought over. That is sound because the copy equals the overlay's backing image byte
for byte: put on top of the copy instead, the overlay shows the same disk, and committing it makes
the copy that disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from offline_mig.errors import OfflineMigError
from offline_mig.images import qemu_img
from offline_mig.images.writeback import written_back
from offline_mig.machine import DiskFormat


@dataclass(frozen=True, slots=True)
class CopyJob:
    """A disk to copy: the qcow2 image to read, its overlay that is operated on, the result.

    ``size`` is the disk's, in bytes.
    """

    source: Path
    overlay: Path
    target: Path
    format: DiskFormat
    size: int


class BulkCopy(AbstractContextManager["BulkCopy"]):
    """Copies disks one after another in the background, from entering the block on.

    Leaving the block by an exception ends the copy at once.
    """

    def __init__(self, jobs: Sequence[CopyJob]) -> None:
        self._jobs = tuple(jobs)
        self._on_progress: Callable[[int, int, float], None] | None = None
        self._stop = threading.Event()
        self._error: OfflineMigError | None = None
        self._thread = threading.Thread(target=self._copy_all, name="bulk copy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._thread.join()

    def finish(self, on_progress: Callable[[int, int, float], None]) -> None:
        """Wait for the copy, then bring the changes of the operation over.

        ``on_progress`` is called with the disk's number, from 1, the number of disks and the
        percentage of this disk; not before, since the operation has steps of its own to tell.
        Raises what the copy ended with: OutputRefusedError for a full disk, ToolFailedError.
        """
        self._on_progress = on_progress
        self._thread.join()
        if self._error is not None:
            raise self._error
        for job in self._jobs:
            qemu_img.commit_onto(job.overlay, job.target, job.format)

    def _copy_all(self) -> None:
        for number, job in enumerate(self._jobs, start=1):

            def copied(percent: float, number: int = number) -> None:
                if self._on_progress is not None:
                    self._on_progress(number, len(self._jobs), percent)

            try:
                with written_back(job.target):
                    qemu_img.convert(job.source, job.target, job.format, copied, stop=self._stop)
            except OfflineMigError as error:
                self._error = error
                return


class CopyAfterwards(AbstractContextManager["CopyAfterwards"]):
    """Copies disks when all is done, in order: the same disk always makes the same file."""

    def __init__(self, jobs: Sequence[CopyJob]) -> None:
        self._jobs = tuple(jobs)

    def __exit__(self, *_: object) -> None:
        """Nothing goes on behind the caller's back."""

    def finish(self, on_progress: Callable[[int, int, float], None]) -> None:
        """Copy; ``on_progress`` and what is raised are as for ``BulkCopy``."""
        for number, job in enumerate(self._jobs, start=1):
            told = partial(on_progress, number, len(self._jobs))
            with written_back(job.target):
                qemu_img.convert(job.overlay, job.target, job.format, told)
