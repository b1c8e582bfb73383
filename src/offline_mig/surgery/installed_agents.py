"""Agents that are in a guest already: a second registration of one would be refused or worse."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from offline_mig.agents.agent import SERVICES, AgentKind
from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.known_folders import KnownFolders
from offline_mig.windows.pe import read_pe
from offline_mig.windows.registry import RegistryValue

#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4
#: The program in an ImagePath: in quotes, or all up to the first name that ends in .exe.
_PROGRAM = re.compile(r'\s*(?:"([^"]+)"|(.*?\.exe)(?=\s|$))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InstalledAgent:
    """An agent that a control set registers.

    ``values`` is its service key in the ``control_set`` where it was found. ``program`` is the
    Windows path of what it runs, None when that is nowhere on the system volume; ``content`` what
    is there, None when there is nothing, and ``version`` its numbers, if it has any. ``problem``
    says why it cannot be read.
    """

    kind: AgentKind
    service: str
    control_set: str
    values: dict[str, RegistryValue] = field(repr=False)
    program: str | None
    content: bytes | None = field(repr=False)
    version: tuple[int, ...]
    disabled: bool
    problem: str = ""


def find_installed_agents(
    volume: GuestFilesystem,
    facts: GuestFacts,
    folders: KnownFolders,
    kinds: Collection[AgentKind],
) -> tuple[InstalledAgent, ...]:
    """Return the agents of ``kinds`` that any bootable control set registers, one of each kind."""
    found = []
    for kind in kinds:
        registered = _registered(facts, kind)
        if registered is not None:
            found.append(_installed(volume, facts, folders, kind, *registered))
    return tuple(found)


def missing_modules(
    volume: GuestFilesystem, facts: GuestFacts, modules: Collection[str]
) -> frozenset[str]:
    """Return the modules that are not in the guest's System32."""
    return frozenset(
        module
        for module in modules
        if "/" in module or not volume.exists(f"{facts.root}/System32/{module}")
    )


def _registered(facts: GuestFacts, kind: AgentKind) -> tuple[str, str] | None:
    for control_set in facts.control_sets.bootable:
        for service in SERVICES[kind]:
            if facts.system.has_key(rf"{control_set}\Services\{service}"):
                return control_set, service
    return None


def _installed(
    volume: GuestFilesystem,
    facts: GuestFacts,
    folders: KnownFolders,
    kind: AgentKind,
    control_set: str,
    service: str,
) -> InstalledAgent:
    key = rf"{control_set}\Services\{service}"
    start = facts.system.value(key, "Start")
    image_path = facts.system.value(key, "ImagePath")
    match = _PROGRAM.match(folders.expand((image_path.as_text() if image_path else None) or ""))
    program = match[1] or match[2] if match else ""
    path = folders.on_volume(program)
    content, problem = None, ""
    if path is not None and volume.exists(path):
        try:
            content = volume.read(path)
        except UnreadableFileError as error:
            problem = error.message
    image = read_pe(content) if content else None
    return InstalledAgent(
        kind=kind,
        service=service,
        control_set=control_set,
        values=dict(facts.system.values(key)),
        program=program if path is not None else None,
        content=content,
        version=image.file_version if image else (),
        disabled=start is not None and start.as_int() == _DISABLED,
        problem=problem,
    )
