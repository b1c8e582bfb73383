"""Install sections: the services, registry values and files that a device's driver brings.

The forms: Microsoft, "INF DDInstall Section", "INF DDInstall.Services Section", "INF AddService
Directive", "INF DDInstall.HW Section", "INF DDInstall.CoInstallers Section", "Specifying the KMDF
Version in an INF".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from offline_mig.drivers.addreg import (
    InfRegistryValue,
    read_added,
    read_deleted,
    read_number,
)
from offline_mig.drivers.copyfiles import CopyFile, read_copied
from offline_mig.drivers.directories import InfPath
from offline_mig.drivers.inf import InfError, InfFile, InfLine
from offline_mig.drivers.numbers import hexadecimal_of
from offline_mig.windows.version import Architecture

#: SPSVCINST_ASSOCSERVICE of setupapi.h: the service is the device's own driver.
SPSVCINST_ASSOCSERVICE = 0x2

#: Lines, values and files of all install sections of an INF together. Sections that many others
#: name let a small file stand for a huge installation; the largest real one has some thousands.
MAX_INSTALLED_ITEMS = 200_000
#: Bytes of all registry values of an INF together: few lines of text may be read many times. A
#: service key of a real driver has some kilobytes.
MAX_REGISTRY_SIZE = 32 * 1024 * 1024

#: The FeatureScore of an INF that has none (Microsoft, "INF FeatureScore Directive").
DEFAULT_FEATURE_SCORE = 0xFF
#: The sections that may stand beside an install section, by their endings.
_PARTS = ("hw", "services", "interfaces", "wdf")

#: Directives of an install section that are read into fields of their own.
_READ = frozenset({"addreg", "delreg", "copyfiles", "include", "needs"})


@dataclass(frozen=True, slots=True)
class EventLogInstall:
    """An event source: the values (relative to its key) under Services\\EventLog\\log\\source."""

    log: str
    source: str
    registry: tuple[InfRegistryValue, ...]


@dataclass(frozen=True, slots=True)
class ServiceInstall:
    """A service that an INF installs.

    ``flags`` are SPSVCINST_* bits; ``service_type``, ``start_type`` and ``error_control`` the
    numbers of winnt.h. HKR in ``registry`` is the service's own key. ``display_name_token`` is the
    display name before substitution, such as ``%BALLOON.SVCDESC%``.
    """

    name: str
    flags: int
    display_name: str
    description: str
    service_type: int
    start_type: int
    error_control: int
    binary: InfPath
    load_order_group: str
    dependencies: tuple[str, ...]
    start_name: str
    security: str
    registry: tuple[InfRegistryValue, ...]
    event_log: EventLogInstall | None
    display_name_token: str = ""

    @property
    def is_function_driver(self) -> bool:
        """Whether this is the driver of the device itself, and not one beside it."""
        return bool(self.flags & SPSVCINST_ASSOCSERVICE)


@dataclass(frozen=True, slots=True)
class InstallSection:
    r"""What installing a device does.

    ``name`` is the section as the models line has it, ``effective_section`` the one that is used,
    with its .NTamd64 or .NT. HKR is the device's hardware key (Enum\...) in
    ``hardware_registry``, its software key (Class\{GUID}\NNNN) in ``software_registry`` and
    ``coinstaller_registry``, and its video key in ``software_settings`` (the SoftwareSettings of
    display drivers). ``directives`` are the remaining lines, such as Characteristics and
    ``*IfType`` of a network adapter, which its class installer writes into the software key.
    ``includes`` and ``needs_elsewhere`` name other INFs, and sections of those. ``parts`` are the
    endings, in lower case, of the sections beside it that the INF has (``hw``, ``services``), and
    ``feature_score`` is what the INF ranks itself by among drivers of its kind, the lower the
    better (Microsoft, "INF FeatureScore Directive").
    """

    name: str
    effective_section: str
    services: tuple[ServiceInstall, ...]
    hardware_registry: tuple[InfRegistryValue, ...]
    software_registry: tuple[InfRegistryValue, ...]
    software_settings: tuple[InfRegistryValue, ...]
    coinstaller_registry: tuple[InfRegistryValue, ...]
    copy_files: tuple[CopyFile, ...]
    coinstaller_files: tuple[CopyFile, ...]
    directives: tuple[tuple[str, str], ...]
    kmdf_library_version: str
    includes: tuple[str, ...]
    needs_elsewhere: tuple[str, ...]
    parts: frozenset[str] = frozenset()
    feature_score: int = DEFAULT_FEATURE_SCORE

    @property
    def has_coinstaller(self) -> bool:
        """Whether a co-installer takes part; sections for one that say nothing are common."""
        return bool(self.coinstaller_registry)

    @property
    def function_driver(self) -> ServiceInstall | None:
        """The service that drives the device, None where the INF names none."""
        return next((service for service in self.services if service.is_function_driver), None)


class InstallReader:
    """Reads the install sections of an INF for one Windows."""

    def __init__(self, inf: InfFile, architecture: Architecture, windows_directory: str) -> None:
        """``windows_directory`` stands for %10% in registry values."""
        self._inf = inf
        self._architecture = architecture
        self._windows_directory = windows_directory
        self._items = 0
        self._registry_size = 0
        self._includes: list[str] = []
        self._needs_elsewhere: list[str] = []

    def read(self, name: str, effective_section: str) -> InstallSection:
        """Read an install section and those that belong to it.

        Raises InfError when it names sections that are not there, or says something without
        sense.
        """
        self._includes.clear()
        self._needs_elsewhere.clear()
        own = self._lines(effective_section)
        hardware = self._lines(f"{effective_section}.HW")
        settings = self._lines(f"{effective_section}.SoftwareSettings")
        coinstallers = self._lines(f"{effective_section}.CoInstallers")
        services = self._lines(f"{effective_section}.Services")
        return InstallSection(
            name=name,
            effective_section=effective_section,
            # A line without a name gives the device no service at all.
            services=tuple(
                self._service(line)
                for line in services
                if line.is_for("AddService") and line.text(0)
            ),
            hardware_registry=self._registry(hardware),
            software_registry=self._registry(own),
            software_settings=self._registry(settings),
            coinstaller_registry=self._registry(coinstallers),
            copy_files=self._copied(own),
            coinstaller_files=self._copied(coinstallers),
            directives=tuple(
                (line.key, line.text(0))
                for line in own
                if line.key is not None and line.key.lower() not in _READ
            ),
            kmdf_library_version=self._kmdf_version(effective_section),
            includes=tuple(dict.fromkeys(self._includes)),
            needs_elsewhere=tuple(dict.fromkeys(self._needs_elsewhere)),
            parts=frozenset(
                part for part in _PARTS if self._inf.has(f"{effective_section}.{part}")
            ),
            feature_score=self._feature_score(own),
        )

    def _count(self, items: int) -> None:
        self._items += items
        if self._items > MAX_INSTALLED_ITEMS:
            raise InfError(self._inf.name, "its sections add up to too large an installation")

    def _lines(self, section: str) -> tuple[InfLine, ...]:
        """Return the lines of a section, then those of the sections that it needs."""
        found: list[InfLine] = []
        order = [section]
        seen = {section.lower()}  # Sections may need each other in a circle.
        for current in order:
            if current is not section and not self._inf.has(current):
                self._needs_elsewhere.append(current)
                continue
            lines = self._inf.lines(current)
            self._count(len(lines))
            found.extend(lines)
            self._includes.extend(_names(lines, "Include"))
            for needed in _names(lines, "Needs"):
                if needed.lower() not in seen:
                    seen.add(needed.lower())
                    order.append(needed)
        return tuple(found)

    def _registry(self, lines: Iterable[InfLine]) -> tuple[InfRegistryValue, ...]:
        """Return what the lines' DelReg and AddReg do, in the order that Windows does it."""
        lines = tuple(lines)
        changes = list(read_deleted(self._inf, self._sections(lines, "DelReg")))
        for section in self._sections(lines, "AddReg"):
            added = read_added(self._inf, (section,), self._windows_directory)
            self._registry_size += sum(len(line.value.data) for line in added if line.value)
            if self._registry_size > MAX_REGISTRY_SIZE:
                raise InfError(self._inf.name, "its registry values add up to too much")
            changes += added
        return tuple(changes)

    def _copied(self, lines: Iterable[InfLine]) -> tuple[CopyFile, ...]:
        return read_copied(self._inf, self._sections(lines, "CopyFiles"), self._architecture)

    def _sections(self, lines: Iterable[InfLine], directive: str) -> list[str]:
        """Return the sections that a directive names, once they are counted.

        Counted by their lines before any is read, for a line may be long work without a result.
        """
        names = _names(lines, directive)
        self._count(sum(len(self._inf.lines(name)) for name in names))
        return names

    def _service(self, line: InfLine) -> ServiceInstall:
        # AddService = name, [flags], section[, event log section[, [log][, source]]]
        inf, name, section = self._inf, line.text(0), line.text(2)
        if not inf.has(section):
            raise InfError(inf.name, f"the service {name} has no section [{section}]", line.number)
        if "\\" in name or "/" in name:
            raise InfError(inf.name, f"{name!r} cannot be a service's name", line.number)
        lines = self._lines(section)
        return ServiceInstall(
            name=name,
            flags=read_number(inf, line, line.text(1)) & 0xFFFFFFFF,
            display_name=_text(lines, "DisplayName"),
            description=_text(lines, "Description"),
            service_type=self._number(name, lines, "ServiceType"),
            start_type=self._number(name, lines, "StartType"),
            error_control=self._number(name, lines, "ErrorControl"),
            binary=self._binary(name, lines),
            load_order_group=_text(lines, "LoadOrderGroup"),
            dependencies=tuple(_names(lines, "Dependencies")),
            start_name=_text(lines, "StartName"),
            security=_text(lines, "Security"),
            registry=self._registry(lines),
            event_log=self._event_log(line),
            display_name_token=_raw_text(lines, "DisplayName"),
        )

    def _number(self, service: str, lines: Iterable[InfLine], key: str) -> int:
        for line in lines:
            if line.is_for(key) and line.text(0):
                return read_number(self._inf, line, line.text(0))
        raise InfError(self._inf.name, f"the service {service} has no {key}")

    def _binary(self, service: str, lines: Iterable[InfLine]) -> InfPath:
        path = InfPath.parse(_text(lines, "ServiceBinary"))
        if not path.relative:
            raise InfError(self._inf.name, f"the service {service} has no ServiceBinary")
        return path

    def _event_log(self, line: InfLine) -> EventLogInstall | None:
        section = line.text(3)
        if not section:
            return None
        if not self._inf.has(section):
            raise InfError(
                self._inf.name,
                f"the service {line.text(0)} has no event log section [{section}]",
                line.number,
            )
        return EventLogInstall(
            line.text(4) or "System",
            line.text(5) or line.text(0),
            self._registry(self._lines(section)),
        )

    def _feature_score(self, lines: Iterable[InfLine]) -> int:
        # FeatureScore = one byte, in hexadecimal
        for line in lines:
            if line.is_for("FeatureScore"):
                score = hexadecimal_of(line.text(0))
                if score is None:
                    raise InfError(
                        self._inf.name, f"{line.text(0)!r} is no FeatureScore", line.number
                    )
                return score & 0xFF
        return DEFAULT_FEATURE_SCORE

    def _kmdf_version(self, effective_section: str) -> str:
        # KmdfService = service, section
        for line in self._inf.lines_for(f"{effective_section}.Wdf", "KmdfService"):
            return self._inf.text(line.text(1), "KmdfLibraryVersion")
        return ""


def _names(lines: Iterable[InfLine], key: str) -> list[str]:
    """Return the names that the lines of a directive hold, each once in whatever letter case."""
    names: dict[str, str] = {}
    for line in lines:
        if line.is_for(key):
            for text in line.fields:
                if text:
                    names.setdefault(text.lower(), text)
    return list(names.values())


def _text(lines: Iterable[InfLine], key: str) -> str:
    return next((line.text(0) for line in lines if line.is_for(key)), "")


def _raw_text(lines: Iterable[InfLine], key: str) -> str:
    return next((line.raw_fields[0] for line in lines if line.is_for(key) and line.fields), "")
