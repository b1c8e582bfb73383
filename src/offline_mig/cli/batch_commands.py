"""The commands for many guests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from offline_mig.batch.cluster import cluster_crew
from offline_mig.batch.crew import Crew, local_crew
from offline_mig.batch.described_plan import described_plan
from offline_mig.batch.host_limits import fitting_jobs
from offline_mig.batch.host_memory import open_memory
from offline_mig.batch.journal import read_batch
from offline_mig.batch.plan_file import absolute, write_plan
from offline_mig.batch.plan_guests import guests_of, plan_at
from offline_mig.batch.preflight import Readiness
from offline_mig.batch.preflight_run import estimate, preflight_engine, run_preflight
from offline_mig.batch.run import run_batch
from offline_mig.cli.batch_screen import watching
from offline_mig.cli.convert_options import by_name, convert_options
from offline_mig.cli.failure import INTERRUPTED
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.cli.preflight_screen import PreflightScreen
from offline_mig.conversion.named_options import named_engine
from offline_mig.errors import GuestsLeftError

JOBS = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="How many guests at once. [default: what processors, memory and disks allow]",
)


@click.command()
@click.argument("place", metavar="FOLDER|PLAN", type=PATH)
@convert_options
@click.option("-o", "--output", type=PATH, help="Where the results would go, for the free space.")
@JOBS
@click.option("--notes", is_flag=True, help="Print the notes on each machine, too.")
@JSON
def preflight(
    place: Path,
    output: Path | None,
    jobs: int | None,
    notes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Tell which machines can be converted, before a byte is copied.

    FOLDER is searched with all folders in it; PLAN is a plan file (TOML). Nothing is changed. Ends
    with 13 when a machine cannot be converted.
    """
    screen = PreflightScreen(as_json=as_json, notes=notes)
    scope = plan_at(place, output)
    chosen = _chosen(given)
    quick = {"engine": preflight_engine().value, **chosen}
    guests = guests_of(scope, quick)
    output = output or scope.plan.output
    places = [*scope.places, *filter(None, [output])]
    jobs = jobs or scope.plan.jobs or fitting_jobs(places, guests)
    with open_memory() as memory, local_crew(jobs) as crew:
        screen.begun(len(guests))
        rows = run_preflight(guests, output or Path(), crew, memory, screen.seen)
        found = estimate(rows, memory, named_engine({"engine": "auto", **chosen}), jobs, output)
    screen.show(rows, found, scope.unread)
    if any(row.readiness is Readiness.BLOCKED for row in rows):
        sys.exit(GuestsLeftError.exit_code)


@click.command()
@click.argument("place", metavar="FOLDER|PLAN", type=PATH)
@convert_options
@click.option("-o", "--output", type=PATH, help="Folder for all results. [required unless in PLAN]")
@JOBS
@click.option("--resume", is_flag=True, help="Go on with a batch: only what is left is done.")
@click.option(
    "--write-plan",
    "plan_file",
    type=PATH,
    help="Look at the machines, write them into a new plan file, and convert none.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Convert on the workers of this Dask scheduler, such as tcp://head:8786.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def batch(
    place: Path,
    output: Path | None,
    jobs: int | None,
    resume: bool,
    plan_file: Path | None,
    scheduler: str | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert all machines of a folder or a plan, several at once.

    FOLDER is searched with all folders in it; PLAN is a plan file (TOML), which may give every
    guest options of its own. One guest that fails does not stop the others. Ends with 0 when all
    guests are converted, with 13 when some are not.
    """
    scope = plan_at(place, output)
    chosen = _chosen(given)
    output = output or scope.plan.output
    jobs = jobs or scope.plan.jobs
    if plan_file is not None:
        plan = described_plan(scope, chosen, output, jobs)
        write_plan(plan, plan_file)
        click.echo(f"{len(plan.guests)} machines are in {plan_file}.", err=True)
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    guests = guests_of(scope, chosen, read_batch(output) if resume else None)
    with ExitStack() as opened:
        memory = opened.enter_context(open_memory())
        if scheduler is None:
            size = jobs or fitting_jobs([*scope.places, output], guests)
            crew: Crew = opened.enter_context(local_crew(size))
        else:
            crew = opened.enter_context(cluster_crew(scheduler, jobs, output))
        watcher = opened.enter_context(watching(quiet=quiet, as_json=as_json))
        end = run_batch(guests, output, crew, watcher, memory, resume=resume)
        code = 0
        if end.left:
            code = INTERRUPTED if end.interrupted else GuestsLeftError.exit_code
        watcher.ended(end, code)
    sys.exit(code)


def _chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of conversions that stand on the command line, by their names."""
    context = click.get_current_context()
    said = {
        name: value
        for name, value in given.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return absolute(by_name(said), Path.cwd())
