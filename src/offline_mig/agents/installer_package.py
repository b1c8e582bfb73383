"""Agents in Windows Installer packages (.msi), by what their tables say.

The tables and the language of their texts: Microsoft, "Windows Installer, Database Tables" and
"Formatted". Only what an agent's installer has is understood; what else is in it becomes a note,
so that nothing is left out silently. Packages that were looked at: spice-vdagent 0.10.0 and the
sources of qemu-ga (``qga/installer/qemu-ga.wxs``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from offline_mig.agents.agent import (
    SERVICES,
    Agent,
    AgentFile,
    AgentKind,
    AgentPath,
    AgentRegistryValue,
    AgentService,
    AgentText,
)
from offline_mig.windows.cabinet import CabinetError, extract_members
from offline_mig.windows.installer_database import (
    InstallerDatabase,
    InstallerDatabaseError,
    Row,
)
from offline_mig.windows.known_folders import KnownFolder
from offline_mig.windows.pe import PeImage, read_pe
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture

#: Microsoft, "Property Reference, System Folder Properties"; none of them leads into Windows
#: itself, where no agent has anything.
_FOLDERS = {
    "ProgramFiles64Folder": KnownFolder.PROGRAM_FILES,
    "ProgramFilesFolder": KnownFolder.PROGRAM_FILES_X86,
    "CommonFiles64Folder": KnownFolder.COMMON_FILES,
    "CommonFilesFolder": KnownFolder.COMMON_FILES_X86,
}
#: msidbComponentAttributes64bit of the Component table.
_COMPONENT_64BIT = 0x100
#: msidbServiceInstallErrorControlVital, which is for the installer and not for the service.
_VITAL = 0x8000
#: SERVICE_WIN32_OWN_PROCESS of winnt.h, and that with SERVICE_INTERACTIVE_PROCESS.
_OWN_PROCESS = (0x10, 0x110)
#: SERVICE_AUTO_START, SERVICE_DEMAND_START, SERVICE_DISABLED of winnt.h.
_STARTS = (2, 3, 4)
#: Roots of the Registry table: HKEY_CLASSES_ROOT, HKEY_LOCAL_MACHINE, and "by the installation",
#: which is the machine for what is installed for all.
_CLASSES, _MACHINE, _EITHER = 0, 2, -1
#: Cabinets of one package, and bytes of all files in them. Agents have one.
_MAX_CABINETS, _MAX_CONTENTS = 8, 256 * 1024 * 1024
#: Levels that directories may lie above each other.
_MAX_DEPTH = 32
#: Characters of a text. The longest in agents' installers are file names and descriptions.
_MAX_TEXT = 4096
#: Accounts that need no password ("Service User Accounts").
_ACCOUNTS = ("localsystem", r"nt authority\localservice", r"nt authority\networkservice")
_GUID = re.compile(r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.ASCII | re.IGNORECASE)
_PLAIN_VERSION = re.compile(r"[0-9.]{1,40}")
_PLAIN_NAME = re.compile(r'[^\\/:*?"<>|\x00-\x1f]{1,255}')
_TOKEN = re.compile(r"\[([^\[\]]*)\]")


def agent_of_package(source: str, location: str, data: bytes) -> Agent | None:
    """Return the agent that an MSI installs, None when it installs none that is known.

    Raises InstallerDatabaseError when it is damaged or needs more than itself.
    """
    database = InstallerDatabase(data)
    for row in database.rows("ServiceInstall"):
        for kind, names in SERVICES.items():
            if _text(row, "Name").casefold() in {name.casefold() for name in names}:
                given = {(location or source).rpartition("/")[2]: data}
                return _Package(database, source, location).agent(kind, row, given)
    return None


class _Package:
    """The tables of one package, put in order."""

    def __init__(self, database: InstallerDatabase, source: str, location: str) -> None:
        self._database = database
        self._source, self._location = source, location
        self._properties = {
            _text(row, "Property"): _text(row, "Value") for row in database.rows("Property")
        }
        self._directories = {_text(row, "Directory"): row for row in database.rows("Directory")}
        self._components = {_text(row, "Component"): row for row in database.rows("Component")}
        self._files = {_text(row, "File"): row for row in database.rows("File")}

    def agent(self, kind: AgentKind, service: Row, given: Mapping[str, bytes]) -> Agent:
        contents = self._contents()
        files = tuple(AgentFile(self._file_path(key), contents[key.lower()]) for key in self._files)
        if len({(f.path.folder, f.path.relative.lower()) for f in files}) < len(files):
            raise InstallerDatabaseError("two of its files have the same name")
        images: dict[str, PeImage] = {}
        for file in files:
            image = read_pe(file.content) if file.content[:2] == b"MZ" else None
            if image is not None:
                images[file.path.name.lower()] = image
        program = self._program(service)
        image = images.get(program.name.lower())
        architecture = image.architecture if image else None
        registry, notes = self._registry(architecture)
        version = self._properties.get("ProductVersion", "")
        code = self._properties.get("ProductCode", "")
        return Agent(
            kind=kind,
            version=version if _PLAIN_VERSION.fullmatch(version) else "",
            architecture=architecture,
            source=self._source,
            location=self._location,
            product=self._properties.get("ProductName", ""),
            files=files,
            service=self._service(service, program),
            images=images,
            given=given,
            registry=registry,
            installer=True,
            product_code=code if _GUID.fullmatch(code) else "",
            notes=(*notes, *self._conditions()),
        )

    def _contents(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        named = (_text(row, "Cabinet") for row in self._database.rows("Media"))
        cabinets = dict.fromkeys(name for name in named if name)
        if len(cabinets) > _MAX_CABINETS:
            raise InstallerDatabaseError(f"it has {len(cabinets)} cabinets")
        for cabinet in cabinets:
            if not cabinet.startswith("#"):
                raise InstallerDatabaseError(f"its files lie outside of it, in {cabinet!r}")
            try:
                found |= extract_members(self._database.stream(cabinet[1:]), self._files)
            except CabinetError as error:
                raise InstallerDatabaseError(f"its cabinet is damaged ({error})") from error
            if sum(map(len, found.values())) > _MAX_CONTENTS:
                raise InstallerDatabaseError(f"its files have more than {_MAX_CONTENTS} bytes")
        missing = [key for key in self._files if key.lower() not in found]
        if missing:
            raise InstallerDatabaseError(f"its cabinet lacks {missing[0]!r}")
        return found

    def _service(self, row: Row, program: AgentPath) -> AgentService:
        kind, start, control = map(row.get, ("ServiceType", "StartType", "ErrorControl"))
        if not isinstance(kind, int) or kind not in _OWN_PROCESS or start not in _STARTS:
            raise InstallerDatabaseError(
                f"its service {_text(row, 'Name')} has type {kind} and start {start}, which no "
                "agent has"
            )
        account = self._plain(_text(row, "StartName")) or "LocalSystem"
        if account.casefold() not in _ACCOUNTS:
            raise InstallerDatabaseError(f"its service runs as {account!r}, who has a password")
        dependencies = _text(row, "Dependencies").split("[~]")
        return AgentService(
            name=_text(row, "Name"),
            display_name=_text(row, "DisplayName") or _text(row, "Name"),
            description=_text(row, "Description"),
            service_type=kind,
            start_type=int(start or 0),
            error_control=int(control or 0) & ~_VITAL,
            program=program,
            arguments=self._formatted(_text(row, "Arguments")),
            group=_text(row, "LoadOrderGroup"),
            # A plus begins the name of a group, of which no agent needs one.
            dependencies=tuple(name for name in dependencies if name and name[0] != "+"),
            account=account,
        )

    def _program(self, service: Row) -> AgentPath:
        component = self._components.get(_text(service, "Component_"))
        key = _text(component, "KeyPath") if component else ""
        if key not in self._files:
            raise InstallerDatabaseError(
                f"its service {_text(service, 'Name')} runs a file that is not in it"
            )
        return self._file_path(key)

    def _file_path(self, key: str) -> AgentPath:
        row = self._files[key]
        component = self._components.get(_text(row, "Component_"))
        if component is None:
            raise InstallerDatabaseError(f"its file {key} belongs to no component")
        name = _long_name(_text(row, "FileName"))
        folder = self._directory(_text(component, "Directory_"))
        return AgentPath(folder.folder, folder.relative + name)

    def _directory(self, key: str) -> AgentPath:
        r"""Return a directory, ``relative`` being empty or ending in a backslash."""
        parts: list[str] = []
        for _ in range(_MAX_DEPTH):
            if key in _FOLDERS:
                return AgentPath(_FOLDERS[key], "".join(f"{part}\\" for part in reversed(parts)))
            row = self._directories.get(key)
            if row is None:
                break
            name = _text(row, "DefaultDir").partition(":")[0]
            if name != ".":
                parts.append(_long_name(name))
            key = _text(row, "Directory_Parent")
        raise InstallerDatabaseError(f"it installs into a place that is not known here ({key})")

    def _registry(
        self, architecture: Architecture | None
    ) -> tuple[tuple[AgentRegistryValue, ...], tuple[str, ...]]:
        """Return what goes into SOFTWARE, and notes about all else."""
        values: dict[tuple[bool, str, str], AgentRegistryValue] = {}
        notes = []
        for row in self._database.rows("Registry"):
            component = self._components.get(_text(row, "Component_"))
            attributes = component.get("Attributes") if component else None
            wide = isinstance(attributes, int) and bool(attributes & _COMPONENT_64BIT)
            narrow = architecture is Architecture.AMD64 and not wide
            value = self._registry_value(row, narrow=narrow)
            if value is not None:
                name = (value.name or "").casefold()
                values[narrow, value.key.casefold(), name] = value
            elif _text(row, "Name") != "-":
                notes.append(
                    f"The registry value {_text(row, 'Name')!r} in {_text(row, 'Key')!r} of the "
                    "installer was left out: it is of a kind that is not known here."
                )
        return tuple(values.values()), tuple(notes)

    def _registry_value(self, row: Row, *, narrow: bool) -> AgentRegistryValue | None:
        key = self._plain(_text(row, "Key")).strip("\\")
        if row.get("Root") == _CLASSES:
            key = rf"Classes\{key}"
        elif row.get("Root") in (_MACHINE, _EITHER) and key.casefold().startswith("software\\"):
            key = key.partition("\\")[2]
        else:
            return None
        parts = key.split("\\")
        if len(parts) > _MAX_DEPTH or not all(0 < len(part) < 256 for part in parts):
            return None
        name, text = _text(row, "Name"), _text(row, "Value")
        if not text and name in ("", "+", "*"):
            return AgentRegistryValue(key, None, (), narrow=narrow)
        if (not text and name == "-") or "[~]" in text:
            return None
        name = self._plain(name)
        if text.startswith("#") and not text.startswith("##"):
            if text[1:2] == "%":
                expanded = self._formatted(text[2:])
                return AgentRegistryValue(key, name, expanded, RegistryType.EXPAND_SZ, narrow)
            if not re.fullmatch("[+-]?[0-9]{1,10}", text[1:]):
                return None
            number = RegistryValue.dword(int(text[1:]) & 0xFFFFFFFF)
            return AgentRegistryValue(key, name, number, narrow=narrow)
        plain = text[1:] if text.startswith("##") else text
        return AgentRegistryValue(key, name, self._formatted(plain), narrow=narrow)

    def _conditions(self) -> tuple[str, ...]:
        return tuple(
            f"The installer would ask for {condition!r} before it installs {name!r}; it is put in "
            "place without asking."
            for name, row in self._components.items()
            if (condition := _text(row, "Condition"))
        )

    def _plain(self, text: str) -> str:
        return "".join(part for part in self._formatted(text) if isinstance(part, str))

    def _formatted(self, text: str) -> AgentText:
        """Return a Formatted text with everything filled in that does not depend on the guest."""
        parts: list[str | AgentPath] = []
        end = 0
        for match in _TOKEN.finditer(text):
            parts += [text[end : match.start()], self._token(match[1])]
            end = match.end()
        parts.append(text[end:])
        return tuple(part for part in parts if part)

    def _token(self, token: str) -> str | AgentPath:
        if token[:1] in ("#", "!") and token[1:] in self._files:
            return self._file_path(token[1:])
        if token[:1] == "$" and token[1:] in self._components:
            return self._directory(_text(self._components[token[1:]], "Directory_"))
        if token[:1] == "\\":
            return token[1:2]
        if token in self._directories or token in _FOLDERS:
            return self._directory(token)
        return self._properties.get(token, "")


def _long_name(name: str) -> str:
    """Return a name as Windows shows it, of the two that the tables have (short|long)."""
    long = name.rpartition("|")[2]
    if not _PLAIN_NAME.fullmatch(long) or long.strip(" .") == "":
        raise InstallerDatabaseError(f"{long!r} in it is no plain file name")
    return long


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    text = value if isinstance(value, str) else ""
    if len(text) > _MAX_TEXT:
        raise InstallerDatabaseError(f"a text for {column} in it has {len(text)} characters")
    return text
