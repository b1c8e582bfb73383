"""What a conversion does to a guest, decided before anything is changed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from offline_mig.agents.source import AgentSource
from offline_mig.conversion.agent_choice import ChosenAgents, choose_and_plan_agents
from offline_mig.conversion.driver_choice import ChosenDrivers, choose_drivers
from offline_mig.conversion.examination import examined_volume, readable_hives
from offline_mig.conversion.first_start import FirstStart, plan_first_start
from offline_mig.conversion.network_plan import NetworkPlan, plan_network
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.tools_choice import plan_tools_removal
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.start_examination import examine_start
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.diagnosis.start_repair import needed_contents, plan_start_repair
from offline_mig.diagnosis.start_rules import start_findings
from offline_mig.diagnosis.started_hal import started_hal
from offline_mig.drivers.media import DriverMedia
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.joined_volumes import JoinedVolumes
from offline_mig.machine import Machine
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.drive_letters import letter_notes
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.processor_drivers import plan_processor_drivers
from offline_mig.surgery.record import diff_lines
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.surgery.tools_removal import ToolsRemoval, without_superseded
from offline_mig.targets.devices import VideoModel
from offline_mig.windows.hal import Hal

#: What the new machine asks of the start that the old one did not: its firmware remembers no
#: Windows, and its BIOS may count other heads. What else is wrong was wrong before.
_OF_THE_MOVE = (kinds.NO_EFI_FALLBACK, kinds.HIDDEN_SECTORS, kinds.BOOT_GEOMETRY)


@dataclass(frozen=True)
class Proposal:
    """What is to be done to one guest, decided with its system volume mounted read-only.

    ``wanted`` is the whole plan, ``pending`` what of it the guest is not already; ``diff`` shows
    the latter. ``hal`` is what a Windows before Vista runs on, None for later ones and where it
    cannot be told.
    """

    facts: GuestFacts
    drivers: ChosenDrivers
    agents: ChosenAgents
    network: NetworkPlan
    removals: tuple[ToolsRemoval, ...]
    first_start: FirstStart
    hal: Hal | None
    wanted: Plan
    pending: Plan
    diff: tuple[str, ...]


def propose(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    machine: Machine,
    media: tuple[DriverMedia, ...],
    agent_sources: tuple[AgentSource, ...],
    options: ConvertOptions,
) -> Proposal:
    """Decide what is to be done to a guest. Raises NoDriverError, GuestRefusedError."""
    place = (volume.disk, volume.partition)
    with (
        examined_volume(disks, volume) as (system, facts),
        JoinedVolumes(system, disks, layout.tables, place, writable=False) as files,
    ):
        drivers = choose_drivers(
            media,
            facts.version,
            allow_unsigned=options.allow_unsigned,
            virtio_gpu=options.target.video is VideoModel.VIRTIO,
        )
        found, cabinet_notes = take_from_cabinets(
            files, facts, missing_files(facts, drivers.drivers)
        )
        wanted = plan_conversion(facts, drivers.drivers, found)
        agents = choose_and_plan_agents(
            files,
            facts,
            agent_sources,
            serial=drivers.in_place.serial,
            graphics=options.target.graphics,
        )
        start = _examined_start(disks, layout, volume, machine, files, facts)
        network = plan_network(facts, machine, drivers, options)
        first_start = plan_first_start(
            facts, len(machine.disks), drivers, (*network.steps, *agents.plan.steps)
        )
        blocks = (
            *wanted.blocks,
            plan_processor_drivers(facts),
            *_start_blocks(start, files, facts),
            *network.blocks,
        )
        removals = () if options.keep_tools else plan_tools_removal(files, facts, blocks)
        blocks = (
            *without_superseded(blocks, removals),
            *(removal.block for removal in removals),
            *agents.plan.blocks,
            *first_start.blocks,
        )
        wanted = Plan(
            tuple(block for block in blocks if block.changes),
            (
                *wanted.notes,
                *cabinet_notes,
                *network.notes,
                *first_start.notes,
                *letter_notes(facts, layout.tables),
                *(note for removal in removals for note in removal.notes),
            ),
        )
        guest = OpenGuest(files, readable_hives(facts))
        pending = wanted.pending(guest)
        diff = tuple(diff_lines(pending, guest))
        hal = started_hal(start, facts)
        return Proposal(
            facts, drivers, agents, network, removals, first_start, hal, wanted, pending, diff
        )


def _examined_start(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    machine: Machine,
    files: JoinedVolumes,
    facts: GuestFacts,
) -> StartFacts:
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
        return examine_start(
            disks, layout, volume, files, facts.version, machine.firmware, Path(scratch)
        )


def _start_blocks(
    start: StartFacts, files: JoinedVolumes, facts: GuestFacts
) -> tuple[PlanBlock, ...]:
    """Return what the way from the new machine's firmware to Windows needs."""
    findings = [f for f in start_findings(start, facts.version) if f.kind in _OF_THE_MOVE]
    contents = {name: files.read(name) for name in needed_contents(start, findings)}
    return plan_start_repair(start, facts.version, findings, contents)


def found_notes(machine: Machine, volume: SystemVolume, proposal: Proposal) -> tuple[str, ...]:
    """Return what the user should know of the guest and of what is done to it."""
    return (
        *machine.notes,
        *volume.notes,
        *proposal.facts.notes,
        *proposal.wanted.notes,
        *proposal.drivers.notes,
        *proposal.agents.notes,
    )
