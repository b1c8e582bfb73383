"""The command that converts a guest."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from offline_mig.cli import convert_screen
from offline_mig.cli.convert_options import by_name, convert_options
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.cli.screen import Screen
from offline_mig.conversion.convert import Conversion, Rehearsal, convert, rehearse
from offline_mig.conversion.engines import choose_engine
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.named_options import named_engine, named_options
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import (
    agents_record,
    drivers_record,
    network_record,
    report_json,
)
from offline_mig.surgery.record import plan_record
from offline_mig.targets.documents import TargetDocument
from offline_mig.targets.options import TargetKind


@click.command("convert")
@click.argument("source", type=PATH)
@convert_options
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="Folder for the results. [required unless --dry-run]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option("--name", help="Name of the converted guest. [default: the machine's own]")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def convert_command(
    source: Path,
    output: Path | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert the powered-off guest SOURCE into a KVM guest on VirtIO.

    SOURCE is a .vmx, .ovf or .ova file, a libvirt domain (.xml), a disk image (VMDK, qcow2, raw,
    VDI, VHD, VHDX), or a folder with one of them.
    It is opened read-only and never changed.
    """
    if output is None and not dry_run:
        raise click.UsageError("Missing option '-o' / '--output'.")
    chosen = by_name(given)
    if not chosen.get("name", "any").strip():
        raise click.BadParameter("the name is empty.", param_hint="--name")
    options = named_options(output or Path(), chosen)
    engine = choose_engine(named_engine(chosen))
    progress = Screen(quiet=quiet or as_json)
    if dry_run:
        rehearsal = rehearse(source, options, engine, progress)
        if as_json:
            _print_json(_rehearsal_record(rehearsal))
        else:
            arguments = [part for part in sys.argv[1:] if part != "--dry-run"]
            arguments += [] if output else ["-o", "FOLDER"]
            convert_screen.show_rehearsal(rehearsal, shlex.join(["offline-mig", *arguments]))
        return
    done = convert(source, options, engine, progress)
    if as_json:
        _print_json(_conversion_record(done))
    else:
        convert_screen.show_conversion(done)


def _rehearsal_record(rehearsal: Rehearsal) -> dict[str, Any]:
    proposal = rehearsal.proposal
    return {
        "schema": "offline-mig/plan/1",
        "machine": plain(rehearsal.machine),
        "guest": guest_record(proposal.facts, rehearsal.volume, rehearsal.layout),
        "drivers": drivers_record(proposal.drivers),
        "agents": agents_record(proposal.agents),
        "network": network_record(proposal.network),
        "plan": plan_record(proposal.pending),
        "wanted": plan_record(proposal.wanted),
        "target": plain(rehearsal.target),
        "domain": next((d.text for d in rehearsal.documents if _is_domain(d)), None),
        "documents": plain(rehearsal.documents),
        "notes": list(rehearsal.notes),
    }


def _conversion_record(done: Conversion) -> dict[str, Any]:
    report = json.loads(report_json(done.report))
    return {
        "schema": "offline-mig/convert/1",
        "domain": next((str(done.folder / d.name) for d in done.documents if _is_domain(d)), None),
        "documents": [
            {"kind": document.kind.value, "file": str(done.folder / document.name)}
            for document in done.documents
        ],
        "disks": [str(path) for path in done.disks],
        "report_file": str(done.report_file),
        "report": report,
    }


def _is_domain(document: TargetDocument) -> bool:
    return document.kind is TargetKind.LIBVIRT


def _print_json(record: dict[str, Any]) -> None:
    click.echo(json.dumps(record, indent=2, ensure_ascii=False))
