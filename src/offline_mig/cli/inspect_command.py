"""The command that tells what a machine is, and which Windows is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from offline_mig.cli import screen
from offline_mig.cli.convert_options import by_name
from offline_mig.cli.parameters import ENGINE, JSON, PATH, SYSTEM_PARTITION
from offline_mig.cli.source_parameters import source_options
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.examination import inspect_guest
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.named_options import named_source
from offline_mig.conversion.plain_data import plain


@click.command()
@click.argument("source", type=PATH)
@source_options
@SYSTEM_PARTITION
@ENGINE
@JSON
def inspect(
    source: Path, system_partition: str | None, engine: str, as_json: bool, **given: Any
) -> None:
    """Tell what machine SOURCE is and which Windows is in it; changes nothing.

    SOURCE is a .vmx, .ovf or .ova file, a libvirt domain (.xml), a disk image (VMDK, qcow2, raw,
    VDI, VHD, VHDX), or a folder with one of them.
    """
    reading = named_source(by_name(given))
    found = inspect_guest(source, choose_engine(EngineChoice(engine)), system_partition, reading)
    if as_json:
        record = {
            "schema": "offline-mig/inspect/1",
            "machine": plain(found.machine),
            "guest": guest_record(found.facts, found.volume, found.layout),
            "notes": list(found.notes),
        }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        screen.show_examination(found)
