"""The command that converts a guest."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from offline_mig.api import converting
from offline_mig.cli import convert_screen
from offline_mig.cli.cache_options import asked_cache, cache_options
from offline_mig.cli.convert_options import by_name, convert_options
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.cli.screen import Screen
from offline_mig.conversion.cached import Reused
from offline_mig.conversion.convert import Conversion
from offline_mig.conversion.named_options import named_engine, named_options


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
@cache_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def convert_command(
    source: Path,
    output: Path | None,
    dry_run: bool,
    cache: Path | None,
    cache_size: int | None,
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
    engine = named_engine(chosen) if _is_given("engine") else None
    progress = Screen(quiet=quiet or as_json)
    if dry_run:
        rehearsal = converting.rehearse(source, options, engine=engine, progress=progress)
        if as_json:
            print_json(converting.rehearsal_record(rehearsal))
        else:
            arguments = [part for part in sys.argv[1:] if part != "--dry-run"]
            arguments += [] if output else ["-o", "FOLDER"]
            convert_screen.show_rehearsal(rehearsal, shlex.join(["offline-mig", *arguments]))
        return
    done: Conversion | Reused
    kept = asked_cache(cache, cache_size)
    if kept is None:
        done = converting.convert(source, options, engine=engine, progress=progress)
    else:
        done = converting.convert_cached(source, options, kept, engine=engine, progress=progress)
    if as_json:
        print_json(converting.conversion_record(done))
    elif isinstance(done, Reused):
        convert_screen.show_reused(done)
    else:
        convert_screen.show_conversion(done)


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not ParameterSource.DEFAULT
