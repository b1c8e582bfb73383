"""Summing up a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.summary.files import SummaryFiles, write_summary
from offline_mig.summary.folder import read_folder
from offline_mig.summary.guest_result import GuestResult
from offline_mig.summary.tables import SummaryForm, summary_record


@dataclass(frozen=True, slots=True)
class Summary:
    """The results in a folder, and where the summary of them was written."""

    results: tuple[GuestResult, ...]
    files: SummaryFiles

    @property
    def record(self) -> SummaryForm:
        """The summary as plain data."""
        return summary_record(self.results)


def sum_up(folder: Path, page: Path | None = None) -> Summary:
    """Read the results in ``folder`` and write the summary.

    Raises SourceUnreadableError when there are none, OutputRefusedError.
    """
    results = read_folder(folder)
    return Summary(results, write_summary(results, folder, page))
