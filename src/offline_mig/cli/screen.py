"""What people read on the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from offline_mig.conversion.host_check import HostCheck
from offline_mig.machine import Machine
from offline_mig.sources.file_access import shown
from offline_mig.surgery.changes import DeleteFiles, DiscardSession, ReplayLogs, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import Plan
from offline_mig.windows.network_interfaces import read_network
from offline_mig.windows.version import WindowsVersion

if TYPE_CHECKING:
    from offline_mig.conversion.examination import Examination

_LABEL_WIDTH = 15


class Screen:
    """Progress on standard error: steps as lines, the copy as a bar on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar_shown = False
        self._terminal = sys.stderr.isatty()

    def step(self, text: str) -> None:
        """A step begins."""
        self._end_bar()
        if not self._quiet:
            click.echo(f"{text} …", err=True)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self._end_bar()
        click.echo(f"Note: {shown(text)}", err=True)

    def copied(self, disk: int, disks: int, percent: float) -> None:
        """Redraw the bar."""
        if self._quiet or not self._terminal:
            return
        filled = int(percent * 0.4)
        which = f"disk {disk} of {disks}  " if disks > 1 else ""
        bar = "█" * filled + "░" * (40 - filled)
        click.echo(f"\r  {which}{bar} {percent:5.1f} %", nl=False, err=True)
        self._bar_shown = True

    def _end_bar(self) -> None:
        if self._bar_shown:
            click.echo(err=True)
            self._bar_shown = False


def show_checks(checks: Sequence[HostCheck]) -> None:
    """Print the points of a host check."""
    for check in checks:
        if check.passed:
            mark = click.style("ok     ", fg="green")
        elif check.needed:
            mark = click.style("MISSING", fg="red", bold=True)
        else:
            mark = click.style("slower ", fg="yellow")
        click.echo(f"{mark}  {check.name:<22} {check.detail}")
        if check.remedy:
            click.echo(f"{'':33}{check.remedy}")
    click.echo()
    if all(check.passed or not check.needed for check in checks):
        click.echo("This host is ready.")
    else:
        click.echo("This host is not ready: mend what is marked MISSING.")


def show_examination(found: Examination) -> None:
    """Print what a guest is."""
    show_machine(found.machine)
    show_windows(found.facts)
    row("volume", f"{found.volume.name}, Windows in {found.volume.root}")
    row("free space", size(found.facts.free_space))
    network = read_network(found.facts.system, found.facts.control_sets.current)
    for number, interface in enumerate(network.interfaces):
        text = f'"{interface.name}", {interface.description}: {interface.settings.summary}'
        row("connections" if number == 0 else "", text)


def windows_name(version: WindowsVersion) -> str:
    """Return a Windows in a few words, fit for a terminal: its name is the guest's to choose."""
    return shown(version.summary)


def show_machine(machine: Machine) -> None:
    """Print what a source describes."""
    click.secho(shown(machine.name), bold=True)
    row("source", str(machine.source))
    row("memory, vCPUs", f"{machine.memory} MiB, {machine.vcpus}")
    row("firmware", machine.firmware.value.upper())
    if machine.uuid:
        row("UUID", machine.uuid)
    for number, disk in enumerate(machine.disks):
        model = f", {disk.controller_model}" if disk.controller_model else ""
        place = f"{disk.bus}{disk.controller}:{disk.unit}{model}"
        where = f"{disk.image.member or disk.image.path.name} ({disk.image.kind}, {place})"
        row("disks" if number == 0 else "", where)
    for number, nic in enumerate(machine.nics):
        text = " ".join(filter(None, (nic.model, nic.mac or "no fixed MAC", nic.attachment)))
        row("network" if number == 0 else "", text)


def show_windows(facts: GuestFacts) -> None:
    """Print which Windows a guest has."""
    row("Windows", windows_name(facts.version))
    boots = ", ".join(dict.fromkeys(c.service for c in facts.boot_controllers)) or "unknown"
    row("boots today by", boots)
    record = "DriverDatabase" if facts.has_driver_database else "CriticalDeviceDatabase"
    row("device records", f"{record}, {', '.join(facts.control_sets.bootable)}")


def show_diff(lines: Iterable[str]) -> None:
    """Print the diff of a plan."""
    for line in lines:
        # It quotes what a guest has in its registry.
        click.secho(shown(line), fg=_colour(line))


def show_notes(notes: Iterable[str]) -> None:
    """Print what else the user should know, each once."""
    unique = list(dict.fromkeys(notes))
    if unique:
        click.echo()
        click.echo("Notes:")
        for note in unique:
            click.echo(f"  - {shown(note)}")


def row(label: str, text: str) -> None:
    """Print one thing of a list, a label before it."""
    click.echo(f"  {label:<{_LABEL_WIDTH}}{shown(text)}")


def counted(plan: Plan) -> str:
    """Return how much a plan changes, in words."""
    files = sum(isinstance(change, WriteFile) for change in plan)
    replays = sum(isinstance(change, ReplayLogs) for change in plan)
    hives = f" {plural(replays, 'hive')} with logs replayed," if replays else ""
    sessions = sum(isinstance(change, DiscardSession) for change in plan)
    session = " a session given up," if sessions else ""
    gone = [change for change in plan if isinstance(change, DeleteFiles)]
    deleted = f" and {plural(sum(c.count for c in gone), 'deleted file')}" if gone else ""
    registry = len(plan) - files - replays - sessions - len(gone)
    written = f"{'' if gone else ' and'} {plural(files, 'file')}"
    return f"{registry} registry values and keys,{hives}{session}{written}{deleted},"


def plural(count: int, noun: str, several: str = "") -> str:
    """Return a number of things in words; ``several`` is the plural that is no plain one."""
    return f"{count} {noun}" if count == 1 else f"{count} {several or noun + 's'}"


def _colour(line: str) -> str | None:
    return {"+": "green", "-": "red", "~": "yellow", "#": "cyan"}.get(line[:1])


def size(count: int) -> str:
    """Return a number of bytes for people."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
