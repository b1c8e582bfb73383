"""What people and programs see of a preflight."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from offline_mig.batch.preflight import PreflightRow, Readiness
from offline_mig.batch.preflight_run import Estimate
from offline_mig.cli.screen import plural, size
from offline_mig.sources.file_access import shown

_COLOURS = {Readiness.READY: "green", Readiness.NOTES: "yellow", Readiness.BLOCKED: "red"}
_INDENT = " " * 4


class PreflightScreen:
    """A counter on a terminal while machines are looked at, then all rows."""

    def __init__(self, *, as_json: bool, notes: bool) -> None:
        self._notes = notes
        self._counts = not as_json and sys.stderr.isatty()
        self._all = 0
        self._seen = 0

    def begun(self, machines: int) -> None:
        """So many machines were found."""
        self._all = machines

    def seen(self, row: PreflightRow) -> None:
        """A machine was looked at."""
        self._seen += 1
        if self._counts:
            click.echo(f"\r{self._seen} of {self._all} looked at", nl=False, err=True)

    def show(
        self, rows: Sequence[PreflightRow], estimate: Estimate, unread: Sequence[Path]
    ) -> None:
        """Print everything."""
        if self._counts and self._seen:
            click.echo(err=True)
        if rows:
            click.secho(f"{'verdict':<17}{'on disk':>10}{'needs':>11}  machine", bold=True)
        for row in rows:
            _show_row(row, notes=self._notes)
        for folder in unread:
            click.echo(f"Note: the folder {shown(folder)} cannot be read.")
        _show_estimate(estimate)


def _show_row(row: PreflightRow, *, notes: bool) -> None:
    click.secho(f"{row.readiness.value:<17}", fg=_COLOURS[row.readiness], nl=False)
    needed = size(row.needed) if row.needed else "-"
    windows = f", {shown(row.windows)}" if row.windows else ""
    counted = f" ({plural(len(row.notes), 'note')})" if row.notes and not notes else ""
    click.echo(f"{size(row.size):>10}{needed:>11}  {shown(row.name)}{windows}{counted}")
    if row.message:
        click.echo(f"{_INDENT}{shown(row.source)}")
        click.echo(f"{_INDENT}{shown(row.message)}")
    if row.remedy:
        click.echo(f"{_INDENT}What to do: {shown(row.remedy)}")
    if notes:
        for note in row.notes:
            click.echo(f"{_INDENT}Note: {shown(note)}")


def _show_estimate(estimate: Estimate) -> None:
    totals = estimate.totals
    machines = totals.ready + totals.with_notes + totals.blocked
    click.secho(
        f"{plural(machines, 'machine')}: {totals.ready} ready, "
        f"{totals.with_notes} ready with notes, {totals.blocked} blocked.",
        bold=True,
    )
    if machines == totals.blocked:
        return
    room = f"The results need up to {size(totals.needed)}"
    if estimate.free is None:
        click.echo(f"{room}.")
    else:
        click.echo(f"{room}, and {size(estimate.free)} are free.")
        if totals.needed > estimate.free:
            click.secho("That is not enough for all of them.", fg="yellow")
    by = (
        f"the last {estimate.rates.measured} conversions on this host"
        if estimate.rates.measured
        else "published rates, since this host has converted too few yet"
    )
    click.echo(f"About {_duration(totals.seconds)}, {estimate.jobs} at once, by {by}.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
