"""What people read on the screen of a first boot: what to expect of it, and how it went."""

from __future__ import annotations

from collections.abc import Iterable

import click

from offline_mig.cli.screen import plural, row
from offline_mig.sources.file_access import shown
from offline_mig.surgery.first_boot_log import FirstBootRecord


def show_first_start(expectations: Iterable[str]) -> None:
    """Print what to expect when Windows first starts."""
    click.echo("First boot:")
    for sentence in expectations:
        click.echo(f"  - {shown(sentence)}")


def show_first_boot(record: FirstBootRecord) -> None:
    """Print how a first boot went, and its log as it is."""
    row("first boot", record.problem or record.state)
    for step in record.steps:
        code = "" if step.code is None else f", last exit code {step.code}"
        row("", f"{step.id}: {step.state}, {plural(step.tries, 'try', 'tries')}{code}")
    for number, line in enumerate(record.log.splitlines()):
        row("its log" if number == 0 else "", line)
