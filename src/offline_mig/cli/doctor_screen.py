"""What people read of a diagnosis: the verdict first, then the chain, then the findings."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable

import click

from offline_mig.cli.screen import show_notes, windows_name
from offline_mig.conversion.doctor import Diagnosis
from offline_mig.diagnosis.finding import Finding, Link, Severity
from offline_mig.diagnosis.verdict import Outcome, Verdict

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


def show_diagnosis(found: Diagnosis) -> None:
    """Print a diagnosis."""
    guest = windows_name(found.facts.version) if found.facts else "unknown Windows"
    click.secho(f"{found.machine.name}: {guest}", bold=True)
    if found.controller is not None:
        device = found.controller.devices[0]
        click.echo(f"  on {found.controller.name} ({device.ids[0]}), {found.firmware.upper()}")
    click.echo()
    show_verdict(found.verdict)
    show_notes(found.notes)
    if found.verdict.outcome is Outcome.STOPS and found.controller is not None:
        click.echo()
        click.echo("To mend it:")
        source = shlex.quote(str(found.machine.source))
        click.echo(f"  offline-mig repair {source} --bus {found.controller.bus} --dry-run")


def show_verdict(verdict: Verdict) -> None:
    """Print a verdict, the chain of the boot, and every finding."""
    show_outcome(verdict)
    click.echo()
    _show_chain(verdict)
    for finding in verdict.findings:
        click.echo()
        _show_finding(finding)


def show_findings(verdict: Verdict) -> None:
    """Print what was found, without what to do about it."""
    show_outcome(verdict)
    for finding in verdict.findings:
        click.echo(f"  {finding.id}: {finding.detail}")
    click.echo()


def show_outcome(verdict: Verdict) -> None:
    """Print a verdict in a line."""
    word, colour = _VERDICTS[verdict.outcome]
    stop = f" with STOP {verdict.stop}" if verdict.stop.startswith("0x0000") else ""
    stop = stop or (f": {verdict.stop}" if verdict.stop else "")
    click.secho(f"{word}{stop}", fg=colour, bold=True, nl=False)
    click.echo(f"  (confidence: {verdict.confidence})")


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
        f"{click.style(finding.id, fg=colour, bold=True)}  {finding.kind.title}  "
        f"({word}, confidence {finding.confidence})"
    )
    _show_lines(_wrapped(finding.detail))
    for evidence in finding.evidence:
        click.echo(f"    {evidence}")
    _show_lines(_wrapped(f"What to do: {finding.kind.remedy.replace('`', '')}"))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _show_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
