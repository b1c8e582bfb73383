"""What people read of an edit that is undone."""

from __future__ import annotations

import click

from offline_mig.conversion.undo import UndoResult
from offline_mig.sources.file_access import shown

#: Changes that are named, of each kind, before the rest is only counted.
_SHOWN = 20


def show_undo(done: UndoResult) -> None:
    """Print what was put back and what was left alone."""
    plan = done.plan
    if not plan.files and not plan.made:
        click.echo(f"Nothing to put back in {done.image}.")
    else:
        verb = "Would put back" if done.dry_run else "Put back"
        click.secho(f"{verb} in {done.image}", bold=True)
        for hive in plan.whole_hives:
            click.echo(f"  the hive {hive}, byte for byte")
        whole = {f"{hive}\\" for hive in plan.whole_hives}
        single = [what for what in plan.taken_back if not what.startswith(tuple(whole))]
        _show(single)
    if plan.already:
        click.echo(f"As before the edit already: {plan.already} change(s).")
    if plan.left_alone:
        click.secho("Left alone", fg="yellow", bold=True)
        _show([f"{left.what}: {left.reason}" for left in plan.left_alone])
    for note in done.notes:
        click.echo(f"Note: {note}")


def _show(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        # It may quote what a guest has in its registry.
        click.echo(f"  {shown(line)}")
    if len(lines) > _SHOWN:
        click.echo(f"  and {len(lines) - _SHOWN} more")
