"""The commands that end or undo an edit of an image."""

from __future__ import annotations

from pathlib import Path

import click

from offline_mig.api import editing
from offline_mig.cli import edit_screen
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import ENGINE, JSON, PATH
from offline_mig.cli.screen import Screen

IMAGE = click.argument("image", type=PATH)


@click.command()
@IMAGE
@click.option(
    "--journal",
    type=PATH,
    required=True,
    help="The journal that the edit wrote, or the report of a conversion.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be put back, and change nothing.")
@ENGINE
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def undo(
    image: Path, journal: Path, dry_run: bool, engine: str, quiet: bool, as_json: bool
) -> None:
    """Undo an edit of IMAGE: every hive and file becomes what it was before.

    What the guest has changed since then stays, and is listed.
    """
    progress = Screen(quiet=quiet or as_json)
    done = editing.undo(image, journal, dry_run=dry_run, engine=engine, progress=progress)
    if as_json:
        print_json(editing.undo_record(done))
    else:
        edit_screen.show_undo(done)


@click.command()
@IMAGE
@JSON
def recover(image: Path, as_json: bool) -> None:
    """End an edit of IMAGE that was cut off, such as by a power failure.

    Changes that were already being written into the image are carried through, others dropped.
    The other commands that edit images do so first by themselves.
    """
    carried_through = editing.recover(image)
    if as_json:
        print_json(editing.recovery_record(carried_through=carried_through))
    elif carried_through:
        click.echo(f"The changes are in {image} now.")
    else:
        click.echo(f"No change was being written into {image}: it is as it was.")
