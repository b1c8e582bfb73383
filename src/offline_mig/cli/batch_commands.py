"""The commands for many guests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from offline_mig.api import batches
from offline_mig.cli.batch_screen import watching
from offline_mig.cli.cache_options import asked_cache, cache_options
from offline_mig.cli.convert_options import by_name, convert_options
from offline_mig.cli.failure import INTERRUPTED
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.cli.preflight_screen import PreflightScreen
from offline_mig.cli.screen import plural
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
@click.option(
    "-o", "--output", type=PATH, help="Where the results would go: what is free and in the way."
)
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
    found = batches.preflight(place, output, options=_chosen(given), jobs=jobs, watcher=screen)
    if as_json:
        print_json(batches.preflight_record(found))
    else:
        screen.show(found.rows, found.estimate, found.unread)
    if found.blocked:
        sys.exit(GuestsLeftError.exit_code)


@click.command()
@click.argument("place", metavar="FOLDER|PLAN", type=PATH)
@convert_options
@click.option("-o", "--output", type=PATH, help="Folder for all results. [required unless in PLAN]")
@JOBS
@cache_options
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
    cache: Path | None,
    cache_size: int | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert all machines of a folder or a plan, several at once.

    FOLDER is searched with all folders in it; PLAN is a plan file (TOML), which may give every
    guest options of its own. One guest that fails does not stop the others. Ends with 0 when all
    guests are converted, with 13 when some are not.
    """
    chosen = _chosen(given)
    kept = asked_cache(cache, cache_size)
    if plan_file is not None:
        machines = batches.write_plan(
            place, plan_file, output, options=chosen, jobs=jobs, cache=kept
        )
        click.echo(f"{plan_file} was written, with {plural(machines, 'machine')}.", err=True)
        if as_json:
            print_json(batches.write_plan_record(plan_file, machines))
        return
    with watching(quiet=quiet, as_json=as_json) as watcher:
        try:
            end = batches.convert_many(
                place,
                output,
                options=chosen,
                jobs=jobs,
                resume=resume,
                scheduler=scheduler,
                cache=kept,
                watcher=watcher,
            )
        except batches.NoOutputError as error:
            raise click.UsageError("Missing option '-o' / '--output'.") from error
        code = 0
        if end.left:
            code = INTERRUPTED if end.interrupted else GuestsLeftError.exit_code
        elif end.unread:
            code = GuestsLeftError.exit_code
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
    return by_name(said)
