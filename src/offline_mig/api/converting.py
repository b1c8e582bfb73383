"""Converting a guest, or telling what would be done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.api.paths import StrPath
from offline_mig.conversion import cached
from offline_mig.conversion import convert as conversion
from offline_mig.conversion.cached import Reused
from offline_mig.conversion.convert import Conversion, Rehearsal
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.guest_form import GuestForm
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.machine_record import machine_record
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.progress import Progress, Silent
from offline_mig.conversion.report import (
    agents_record,
    drivers_record,
    first_start_record,
    network_record,
)
from offline_mig.conversion.report_form import (
    AgentForm,
    DriverForm,
    FirstBootForm,
    GuestToolsForm,
    NetworkForm,
    ReportForm,
)
from offline_mig.conversion.result_cache import ResultCache
from offline_mig.conversion.tools_choice import removals_record
from offline_mig.guest.engine import Engine
from offline_mig.machine import Machine
from offline_mig.surgery.record import plan_record
from offline_mig.surgery.record_form import BlockForm
from offline_mig.targets.documents import TargetDocument
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.options import TargetKind


class PlanForm(TypedDict):
    """What ``convert --dry-run`` would do; ``domain`` is the libvirt domain, if it is wanted."""

    schema: Literal["offline-mig/plan/1"]
    machine: Machine
    guest: GuestForm
    drivers: list[DriverForm]
    agents: list[AgentForm]
    network: NetworkForm
    first_boot: FirstBootForm
    guest_tools: list[GuestToolsForm]
    plan: list[BlockForm]
    wanted: list[BlockForm]
    target: TargetMachine
    domain: str | None
    documents: list[TargetDocument]
    notes: list[str]


class DocumentFileForm(TypedDict):
    """A file that a machine is written down in, for the target ``kind``."""

    kind: TargetKind
    file: str


class ConvertForm(TypedDict):
    """What ``convert`` did; ``domain`` is the file of the libvirt domain, if it was wanted.

    ``reused`` tells that the results are those of an earlier conversion, out of a cache.
    """

    schema: Literal["offline-mig/convert/1"]
    reused: bool
    domain: str | None
    documents: list[DocumentFileForm]
    disks: list[str]
    report_file: str
    report: ReportForm


def rehearse(
    source: StrPath,
    options: ConvertOptions,
    *,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Rehearsal:
    """Tell what ``convert`` would do; changes nothing and writes nothing."""
    chosen = _engine(options, engine)
    return conversion.rehearse(Path(source), options, chosen, progress or Silent())


def convert(
    source: StrPath,
    options: ConvertOptions,
    *,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert the powered-off machine ``source`` into ``options.output``.

    ``engine`` is one of ``EngineChoice``, by default guestfs, and userspace where
    ``options.moment`` asks for it. When OfflineMigError is raised, nothing was published and
    nothing is left behind.
    """
    chosen = _engine(options, engine)
    return conversion.convert(Path(source), options, chosen, progress or Silent())


def convert_cached(
    source: StrPath,
    options: ConvertOptions,
    cache: ResultCache,
    *,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Conversion | Reused:
    """Convert as ``convert`` does, unless nothing has changed since ``cache`` got the results."""
    chosen = _engine(options, engine)
    return cached.convert_cached(Path(source), options, cache, chosen, progress or Silent())


def _engine(options: ConvertOptions, choice: str | None) -> Engine:
    if choice is None:
        stamped = options.moment is not None
        choice = EngineChoice.USERSPACE if stamped else EngineChoice.GUESTFS
    return choose_engine(EngineChoice(choice), options.moment)


def rehearsal_record(rehearsal: Rehearsal) -> PlanForm:
    """Return a dry run as plain data."""
    proposal = rehearsal.proposal
    domains = (it.text for it in rehearsal.documents if it.kind is TargetKind.LIBVIRT)
    return {
        "schema": "offline-mig/plan/1",
        "machine": machine_record(rehearsal.machine),
        "guest": guest_record(proposal.facts, rehearsal.volume, rehearsal.layout),
        "drivers": drivers_record(proposal.drivers),
        "agents": agents_record(proposal.agents),
        "network": network_record(proposal.network),
        "first_boot": first_start_record(proposal.first_start),
        "guest_tools": removals_record(proposal.removals),
        "plan": plan_record(proposal.pending),
        "wanted": plan_record(proposal.wanted),
        "target": plain(rehearsal.target),
        "domain": next(domains, None),
        "documents": plain(rehearsal.documents),
        "notes": list(rehearsal.notes),
    }


def conversion_record(done: Conversion | Reused) -> ConvertForm:
    """Return a conversion as plain data, its report included."""
    report = done.report if isinstance(done, Reused) else done.report.record
    files: list[DocumentFileForm] = [
        {"kind": document["kind"], "file": str(done.folder / document["name"])}
        for document in report["documents"]
    ]
    return {
        "schema": "offline-mig/convert/1",
        "reused": isinstance(done, Reused),
        "domain": next((it["file"] for it in files if it["kind"] == TargetKind.LIBVIRT), None),
        "documents": files,
        "disks": [str(path) for path in done.disks],
        "report_file": str(done.report_file),
        "report": report,
    }
