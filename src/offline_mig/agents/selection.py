"""Which agents of all sources fit a Windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig.agents.agent import Agent, AgentKind
from offline_mig.agents.requirements import misfit
from offline_mig.agents.source import AgentSource
from offline_mig.errors import NoDriverError
from offline_mig.windows.version import WindowsVersion

#: The last ISO of virtio-win whose qemu-ga runs on XP and 2003.
_LAST_NT5 = (
    "The last QEMU guest agent for Windows before Vista is the one on virtio-win-0.1.96.iso; the "
    "SPICE agent up to 0.10.0 runs there."
)
_REMEDY = "Give an agent that is built for this Windows, or leave --agent out."


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An agent that was not taken, and why."""

    agent: Agent
    reason: str


@dataclass(frozen=True, slots=True)
class AgentChoice:
    """The agent of one kind, None when none of those that were found fits."""

    kind: AgentKind
    agent: Agent | None
    passed_over: tuple[PassedOver, ...]


def choose_agents(
    sources: Sequence[AgentSource], windows: WindowsVersion
) -> tuple[AgentChoice, ...]:
    """Choose one agent of each kind: of those that ``windows`` runs, the newest.

    Raises NoDriverError for a source without any agent for this Windows.
    """
    for source in sources:
        reasons = {
            agent.origin: reason
            for agent in source.agents
            if (reason := misfit(agent, windows)) is not None
        }
        if len(reasons) == len(source.agents):
            raise _no_agent(source, windows, reasons)
    agents = [agent for source in sources for agent in source.agents]
    kinds = [kind for kind in AgentKind if any(agent.kind is kind for agent in agents)]
    return tuple(
        _choose(kind, [agent for agent in agents if agent.kind is kind], windows) for kind in kinds
    )


def choose_agents_for_each(
    sources: Sequence[AgentSource], windows: Sequence[WindowsVersion]
) -> tuple[AgentChoice, ...]:
    """Choose agents for each of several Windows, out of the sources that have one for it.

    Raises NoDriverError for a source without an agent for any of them.
    """
    for source in sources:
        if not any(_serves(source, version) for version in windows):
            choose_agents([source], windows[0])
    return tuple(
        choice
        for version in windows
        for choice in choose_agents([it for it in sources if _serves(it, version)], version)
    )


def _serves(source: AgentSource, windows: WindowsVersion) -> bool:
    return any(misfit(agent, windows) is None for agent in source.agents)


def _choose(kind: AgentKind, agents: Sequence[Agent], windows: WindowsVersion) -> AgentChoice:
    reasons = [misfit(agent, windows) for agent in agents]
    fitting = [agent for agent, reason in zip(agents, reasons, strict=True) if reason is None]
    # The first of equals: what was named first.
    chosen = max(fitting, key=_version, default=None)
    passed = tuple(
        PassedOver(agent, reason or f"{chosen.origin if chosen else ''} is as new or newer")
        for agent, reason in zip(agents, reasons, strict=True)
        if agent is not chosen
    )
    return AgentChoice(kind, chosen, passed)


def _version(agent: Agent) -> tuple[int, ...]:
    return agent.program_version or tuple(
        int(number) for number in re.findall("[0-9]{1,9}", agent.version)[:4]
    )


def _no_agent(
    source: AgentSource, windows: WindowsVersion, reasons: dict[str, str]
) -> NoDriverError:
    told = "; ".join(f"{origin}: {reason}" for origin, reason in list(reasons.items())[:4])
    remedy = f"{_REMEDY} {_LAST_NT5}" if (5, 1) <= windows.nt < (6, 0) else _REMEDY
    name = windows.product_name or f"{windows.release} {windows.architecture}"
    return NoDriverError(f"{source.path} has no agent for {name}: {told}.", remedy)
