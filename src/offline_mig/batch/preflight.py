"""What is known of a machine before a byte of it is copied, and what that adds up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from offline_mig.conversion.space import ALLOWANCE


class Readiness(StrEnum):
    """The verdict on a machine."""

    READY = "ready"
    NOTES = "ready with notes"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class PreflightRow:
    """A machine and the verdict on it.

    ``windows`` is "" where nobody got to see it. ``size`` is what the source takes on disk and
    ``needed`` what a conversion takes at most, in bytes; 0 where it cannot be told. ``message``,
    ``remedy`` and ``exit_code`` say why it is blocked, as ``convert`` would.
    """

    name: str
    source: Path
    readiness: Readiness
    windows: str = ""
    size: int = 0
    needed: int = 0
    message: str = ""
    remedy: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    """How long conversions take: seconds for each guest, and bytes of data per second beyond it.

    ``measured`` is the number of conversions on this host that they come from, 0 for those of
    docs/performance.md.
    """

    seconds: float
    throughput: float
    measured: int = 0


#: docs/performance.md, "Figures", at the usual speed of the host there: 0.65 s for a guest of
#: 60 MiB, and 0.86 s for each GiB more.
PUBLISHED_RATES = Rates(0.6, 1024**3 / 0.86)
#: One guest says nothing about how time grows with size.
_ENOUGH_GUESTS = 5
#: Sizes whose standard deviation is below this part of their mean are taken for one.
_ALIKE = 0.25


def rates_from(conversions: Sequence[tuple[int, float]]) -> Rates:
    """Return the rates that conversions of so many bytes in so many seconds amount to.

    A line through them by least squares. Where they are too much alike to tell what a guest takes
    from what a byte takes, the throughput is the published one, and the rest of the time the
    guest's; where they are too few, all is as published.
    """
    if len(conversions) < _ENOUGH_GUESTS:
        return PUBLISHED_RATES
    count = len(conversions)
    mean_size = sum(size for size, _ in conversions) / count
    mean_time = sum(seconds for _, seconds in conversions) / count
    spread = sum((size - mean_size) ** 2 for size, _ in conversions)
    together = sum((size - mean_size) * (time - mean_time) for size, time in conversions)
    if together > 0 and spread > count * (mean_size * _ALIKE) ** 2:
        seconds = mean_time - together / spread * mean_size
        if seconds > 0:
            return Rates(seconds, spread / together, count)
    seconds = mean_time - mean_size / PUBLISHED_RATES.throughput
    if seconds > 0:
        return Rates(seconds, PUBLISHED_RATES.throughput, count)
    return Rates(0.0, mean_size / mean_time, count)


@dataclass(frozen=True, slots=True)
class Totals:
    """What all rows add up to; bytes and seconds, for the guests that are not blocked."""

    ready: int
    with_notes: int
    blocked: int
    size: int
    needed: int
    seconds: float


def total(rows: Sequence[PreflightRow], rates: Rates, jobs: int) -> Totals:
    """Add rows up; ``jobs`` guests are converted at once."""
    counts = {kind: sum(row.readiness is kind for row in rows) for kind in Readiness}
    going = [row for row in rows if row.readiness is not Readiness.BLOCKED]
    data = (max(0, row.needed - ALLOWANCE) for row in going)
    times = [rates.seconds + size / rates.throughput for size in data]
    return Totals(
        ready=counts[Readiness.READY],
        with_notes=counts[Readiness.NOTES],
        blocked=counts[Readiness.BLOCKED],
        size=sum(row.size for row in going),
        needed=sum(row.needed for row in going),
        # No guest is divided: the longest is a limit of its own.
        seconds=max(sum(times) / jobs, max(times, default=0.0)),
    )


def row_record(row: PreflightRow) -> dict[str, Any]:
    """Return a row as plain data."""
    return asdict(row) | {"source": str(row.source), "notes": list(row.notes)}


def recorded_row(record: Mapping[str, Any]) -> PreflightRow:
    """Return the row of plain data; raises KeyError, TypeError and ValueError."""
    return PreflightRow(
        **{
            **record,
            "source": Path(record["source"]),
            "readiness": Readiness(record["readiness"]),
            "notes": tuple(record["notes"]),
        }
    )
