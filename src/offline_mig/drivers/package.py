"""A driver package: what an INF installs on one Windows, with the files that it names.

The forms: Microsoft, "INF Version Section", "INF Manufacturer Section", "INF Models Section".
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from offline_mig.drivers.copyfiles import CopyFile, plain_name
from offline_mig.drivers.decorations import best_decoration, effective_section
from offline_mig.drivers.inf import InfError, InfFile, InfLine, parse_inf, tokens_in
from offline_mig.drivers.install import InstallReader, InstallSection, ServiceInstall
from offline_mig.drivers.signer import Signing
from offline_mig.windows.version import Architecture, WindowsVersion

#: A bound for hostile files only: the largest real ones have some thousands.
_MAX_MODELS = 50_000
#: The signatures that Windows accepts; "$Chicago$" is every Windows.
_SIGNATURES = frozenset({"$windows nt$", "$chicago$", "$windows 95$"})
_GUID = re.compile(r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}", re.IGNORECASE)
_DATE = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", re.ASCII)
_VERSION = re.compile(r"\d{1,5}(?:\.\d{1,5}){0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A line of a models section: one device, and how it is installed.

    The tokens are the texts before substitution, such as ``%VioStorScsi.DeviceDesc%``.
    ``install_section`` is what the line names, ``effective_section`` what is used for it.
    """

    description: str
    description_token: str
    manufacturer: str
    manufacturer_token: str
    install_section: str
    effective_section: str
    hardware_id: str
    compatible_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriverPackage:
    """An INF as one Windows sees it.

    ``models`` is empty when the INF is not meant for that Windows; ``decorations`` are all those
    that it has. ``driver_version`` is ``driver_version_text`` as four numbers. ``strings`` are the
    INF's strings, by their lower-case tokens, that names and descriptions are made of. ``files``
    has the contents of the files that belong to the package by their lower-case names, the INF
    and the catalogue among them, and ``missing_files`` those that should and were not found;
    both are empty until ``with_files``, and ``signing`` is None until the catalogue was judged.
    """

    inf_name: str
    inf: bytes = field(repr=False)
    signature: str
    class_name: str
    class_guid: str
    provider: str
    catalog_name: str
    driver_date: datetime.date
    driver_version: tuple[int, int, int, int]
    driver_version_text: str
    decorations: tuple[str, ...]
    models: tuple[DeviceModel, ...]
    installs: tuple[InstallSection, ...]
    strings: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    missing_files: tuple[str, ...] = ()
    signing: Signing | None = None

    @property
    def catalogue_present(self) -> bool:
        """Whether the catalogue is among the files; without it the package is unsigned."""
        return bool(self.catalog_name) and self.catalog_name.lower() in self.files

    @property
    def copied_files(self) -> tuple[CopyFile, ...]:
        """The files that installing copies, co-installers last, each once."""
        return tuple(
            dict.fromkeys(
                [
                    *(file for install in self.installs for file in install.copy_files),
                    *(file for install in self.installs for file in install.coinstaller_files),
                ]
            )
        )

    @property
    def source_paths(self) -> tuple[str, ...]:
        """Where the files lie that belong to the package, relative to the INF, itself apart."""
        paths = [file.source_path for file in self.copied_files]
        if self.catalog_name:
            paths.append(self.catalog_name)
        return tuple(dict.fromkeys(paths))

    @property
    def services(self) -> tuple[ServiceInstall, ...]:
        """The services of all devices."""
        return tuple(
            dict.fromkeys(service for install in self.installs for service in install.services)
        )

    def install_for(self, model: DeviceModel) -> InstallSection:
        """Return how a device of this package is installed."""
        return next(
            install
            for install in self.installs
            if install.effective_section.lower() == model.effective_section.lower()
        )

    def with_files(self, contents: Mapping[str, bytes]) -> DriverPackage:
        """Return the package with its files. ``contents`` is by ``source_paths``."""
        files = {self.inf_name.lower(): self.inf}
        missing: list[str] = []
        for path in self.source_paths:
            if path in contents:
                files[path.rpartition("/")[2].lower()] = contents[path]
            else:
                missing.append(path)
        return replace(self, files=files, missing_files=tuple(missing))


def read_package(
    name: str, data: bytes, windows: WindowsVersion, *, windows_directory: str = "%SystemRoot%"
) -> DriverPackage:
    """Read the INF ``name`` for ``windows``.

    ``windows_directory`` stands for %10% in values: expandable values may have it as it is, and
    Windows itself writes the real one.

    Raises InfError when Windows would refuse the INF.
    """
    inf = parse_inf(data, name)
    signature = inf.text("Version", "Signature")
    if signature.lower() not in _SIGNATURES:
        raise InfError(name, "its [Version] has no signature of Windows, so it is no driver's INF")
    class_guid = inf.text("Version", "ClassGuid")
    if not _GUID.fullmatch(class_guid):
        raise InfError(name, f"its class {class_guid!r} is not a GUID")
    date, version, version_text = _driver_version(inf)
    manufacturers = _manufacturers(inf)
    models = tuple(_models(inf, manufacturers, windows))
    installed = {model.effective_section.lower(): model for model in models}
    reader = InstallReader(inf, windows.architecture, windows_directory)
    return DriverPackage(
        inf_name=name,
        inf=data,
        signature=signature,
        class_name=inf.text("Version", "Class"),
        class_guid=class_guid,
        provider=inf.text("Version", "Provider"),
        catalog_name=_catalog(inf, windows.architecture),
        driver_date=date,
        driver_version=version,
        driver_version_text=version_text,
        decorations=tuple(
            dict.fromkeys(text for line in manufacturers for text in _decorations(line))
        ),
        models=models,
        installs=tuple(
            reader.read(model.install_section, model.effective_section)
            for model in installed.values()
        ),
        strings=_described(inf, models),
    )


def _driver_version(inf: InfFile) -> tuple[datetime.date, tuple[int, int, int, int], str]:
    # DriverVer = mm/dd/yyyy[,w.x.y.z]
    for line in inf.lines_for("Version", "DriverVer"):
        date, text = _date(line.text(0)), line.text(1)
        if date is None or not _VERSION.fullmatch(text or "0"):
            raise InfError(inf.name, "DriverVer is not a date and a version", line.number)
        a, b, c, d = (*map(int, (text or "0").split(".")), 0, 0, 0)[:4]
        return date, (a, b, c, d), text
    raise InfError(inf.name, "its [Version] has no DriverVer")


def _date(text: str) -> datetime.date | None:
    match = _DATE.fullmatch(text)
    try:
        return datetime.date(int(match[3]), int(match[1]), int(match[2])) if match else None
    except ValueError:
        return None


def _catalog(inf: InfFile, architecture: Architecture) -> str:
    for key in (f"CatalogFile.NT{architecture}", "CatalogFile.NT", "CatalogFile"):
        name = inf.text("Version", key)
        if name:
            return plain_name(inf, name)
    return ""


def _manufacturers(inf: InfFile) -> tuple[InfLine, ...]:
    return tuple(line for line in inf.lines("Manufacturer") if line.text(0))


def _decorations(line: InfLine) -> tuple[str, ...]:
    # name = models section[, decoration ...], or the section's name alone
    return tuple(text for text in line.fields[1:] if text) if line.key is not None else ()


def _models(
    inf: InfFile, manufacturers: Iterable[InfLine], windows: WindowsVersion
) -> Iterator[DeviceModel]:
    lines_left = _MAX_MODELS
    for manufacturer in manufacturers:
        decoration = best_decoration(_decorations(manufacturer), windows)
        if decoration is None:
            continue
        section = manufacturer.text(0) + (f".{decoration}" if decoration else "")
        lines_left -= len(inf.lines(section))
        if lines_left < 0:  # Many manufacturers may share one section.
            raise InfError(inf.name, f"it has more than {_MAX_MODELS} models")
        for line in inf.lines(section):
            # description = install section[, hardware id[, compatible id ...]]
            if line.key is None or not line.text(0):
                continue
            effective = effective_section(inf, line.text(0), windows.architecture)
            if effective is None:
                raise InfError(
                    inf.name, f"there is no install section [{line.text(0)}]", line.number
                )
            yield DeviceModel(
                description=line.key,
                description_token=line.raw_key or "",
                manufacturer=manufacturer.key or manufacturer.text(0),
                manufacturer_token=manufacturer.raw_key or manufacturer.raw_fields[0],
                install_section=line.text(0),
                effective_section=effective,
                hardware_id=line.text(1),
                compatible_ids=tuple(text for text in line.fields[2:] if text),
            )


def _described(inf: InfFile, models: Iterable[DeviceModel]) -> dict[str, str]:
    texts = [model.description_token for model in models]
    texts += [model.manufacturer_token for model in models]
    for line in inf.lines("Version"):
        texts += line.raw_fields
    for lines in inf.sections.values():
        for line in lines:
            if line.is_for("DisplayName") or line.is_for("Description"):
                texts += line.raw_fields
    tokens = dict.fromkeys(token for text in texts for token in tokens_in(text))
    return {token: inf.strings[token] for token in tokens if token in inf.strings}
