"""The commands about drivers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from offline_mig.cli import driver_screen
from offline_mig.cli.failure import Commands
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.conversion.driver_choice import consider_drivers, open_sources, settle_drivers
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import drivers_record
from offline_mig.drivers.inventory import list_packages
from offline_mig.windows.short_name import parse_short_name
from offline_mig.windows.version import WindowsVersion

SOURCES = click.argument("sources", type=PATH, nargs=-1, required=True)


def windows_by_name(name: str) -> WindowsVersion:
    """Return the Windows of a short name; raises click.BadParameter."""
    try:
        return parse_short_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _windows(_context: click.Context, _parameter: click.Parameter, value: str) -> WindowsVersion:
    return windows_by_name(value)


@click.group(cls=Commands)
def drivers() -> None:
    """Look at driver sources: what they hold, and what a Windows would get."""


@drivers.command("list")
@SOURCES
@JSON
def list_command(sources: tuple[Path, ...], as_json: bool) -> None:
    """List the driver packages of SOURCES with their Windows, version, date and signer.

    SOURCES are virtio-win ISOs and RPMs, and driver folders.
    """
    listed = list_packages(open_sources(sources))
    if as_json:
        record = {"schema": "offline-mig/drivers-list/1", "packages": plain(listed)}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        driver_screen.show_packages(listed)


@drivers.command()
@SOURCES
@click.option(
    "--windows",
    callback=_windows,
    required=True,
    metavar="NAME",
    help="Which Windows, such as xp-x86, 2k8R2-amd64 or w10-19045-amd64.",
)
@click.option(
    "--allow-unsigned", is_flag=True, help="Let drivers without a good signature through."
)
@JSON
def match(
    sources: tuple[Path, ...], windows: WindowsVersion, allow_unsigned: bool, as_json: bool
) -> None:
    """Tell which packages of SOURCES a Windows would get, and why not the others."""
    media = open_sources(sources)
    considered = consider_drivers(media, windows, allow_unsigned=allow_unsigned)
    if not as_json:
        # Shown in any case: a source may be for other drivers than that of disks.
        driver_screen.show_choices(considered)
    chosen = settle_drivers(considered, media, windows)
    if as_json:
        record = {
            "schema": "offline-mig/drivers-match/1",
            "windows": {**plain(windows), "release": windows.release},
            "drivers": drivers_record(chosen),
            "notes": list(chosen.notes),
        }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        driver_screen.show_notes(chosen.notes)
