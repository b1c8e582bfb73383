"""Which package of the driver media a Windows gets.

A package fits when its INF has models for the Windows, all files that the INF copies are there,
its drivers are made for the processor and find their framework, and the directory that it lies in
does not say that it was built for another Windows (layout.py): INFs are decorated generously, those
of 0.1.217 for Windows 10 as being for 8.1. Of those that fit, builds for this Windows go before
builds for an older one, packages that this Windows trusts before those that it does not, then the
highest driver version counts, and the directory only where that leaves a choice. What lies above a
directory that was given, and its own name, rule nothing out: somebody may keep drivers in a folder
named after a guest. Such names count between equals only, and a wrong one is told.

Windows itself ranks by signature, then by how well the hardware id matches, then by date and
version (Microsoft, "How Windows Ranks Drivers"). The hardware ids make no difference here: all
packages of a driver list the same devices, and none is left out for the sake of a longer id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from offline_mig.drivers.driver_names import OWN_INFS, DriverName, named_driver
from offline_mig.drivers.frameworks import framework_problem
from offline_mig.drivers.inf import InfError
from offline_mig.drivers.known_faults import KnownFault, known_fault
from offline_mig.drivers.layout import older_releases, own_releases, place_of
from offline_mig.drivers.listing import MediaInf
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.drivers.signing import judge_signing, signing_notes, signing_problem
from offline_mig.errors import NoDriverError, SourceUnreadableError
from offline_mig.windows.pe import pe_architecture, pe_imports
from offline_mig.windows.version import WindowsVersion

#: What a guest gets besides the drivers of its disks and its screen. Not among them: vioprot (it
#: binds to every adapter), qemufwcfg (fwcfg's rival for the same device), viofs (it wants WinFsp).
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
#: XP x86 has no STORPORT.SYS, so its disk drivers are built for SCSIPORT.SYS, and no others are.
_FIRST_STORPORT = (5, 2)
_SCSIPORT = "scsiport.sys"
#: Windows 8 and later have no XPDM display drivers: there QXL is qxldod.
_FIRST_WDDM_ONLY = (6, 2)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A package that was looked at and not taken; ``elsewhere`` if it is for another Windows.

    ``same`` tells that it has the very INF of the one that was taken.
    """

    location: str
    reason: str
    elsewhere: bool = False
    same: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The package chosen for ``driver``, None when there is none, and what else was looked at.

    ``location`` is for people: ``virtio-win.iso: viostor/w10/amd64/viostor.inf``. ``notes`` say
    what is to be known of the chosen one; ``untrusted`` is why this Windows would not load it.
    """

    driver: str
    package: DriverPackage | None
    location: str
    considered: tuple[Rejected, ...]
    notes: tuple[str, ...] = ()
    untrusted: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A package whose INF fits; ``release`` is what its directory says, None if nothing.

    ``distance`` counts from the Windows' own directory, and ``older`` tells that the build is for
    an older one. ``named`` tells whether a directory above it has the driver's name, and
    ``elsewhere`` for which other release the place of the medium is, "" for none.
    """

    media: DriverMedia
    inf: MediaInf
    package: DriverPackage
    release: str | None
    older: bool
    distance: int
    named: bool
    elsewhere: str = ""

    @property
    def location(self) -> str:
        return _location(self.media, self.inf)

    @property
    def preference(self) -> tuple[object, ...]:
        """The smallest is the best."""
        version = tuple(-number for number in self.package.driver_version)
        catalogue = self.media.find(self.inf.directory, self.package.catalog_name)
        older = self.distance if self.older else 0
        # An ISO has viostor in viostor/w10/amd64 and once more in amd64/w10. People look for the
        # first, and it is what the messages should name.
        return (self.older, older, version, self.distance, catalogue is None, not self.named)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A candidate with its files, and what speaks against it without ruling it out."""

    candidate: _Candidate
    package: DriverPackage
    untrusted: str | None
    fault: KnownFault | None

    @property
    def reason(self) -> str:
        """Why another is preferred."""
        return self.untrusted or (self.fault.reason if self.fault else "")

    def notes(self, windows: WindowsVersion) -> tuple[str, ...]:
        """What to know when it is taken all the same."""
        notes = []
        if self.candidate.older:
            notes.append(f"it is the build for {self.candidate.release}, for want of a better one")
        if self.candidate.elsewhere:
            notes.append(
                f"it was taken from a directory for {self.candidate.elsewhere}, though its INF is "
                f"for {windows.release} as well"
            )
        if self.fault is not None:
            notes.append(f"{self.fault.reason} ({self.fault.source})")
        if self.package.signing is not None:
            notes += signing_notes(self.package.signing, windows)
        return tuple(notes)


def choose_package(
    media: Sequence[DriverMedia],
    driver: str,
    windows: WindowsVersion,
    *,
    allow_unsigned: bool = True,
) -> Choice:
    """Choose the package of ``driver`` for ``windows``.

    ``driver`` is a name such as viostor, vioscsi, netkvm or vioserial, in any letter case. One
    that ``windows`` does not trust is taken where there is no other, with ``allow_unsigned``.
    """
    known = named_driver(driver)
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
    taken: _Loaded | None = None
    doubtful: list[_Loaded] = []
    waiting = list(candidates)
    while waiting and taken is None:
        # A build for this Windows with a fault goes before one for an older Windows without.
        if waiting[0].older and any(it.untrusted is None for it in doubtful):
            break
        loaded = _load(waiting.pop(0), known, windows)
        if isinstance(loaded, Rejected):
            rejected.append(loaded)
        elif loaded.untrusted or loaded.fault:
            doubtful.append(loaded)
        else:
            taken = loaded
    if taken is None:
        doubtful.sort(
            key=lambda it: (it.untrusted is not None, it.candidate.older, it.fault is not None)
        )
        if doubtful and (allow_unsigned or doubtful[0].untrusted is None):
            taken = doubtful.pop(0)
    if taken is None:
        rejected += [Rejected(it.candidate.location, it.reason) for it in doubtful]
        untrusted = doubtful[0].untrusted if doubtful else None
        return Choice(driver, None, "", tuple(rejected), untrusted=untrusted)
    for it in doubtful:
        worse = bool(it.untrusted) > bool(taken.untrusted) or taken.reason != it.reason
        rejected.append(
            Rejected(it.candidate.location, it.reason) if worse else _beaten(it.candidate, taken)
        )
    rejected += [_beaten(candidate, taken) for candidate in waiting]
    return Choice(
        driver,
        taken.package,
        taken.candidate.location,
        tuple(rejected),
        taken.notes(windows),
        taken.untrusted,
    )


def choose_optional(
    media: Sequence[DriverMedia],
    windows: WindowsVersion,
    *,
    allow_unsigned: bool = True,
    virtio_gpu: bool = False,
) -> tuple[Choice, ...]:
    """Choose the drivers for ``windows`` besides those of disks.

    A choice without a package says why its driver is not to be had.
    """
    return tuple(
        choose_package(media, driver, windows, allow_unsigned=allow_unsigned)
        for driver in optional_drivers(windows, virtio_gpu=virtio_gpu)
    )


def optional_drivers(windows: WindowsVersion, *, virtio_gpu: bool = False) -> tuple[str, ...]:
    """Return the names of the drivers that ``windows`` may have besides those of disks.

    That of its screen is QXL's, with ``virtio_gpu`` viogpudo: a machine has one of the cards.
    """
    qxl = "qxldod" if windows.nt >= _FIRST_WDDM_ONLY else "qxl"
    return (*_OPTIONAL, "viogpudo" if virtio_gpu else qxl)


def no_driver_error(
    choice: Choice, windows: WindowsVersion, media: Sequence[DriverMedia]
) -> NoDriverError:
    """Return the error for a choice without a package: what was looked for, and what is there."""
    driver, inf_name = choice.driver, named_driver(choice.driver).inf
    label, build = f"{windows.release} {windows.architecture}", f"build {windows.build}"
    named = windows.product_name
    message = f"There is no {driver} driver for "
    message += f"{named} ({label}, {build})" if named else f"{label} ({build})"
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
    own, *others = own_releases(windows)
    remedy = (
        f"Give a virtio-win ISO or RPM, or a driver directory that has "
        f"{driver}/{own}/{windows.architecture}"
    )
    if others:
        remedy += f" (or {', '.join(others)} for {own})"
    if choice.untrusted is not None:
        remedy += ", or --allow-unsigned if the guest runs with test-signing on"
    return NoDriverError(message, remedy + ".")


def _location(media: DriverMedia, inf: MediaInf) -> str:
    # Of a folder, whose names are no text for sure.
    path = inf.path.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{media.name}: {path}"


def _beaten(candidate: _Candidate, taken: _Loaded) -> Rejected:
    return Rejected(
        candidate.location,
        f"{taken.candidate.location} fits better",
        same=candidate.package.inf == taken.package.inf,
    )


def _may_be(inf: MediaInf, driver: DriverName) -> bool:
    """Tell whether an INF is the driver's, or renamed (oem12.inf) and worth a closer look."""
    name = inf.name.lower()
    if name == driver.inf:
        return True
    if name in OWN_INFS or inf.data is None:
        return False
    text = inf.data.lower()
    return any(driver.service.encode(codec) in text for codec in ("utf-8", "utf-16-le"))


def _examine(
    media: DriverMedia, inf: MediaInf, driver: DriverName, windows: WindowsVersion
) -> _Candidate | Rejected | None:
    """Judge a package by its place and its INF. None when it is another driver's."""
    location = _location(media, inf)
    place = place_of(inf.path)
    own, older = own_releases(windows), older_releases(windows)
    if place.architecture not in (None, windows.architecture) or (
        place.release is not None and place.release not in (*own, *older)
    ):
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
    directories = f"{media.above}/{inf.directory}".lower().split("/")
    named = driver.name in directories or driver.inf.removesuffix(".inf") in directories
    # Without a release in its path the INF alone decides.
    hint = place_of(f"{media.above}/").release if place.release is None else None
    ranks = (*own, *older, None)
    return _Candidate(
        media,
        inf,
        package,
        place.release,
        place.release in older,
        distance=ranks.index(hint if hint in own else place.release),
        named=named,
        elsewhere="" if hint is None or hint in own else hint,
    )


def _load(candidate: _Candidate, driver: DriverName, windows: WindowsVersion) -> _Loaded | Rejected:
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
        if windows.nt >= _FIRST_STORPORT and _SCSIPORT in pe_imports(
            contents[there[file.source_path]]
        ):
            return Rejected(candidate.location, f"{file.source} is a build for Windows XP")
    missing = framework_problem(loaded, windows)
    if missing is not None:
        return Rejected(candidate.location, missing)
    signing = judge_signing(loaded)
    loaded = replace(loaded, signing=signing)
    fault = known_fault(driver.name, loaded, windows)
    if fault is not None and fault.fatal:
        return Rejected(candidate.location, f"{fault.reason} ({fault.source})")
    return _Loaded(candidate, loaded, signing_problem(signing, windows), fault)
