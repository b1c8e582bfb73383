"""What driver sources hold, and what a Windows would get of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.api.paths import StrPath
from offline_mig.conversion.driver_choice import (
    ChosenDrivers,
    consider_drivers,
    open_sources,
    settle_drivers,
)
from offline_mig.conversion.guest_form import WindowsForm
from offline_mig.conversion.guest_record import windows_record
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import drivers_record
from offline_mig.conversion.report_form import DriverForm
from offline_mig.drivers.inventory import ListedPackage, list_packages
from offline_mig.drivers.selection import Choice
from offline_mig.windows.short_name import parse_short_name
from offline_mig.windows.version import WindowsVersion


class DriverListForm(TypedDict):
    """What ``drivers list`` found."""

    schema: Literal["offline-mig/drivers-list/1"]
    packages: list[ListedPackage]


class DriverMatchForm(TypedDict):
    """What ``drivers match`` chose."""

    schema: Literal["offline-mig/drivers-match/1"]
    windows: WindowsForm
    drivers: list[DriverForm]
    notes: list[str]


def list_drivers(sources: Iterable[StrPath]) -> tuple[ListedPackage, ...]:
    """List the driver packages of ``sources``; raises SourceUnreadableError."""
    return list_packages(open_sources([Path(source) for source in sources]))


def driver_list_record(packages: Sequence[ListedPackage]) -> DriverListForm:
    """Return the packages of driver sources as plain data."""
    return {"schema": "offline-mig/drivers-list/1", "packages": plain(packages)}


def match_drivers(
    sources: Iterable[StrPath],
    windows: WindowsVersion | str,
    *,
    allow_unsigned: bool = False,
    considered: Callable[[Sequence[Choice]], None] | None = None,
) -> ChosenDrivers:
    """Choose the packages that a Windows would get, such as ``w10-19045-amd64``.

    ``considered`` is told what was looked at before anything is refused. Raises NoDriverError
    without a usable boot driver, ValueError for a name that is none.
    """
    wanted = parse_short_name(windows) if isinstance(windows, str) else windows
    media = open_sources([Path(source) for source in sources])
    choices = consider_drivers(media, wanted, allow_unsigned=allow_unsigned)
    if considered is not None:
        considered(choices)
    return settle_drivers(choices, media, wanted)


def driver_match_record(windows: WindowsVersion, chosen: ChosenDrivers) -> DriverMatchForm:
    """Return what a Windows would get as plain data."""
    return {
        "schema": "offline-mig/drivers-match/1",
        "windows": windows_record(windows),
        "drivers": drivers_record(chosen),
        "notes": list(chosen.notes),
    }
