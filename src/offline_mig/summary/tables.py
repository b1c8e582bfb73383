"""The summary for programs: as JSON, and as CSV with one row for each guest."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypedDict

from offline_mig.summary.guest_result import GuestResult, State

#: What a spreadsheet takes for the beginning of a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CountsForm(TypedDict):
    """How many guests ended how; ``boots`` and the like count those that were converted."""

    guests: int
    converted: int
    failed: int
    unfinished: int
    unreadable: int
    boots: int
    stops: int
    unknown: int


class GuestRowForm(TypedDict):
    """A guest. Sizes are in bytes; ``boot`` is what the boot model says of the result."""

    name: str
    state: State
    exit_code: int | None
    reason: str
    remedy: str
    source: str
    windows: str
    boot: str | None
    findings: list[str]
    changes: int
    seconds: dict[str, float]
    source_bytes: int | None
    result_bytes: int | None
    disks: list[str]
    report: str
    log: str
    notes: list[str]
    next: list[str]


class SummaryForm(TypedDict):
    """The results in a folder; ``report`` and ``log`` of each guest are relative to it."""

    schema: Literal["offline-mig/summary/1"]
    counts: CountsForm
    guests: list[GuestRowForm]


def counts(results: Sequence[GuestResult]) -> CountsForm:
    """Count the guests by how they ended."""
    states = Counter(result.state for result in results)
    boots = Counter(result.verdict.outcome for result in results if result.verdict)
    return {
        "guests": len(results),
        "converted": states[State.CONVERTED],
        "failed": states[State.FAILED],
        "unfinished": states[State.UNFINISHED],
        "unreadable": states[State.UNREADABLE],
        "boots": boots["boots"],
        "stops": boots["stops"],
        "unknown": boots["unknown"],
    }


def summary_record(results: Sequence[GuestResult]) -> SummaryForm:
    """Return the results as plain data."""
    return {
        "schema": "offline-mig/summary/1",
        "counts": counts(results),
        "guests": [_row(result) for result in results],
    }


def summary_json(results: Sequence[GuestResult]) -> str:
    """Return the results as JSON text."""
    # Names may hold halves of surrogate pairs, which UTF-8 has no bytes for.
    return json.dumps(summary_record(results), indent=2) + "\n"


def _row(result: GuestResult) -> GuestRowForm:
    verdict = result.verdict
    return {
        "name": result.name,
        "state": result.state,
        "exit_code": result.exit_code,
        "reason": result.reason,
        "remedy": result.remedy,
        "source": result.source,
        "windows": result.windows,
        "boot": verdict.outcome if verdict else None,
        "findings": [finding.id for finding in verdict.findings] if verdict else [],
        "changes": result.change_count,
        "seconds": dict(result.seconds),
        "source_bytes": result.source_bytes,
        "result_bytes": result.result_bytes,
        "disks": list(result.disks),
        "report": result.report,
        "log": result.log,
        "notes": list(result.notes),
        "next": list(result.next),
    }


#: The columns of the CSV; lists are joined by "; " and the time is the total in seconds.
COLUMNS = (
    "name", "state", "exit_code", "reason", "remedy", "source", "windows", "boot", "findings",
    "changes", "seconds", "source_bytes", "result_bytes", "disks", "report", "log", "notes",
)  # fmt: skip


def summary_csv(results: Sequence[GuestResult]) -> str:
    """Return the results as CSV (RFC 4180).

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for result in results:
        row: dict[str, object] = {**_row(result), "seconds": round(result.total_seconds, 3)}
        writer.writerow(_cell(row[column]) for column in COLUMNS)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = "; ".join(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
