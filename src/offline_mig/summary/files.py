"""The files of a summary, which replace none but their own predecessors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.result_file import result_file
from offline_mig.errors import OutputRefusedError
from offline_mig.summary.guest_result import GuestResult
from offline_mig.summary.page import summary_page
from offline_mig.summary.tables import COLUMNS, summary_csv, summary_json

#: What each kind of file has near its beginning.
_MARKS = {
    ".html": b'<meta name="generator" content="offline-mig',
    ".json": b'"schema": "offline-mig/summary/',
    ".csv": ",".join(COLUMNS).encode("ascii"),
}
_HEAD = 1024
NAME = "summary"


@dataclass(frozen=True, slots=True)
class SummaryFiles:
    """Where the three forms of a summary were written."""

    page: Path
    record: Path
    table: Path


def write_summary(results: Sequence[GuestResult], folder: Path, page: Path | None) -> SummaryFiles:
    """Write the page, and summary.json and summary.csv beside it.

    ``page`` is summary.html in ``folder`` by default. Raises OutputRefusedError when a file is in
    the way that is no summary, or cannot be written, and for a page that has the name of a table.
    """
    page = (page or folder / f"{NAME}.html").absolute()
    beside = page.parent
    files = SummaryFiles(page, beside / f"{NAME}.json", beside / f"{NAME}.csv")
    if page in (files.record, files.table):
        raise OutputRefusedError(
            f"{page} is what one of the two tables beside the page is called.",
            f"Name the page with -o, such as {NAME}.html; the tables are written beside it.",
        )
    texts = {
        files.page: summary_page(results, folder.resolve().name),
        files.record: summary_json(results),
        files.table: summary_csv(results),
    }
    for path, kind in zip(texts, _MARKS, strict=True):
        _refuse_others(path, _MARKS[kind])
    for path, text in texts.items():
        _write(path, text)
    return files


def _refuse_others(path: Path, mark: bytes) -> None:
    if not os.path.lexists(path):
        return
    try:
        with path.open("rb") as stream:
            ours = path.is_file() and not path.is_symlink() and mark in stream.read(_HEAD)
    except OSError:
        ours = False
    if not ours:
        raise OutputRefusedError(
            f"{path} is in the way and is no summary that offline-mig has written.",
            "Move it away, or name another file with -o.",
        )


def _write(path: Path, text: str) -> None:
    with result_file(path, overwrite=True) as stream:
        # A name may hold half of a surrogate pair.
        stream.write(text.encode("utf-8", "backslashreplace"))
