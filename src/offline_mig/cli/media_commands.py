"""The commands that make driver media."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from offline_mig.api.media import make_disc, make_floppy, medium_record
from offline_mig.cli import media_screen
from offline_mig.cli.driver_commands import windows_by_name
from offline_mig.cli.failure import Commands
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON, PATH
from offline_mig.conversion.setup_medium import MadeMedium, MediumOptions
from offline_mig.guest.fat_floppy import DENSITIES
from offline_mig.windows.version import WindowsVersion

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: The last second of 2107, after which FAT knows no dates.
_LAST_SECOND = 4_354_819_199


def _every_windows(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[WindowsVersion, ...]:
    return tuple(dict.fromkeys(map(windows_by_name, values)))


def _moment(
    _context: click.Context, _parameter: click.Parameter, value: int | None
) -> datetime.datetime | None:
    return None if value is None else datetime.datetime.fromtimestamp(value, datetime.UTC)


def _common(command: _Command) -> _Command:
    """Give a command the options that all media have."""
    for option in reversed(
        (
            click.option(
                "--drivers",
                "sources",
                type=PATH,
                multiple=True,
                required=True,
                help="A virtio-win ISO or RPM, or a driver folder; may be given several times.",
            ),
            click.option(
                "--windows",
                callback=_every_windows,
                multiple=True,
                required=True,
                metavar="NAME",
                help="Which Windows, such as xp-x86 or w10-19045-amd64; may be given several "
                "times.",
            ),
            click.option(
                "--driver",
                "named",
                multiple=True,
                metavar="NAME",
                help="Only this driver, such as viostor; may be given several times.",
            ),
            click.option("-o", "--output", type=PATH, required=True, help="The image to be made."),
            click.option(
                "--allow-unsigned",
                is_flag=True,
                help="Let drivers without a good signature through.",
            ),
            click.option("--overwrite", is_flag=True, help="Replace an earlier image."),
            click.option(
                "--timestamp",
                "moment",
                type=click.IntRange(0, _LAST_SECOND),
                callback=_moment,
                envvar="SOURCE_DATE_EPOCH",
                show_envvar=True,
                metavar="SECONDS",
                help="Date of all files, in seconds since 1970. [default: the newest driver's]",
            ),
            JSON,
        )
    ):
        command = option(command)
    return command


@click.group(cls=Commands)
def media() -> None:
    """Make floppies and discs with drivers, for setting Windows up on VirtIO."""


@media.command()
@_common
@click.option(
    "--size",
    type=click.Choice([density.name for density in DENSITIES]),
    help="Megabytes. [default: the smallest that holds the drivers]",
)
def floppy(as_json: bool, size: str | None, **options: Any) -> None:
    """Make a floppy with drivers: for F6 in the set-up of XP and 2003, "Load driver" of later ones.

    Without --driver these are viostor, vioscsi and netkvm.
    """
    densities = [density for density in DENSITIES if size in (None, density.name)]
    _show(make_floppy(MediumOptions(**options), densities), as_json=as_json)


@media.command()
@_common
@click.option(
    "--agent",
    "agent_sources",
    type=PATH,
    multiple=True,
    help="A guest agent to put on it, as for 'convert'; may be given several times.",
)
@click.option(
    "--add",
    "extra",
    type=PATH,
    multiple=True,
    help="A file or folder to put on it; may be given several times.",
)
def iso(
    as_json: bool, agent_sources: tuple[Path, ...], extra: tuple[Path, ...], **options: Any
) -> None:
    """Make an ISO image with drivers: for the set-up of Vista and later, and for Device Manager.

    Without --driver these are all that 'convert' puts in place, QXL among them.
    """
    _show(make_disc(MediumOptions(**options), agent_sources, extra), as_json=as_json)


def _show(made: MadeMedium, *, as_json: bool) -> None:
    if as_json:
        print_json(medium_record(made))
    else:
        media_screen.show_medium(made)
