"""What people read on the screen."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import click

from offline_mig.conversion.convert import Conversion, Rehearsal
from offline_mig.conversion.examination import Examination
from offline_mig.conversion.host_check import HostCheck
from offline_mig.machine import Machine
from offline_mig.sources.file_access import shown
from offline_mig.surgery.agents import Placement
from offline_mig.surgery.changes import DiscardSession, ReplayLogs, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import Plan
from offline_mig.targets.documents import next_commands
from offline_mig.windows.version import WindowsVersion

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
    _show_machine(found.machine)
    _show_windows(found.facts)
    _row("volume", f"{found.volume.name}, Windows in {found.volume.root}")
    _row("free space", _size(found.facts.free_space))
    show_notes(found.notes)


def show_rehearsal(rehearsal: Rehearsal, command: str) -> None:
    """Print a dry run: the plan as a diff, and the machine that would come out."""
    _show_machine(rehearsal.machine)
    _show_windows(rehearsal.proposal.facts)
    click.echo()
    pending = rehearsal.proposal.pending
    if len(pending):
        show_diff(rehearsal.proposal.diff)
        click.echo(f"{counted(pending)} would be changed; nothing was.")
    else:
        click.echo("Nothing would be changed: the guest has all of it already.")
    click.echo()
    for document in rehearsal.documents:
        click.echo(f"{document.name} would be ({document.title}):")
        click.echo(document.text.rstrip())
        click.echo()
    show_notes(rehearsal.notes)
    click.echo()
    click.echo(f"To do it: {command}")


def show_conversion(done: Conversion) -> None:
    """Print what a conversion did, to be read in ten seconds."""
    report = done.report
    click.secho(f"Converted {report.machine.name}", bold=True)
    _row("guest", windows_name(report.facts.version))
    for number, driver in enumerate(report.drivers.drivers.boot):
        text = f"{driver.name} {driver.package.driver_version_text}, from {driver.location}"
        _row("boots by" if number == 0 else "", text)
    for number, placed in enumerate(report.agents.plan.placed):
        agent = placed.agent
        text = f"{agent.kind} {agent.version} {placed.placement}, from {agent.origin}"
        if placed.placement is Placement.KEPT:
            where = f" in {placed.folder}" if placed.folder else ""
            text = f"{agent.kind}: the guest's own{where} was kept"
        _row("agents" if number == 0 else "", text)
    if report.journal.entries:
        applied = Counter(entry.change for entry in report.journal.entries)
        first = True
        for block in report.pending.blocks:
            count = sum(1 for change in block.changes if change in applied)
            if count:
                _row("changed" if first else "", f"{block.title}: {plural(count, 'change')}")
                first = False
    else:
        _row("changed", "nothing: the guest had all of it already")
    for number, disk in enumerate(done.disks):
        used = disk.stat().st_blocks * 512
        _row("results" if number == 0 else "", f"{disk} ({_size(used)} on disk)")
    for document in done.documents:
        _row("", f"{done.folder / document.name} ({document.title})")
    _row("", f"{done.report_file} (everything that was found and done)")
    _row("took", f"{sum(report.seconds.values()):.0f} s")
    show_notes(report.notes)
    click.echo()
    click.echo("Next:")
    for command in next_commands(report.target, done.folder, done.documents):
        click.echo(f"  {command}")


def windows_name(version: WindowsVersion) -> str:
    """Return a Windows in a few words, fit for a terminal: its name is the guest's to choose."""
    pack = f" SP{version.service_pack}" if version.service_pack else ""
    return shown(f"{version.product_name}{pack} ({version.architecture}, build {version.build})")


def _show_machine(machine: Machine) -> None:
    click.secho(machine.name, bold=True)
    _row("source", str(machine.source))
    _row("memory, vCPUs", f"{machine.memory} MiB, {machine.vcpus}")
    _row("firmware", machine.firmware.value.upper())
    if machine.uuid:
        _row("UUID", machine.uuid)
    for number, disk in enumerate(machine.disks):
        model = f", {disk.controller_model}" if disk.controller_model else ""
        place = f"{disk.bus}{disk.controller}:{disk.unit}{model}"
        where = f"{disk.image.member or disk.image.path.name} ({disk.image.kind}, {place})"
        _row("disks" if number == 0 else "", where)
    for number, nic in enumerate(machine.nics):
        text = " ".join(filter(None, (nic.model, nic.mac or "no fixed MAC", nic.attachment)))
        _row("network" if number == 0 else "", text)


def _show_windows(facts: GuestFacts) -> None:
    _row("Windows", windows_name(facts.version))
    boots = ", ".join(dict.fromkeys(c.service for c in facts.boot_controllers)) or "unknown"
    _row("boots today by", boots)
    record = "DriverDatabase" if facts.has_driver_database else "CriticalDeviceDatabase"
    _row("device records", f"{record}, {', '.join(facts.control_sets.bootable)}")


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


def _row(label: str, text: str) -> None:
    click.echo(f"  {label:<{_LABEL_WIDTH}}{shown(text)}")


def counted(plan: Plan) -> str:
    """Return how much a plan changes, in words."""
    files = sum(isinstance(change, WriteFile) for change in plan)
    replays = sum(isinstance(change, ReplayLogs) for change in plan)
    hives = f" {plural(replays, 'hive')} with logs replayed," if replays else ""
    sessions = sum(isinstance(change, DiscardSession) for change in plan)
    session = " a session given up," if sessions else ""
    registry = len(plan) - files - replays - sessions
    return f"{registry} registry values and keys,{hives}{session} and {plural(files, 'file')},"


def plural(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _colour(line: str) -> str | None:
    return {"+": "green", "-": "red", "~": "yellow", "#": "cyan"}.get(line[:1])


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
