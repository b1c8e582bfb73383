"""The command that tells what a machine is, and which Windows is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offline_mig.api import inspection
from offline_mig.cli import screen
from offline_mig.cli.convert_options import by_name
from offline_mig.cli.first_boot_screen import show_first_boot
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import ENGINE, JSON, PATH, SYSTEM_PARTITION
from offline_mig.cli.source_parameters import source_options
from offline_mig.conversion.named_options import named_source


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
    found = inspection.inspect(
        source,
        engine=engine,
        system_partition=system_partition,
        reading=named_source(by_name(given)),
    )
    if as_json:
        print_json(inspection.inspection_record(found))
    else:
        screen.show_examination(found)
        if found.first_boot is not None:
            show_first_boot(found.first_boot)
        screen.show_notes(found.notes)
