"""The command that sums up a folder of results."""

from __future__ import annotations

from pathlib import Path

import click

from offline_mig.api.summaries import summarise
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON, PATH


@click.command("report")
@click.argument("folder", type=PATH)
@click.option("-o", "--output", type=PATH, help="The HTML file. [default: FOLDER/summary.html]")
@JSON
def report_command(folder: Path, output: Path | None, as_json: bool) -> None:
    """Sum up the results in FOLDER as one HTML file, with summary.json and summary.csv beside it.

    FOLDER is what 'convert -o' was given; what is in the folders below it counts as well.
    """
    done = summarise(folder, output)
    if as_json:
        print_json(done.record)
        return
    counts = done.record["counts"]
    click.echo(f"{counts['converted']} of {counts['guests']} guests converted.")
    click.echo(f"{done.files.page} is for a browser, {done.files.record} and")
    click.echo(f"{done.files.table} are for programs.")
