"""The results in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from offline_mig.conversion.result_cache import TAG
from offline_mig.errors import SourceUnreadableError
from offline_mig.summary.batch_reader import with_batch
from offline_mig.summary.guest_result import GuestResult
from offline_mig.summary.report_reader import read_result

#: What the name of a report ends with.
REPORT_SUFFIX = ".report.json"


def read_folder(folder: Path) -> tuple[GuestResult, ...]:
    """Return the results of all guests in ``folder`` and the folders in it, by name.

    Hidden folders, in which conversions are under way, and caches are left out. Raises
    SourceUnreadableError for what is no folder or holds no result.
    """
    if not folder.is_dir():
        raise SourceUnreadableError(
            f"{folder} is no folder.",
            "Give the folder that 'convert -o' or 'batch -o' was given.",
        )
    results = with_batch([read_result(path, folder) for path in _reports(folder)], folder)
    if not results:
        raise SourceUnreadableError(
            f"There is no report (NAME{REPORT_SUFFIX}) in {folder}, nor the journal of a batch.",
            "Give the folder that 'convert -o' or 'batch -o' was given.",
        )
    return tuple(sorted(results, key=lambda result: (result.name.casefold(), result.report)))


def _reports(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if TAG in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(REPORT_SUFFIX):
                yield Path(parent, name)
