"""Parameters that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from offline_mig.conversion.engines import EngineChoice


class _PathType(click.Path):
    """A path as text; an empty one is refused, since Python takes it for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value in ("", b""):
            self.fail("the name is empty.", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


def checked(
    parse: Callable[[str], Any],
) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that refuses what cannot be read; the ValueError says what is wrong."""

    def check(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        try:
            for text in (value,) if isinstance(value, str) else value or ():
                parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        return value

    return check


PATH = _PathType(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
SYSTEM_PARTITION = click.option(
    "--system-partition",
    metavar="DISK:PARTITION[/FOLDER]",
    help="Which Windows of several, both counted from 1, such as 1:2 or 1:2/WINNT.",
)
DISCARD_HIBERNATION = click.option(
    "--discard-hibernation",
    is_flag=True,
    help="Give up the session of a guest that is hibernated or was shut down with fast startup: "
    "its hiberfil.sys goes, and what was open in it.",
)
ENGINE = click.option(
    "--engine",
    type=click.Choice([choice.value for choice in EngineChoice]),
    default=EngineChoice.GUESTFS.value,
    show_default=True,
    help="What opens the guest's disks: a libguestfs appliance, confined programs on this host, "
    "or the latter where the former has no KVM.",
)
