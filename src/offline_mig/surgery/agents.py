r"""Guest agents put in place: their files, their service, and what else their installer writes.

An agent is registered as its own installer does it, so that installing or removing it in the
guest later finds what it expects. One that is there already is never registered twice: it is kept
if it is as new, and its files are replaced where they lie if it is older.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.agents.agent import Agent, AgentFile, AgentKind, AgentPath, AgentText
from offline_mig.surgery.agent_installation import installation_step
from offline_mig.surgery.changes import Change, CreateKey, SetValue, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import FirstBootStep
from offline_mig.surgery.installed_agents import InstalledAgent
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import set_values
from offline_mig.windows.hive import HiveName
from offline_mig.windows.known_folders import KnownFolders
from offline_mig.windows.registry import RegistryType, RegistryValue

#: Where a 64-bit Windows keeps SOFTWARE for 32-bit programs.
_NARROW = "WOW6432Node"
#: The library by which Windows freezes its volumes for the QEMU guest agent.
_VSS_PROVIDER = "qga-vss.dll"


class Placement(StrEnum):
    """What is done about an agent."""

    PLACED = "placed"
    UPDATED = "updated"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class PlacedAgent:
    """An agent and what becomes of it: ``folder`` and ``service`` are those in the guest."""

    agent: Agent
    placement: Placement
    folder: str
    service: str


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """The changes for all agents, what becomes of each, and notes about what is left to do.

    ``steps`` are what is left to Windows itself.
    """

    blocks: tuple[PlanBlock, ...] = ()
    placed: tuple[PlacedAgent, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[FirstBootStep, ...] = ()


def plan_agents(
    facts: GuestFacts,
    folders: KnownFolders,
    agents: Sequence[Agent],
    installed: Sequence[InstalledAgent],
) -> AgentPlan:
    """Return the changes that put ``agents`` into a guest that has ``installed`` ones."""
    present = {agent.kind: agent for agent in installed}
    plans = [_plan(facts, folders, agent, present.get(agent.kind)) for agent in agents]
    return AgentPlan(
        blocks=tuple(block for plan in plans for block in plan.blocks),
        placed=tuple(placed for plan in plans for placed in plan.placed),
        notes=tuple(note for plan in plans for note in plan.notes),
        steps=tuple(step for plan in plans for step in plan.steps),
    )


def _plan(
    facts: GuestFacts, folders: KnownFolders, agent: Agent, installed: InstalledAgent | None
) -> AgentPlan:
    if installed is None:
        return _place(facts, folders, agent)
    reason = _reason_to_keep(agent, installed)
    folder = (installed.program or "").rpartition("\\")[0]
    if reason is not None:
        where = f" in {folder}" if folder else ""
        note = (
            f"The guest has a {agent.kind} already (service {installed.service}{where}). It was "
            f"kept: {reason}."
        )
        placed = PlacedAgent(agent, Placement.KEPT, folder, installed.service)
        steps = _steps(facts, agent) if installed.content == _program(agent) else ()
        return AgentPlan((), (placed,), (note, *_disabled(installed)), steps)
    return _update(facts, folders, agent, installed, folder)


def _reason_to_keep(agent: Agent, installed: InstalledAgent) -> str | None:
    if installed.problem:
        return installed.problem.rstrip(".")
    name = agent.service.program.name
    program = installed.program
    if program is None or program.rpartition("\\")[2].casefold() != name.casefold():
        return f"what it runs ({program or 'a file outside of the Windows volume'}) is no {name}"
    if installed.content == _program(agent):
        return f"its {name} is the same"
    version = agent.program_version
    if installed.version and version and installed.version >= version:
        return f"its version {_dotted(installed.version)} is as new as {_dotted(version)}"
    return None


def _program(agent: Agent) -> bytes:
    return next(file.content for file in agent.files if file.path == agent.service.program)


def _steps(facts: GuestFacts, agent: Agent) -> tuple[FirstBootStep, ...]:
    step = installation_step(facts, agent)
    return () if step is None else (step,)


def _place(facts: GuestFacts, folders: KnownFolders, agent: Agent) -> AgentPlan:
    program = _path(folders, agent.service.program)
    folder = program.rpartition("\\")[0]
    changes: list[Change] = list(_files(folders, agent, folder))
    for control_set in facts.control_sets.bootable:
        changes += _service(folders, agent, control_set)
    changes += _registry(folders, agent)
    steps = _steps(facts, agent)
    assumed = [
        folders.notes[file.path.folder] for file in agent.files if file.path.folder in folders.notes
    ]
    return AgentPlan(
        (PlanBlock(_title(agent), tuple(changes)),),
        (PlacedAgent(agent, Placement.PLACED, folder, agent.service.name),),
        (*dict.fromkeys(assumed), *_left_to_do(agent, folder, steps)),
        steps,
    )


def _update(
    facts: GuestFacts,
    folders: KnownFolders,
    agent: Agent,
    installed: InstalledAgent,
    folder: str,
) -> AgentPlan:
    changes: list[Change] = list(_files(folders, agent, folder))
    for control_set in facts.control_sets.bootable:
        key = rf"{control_set}\Services\{installed.service}"
        if not facts.system.has_key(key):
            reason = f"the service {installed.service}, as {installed.control_set} has it"
            changes += set_values(key, installed.values, reason)
    changes += _registry(folders, agent)
    steps = _steps(facts, agent)
    old = f"version {_dotted(installed.version)}" if installed.version else "the one"
    note = (
        f"The guest has a {agent.kind} already (service {installed.service}): its files in "
        f"{folder} were replaced, {old} by {agent.version or 'this one'}, and its registration "
        "was kept."
    )
    return AgentPlan(
        (PlanBlock(_title(agent), tuple(changes)),),
        (PlacedAgent(agent, Placement.UPDATED, folder, installed.service),),
        (note, *_disabled(installed), *_left_to_do(agent, folder, steps)),
        steps,
    )


def _files(folders: KnownFolders, agent: Agent, folder: str) -> Iterator[Change]:
    """Yield the files; those that lie with the program, or below it, go into ``folder``."""
    home = agent.service.program.relative.rpartition("\\")[0]
    for file in agent.files:
        path = _path(folders, file.path)
        below = _below(file, agent.service.program, home)
        if below is not None:
            path = rf"{folder}\{below}"
        on_volume = folders.on_volume(path)
        if on_volume is None:
            raise ValueError(f"{path} is no path on the volume of Windows")
        yield WriteFile(on_volume, file.content, agent.origin, f"part of the {agent.kind}")


def _below(file: AgentFile, program: AgentPath, home: str) -> str | None:
    relative = file.path.relative
    if file.path.folder is not program.folder or not home:
        return None
    return relative[len(home) + 1 :] if relative.startswith(f"{home}\\") else None


def _service(folders: KnownFolders, agent: Agent, control_set: str) -> tuple[Change, ...]:
    service = agent.service
    # In quotes, or Windows would try every name up to a blank: "C:\Program" first.
    command = f'"{_path(folders, service.program)}"'
    arguments = _filled(folders, service.arguments)
    values = {
        "Type": RegistryValue.dword(service.service_type),
        "Start": RegistryValue.dword(service.start_type),
        "ErrorControl": RegistryValue.dword(service.error_control),
        "ImagePath": RegistryValue.expand_sz(f"{command} {arguments}" if arguments else command),
        "DisplayName": RegistryValue.sz(service.display_name),
        "ObjectName": RegistryValue.sz(service.account),
    }
    if service.group:
        values["Group"] = RegistryValue.sz(service.group)
    if service.dependencies:
        values["DependOnService"] = RegistryValue.multi_sz(service.dependencies)
    if service.description:
        values["Description"] = RegistryValue.sz(service.description)
    key = rf"{control_set}\Services\{service.name}"
    return set_values(key, values, f"the service as the {agent.kind}'s own installer makes it")


def _registry(folders: KnownFolders, agent: Agent) -> Iterator[Change]:
    reason = f"what the {agent.kind}'s installer writes"
    for entry in agent.registry:
        key = rf"{_NARROW}\{entry.key}" if entry.narrow else entry.key
        if entry.name is None:
            yield CreateKey(HiveName.SOFTWARE, key, reason)
            continue
        if isinstance(entry.value, RegistryValue):
            value = entry.value
        else:
            text = _filled(folders, entry.value)
            expands = entry.type is RegistryType.EXPAND_SZ
            value = RegistryValue.expand_sz(text) if expands else RegistryValue.sz(text)
        yield SetValue(HiveName.SOFTWARE, key, entry.name, value, reason)


def _left_to_do(agent: Agent, folder: str, steps: Sequence[FirstBootStep]) -> tuple[str, ...]:
    """Return notes about what can only be done in the guest, with the commands to run there."""
    notes = list(agent.notes)
    if steps:
        return tuple(notes)
    names = {file.path.name.lower() for file in agent.files}
    if agent.kind is AgentKind.QEMU and _VSS_PROVIDER in names:
        notes.append(
            "The QEMU guest agent cannot freeze file systems until its VSS provider is registered, "
            "which only works in the guest. Run there as administrator: "
            f'"{folder}\\{agent.service.program.name}" -s vss-install'
        )
    return tuple(notes)


def _disabled(installed: InstalledAgent) -> tuple[str, ...]:
    if not installed.disabled:
        return ()
    return (
        (
            f"The service {installed.service} is disabled in the guest and was left so; to have it "
            f"start, run there as administrator: sc config {installed.service} start= auto"
        ),
    )


def _title(agent: Agent) -> str:
    return f"{agent.kind} {agent.version}".rstrip()


def _path(folders: KnownFolders, path: AgentPath) -> str:
    return rf"{folders.paths[path.folder]}\{path.relative}"


def _filled(folders: KnownFolders, text: AgentText) -> str:
    return "".join(part if isinstance(part, str) else _path(folders, part) for part in text)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
