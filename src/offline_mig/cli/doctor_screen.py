"""What people read of a diagnosis: the verdict first, then the chain, then the findings."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Sequence

import click

from offline_mig.cli.screen import show_notes, windows_name
from offline_mig.conversion.doctor import Diagnosis
from offline_mig.diagnosis.finding import Finding, Link, Severity
from offline_mig.diagnosis.verdict import Outcome, Verdict
from offline_mig.sources.file_access import shown

_WIDTH = 96
_VERDICTS = {
    Outcome.BOOTS: ("BOOTS", "green"),
    Outcome.STOPS: ("STOPS", "red"),
    Outcome.UNKNOWN: ("CANNOT TELL", "yellow"),
}
_SEVERITIES = {
    Severity.STOP: ("stops it", "red"),
    Severity.UNKNOWN: ("unseen", "yellow"),
    Severity.WARNING: ("warning", "yellow"),
}


def show_diagnosis(found: Diagnosis, options: Sequence[str]) -> None:
    """Print a diagnosis; ``options`` are those that ``repair`` must be given as well."""
    guest = windows_name(found.facts.version) if found.facts else "unknown Windows"
    click.secho(f"{shown(found.machine.name)}: {guest}", bold=True)
    if found.controller is not None:
        device = found.controller.devices[0]
        click.echo(f"  system disk on the {device.name}, started by {found.firmware.upper()}")
        click.echo(f"  {device.ids[0]}")
    click.echo()
    show_outcome(found.verdict)
    if found.facts is not None:
        click.echo()
        _show_chain(found.verdict)
    for finding in found.verdict.findings:
        click.echo()
        _show_finding(finding)
    show_notes(found.notes)
    if found.mendable:
        click.echo()
        _show_hint(found, options)


def _show_hint(found: Diagnosis, options: Sequence[str]) -> None:
    drivers = ["--drivers", "virtio-win.iso"] if found.needs_drivers else []
    source = str(found.machine.source)
    if found.is_disk_image:
        click.echo("To see what would mend it:")
        command = ["offline-mig", "repair", source, *options, *drivers, "--dry-run"]
    elif found.needs_drivers:
        click.echo("To have a copy of the machine that boots from VirtIO:")
        command = ["offline-mig", "convert", source, *drivers, "--dry-run"]
    else:
        click.echo("To mend a disk of it, or a copy of one: 'offline-mig repair IMAGE'.")
        return
    click.echo(f"  {shown(shlex.join(command))}")


def show_findings(verdict: Verdict) -> None:
    """Print what was found, without what to do about it."""
    show_outcome(verdict)
    for finding in verdict.findings:
        _show_lines(_wrapped(f"{finding.id}: {finding.detail}", 2, 4))


def show_outcome(verdict: Verdict) -> None:
    """Print a verdict in a line."""
    word, colour = _VERDICTS[verdict.outcome]
    stop = f" with STOP {verdict.stop}" if verdict.stop.startswith("0x0000") else ""
    stop = stop or (f": {verdict.stop}" if verdict.stop else "")
    click.secho(f"{word}{stop}", fg=colour, bold=True)
    click.echo(f"  confidence: {verdict.confidence}")


def _show_chain(verdict: Verdict) -> None:
    by_link: dict[Link, list[Finding]] = {}
    for finding in verdict.findings:
        by_link.setdefault(finding.kind.link, []).append(finding)
    reached = True
    for link in Link:
        found = by_link.get(link, [])
        broken = verdict.broken is not None and verdict.broken in found
        ids = ", ".join(dict.fromkeys(finding.id for finding in found))
        if not reached:
            mark, colour = "not reached", "bright_black"
        elif broken:
            mark, colour = _SEVERITIES[verdict.broken.kind.severity] if verdict.broken else ("", "")
        elif found:
            mark, colour = "warning", "yellow"
        else:
            mark, colour = "ok", "green"
        click.echo(f"  {click.style(f'{mark:<12}', fg=colour)}{link:<28}{ids}".rstrip())
        reached = reached and not broken


def _show_finding(finding: Finding) -> None:
    word, colour = _SEVERITIES[finding.kind.severity]
    click.echo(
        f"{click.style(finding.id, fg=colour, bold=True)}  "
        f"({word}, confidence {finding.confidence})"
    )
    _show_lines(_wrapped(f"{finding.kind.title}.", 2, 2))
    _show_lines(_wrapped(finding.detail, 2, 2))
    for evidence in finding.evidence:
        _show_lines(_wrapped(evidence, 4, 6))
    _show_lines(_wrapped(f"What to do: {finding.kind.remedy.replace('`', '')}", 2, 2))


def _wrapped(text: str, first: int, further: int) -> list[str]:
    """Return lines fit for a terminal: findings quote what a guest has in its registry.

    Names of keys and files are left whole, so that they can be copied.
    """
    return textwrap.wrap(
        shown(text),
        _WIDTH,
        initial_indent=" " * first,
        subsequent_indent=" " * further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _show_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
