"""A plan file to begin with: all machines, with the verdict on each as a comment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from offline_mig.batch.crew import local_crew
from offline_mig.batch.host_limits import jobs_of
from offline_mig.batch.host_memory import open_memory
from offline_mig.batch.journal import read_batch
from offline_mig.batch.plan_file import BatchPlan
from offline_mig.batch.plan_guests import Scope, guests_of, unread_text
from offline_mig.batch.preflight import PreflightRow
from offline_mig.batch.preflight_run import quickly, run_preflight
from offline_mig.conversion.result_cache import ResultCache


def described_plan(
    scope: Scope,
    given: Mapping[str, Any],
    output: Path | None,
    jobs: int | None,
    cache: ResultCache | None,
) -> BatchPlan:
    """Look at the machines of a scope and return a plan of them all, blocked ones as well.

    What is wrong with these may be mended before the plan is carried out, or they are skipped.
    """
    before = None if output is None else read_batch(output)
    guests = guests_of(scope, quickly(scope, given), before)
    size = jobs_of(jobs, scope.places, guests)
    with open_memory() as memory, local_crew(size) as crew:
        rows = run_preflight(guests, output, crew, memory, lambda _: None, before)
    remarks = {row.source: _remark(row) for row in rows}
    return replace(
        scope.plan,
        guests=tuple(
            replace(guest, remark=remarks.get(guest.source, "")) for guest in scope.plan.guests
        ),
        output=None if output is None else output.absolute(),
        jobs=jobs,
        given={**scope.plan.given, **given},
        cache=cache,
        remark="\n".join(map(unread_text, scope.unread)),
    )


def _remark(row: PreflightRow) -> str:
    parts = [row.readiness.value, row.windows, row.message, row.remedy, *row.notes]
    return "\n".join(part for part in parts if part)
