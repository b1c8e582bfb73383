"""Many guests: telling what can be converted, and converting.

``place`` is a folder, which is searched with all folders in it, or a plan file (TOML). ``options``
are those of conversions by the names that the command line and plan files have for them, such as
``{"drivers": ["virtio-win.iso"], "allow-unsigned": True}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from offline_mig.api.paths import StrPath
from offline_mig.batch.board import Board
from offline_mig.batch.cluster import cluster_crew
from offline_mig.batch.crew import Crew, local_crew
from offline_mig.batch.described_plan import described_plan
from offline_mig.batch.host_limits import jobs_of
from offline_mig.batch.host_memory import open_memory
from offline_mig.batch.journal import read_batch
from offline_mig.batch.orders import Progressed
from offline_mig.batch.plan_file import chosen_options, require_new
from offline_mig.batch.plan_file import write_plan as write_plan_file
from offline_mig.batch.plan_guests import GuestWork, guests_of, plan_at
from offline_mig.batch.preflight import PreflightRow, Readiness
from offline_mig.batch.preflight_record import PreflightForm, WritePlanForm
from offline_mig.batch.preflight_record import preflight_record as record_of
from offline_mig.batch.preflight_record import write_plan_record as plan_record_of
from offline_mig.batch.preflight_run import Estimate, estimate, quickly, run_preflight
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.batch.resuming import resumed
from offline_mig.batch.run import BatchEnd, Watcher, run_batch
from offline_mig.conversion.cached import require_apart, require_undefined
from offline_mig.conversion.named_options import named_engine
from offline_mig.conversion.result_cache import ResultCache


class NoOutputError(ValueError):
    """Neither the caller nor the plan says where results are to go."""


class PreflightWatcher(Protocol):
    """Whoever wants to see a preflight go on."""

    def begun(self, machines: int) -> None:
        """So many machines were found."""

    def seen(self, row: PreflightRow) -> None:
        """A machine was looked at."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The verdicts on machines, and what converting those takes that can be.

    ``unread`` are folders that could not be looked into.
    """

    rows: tuple[PreflightRow, ...]
    estimate: Estimate
    unread: tuple[Path, ...]

    @property
    def blocked(self) -> bool:
        """Whether a machine cannot be converted."""
        return any(row.readiness is Readiness.BLOCKED for row in self.rows)


def preflight(
    place: StrPath,
    output: StrPath | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    watcher: PreflightWatcher | None = None,
) -> Preflight:
    """Tell which machines can be converted; changes nothing.

    ``output`` is where the results would go, for the free space and what is in the way. Raises
    OfflineMigError for a place that cannot be read, never for a machine.
    """
    watcher = watcher or _Unwatched()
    chosen = chosen_options(options)
    target = None if output is None else Path(output)
    scope = plan_at(Path(place), target)
    target = target or scope.plan.output
    before = None if target is None else read_batch(target)
    guests = guests_of(scope, quickly(scope, chosen), before)
    places = [*scope.places, *filter(None, [target])]
    size = jobs_of(jobs or scope.plan.jobs, places, guests)
    with open_memory() as memory, local_crew(size) as crew:
        watcher.begun(len(guests))
        rows = run_preflight(guests, target, crew, memory, watcher.seen, before)
        asked = {"engine": "auto", **scope.plan.given, **chosen}
        found = estimate(rows, memory, named_engine(asked), size, target)
    return Preflight(tuple(rows), found, scope.unread)


def preflight_record(found: Preflight) -> PreflightForm:
    """Return a preflight as plain data."""
    return record_of(found.rows, found.unread, found.estimate)


def write_plan(
    place: StrPath,
    plan_file: StrPath,
    output: StrPath | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    cache: ResultCache | None = None,
) -> int:
    """Look at all machines and write them into a new plan file; returns how many there are.

    Raises OutputRefusedError for a file that is there already, before anything is looked at.
    """
    require_new(Path(plan_file))
    chosen = chosen_options(options)
    target = None if output is None else Path(output)
    scope = plan_at(Path(place), target)
    folder = target or scope.plan.output
    kept = cache or scope.plan.cache
    plan = described_plan(scope, chosen, folder, jobs or scope.plan.jobs, kept)
    write_plan_file(plan, Path(plan_file))
    return len(plan.guests)


def write_plan_record(plan_file: StrPath, machines: int) -> WritePlanForm:
    """Return what ``write_plan`` has done as plain data."""
    return plan_record_of(Path(plan_file), machines)


def convert_many(
    place: StrPath,
    output: StrPath | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    resume: bool = False,
    scheduler: str | None = None,
    cache: ResultCache | None = None,
    watcher: Watcher | None = None,
) -> BatchEnd:
    """Convert all machines of a folder or a plan, several at once; see docs/batch.md.

    ``scheduler`` is the address of a Dask scheduler whose workers are to do it; ``cache`` is where
    results are kept and taken from, in place of the plan's. Called in the main thread, SIGINT and
    SIGTERM end it in order. Raises NoOutputError, and OfflineMigError when it cannot begin; what a
    guest failed with stands in its record.
    """
    chosen = chosen_options(options)
    scope = plan_at(Path(place), None if output is None else Path(output))
    target = scope.plan.output if output is None else Path(output)
    if target is None:
        raise NoOutputError("no folder for the results was named")
    before = read_batch(target) if resume else None
    guests = guests_of(scope, chosen, before)
    jobs = jobs or scope.plan.jobs
    cache = cache or scope.plan.cache
    if cache is not None:
        _require_usable(cache, guests, target, scope.places)
    with ExitStack() as opened:
        memory = opened.enter_context(open_memory())
        if scheduler is None:
            left = {r.name for r in resumed(guests, before) if r.state is GuestState.WAITING}
            waiting = [guest for guest in guests if guest.name in left]
            size = jobs_of(jobs, [*scope.places, target], waiting)
            crew: Crew = opened.enter_context(local_crew(size))
        else:
            crew = opened.enter_context(cluster_crew(scheduler, jobs, target))
        return run_batch(
            guests,
            target,
            crew,
            watcher or _Unwatched(),
            memory,
            resume=resume,
            unread=scope.unread,
            cache=cache,
        )


def _require_usable(
    cache: ResultCache, guests: Sequence[GuestWork], output: Path, places: Sequence[Path]
) -> None:
    """Raise OutputRefusedError for a cache that every guest would fail with."""
    for guest in guests:
        require_undefined(guest.given.get("define"))
    for folder in (output, *places):
        require_apart(cache, folder)
    cache.prepare()


class _Unwatched:
    """Tells nobody."""

    def begun(self, *_: object, **__: object) -> None:
        """It begins."""

    def seen(self, row: PreflightRow) -> None:
        """A machine was looked at."""

    def changed(self, board: Board, record: GuestRecord) -> None:
        """A guest was begun or ended; its record says so in the end."""

    def progressed(self, board: Board, progressed: Progressed) -> None:
        """A guest goes on."""

    def tick(self, board: Board) -> None:
        """Some time has passed."""

    def say(self, board: Board, text: str) -> None:
        """Something that the user should know of the batch."""
