"""Where agents come from: a folder, an ISO image, an RPM, a zip or an MSI."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from offline_mig.agents.agent import Agent
from offline_mig.agents.archives import MAX_FILE_SIZE, read_rpm, read_zip
from offline_mig.agents.installer_package import agent_of_package
from offline_mig.agents.spice_executables import agent_of_pair, pair_folders
from offline_mig.drivers.iso import IsoImage, is_iso, read_from_iso, scan_iso
from offline_mig.drivers.rpm import is_rpm
from offline_mig.drivers.tree import read_from_tree, scan_tree
from offline_mig.errors import SourceUnreadableError
from offline_mig.windows.installer_database import COMPOUND_FILE, InstallerDatabaseError

#: Files of a folder or an archive that are looked into: the executables of the SPICE agent, and
#: installers by the names that they have had on ISOs and in RPMs (qemu-ga-x86_64.msi,
#: rhev-qga64.msi, spice-vdagent-x64-0.10.0-7.msi). Others there install drivers.
_WANTED = re.compile(
    r"(vdagent|vdservice)\.exe|.*(qemu-ga|qga|vdagent|spice-agent).*\.msi", re.IGNORECASE
)
#: Marks of zip files: with files in it, and an empty one (PKWARE, "APPNOTE.TXT").
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
#: Agents in one source. A virtio-win ISO has four.
_MAX_WANTED = 100
_REMEDY = (
    "Give the RPM, MSI or zip of the SPICE agent, the MSI of the QEMU guest agent, a folder with "
    "one of them or with vdagent.exe and vdservice.exe, or a virtio-win ISO."
)


@dataclass(frozen=True, slots=True)
class AgentSource:
    """A source and the agents in it, at least one."""

    path: Path
    agents: tuple[Agent, ...]


def open_agent_source(path: Path) -> AgentSource:
    """Read all agents of a source.

    Raises SourceUnreadableError when it is damaged or holds none, and HostNotReadyError when it
    is an archive and the library that reads it is not there.
    """
    # It is told in reports, which are text, be the name text or not.
    name = os.fsencode(path.name or path).decode("utf-8", "backslashreplace")
    try:
        mark = _mark(path)
        iso = mark is not None and is_iso(path)
        if mark is not None and mark.startswith(COMPOUND_FILE):
            agents = [_package(name, "", _whole(path))]
            return AgentSource(path, _found(path, agents))
    except OSError as error:
        raise SourceUnreadableError(
            f"The agent source {path} cannot be read: {error.strerror or error}.",
            "Check its permissions and the disk that it lies on.",
        ) from error
    if mark is None:
        listing = scan_tree(path)
        contents = read_from_tree(path, _wanted(path, listing.files))
    elif iso:
        image = IsoImage.at(path)
        listing = scan_iso(image)
        contents = read_from_iso(image, listing.links, _wanted(path, listing.files))
    elif is_rpm(path):
        contents = read_rpm(path, _is_wanted)
    elif mark.startswith(_ZIP):
        contents = read_zip(path, _is_wanted)
    else:
        raise SourceUnreadableError(
            f"{path} is no agent source: neither a folder, an ISO image, an RPM, a zip nor an MSI.",
            _REMEDY,
        )
    _require_few(path, contents)
    agents = [agent_of_pair(name, folder, contents) for folder in pair_folders(contents)]
    agents += [
        _package(name, inner, content)
        for inner, content in sorted(contents.items())
        if inner.lower().endswith(".msi")
    ]
    return AgentSource(path, _found(path, agents))


def _mark(path: Path) -> bytes | None:
    """Return the first bytes of a file, None for a directory."""
    if path.is_dir():
        return None
    if not path.is_file() and not path.is_block_device():
        there = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise SourceUnreadableError(f"The agent source {path} {there}.", _REMEDY)
    with path.open("rb") as file:
        return file.read(8)


def _is_wanted(name: str) -> bool:
    # Where an agent was found is told on the screen: no name may send commands to a terminal.
    return name.isprintable() and _WANTED.fullmatch(name.rpartition("/")[2]) is not None


def _wanted(path: Path, files: Mapping[str, str]) -> list[str]:
    names = [name for name in files.values() if _is_wanted(name)]
    _require_few(path, names)
    return names


def _require_few(path: Path, names: Collection[str]) -> None:
    if len(names) > _MAX_WANTED:
        raise SourceUnreadableError(
            f"{path} holds {len(names)} files that look like agents.",
            "Give a folder with the agents for this guest only.",
        )


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_SIZE + 1)
    if len(data) > MAX_FILE_SIZE:
        raise SourceUnreadableError(f"{path} is larger than any agent's installer.", _REMEDY)
    return data


def _package(source: str, location: str, data: bytes) -> Agent | None:
    try:
        return agent_of_package(source, location, data)
    except InstallerDatabaseError as error:
        where = f"{source}: {location}" if location else source
        raise SourceUnreadableError(
            f"The installer {where} cannot be used: {error}.",
            "Download it again and compare its checksum.",
        ) from error


def _found(path: Path, agents: list[Agent | None]) -> tuple[Agent, ...]:
    found = tuple(agent for agent in agents if agent is not None)
    if not found:
        raise SourceUnreadableError(f"{path} holds no agent that is known here.", _REMEDY)
    return found
