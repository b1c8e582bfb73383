"""The commands that end or undo an edit of an image."""

from __future__ import annotations

import json
from pathlib import Path

import click

from offline_mig.cli import edit_screen
from offline_mig.cli.parameters import ENGINE, JSON, PATH
from offline_mig.cli.screen import Screen
from offline_mig.conversion.edit import recover_image
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.undo import UndoResult, undo_edit

IMAGE = click.argument("image", type=PATH)


@click.command()
@IMAGE
@click.option("--journal", type=PATH, required=True, help="The journal that the edit wrote.")
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
    done = undo_edit(image, journal, choose_engine(EngineChoice(engine)), progress, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(_undo_record(done), indent=2, ensure_ascii=False))
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
    carried_through = recover_image(image)
    if as_json:
        record = {"schema": "offline-mig/recover/1", "carried_through": carried_through}
        click.echo(json.dumps(record, indent=2))
    elif carried_through:
        click.echo(f"The changes are in {image} now.")
    else:
        click.echo(f"No change was being written into {image}: it is as it was.")


def _undo_record(done: UndoResult) -> dict[str, object]:
    plan = done.plan
    return {
        "schema": "offline-mig/undo/1",
        "dry_run": done.dry_run,
        "image": plain(done.image),
        "journal": {"identity": done.journal.identity, "created": done.journal.created},
        "whole_hives": plain(plan.whole_hives),
        "files": [file.path for file in plan.files],
        "taken_back": list(plan.taken_back),
        "already": plan.already,
        "left_alone": plain(plan.left_alone),
        "notes": list(done.notes),
    }
