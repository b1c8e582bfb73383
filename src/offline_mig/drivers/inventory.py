"""What is on driver media: every package, the Windows it is for, and who signed it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offline_mig.drivers.driver_names import driver_of
from offline_mig.drivers.inf import InfError
from offline_mig.drivers.layout import place_of
from offline_mig.drivers.listing import MediaInf
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.drivers.signer import SignerClass
from offline_mig.drivers.signing import judge_signing
from offline_mig.errors import SourceUnreadableError
from offline_mig.windows.short_name import every_windows
from offline_mig.windows.version import WindowsVersion


@dataclass(frozen=True, slots=True)
class ListedPackage:
    """A package on a medium.

    ``windows`` are pairs of release and processor: those that its directory names, and without
    one all that its INF is for. Its drivers themselves are not read, so ``signer_class`` is what
    the catalogue says of the INF. ``problem`` tells why an INF could not be read. ``missing`` are
    the files that the INF copies and that do not lie beside it.
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
    missing: tuple[str, ...] = ()


def list_packages(media: Sequence[DriverMedia]) -> tuple[ListedPackage, ...]:
    """List all packages of media, in the media's order."""
    return tuple(package for source in media for package in _packages_of(source))


@dataclass(frozen=True, slots=True)
class _Found:
    """An INF that was read, and where its catalogue lies; None when it is not there."""

    inf: MediaInf
    windows: tuple[tuple[str, str], ...]
    package: DriverPackage
    catalogue: str | None


def _packages_of(source: DriverMedia) -> Iterator[ListedPackage]:
    found = [_found(source, inf) for inf in source.infs]
    paths = [it.catalogue for it in found if isinstance(it, _Found) and it.catalogue is not None]
    catalogues = _read_all(source, paths)
    for it in found:
        yield _listed(source, it, catalogues) if isinstance(it, _Found) else it


def _found(source: DriverMedia, inf: MediaInf) -> _Found | ListedPackage:
    driver = driver_of(inf.name)
    if inf.data is None:
        return ListedPackage(source.name, inf.path, driver, (), problem=inf.problem)
    try:
        windows, package = _meant_for(inf, inf.data)
    except InfError as error:
        return ListedPackage(source.name, inf.path, driver, (), problem=error.message)
    catalogue = source.find(inf.directory, package.catalog_name) if package.catalog_name else None
    return _Found(inf, windows, package, catalogue)


def _read_all(source: DriverMedia, paths: Sequence[str]) -> dict[str, bytes | str]:
    """Return the contents of files, or why one cannot be read; in one pass if all is well."""
    try:
        return dict(source.read(paths))
    except SourceUnreadableError:
        pass  # One bad file must not hide the others.
    contents: dict[str, bytes | str] = {}
    for path in paths:
        try:
            contents[path] = source.read([path])[path]
        except SourceUnreadableError as error:
            contents[path] = error.message
    return contents


def _listed(
    source: DriverMedia, found: _Found, catalogues: Mapping[str, bytes | str]
) -> ListedPackage:
    inf, package = found.inf, found.package
    driver = driver_of(inf.name)
    content = catalogues[found.catalogue] if found.catalogue is not None else None
    if isinstance(content, str):
        return ListedPackage(source.name, inf.path, driver, found.windows, problem=content)
    files = {} if content is None else {package.catalog_name: content}
    signing = judge_signing(package.with_files(files))
    # An INF that was changed since is covered by nobody's signature.
    changed = package.inf_name.lower() in signing.unlisted
    return ListedPackage(
        medium=source.name,
        path=inf.path,
        driver=driver,
        windows=found.windows,
        version=package.driver_version_text,
        date=package.driver_date,
        signer_class=signing.signer_class,
        signer=signing.signer,
        problem="its INF was changed after it was signed" if changed else "",
        missing=tuple(
            file.source_path
            for file in package.copied_files
            if source.find(inf.directory, file.source_path) is None
        ),
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
