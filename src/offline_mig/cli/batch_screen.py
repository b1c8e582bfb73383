"""What people and programs see of a batch while it runs, and in its end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from offline_mig.batch.board import Board
from offline_mig.batch.event_record import BatchEventForm, event_record
from offline_mig.batch.orders import Progressed
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.batch.run import BatchEnd, Watcher
from offline_mig.cli.screen import plural
from offline_mig.sources.file_access import shown

_GIB = 1024**3
_STYLES = {
    GuestState.CONVERTED: "green",
    GuestState.FAILED: "red",
    GuestState.ABANDONED: "yellow",
}


class BatchScreen(Watcher, Protocol):
    """Who watches a batch and tells its end."""

    def ended(self, end: BatchEnd, code: int) -> None:
        """The batch is over, and the command ends with ``code``."""


@contextmanager
def watching(*, quiet: bool, as_json: bool) -> Iterator[BatchScreen]:
    """Give who watches a batch: a program, nobody, a terminal, or whatever reads plain lines."""
    if as_json:
        yield EventStream()
    elif not quiet and sys.stderr.isatty():
        table = LiveTable()
        try:
            yield table
        finally:
            # What ends the batch early must not find the terminal as a table needs it.
            table.close()
    else:
        yield PlainLines(quiet=quiet)


class EventStream:
    """Lines of JSON on standard output, one for each thing that happens."""

    def begun(self, board: Board, *, jobs: int) -> None:
        """The batch begins."""
        _print_line(event_record("begun", board))

    def changed(self, board: Board, record: GuestRecord) -> None:
        """A guest was begun or ended."""
        _print_line(event_record("guest", board, guest=record))

    def progressed(self, board: Board, progressed: Progressed) -> None:
        """A guest goes on."""
        _print_line(event_record("progress", board, progressed=progressed))

    def tick(self, board: Board) -> None:
        """Nothing to tell."""

    def say(self, board: Board, text: str) -> None:
        """Something that the user should know of the batch."""
        _print_line(event_record("note", board, text=text))

    def ended(self, end: BatchEnd, code: int) -> None:
        """The batch is over."""
        _print_line(event_record("ended", end.board, exit_code=code))


def _print_line(event: BatchEventForm) -> None:
    click.echo(json.dumps(event))


class PlainLines:
    """A line for each guest that ends, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def begun(self, board: Board, *, jobs: int) -> None:
        """The batch begins."""
        if not self._quiet:
            self._print(f"{plural(len(board.waiting), 'guest')} to convert, {jobs} at once.")

    def changed(self, board: Board, record: GuestRecord) -> None:
        """A guest was begun or ended."""
        line = _end_line(board, record)
        if line and not self._quiet:
            self._print(line)

    def progressed(self, board: Board, progressed: Progressed) -> None:
        """Nothing to tell: a line for each step would bury the others."""

    def tick(self, board: Board) -> None:
        """Nothing to tell."""

    def say(self, board: Board, text: str) -> None:
        """Something that the user should know of the batch."""
        self._print(text)

    def ended(self, end: BatchEnd, code: int) -> None:
        """The batch is over."""
        show_end(end)

    def _print(self, line: str) -> None:
        click.echo(line, err=True)


class LiveTable:
    """A table of the guests at work that is redrawn in place, on a terminal."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._drawn = 0.0

    def begun(self, board: Board, *, jobs: int) -> None:
        """The batch begins."""
        self._live.start()
        self.tick(board)

    def changed(self, board: Board, record: GuestRecord) -> None:
        """A guest was begun or ended."""
        line = _end_line(board, record)
        if line:
            self._live.console.print(
                line, style=_STYLES.get(record.state), markup=False, highlight=False
            )
        self.tick(board)

    def progressed(self, board: Board, progressed: Progressed) -> None:
        """A guest goes on."""
        # Many guests may tell at once; no eye follows more than this.
        if time.monotonic() - self._drawn > 0.1:
            self.tick(board)

    def tick(self, board: Board) -> None:
        """Draw the table anew."""
        self._drawn = time.monotonic()
        self._live.update(_table(board), refresh=True)

    def say(self, board: Board, text: str) -> None:
        """Something that the user should know of the batch."""
        self._live.console.print(text, style="bold", markup=False, highlight=False)

    def ended(self, end: BatchEnd, code: int) -> None:
        """The batch is over."""
        self.close()
        show_end(end)

    def close(self) -> None:
        """Take the table off the screen."""
        self._live.stop()


def _table(board: Board) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    table.add_column("guest", no_wrap=True, ratio=3)
    table.add_column("step", no_wrap=True, ratio=3)
    table.add_column("copied", ratio=2)
    table.add_column("GiB/s", justify="right", min_width=6)
    table.add_column("time", justify="right", min_width=8)
    now = time.monotonic()
    for name, running in board.running.items():
        rate = board.rate(name)
        table.add_row(
            Text(shown(name)),
            Text(running.step),
            "" if running.copied is None else ProgressBar(1.0, running.copied),
            "" if rate is None else f"{rate / _GIB:.2f}",
            _clock(now - running.began),
        )
    return Group(table, Text(_status(board), style="bold"))


def _status(board: Board) -> str:
    counts = _counts(board)
    parts = [f"{counts['converted']} of {len(board.guests)} converted"]
    parts += [f"{counts[state]} {state}" for state in ("failed", "waiting") if counts[state]]
    left = board.seconds_left()
    parts.append(f"{_clock(time.monotonic() - board.began)} gone")
    if left is not None:
        parts.append(f"about {_clock(left)} left")
    return ", ".join(parts)


def _counts(board: Board) -> dict[str, int]:
    return {state.value: board.count(state) for state in GuestState}


def _end_line(board: Board, record: GuestRecord) -> str:
    """Return the line on a guest that ended, "" for one that did not."""
    ended = sum(1 for guest in board.guests.values() if guest.ended is not None)
    where = f"[{ended}/{len(board.guests)}] {shown(record.name)}"
    if record.state is GuestState.CONVERTED:
        seconds = (record.ended or 0) - (record.started or 0)
        return f"{where}: converted in {seconds:.1f} s"
    if record.state is GuestState.WAITING:
        return f"{where}: once more, after: {shown(record.message)}"
    if record.state in (GuestState.FAILED, GuestState.ABANDONED):
        return f"{where}: {record.state.value}: {shown(record.message)}"
    return ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_end(end: BatchEnd) -> None:
    """Print what became of the guests, those that failed by name."""
    for record in end.guests:
        if record.state is GuestState.FAILED:
            click.secho(f"{shown(record.name)}: ", bold=True, nl=False)
            click.echo(shown(record.message))
            if record.remedy:
                click.echo(f"  What to do: {shown(record.remedy)}")
            if record.log:
                click.echo(f"  Log: {shown(record.log)}")
    parts = [f"{count} {state}" for state, count in _counts(end.board).items() if count]
    count = plural(len(end.guests), "guest")
    click.secho(f"{count}: {', '.join(parts) or 'nothing to do'}.", bold=True)
    if end.left:
        click.echo("To go on with what is left: the same command with --resume.")
