"""What is on driver media: every package, the Windows it is for, and who signed it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig.drivers.inf import InfError
from offline_mig.drivers.layout import place_of
from offline_mig.drivers.listing import MediaInf
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.drivers.selection import driver_of
from offline_mig.drivers.signing import SignerClass, judge_signing
from offline_mig.errors import SourceUnreadableError
from offline_mig.windows.short_name import every_windows
from offline_mig.windows.version import WindowsVersion


@dataclass(frozen=True, slots=True)
class ListedPackage:
    """A package on a medium.

    ``windows`` are pairs of release and processor: those that its directory names, and without
    one all that its INF is for. Its drivers themselves are not read, so ``signer_class`` is what
    the catalogue says of the INF. ``problem`` tells why an INF could not be read.
    """

    medium: str
    path: str
    driver: str
    windows: tuple[tuple[str, str], ...]
    version: str = ""
    date: datetime.date | None = None
    signer_class: SignerClass | None = None
    signer: str = ""
    problem: str = ""


def list_packages(media: Sequence[DriverMedia]) -> tuple[ListedPackage, ...]:
    """List all packages of media, in the media's order."""
    return tuple(_listed(source, inf) for source in media for inf in source.infs)


def _listed(source: DriverMedia, inf: MediaInf) -> ListedPackage:
    driver = driver_of(inf.name)
    if inf.data is None:
        return ListedPackage(source.name, inf.path, driver, (), problem=inf.problem)
    try:
        windows, package = _meant_for(inf, inf.data)
    except InfError as error:
        return ListedPackage(source.name, inf.path, driver, (), problem=error.message)
    catalogue = source.find(inf.directory, package.catalog_name) if package.catalog_name else None
    try:
        content = source.read([catalogue])[catalogue] if catalogue is not None else None
    except SourceUnreadableError as error:
        return ListedPackage(source.name, inf.path, driver, windows, problem=error.message)
    files = {} if content is None else {package.catalog_name: content}
    signing = judge_signing(package.with_files(files))
    # An INF that was changed since is covered by nobody's signature.
    changed = package.inf_name.lower() in signing.unlisted
    return ListedPackage(
        medium=source.name,
        path=inf.path,
        driver=driver,
        windows=windows,
        version=package.driver_version_text,
        date=package.driver_date,
        signer_class=signing.signer_class,
        signer=signing.signer,
        problem="its INF was changed after it was signed" if changed else "",
    )


def _meant_for(inf: MediaInf, data: bytes) -> tuple[tuple[tuple[str, str], ...], DriverPackage]:
    place = place_of(inf.path)
    candidates = [
        windows
        for windows in every_windows()
        if place.architecture in (None, windows.architecture)
        and place.release in (None, windows.release)
    ]
    found: list[tuple[str, str]] = []
    last: DriverPackage | None = None
    for windows in candidates:
        package = read_package(inf.name, data, windows)
        if package.models or place.release is not None:
            found.append((windows.release, windows.architecture.value))
            last = package
    if last is None:
        last = read_package(inf.name, data, _ANY)
    return tuple(found), last


#: For what an INF says of itself, whatever it is for.
_ANY: WindowsVersion = every_windows()[-1]
