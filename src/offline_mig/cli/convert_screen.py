"""What people read on the screen of a conversion."""

from __future__ import annotations

from collections import Counter

import click

from offline_mig.cli.first_boot_screen import show_first_start
from offline_mig.cli.screen import (
    counted,
    plural,
    row,
    show_diff,
    show_machine,
    show_notes,
    show_windows,
    size,
    windows_name,
)
from offline_mig.conversion.cached import Reused
from offline_mig.conversion.convert import Conversion, Rehearsal
from offline_mig.conversion.network_plan import NetworkPlan
from offline_mig.sources.file_access import shown
from offline_mig.surgery.agents import Placement
from offline_mig.targets.documents import next_commands


def show_rehearsal(rehearsal: Rehearsal, command: str) -> None:
    """Print a dry run: the plan as a diff, and the machine that would come out."""
    show_machine(rehearsal.machine)
    show_windows(rehearsal.proposal.facts)
    click.echo()
    pending = rehearsal.proposal.pending
    if len(pending):
        show_diff(rehearsal.proposal.diff)
        click.echo(f"{counted(pending)} would be changed; nothing was.")
    else:
        click.echo("Nothing would be changed: the guest has all of it already.")
    click.echo()
    _show_connections(rehearsal.proposal.network)
    for document in rehearsal.documents:
        click.echo(f"{document.name} would be ({document.title}):")
        click.echo(document.text.rstrip())
        click.echo()
    show_first_start(rehearsal.proposal.first_start.expectations)
    show_notes(rehearsal.notes)
    click.echo()
    click.echo(f"To do it: {command}")


def show_conversion(done: Conversion) -> None:
    """Print what a conversion did, to be read in ten seconds."""
    report = done.report
    click.secho(f"Converted {report.machine.name}", bold=True)
    row("guest", windows_name(report.facts.version))
    for number, driver in enumerate(report.drivers.drivers.boot):
        text = f"{driver.name} {driver.package.driver_version_text}, from {driver.location}"
        row("boots by" if number == 0 else "", text)
    for number, placed in enumerate(report.agents.plan.placed):
        agent = placed.agent
        text = f"{agent.kind} {agent.version} {placed.placement}, from {agent.origin}"
        if placed.placement is Placement.KEPT:
            where = f" in {placed.folder}" if placed.folder else ""
            text = f"{agent.kind}: the guest's own{where} was kept"
        row("agents" if number == 0 else "", text)
    for number, removal in enumerate(report.removals):
        what = "taken out" if removal.deleted else "disabled"
        row("guest tools" if number == 0 else "", f"{removal.name} {removal.version} {what}")
    _show_connections(report.network)
    if report.journal.entries:
        applied = Counter(entry.change for entry in report.journal.entries)
        first = True
        for block in report.pending.blocks:
            count = sum(1 for change in block.changes if change in applied)
            if count:
                row("changed" if first else "", f"{block.title}: {plural(count, 'change')}")
                first = False
    else:
        row("changed", "nothing: the guest had all of it already")
    for number, disk in enumerate(done.disks):
        used = disk.stat().st_blocks * 512
        row("results" if number == 0 else "", f"{disk} ({size(used)} on disk)")
    for document in done.documents:
        row("", f"{done.folder / document.name} ({document.title})")
    row("", f"{done.report_file} (everything that was found and done)")
    if report.definition is not None:
        row("defined", f"{report.definition.name} at {report.definition.uri}")
    row("took", f"{sum(report.seconds.values()):.0f} s")
    click.echo()
    show_first_start(report.first_start.expectations)
    show_notes(report.notes)
    click.echo()
    click.echo("Next:")
    defined_at = report.definition.uri if report.definition else None
    for command in next_commands(report.target, done.folder, done.documents, defined_at):
        click.echo(f"  {command}")


def show_reused(done: Reused) -> None:
    """Print what was taken from a cache."""
    click.secho(f"{shown(done.name)} is converted already", bold=True)
    row("changed", "nothing since: the results are those of the earlier conversion")
    for number, disk in enumerate(done.disks):
        used = disk.stat().st_blocks * 512
        row("results" if number == 0 else "", f"{disk} ({size(used)} on disk)")
    for document in done.documents:
        row("", f"{done.folder / document['name']} ({document['title']})")
    row("", f"{done.report_file} (everything that was found and done)")
    click.echo()
    show_first_start(done.report["first_boot"]["expect"])
    show_notes(done.report["notes"])
    click.echo()
    click.echo("Next:")
    for command in done.report["next"]:
        click.echo(f"  {shown(command)}")


def _show_connections(network: NetworkPlan) -> None:
    """Print what becomes of the guest's network connections."""
    for number, connection in enumerate(network.connections):
        interface = connection.interface
        text = f'"{interface.name}" ({interface.settings.summary}): {connection.kept}'
        if connection.given is not None:
            text += f", and given {connection.given.summary}"
        row("connections" if number == 0 else "", text)
