r"""The SPICE agent as its two executables, as they lie in RPMs (mingw64-spice-vdagent) and zips.

``vdservice install`` registers them; what it writes is in spice's "vd_agent" for Windows,
``vdservice/vdservice.cpp`` (``VDService::install``), of which 0.4 to 0.10 were compared. vdservice
starts the vdagent.exe beside it, so both go into one folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from offline_mig.agents.agent import Agent, AgentFile, AgentKind, AgentPath, AgentService
from offline_mig.windows.known_folders import KnownFolder
from offline_mig.windows.pe import read_pe

_SERVICE, _AGENT = "vdservice.exe", "vdagent.exe"
#: Neither of the installers' own folders, which uninstalling them would clear away.
_FOLDER = "SPICE Guest Agent"
_DESCRIPTION = "Enables Spice event injection and display configuration."
#: The program has its display name in itself: "RHEV Spice Agent" up to 0.8, "Spice Agent" since.
_OLD_NAME, _NAME = "RHEV Spice Agent", "Spice Agent"
#: SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START and SERVICE_ERROR_IGNORE of winsvc.h.
_OWN_PROCESS, _AUTO_START, _IGNORE = 0x10, 2, 0


def pair_folders(names: Iterable[str]) -> tuple[str, ...]:
    """Return the folders among the paths of files that hold both executables."""
    holds: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if last.lower() in (_SERVICE, _AGENT):
            holds.setdefault(folder, set()).add(last.lower())
    return tuple(sorted(folder for folder, found in holds.items() if len(found) == 2))


def agent_of_pair(source: str, folder: str, contents: Mapping[str, bytes]) -> Agent:
    """Return the agent in ``folder``; ``contents`` are the files of the source by path.

    Its architecture is None when an executable cannot be read or the two do not match.
    """
    found = {
        name.rpartition("/")[2].lower(): content
        for name, content in contents.items()
        if name.rpartition("/")[0] == folder
    }
    images = {
        name: image for name in (_SERVICE, _AGENT) if (image := read_pe(found[name])) is not None
    }
    architectures = {images[name].architecture if name in images else None for name in found}
    architecture = architectures.pop() if len(architectures) == 1 else None
    version = images[_SERVICE].file_version if _SERVICE in images else ()
    is_old = _OLD_NAME.encode("utf-16-le") in found[_SERVICE]
    return Agent(
        kind=AgentKind.SPICE,
        version=".".join(map(str, version)),
        architecture=architecture,
        source=source,
        location=folder,
        product="",
        files=tuple(
            AgentFile(AgentPath(KnownFolder.PROGRAM_FILES, rf"{_FOLDER}\{name}"), found[name])
            for name in (_AGENT, _SERVICE)
        ),
        service=AgentService(
            name="vdservice",
            display_name=_OLD_NAME if is_old else _NAME,
            description=_DESCRIPTION,
            service_type=_OWN_PROCESS,
            start_type=_AUTO_START,
            error_control=_IGNORE,
            group="Pointer Port",
            program=AgentPath(KnownFolder.PROGRAM_FILES, rf"{_FOLDER}\{_SERVICE}"),
        ),
        images=images,
        given={name: found[name] for name in (_AGENT, _SERVICE)},
    )
