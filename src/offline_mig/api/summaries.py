"""Summing up a folder of results."""

from __future__ import annotations

from pathlib import Path

from offline_mig.api.paths import StrPath
from offline_mig.summary.summary import Summary, sum_up


def summarise(folder: StrPath, page: StrPath | None = None) -> Summary:
    """Sum up the results in ``folder`` as HTML, JSON and CSV; ``page`` is the HTML file.

    Raises SourceUnreadableError when there are none, OutputRefusedError.
    """
    return sum_up(Path(folder), None if page is None else Path(page))
