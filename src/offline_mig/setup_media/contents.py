"""What goes onto a medium: files by their paths, those of driver packages among them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from offline_mig.drivers.package import DriverPackage
from offline_mig.errors import OutputRefusedError
from offline_mig.windows.version import WindowsVersion

Content = TypeVar("Content")

#: What FAT can hold (seven bits of years since 1980); those of a disc go further, 1900 to 2155.
_FIRST_DAY = datetime.date(1980, 1, 1)
_LAST_DAY = datetime.date(2107, 12, 31)


@dataclass(frozen=True, slots=True)
class MediumDriver:
    """A driver package, with its files, for one Windows; ``driver`` is virtio-win's name of it."""

    driver: str
    windows: WindowsVersion
    package: DriverPackage


def newest_date(drivers: Sequence[MediumDriver]) -> datetime.datetime:
    """Return the start of the newest driver's day, in UTC, as far as a medium can hold it."""
    day = max(driver.package.driver_date for driver in drivers)
    day = min(max(day, _FIRST_DAY), _LAST_DAY)
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)


def package_files(package: DriverPackage, directory: str) -> Iterator[tuple[str, bytes]]:
    """Yield paths and contents of a package where its INF, in ``directory``, looks for them."""
    yield f"{directory}/{package.inf_name}", package.inf
    for path in package.source_paths:
        content = package.files.get(path.rpartition("/")[2].lower())
        if content is not None:
            yield f"{directory}/{path}", content


def without_repeats(files: Iterable[tuple[str, Content]]) -> dict[str, Content]:
    """Return contents by paths: what is twice the same file is there once.

    Raises OutputRefusedError when two files, or a file and a folder, want one name; Windows tells
    no names apart that differ in letter case only.
    """
    found: dict[str, Content] = {}
    spelled: dict[str, str] = {}
    folders: set[str] = set()
    for path, content in files:
        known = spelled.setdefault(path.lower(), path)
        if found.setdefault(known, content) != content:
            raise _clash(path)
        parts = path.lower().split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    for key in sorted(spelled.keys() & folders):
        raise _clash(spelled[key])
    return found


def _clash(path: str) -> OutputRefusedError:
    return OutputRefusedError(
        f"Two different files would be called {path} on the medium.",
        "Rename one of them, or make two media.",
    )
