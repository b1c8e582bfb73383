"""What people read of drivers on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from offline_mig.drivers.inventory import ListedPackage
from offline_mig.drivers.selection import Choice
from offline_mig.drivers.signer import SignerClass
from offline_mig.windows.short_name import every_windows

_COLOURS = {
    SignerClass.MICROSOFT: "green",
    SignerClass.VENDOR: None,
    SignerClass.SELF_SIGNED: "yellow",
    SignerClass.UNSIGNED: "red",
}
_GAP = 2
_MARKS = {
    "*": "The INF was changed after it was signed.",
    "!": "Files that the INF copies are not there, so that no Windows gets this package.",
}


def show_packages(packages: Sequence[ListedPackage]) -> None:
    """Print a table of packages: those that differ in Windows alone share a row."""
    rows: dict[tuple[str, str, str, str, str], list[ListedPackage]] = {}
    order = list(dict.fromkeys(windows.release for windows in every_windows()))

    def oldest(package: ListedPackage) -> tuple[str, int]:
        releases = (order.index(release) for release, _ in package.windows)
        return package.driver, min(releases, default=len(order))

    for package in sorted(packages, key=oldest):
        if package.version:
            row = (package.driver, package.version, str(package.date or ""))
            signer = package.signer_class.value if package.signer_class else ""
            mark = ("*" if package.problem else "") + ("!" if package.missing else "")
            rows.setdefault((*row, signer, mark), []).append(package)
    heads = ("driver", "version", "date", "signer")
    widths = [
        max(len(text) for text in column) + _GAP
        for column in zip(heads, *((*row[:3], row[3] + row[4]) for row in rows), strict=True)
    ]
    _line((*heads, "Windows"), widths, None, bold=True)
    for (driver, version, date, signer, mark), found in rows.items():
        colour = _COLOURS[SignerClass(signer)] if signer else None
        pairs = (pair for package in found for pair in package.windows)
        _line((driver, version, date, signer + mark, _joined(pairs)), widths, colour)
    marks = {sign for *_, mark in rows for sign in mark}
    if marks:
        click.echo()
    for sign in sorted(marks):
        click.echo(f"{sign} {_MARKS[sign]}")
    unread = [package for package in packages if not package.version and package.problem]
    for package in unread:
        click.echo(f"Not read: {package.medium}: {package.path}: {package.problem}")


def show_choices(choices: Sequence[Choice]) -> None:
    """Print what a Windows would get of each driver, and what was passed over."""
    width = max((len(choice.driver) for choice in choices), default=0) + _GAP
    for choice in choices:
        _show_choice(choice, width)


def show_notes(notes: Sequence[str]) -> None:
    """Print what else is to be known."""
    for note in notes:
        click.echo()
        click.secho(f"Note: {note}", fg="yellow")


def _show_choice(choice: Choice, width: int) -> None:
    package = choice.package
    if package is None:
        click.secho(f"{choice.driver:<{width}}none", bold=True)
    else:
        signing = package.signing
        signer = f", signed by {signing.signer}" if signing and signing.signer else ""
        version = click.style(package.driver_version_text, bold=True)
        click.echo(
            f"{choice.driver:<{width}}{version} of {package.driver_date}{signer or ', not signed'}"
        )
        click.echo(f"{'':{width}}{choice.location}")
    elsewhere = sum(rejected.elsewhere for rejected in choice.considered)
    again = [_folder(it.location, choice.location) for it in choice.considered if it.same]
    if again:
        click.echo(f"{'':{width}}the same in {', '.join(again)}")
    for rejected in choice.considered:
        if not (rejected.elsewhere or rejected.same):
            click.echo(f"{'':{width}}not {rejected.location}: {rejected.reason}")
    if elsewhere:
        click.echo(f"{'':{width}}{elsewhere} for other Windows or processors")


def _folder(location: str, beside: str) -> str:
    """Return where a package lies, without its medium where that is the other's as well."""
    medium, colon, path = location.rpartition(": ")
    folder = path.rpartition("/")[0] or "."
    return folder if beside.startswith(f"{medium}: ") else f"{medium}{colon}{folder}"


def _joined(pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``w10 2k16 (amd64), w7 (x86 amd64)`` for pairs of release and processor."""
    processors: dict[str, list[str]] = {}
    for release, processor in dict.fromkeys(pairs):
        processors.setdefault(release, []).append(processor)
    releases: dict[str, list[str]] = {}
    for release, found in processors.items():
        releases.setdefault(" ".join(sorted(found, reverse=True)), []).append(release)
    return ", ".join(f"{' '.join(names)} ({found})" for found, names in releases.items())


def _line(
    cells: Sequence[str], widths: Sequence[int], colour: str | None, *, bold: bool = False
) -> None:
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)]
    text = "".join(padded) + cells[-1]
    click.secho(text, fg=colour, bold=bold or None)
