"""The report of a conversion: everything that was found, decided and done, as JSON."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from offline_mig import __version__
from offline_mig.agents.agent import Agent
from offline_mig.conversion.agent_choice import ChosenAgents
from offline_mig.conversion.definition import Definition
from offline_mig.conversion.driver_choice import ChosenDrivers
from offline_mig.conversion.first_start import FirstStart
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.machine_record import machine_record
from offline_mig.conversion.network_plan import NetworkPlan
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report_form import (
    AgentForm,
    AgentPackageForm,
    DriverForm,
    FirstBootForm,
    NetworkForm,
    PackageForm,
    ReportForm,
)
from offline_mig.conversion.source_guard import FileState
from offline_mig.conversion.tools_choice import removals_record
from offline_mig.conversion.verdict_record import verdict_record
from offline_mig.conversion.way_back import WayBack, way_back_record
from offline_mig.diagnosis.verdict import Verdict
from offline_mig.drivers.package import DriverPackage
from offline_mig.drivers.selection import Choice
from offline_mig.guest.appliance import guestfs_version
from offline_mig.images import qemu_img
from offline_mig.machine import Machine
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.operation import Journal
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.record import journal_record, plan_record
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.surgery.tools_removal import ToolsRemoval
from offline_mig.targets.documents import TargetDocument, next_commands
from offline_mig.targets.hardware import TargetMachine
from offline_mig.windows.cabinet import require_libarchive

#: Changes when the report's form does.
SCHEMA: Literal["offline-mig/report/1"] = "offline-mig/report/1"


@dataclass(frozen=True)
class Report:
    """All that is known of a conversion that succeeded.

    ``wanted`` is the whole plan, ``pending`` what of it the guest was not already and what was
    therefore done; ``verdict`` is what the boot model says of the outcome; ``published`` are the
    names of the results in ``folder``, ``documents`` those that write the machine down,
    ``definition`` is where libvirt was told of the machine.
    """

    machine: Machine
    layout: DiskLayout
    volume: SystemVolume
    facts: GuestFacts
    drivers: ChosenDrivers
    agents: ChosenAgents
    network: NetworkPlan
    first_start: FirstStart
    removals: tuple[ToolsRemoval, ...]
    wanted: Plan
    pending: Plan
    journal: Journal
    way_back: WayBack
    verdict: Verdict
    options: ConvertOptions
    folder: Path
    published: tuple[str, ...]
    documents: tuple[TargetDocument, ...]
    target: TargetMachine
    definition: Definition | None
    source_files: tuple[FileState, ...]
    disk_sha256: tuple[str | None, ...]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    engine: str
    engine_notes: tuple[str, ...]
    free_space_left_out: int

    @cached_property
    def record(self) -> ReportForm:
        """The report as plain data."""
        return _record(self)


def report_json(report: Report) -> str:
    """Return the report as JSON text."""
    return json.dumps(report.record, indent=2, ensure_ascii=False) + "\n"


def _record(report: Report) -> ReportForm:
    return {
        "schema": SCHEMA,
        "options": plain(report.options),
        "published": list(report.published),
        "documents": [
            {"kind": document.kind, "name": document.name, "title": document.title}
            for document in report.documents
        ],
        "tools": tool_versions(),
        "engine": {"name": report.engine, "notes": list(report.engine_notes)},
        "source": {
            "machine": machine_record(report.machine),
            "files": plain(report.source_files),
        },
        "guest": guest_record(report.facts, report.volume, report.layout),
        "drivers": drivers_record(report.drivers),
        "agents": agents_record(report.agents),
        "network": network_record(report.network),
        "first_boot": first_start_record(report.first_start),
        "guest_tools": removals_record(report.removals),
        "plan": plan_record(report.pending),
        "wanted": plan_record(report.wanted),
        "journal": journal_record(report.journal),
        "undo": way_back_record(report.way_back),
        "boot": verdict_record(report.verdict),
        "target": {
            "machine": plain(report.target),
            "defined": plain(report.definition),
            "disk_sha256": list(report.disk_sha256),
            "free_space_left_out": report.free_space_left_out,
        },
        "seconds": dict(report.seconds),
        "notes": list(report.notes),
        "next": list(
            next_commands(
                report.target,
                report.folder,
                report.documents,
                report.definition.uri if report.definition else None,
            )
        ),
    }


@cache
def tool_versions() -> dict[str, str]:
    """Return the versions of everything that took part."""
    return {
        "offline-mig": __version__,
        "python": platform.python_version(),
        "qemu-img": qemu_img.version(),
        "libguestfs": guestfs_version(),
        "libarchive": require_libarchive().removeprefix("version "),
    }


def drivers_record(chosen: ChosenDrivers) -> list[DriverForm]:
    """Return which driver packages were chosen, and what was passed over, as plain data."""
    return [choice_record(choice) for choice in chosen.considered]


def agents_record(chosen: ChosenAgents) -> list[AgentForm]:
    """Return which agents were chosen and what became of them, as plain data."""
    placed = {item.agent.kind: item for item in chosen.plan.placed}
    return [
        {
            "kind": choice.kind,
            "agent": None if choice.agent is None else _agent_record(choice.agent),
            "placement": placed[choice.kind].placement if choice.kind in placed else None,
            "folder": placed[choice.kind].folder if choice.kind in placed else None,
            "service": placed[choice.kind].service if choice.kind in placed else None,
            "passed_over": [
                {"from": passed.agent.origin, "reason": passed.reason}
                for passed in choice.passed_over
            ],
        }
        for choice in chosen.choices
    ]


def network_record(network: NetworkPlan) -> NetworkForm:
    """Return what the guest's connections are and what becomes of them, as plain data."""
    return {
        "connections": plain(network.connections),
        "absent": plain(network.absent),
        "virtual": plain(network.state.virtual),
        "routes": plain(network.state.routes),
    }


def first_start_record(first_start: FirstStart) -> FirstBootForm:
    """Return what is to be expected of the first start as plain data."""
    first_boot = first_start.first_boot
    return {
        "expect": list(first_start.expectations),
        "restarts": first_boot.restarts,
        "steps": [
            {"id": step.id, "title": step.title, "tries": step.tries, "restart": step.restart}
            for step in first_boot.steps
        ],
        "log": first_boot.log if first_boot.steps else None,
    }


def _agent_record(agent: Agent) -> AgentPackageForm:
    return {
        "version": agent.version,
        "architecture": plain(agent.architecture),
        "product": agent.product,
        "from": agent.origin,
        "files": {
            file.path.name: {
                "size": len(file.content),
                "sha256": hashlib.sha256(file.content).hexdigest(),
            }
            for file in agent.files
        },
    }


def choice_record(choice: Choice) -> DriverForm:
    """Return which package of a driver was chosen, and what was passed over, as plain data."""
    package = choice.package
    return {
        "driver": choice.driver,
        "location": choice.location,
        "package": None if package is None else _package_record(package),
        "untrusted": choice.untrusted,
        "notes": list(choice.notes),
        "passed_over": [plain(rejected) for rejected in choice.considered],
    }


def _package_record(package: DriverPackage) -> PackageForm:
    return {
        "inf": package.inf_name,
        "provider": package.provider,
        "version": package.driver_version_text,
        "date": package.driver_date.isoformat(),
        "catalogue": package.catalogue_present,
        "signing": plain(package.signing),
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(package.files.items())
        },
        "missing_files": list(package.missing_files),
    }
