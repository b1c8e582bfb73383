"""Looking at many machines at once, and not again at those that are as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offline_mig.batch.crew import Crew
from offline_mig.batch.host_memory import HostMemory
from offline_mig.batch.orders import End, Order, Result, Task
from offline_mig.batch.plan_guests import GuestWork, Scope
from offline_mig.batch.preflight import (
    PreflightRow,
    Rates,
    Readiness,
    Totals,
    recorded_row,
    total,
)
from offline_mig.batch.record import BatchRecord, GuestState
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.result_names import possible_names
from offline_mig.conversion.workspace import absolute_output, refuse_existing
from offline_mig.errors import OfflineMigError
from offline_mig.guest.userspace_engine import userspace_problems
from offline_mig.images.image_lock import refuse_in_use
from offline_mig.machine import DiskFormat

#: Ends that say something of the machine, and not of this host or its storage at this moment.
_LASTING = {0, 5, 6, 7}

Seen = Callable[[PreflightRow], None]


def preflight_engine() -> EngineChoice:
    """Return what machines are looked at with: the engine that opens one in a tenth of a second."""
    return EngineChoice.AUTO if userspace_problems() else EngineChoice.USERSPACE


def quickly(scope: Scope, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options ``given`` with the quick engine, where nobody chose another."""
    if "engine" in {**scope.plan.given, **given}:
        return given
    return {**given, "engine": preflight_engine().value}


def run_preflight(
    guests: Sequence[GuestWork],
    output: Path | None,
    crew: Crew,
    memory: HostMemory,
    seen: Seen,
    before: BatchRecord | None = None,
) -> list[PreflightRow]:
    """Return the verdicts on guests, in their order; ``seen`` is told of each as it is reached.

    What is known of a machine that is as it was is believed, but for whether it runs just now, and
    whether something is in the way in ``output``. That does not count for guests that the batch
    ``before`` has converted into it: it would leave them as they are.
    """
    done = {
        (guest.name, guest.source)
        for guest in (before.guests if before else ())
        if guest.state is GuestState.CONVERTED
    }

    def now(row: PreflightRow, guest: GuestWork) -> PreflightRow:
        if output is None or (guest.name, guest.source) in done:
            return row
        return _unless_in_the_way(row, guest, output)

    rows: dict[str, PreflightRow] = {}
    asked: dict[Future[Result], GuestWork] = {}
    for guest in guests:
        known = memory.verdict(guest.fingerprint)
        if known is None:
            order = Order(
                Task.LOOK,
                guest.name,
                str(guest.source),
                guest.given,
                str(output or Path()),
                guest.size,
            )
            asked[crew.submit(order, lambda _: None)] = guest
        else:
            rows[guest.name] = now(_unless_in_use(known, guest), guest)
            seen(rows[guest.name])
    for future in as_completed(asked):
        guest = asked[future]
        row = _row(guest, future.result())
        if row.exit_code in _LASTING:
            memory.keep(guest.fingerprint, row)
        rows[guest.name] = now(row, guest)
        seen(rows[guest.name])
    return [rows[guest.name] for guest in guests]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What converting all that can be converted takes.

    ``free`` are the bytes that are free where the results would go, None where that is not known.
    """

    totals: Totals
    rates: Rates
    jobs: int
    free: int | None


def estimate(
    rows: Sequence[PreflightRow],
    memory: HostMemory,
    engine: EngineChoice,
    jobs: int,
    output: Path | None,
) -> Estimate:
    """Return what the conversions take, ``jobs`` of them at once, by an engine."""
    rates = memory.rates(choose_engine(engine).name)
    free = None
    if output is not None:
        there = next(p for p in (output.absolute(), *output.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
    return Estimate(total(rows, rates, jobs), rates, jobs, free)


def _row(guest: GuestWork, result: Result) -> PreflightRow:
    if result.end is End.DONE:
        return recorded_row(result.found)
    return PreflightRow(
        guest.name,
        guest.source,
        Readiness.BLOCKED,
        size=guest.size,
        message=result.message,
        remedy=result.remedy,
        exit_code=1 if result.exit_code is None else result.exit_code,
    )


def _unless_in_use(row: PreflightRow, guest: GuestWork) -> PreflightRow:
    """Return the verdict on a machine that is as it was, with whether it runs just now."""
    try:
        for path in guest.machine.files:
            refuse_in_use(path)
    except OfflineMigError as error:
        return _blocked(row, error)
    return row


def _unless_in_the_way(row: PreflightRow, guest: GuestWork, output: Path) -> PreflightRow:
    """Return the verdict on a machine with whether something lies where its results would."""
    if row.readiness is Readiness.BLOCKED:
        return row
    names = possible_names(guest.name, DiskFormat(guest.given.get("format", DiskFormat.QCOW2)))
    overwrite = bool(guest.given.get("overwrite"))
    try:
        refuse_existing(absolute_output(output), names, guest.machine.files, overwrite=overwrite)
    except OfflineMigError as error:
        return _blocked(row, error)
    return row


def _blocked(row: PreflightRow, error: OfflineMigError) -> PreflightRow:
    return replace(
        row,
        readiness=Readiness.BLOCKED,
        message=error.message,
        remedy=error.remedy,
        exit_code=error.exit_code,
    )
