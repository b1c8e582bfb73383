"""The journal in the report of a conversion, by which its result is undone like an edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offline_mig.errors import SourceUnreadableError
from offline_mig.surgery.stored_journal import SCHEMA

#: How the schemas of reports begin.
REPORT = "offline-mig/report/"


def journal_of_report(report: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the journal in the report of a conversion, which has no name or time of its own.

    What is in it is looked at by whoever reads a journal. Raises SourceUnreadableError for a
    report without one.
    """
    undo, entries = report.get("undo"), report.get("journal")
    if not isinstance(undo, dict) or not isinstance(entries, list):
        raise SourceUnreadableError(
            f"{where} is the report of a conversion that cannot be undone: nothing was changed, "
            "files were deleted that only the source has, or another disk than that with Windows "
            "was changed; the notes in it say which.",
            "Convert the source once more; it is as it was, and the way back. With "
            "--undoable the report keeps what is deleted.",
        )
    # Of hives whose logs were replayed the old pages have it all.
    changes = [
        entry | {"before": None}
        if isinstance(entry, dict) and entry.get("change") == "replay-logs"
        else entry
        for entry in entries
    ]
    return {
        "schema": SCHEMA,
        "identity": "0" * 32,
        "created": "1970-01-01T00:00:00+00:00",
        "version": "",
        "image": undo.get("image"),
        "hives": undo.get("hives"),
        "changes": changes,
    }
