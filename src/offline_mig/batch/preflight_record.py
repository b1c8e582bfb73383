"""A preflight, and the plan that is written after one, as plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.batch.preflight import PreflightRow
from offline_mig.batch.preflight_run import Estimate
from offline_mig.conversion.plain_data import plain


class PreflightForm(TypedDict):
    """The verdicts on all machines; ``unread`` are folders that could not be looked into."""

    schema: Literal["offline-mig/preflight/1"]
    machines: list[PreflightRow]
    unread: list[str]
    estimate: Estimate


class WritePlanForm(TypedDict):
    """A plan file that was written, and how many machines it has."""

    schema: Literal["offline-mig/write-plan/1"]
    plan: str
    machines: int


def preflight_record(
    rows: Sequence[PreflightRow], unread: Sequence[Path], estimate: Estimate
) -> PreflightForm:
    """Return a preflight as plain data."""
    return {
        "schema": "offline-mig/preflight/1",
        "machines": plain(rows),
        "unread": plain(unread),
        "estimate": plain(estimate),
    }


def write_plan_record(plan: Path, machines: int) -> WritePlanForm:
    """Return what was written as plain data."""
    return {"schema": "offline-mig/write-plan/1", "plan": plain(plan), "machines": machines}
