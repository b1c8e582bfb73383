"""Which package of the driver media a Windows gets.

A package is taken when its directory is for that Windows (layout.py), its INF has models for it,
all files that the INF copies are there and its drivers are made for its processor. Of several,
the directory closest to the Windows wins, then the highest driver version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig.drivers.inf import InfError
from offline_mig.drivers.layout import place_of, releases_for
from offline_mig.drivers.listing import MediaInf
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.errors import NoDriverError, SourceUnreadableError
from offline_mig.windows.pe import pe_architecture
from offline_mig.windows.version import WindowsVersion


@dataclass(frozen=True, slots=True)
class _Driver:
    """What a driver is known by, in lower case: its name, its INF, its device's service."""

    name: str
    inf: str
    service: str


#: The drivers of virtio-win whose INF or service is not called as the driver is. Every other
#: name stands for itself.
_DRIVERS = (
    _Driver("fwcfg", "fwcfg.inf", "fwcfg"),
    _Driver("pvpanic", "pvpanic.inf", "pvpanic"),
    _Driver("pvpanic-pci", "pvpanic-pci.inf", "pvpanic"),
    _Driver("viofs", "viofs.inf", "virtiofsdrv"),
    _Driver("viogpudo", "viogpudo.inf", "viogpudod"),
    _Driver("vioinput", "vioinput.inf", "virtioinput"),
    _Driver("viorng", "viorng.inf", "virtrng"),
    _Driver("vioserial", "vioser.inf", "virtioserial"),
)
_BY_NAME = {driver.name: driver for driver in _DRIVERS}
#: INF files that are never taken for a renamed one of another driver.
_OWN_NAMES = frozenset(
    {driver.inf for driver in _DRIVERS}
    | {f"{name}.inf" for name in ("viostor", "vioscsi", "netkvm", "balloon", "qxl", "qxldod")}
    # sriov's protocol driver and the driverless qemufwcfg name services and devices of others.
    | {"vioprot.inf", "qemufwcfg.inf"}
)

#: What a guest gets besides the driver of its boot disk. Not among them: vioprot (it binds to
#: every adapter), viogpudo (it takes the console from QXL and VGA), qemufwcfg (fwcfg's rival for
#: the same device), viofs (it wants WinFsp).
_OPTIONAL = (
    "netkvm",
    "balloon",
    "vioserial",
    "viorng",
    "vioinput",
    "pvpanic",
    "pvpanic-pci",
    "fwcfg",
)
#: Windows 8 and later have no XPDM display drivers: there QXL is qxldod.
_FIRST_WDDM_ONLY = (6, 2)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A package that was looked at and not taken; ``elsewhere`` if it is for another Windows."""

    location: str
    reason: str
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The package chosen for ``driver``, None when there is none, and what else was looked at.

    ``location`` is for people: ``virtio-win.iso: viostor/w10/amd64/viostor.inf``.
    """

    driver: str
    package: DriverPackage | None
    location: str
    considered: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A package whose INF fits, and how far its directory is from the Windows (0: its own).

    ``named`` tells whether a directory above it has the driver's name.
    """

    media: DriverMedia
    inf: MediaInf
    package: DriverPackage
    distance: int
    named: bool

    @property
    def location(self) -> str:
        return _location(self.media, self.inf)

    @property
    def preference(self) -> tuple[object, ...]:
        """The smallest is the best."""
        version = tuple(-number for number in self.package.driver_version)
        catalogue = self.media.find(self.inf.directory, self.package.catalog_name)
        # An ISO has viostor in viostor/w10/amd64 and once more in amd64/w10. People look for the
        # first, and it is what the messages should name.
        return (self.distance, version, catalogue is None, not self.named)


def choose_package(media: Sequence[DriverMedia], driver: str, windows: WindowsVersion) -> Choice:
    """Choose the package of ``driver`` for ``windows``.

    ``driver`` is a name such as viostor, vioscsi, netkvm or vioserial, in any letter case.
    """
    known = _known(driver)
    candidates: list[_Candidate] = []
    rejected: list[Rejected] = []
    for source in media:
        for inf in source.infs:
            examined = _examine(source, inf, known, windows) if _may_be(inf, known) else None
            if isinstance(examined, _Candidate):
                candidates.append(examined)
            elif examined is not None:
                rejected.append(examined)
    # sorted() is stable: what is alike stays in the order that it was given in.
    candidates.sort(key=lambda candidate: candidate.preference)
    for index, candidate in enumerate(candidates):
        loaded = _load(candidate, windows)
        if isinstance(loaded, DriverPackage):
            rejected += [
                Rejected(other.location, f"{candidate.location} fits better")
                for other in candidates[index + 1 :]
            ]
            return Choice(driver, loaded, candidate.location, tuple(rejected))
        rejected.append(loaded)
    return Choice(driver, None, "", tuple(rejected))


def choose_optional(media: Sequence[DriverMedia], windows: WindowsVersion) -> tuple[Choice, ...]:
    """Choose the drivers for ``windows`` besides those of disks.

    A choice without a package says why its driver is not to be had.
    """
    display = "qxldod" if windows.nt >= _FIRST_WDDM_ONLY else "qxl"
    return tuple(choose_package(media, driver, windows) for driver in (*_OPTIONAL, display))


def no_driver_error(
    choice: Choice, windows: WindowsVersion, media: Sequence[DriverMedia]
) -> NoDriverError:
    """Return the error for a choice without a package: what was looked for, and what is there."""
    driver, inf_name = choice.driver, _known(choice.driver).inf
    name = windows.product_name or f"Windows NT {windows.major}.{windows.minor}"
    message = (
        f"There is no {driver} driver for {name} "
        f"({windows.release} {windows.architecture}, build {windows.build})"
    )
    if not media:
        message += ": no driver source was given."
    else:
        places = dict.fromkeys(
            str(place_of(inf.path))
            for source in media
            for inf in source.infs
            if inf.name.lower() == inf_name
        )
        message += f" in {', '.join(source.name for source in media)}."
        message += " It has" if len(media) == 1 else " They have"
        message += f" {driver} for: {', '.join(places)}." if places else f" no {inf_name} at all."
    # Packages that are meant for this Windows, and are not good enough, say most.
    near = [f"{it.location}: {it.reason}" for it in choice.considered if not it.elsewhere]
    if near:
        message += " Not usable: " + "; ".join(near) + "."
    own, *others = releases_for(windows)
    remedy = (
        f"Give a virtio-win ISO or a driver directory that has "
        f"{driver}/{own}/{windows.architecture}"
    )
    if others:
        remedy += f" (or {', '.join(others)} for {own})"
    return NoDriverError(message, remedy + ".")


def _known(driver: str) -> _Driver:
    name = driver.lower()
    return _BY_NAME.get(name, _Driver(name, f"{name}.inf", name))


def _location(media: DriverMedia, inf: MediaInf) -> str:
    return f"{media.name}: {inf.path}"


def _may_be(inf: MediaInf, driver: _Driver) -> bool:
    """Tell whether an INF is the driver's, or renamed (oem12.inf) and worth a closer look."""
    name = inf.name.lower()
    if name == driver.inf:
        return True
    if name in _OWN_NAMES or inf.data is None:
        return False
    text = inf.data.lower()
    return any(driver.service.encode(codec) in text for codec in ("utf-8", "utf-16-le"))


def _examine(
    media: DriverMedia, inf: MediaInf, driver: _Driver, windows: WindowsVersion
) -> _Candidate | Rejected | None:
    """Judge a package by its place and its INF. None when it is another driver's."""
    location = _location(media, inf)
    place = place_of(inf.path)
    releases = releases_for(windows)
    if place.release is None or place.architecture is None:
        return Rejected(location, "its directory names no release and processor, as w10/amd64 does")
    if place.architecture is not windows.architecture or place.release not in releases:
        return Rejected(location, f"it is for {place}", elsewhere=True)
    if inf.data is None:
        return Rejected(location, inf.problem)
    try:
        package = read_package(inf.name, inf.data, windows)
    except InfError as error:
        return Rejected(location, error.message.rstrip("."))
    services = {service.name.lower() for service in package.services if service.is_function_driver}
    if inf.name.lower() != driver.inf and driver.service not in services:
        return None
    if not package.models:
        meant = ", ".join(package.decorations) or "undecorated Windows versions"
        return Rejected(
            location,
            f"its INF is for {meant}, not for NT{windows.architecture}."
            f"{windows.major}.{windows.minor} build {windows.build}",
        )
    for file in package.copied_files:
        if media.find(inf.directory, file.source_path) is None:
            # Since Vista a package goes into the driver store whole or not at all, and only what
            # is in there is installed (Microsoft, "Driver Store"); XP and 2003 ask for the disk
            # that has the file. Co-installers are no exception, not even where the framework
            # that they bring is in the box (KMDF 1.11 from Windows 8 on): the INF still names
            # them.
            return Rejected(location, f"{file.source_path} is not there, but its INF copies it")
    directories = inf.directory.lower().split("/")
    named = driver.name in directories or driver.inf.removesuffix(".inf") in directories
    return _Candidate(media, inf, package, releases.index(place.release), named)


def _load(candidate: _Candidate, windows: WindowsVersion) -> DriverPackage | Rejected:
    """Read the files of a package and judge its drivers."""
    media, directory, package = candidate.media, candidate.inf.directory, candidate.package
    listed = {path: media.find(directory, path) for path in package.source_paths}
    there = {path: found for path, found in listed.items() if found is not None}
    try:
        contents = media.read(tuple(dict.fromkeys(there.values())))
    except SourceUnreadableError as error:
        return Rejected(candidate.location, error.message.rstrip("."))
    loaded = package.with_files({path: contents[found] for path, found in there.items()})
    for file in loaded.copied_files:
        if not file.is_driver:
            continue
        architecture = pe_architecture(contents[there[file.source_path]])
        if architecture is None:
            return Rejected(candidate.location, f"{file.source} is no Windows driver file")
        if architecture is not windows.architecture:
            return Rejected(candidate.location, f"{file.source} is for {architecture}")
    return loaded
