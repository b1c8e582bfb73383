"""The commands about drivers."""

from __future__ import annotations

from pathlib import Path

import click

from offline_mig.api import driver_sources
from offline_mig.cli import driver_screen
from offline_mig.cli.failure import Commands
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON, PATH
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
    listed = driver_sources.list_drivers(sources)
    if as_json:
        print_json(driver_sources.driver_list_record(listed))
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
    chosen = driver_sources.match_drivers(
        sources,
        windows,
        allow_unsigned=allow_unsigned,
        # Shown in any case: a source may be for other drivers than that of disks.
        considered=None if as_json else driver_screen.show_choices,
    )
    if as_json:
        print_json(driver_sources.driver_match_record(windows, chosen))
    else:
        driver_screen.show_notes(chosen.notes)
