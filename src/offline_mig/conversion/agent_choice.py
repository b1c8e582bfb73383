"""The guest agents for one guest, out of all sources that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.agents.agent import AgentKind
from offline_mig.agents.requirements import doubts, modules_to_look_for
from offline_mig.agents.selection import AgentChoice, choose_agents
from offline_mig.agents.source import AgentSource, open_agent_source
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.agents import AgentPlan, Placement, plan_agents
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.installed_agents import find_installed_agents, missing_modules
from offline_mig.targets.devices import Graphics
from offline_mig.windows.known_folders import read_known_folders


@dataclass(frozen=True, slots=True)
class ChosenAgents:
    """What was chosen, what is done about it, and what the user should know."""

    choices: tuple[AgentChoice, ...] = ()
    plan: AgentPlan = field(default_factory=AgentPlan)
    notes: tuple[str, ...] = ()


def open_agent_sources(paths: Sequence[Path]) -> tuple[AgentSource, ...]:
    """Open all agent sources; raises SourceUnreadableError for one that is none."""
    return tuple(open_agent_source(path) for path in paths)


def choose_and_plan_agents(
    volume: GuestFilesystem,
    facts: GuestFacts,
    sources: Sequence[AgentSource],
    *,
    serial: bool,
    graphics: Graphics,
) -> ChosenAgents:
    """Choose the agents for a guest, mounted as ``volume``, and plan what is done about them.

    ``serial`` is whether the guest will have a driver for the serial port that agents need.
    Raises NoDriverError for a source without any agent for this Windows.
    """
    choices = choose_agents(sources, facts.version)
    agents = [choice.agent for choice in choices if choice.agent is not None]
    if not agents:
        return ChosenAgents(choices)
    folders = read_known_folders(facts.software, facts.root, facts.version.architecture)
    installed = find_installed_agents(volume, facts, folders, [agent.kind for agent in agents])
    plan = plan_agents(facts, folders, agents, installed)
    notes = list(plan.notes)
    for placed in plan.placed:
        if placed.placement is not Placement.KEPT:
            needed = modules_to_look_for(placed.agent, facts.version)
            missing = missing_modules(volume, facts, needed)
            notes += doubts(placed.agent, facts.version, missing)
    if not serial:
        names = " and ".join(agent.kind.value for agent in agents)
        notes.append(
            f"The {names} will find no channel to the host: no vioserial driver for "
            f"{facts.version.release} was found. Give one with --drivers."
        )
    if graphics is not Graphics.SPICE and any(agent.kind is AgentKind.SPICE for agent in agents):
        notes.append("The SPICE agent has nothing to do: the screen is not a SPICE one.")
    return ChosenAgents(choices, plan, (*notes, *unused_agents(choices)))


def unused_agents(choices: Sequence[AgentChoice]) -> list[str]:
    """Return notes about kinds of agent that were found, of which none fits."""
    return [
        f"No {choice.kind} was put in place: {passed.agent.origin}: {passed.reason}."
        for choice in choices
        if choice.agent is None
        for passed in choice.passed_over
    ]
