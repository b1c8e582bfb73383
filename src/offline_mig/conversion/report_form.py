"""The form of reports and of what they consist of in JSON, which schemas publish."""

from __future__ import annotations

from typing import Literal, TypedDict

from offline_mig.agents.agent import AgentKind
from offline_mig.conversion.definition import Definition
from offline_mig.conversion.guest_form import GuestForm
from offline_mig.conversion.network_plan import ConnectionOutcome
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.source_guard import FileState
from offline_mig.conversion.verdict_record import VerdictForm
from offline_mig.conversion.way_back import WayBackForm
from offline_mig.drivers.selection import Rejected
from offline_mig.drivers.signer import Signing
from offline_mig.machine import Machine
from offline_mig.surgery.agents import Placement
from offline_mig.surgery.record_form import BlockForm, EntryForm
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.options import TargetKind
from offline_mig.windows.network_interfaces import (
    NetworkInterface,
    PersistentRoute,
    VirtualInterface,
)
from offline_mig.windows.version import Architecture


class ContentForm(TypedDict):
    """A file's content by its size in bytes and its SHA-256."""

    size: int
    sha256: str


class PackageForm(TypedDict):
    """A driver package."""

    inf: str
    provider: str
    version: str
    date: str
    catalogue: bool
    signing: Signing | None
    files: dict[str, ContentForm]
    missing_files: list[str]


class DriverForm(TypedDict):
    """The package that was chosen for a driver, null for none, and what was passed over."""

    driver: str
    location: str
    package: PackageForm | None
    untrusted: str | None
    notes: list[str]
    passed_over: list[Rejected]


#: A guest agent as a source has it.
AgentPackageForm = TypedDict(
    "AgentPackageForm",
    {
        "version": str,
        "architecture": Architecture | None,
        "product": str,
        "from": str,
        "files": dict[str, ContentForm],
    },
)
#: An agent that was not taken, and why.
PassedOverForm = TypedDict("PassedOverForm", {"from": str, "reason": str})


class AgentForm(TypedDict):
    """The agent that was chosen of a kind, null for none, and what became of it."""

    kind: AgentKind
    agent: AgentPackageForm | None
    placement: Placement | None
    folder: str | None
    service: str | None
    passed_over: list[PassedOverForm]


class NetworkForm(TypedDict):
    """The guest's connections and what becomes of them; ``routes`` are its persistent routes."""

    connections: list[ConnectionOutcome]
    absent: list[NetworkInterface]
    virtual: list[VirtualInterface]
    routes: list[PersistentRoute]


class FirstBootStepForm(TypedDict):
    """A step of the first boot: how often it is tried at most, and whether a restart follows."""

    id: str
    title: str
    tries: int
    restart: bool


class FirstBootForm(TypedDict):
    """What happens when Windows first starts; ``log`` is null where there are no steps.

    ``expect`` says it in sentences, ``restarts`` is how often Windows restarts by itself at most.
    """

    expect: list[str]
    restarts: int
    steps: list[FirstBootStepForm]
    log: str | None


class GuestToolsForm(TypedDict):
    """Guest tools of the old hypervisor, and what becomes of their services.

    ``kept_services`` are with the reason; ``changes`` is how many take the tools out.
    """

    name: str
    version: str
    changes: int
    deleted_services: list[str]
    disabled_services: list[str]
    kept_services: dict[str, str]


class EngineForm(TypedDict):
    """What opened the guest."""

    name: str
    notes: list[str]


class SourceForm(TypedDict):
    """What was converted."""

    machine: Machine
    files: list[FileState]


class DocumentForm(TypedDict):
    """A file that a machine is written down in, beside the report; ``kind`` is its target."""

    kind: TargetKind
    name: str
    title: str


class TargetForm(TypedDict):
    """The machine that came out, and where libvirt was told of it, null without ``--define``.

    ``disk_sha256`` has one entry for each disk, null without ``--checksum``;
    ``free_space_left_out`` is in bytes.
    """

    machine: TargetMachine
    defined: Definition | None
    disk_sha256: list[str | None]
    free_space_left_out: int


class ReportForm(TypedDict):
    """The report of a conversion.

    ``plan`` is what the guest was not already and was therefore done, ``wanted`` all of it,
    ``journal`` what was there before, and ``undo`` what it takes besides to undo it, null where
    that is not possible. ``seconds`` are those that each step took. ``next`` are the
    commands that bring the machine up.
    """

    schema: Literal["offline-mig/report/1"]
    options: ConvertOptions
    published: list[str]
    documents: list[DocumentForm]
    tools: dict[str, str]
    engine: EngineForm
    source: SourceForm
    guest: GuestForm
    drivers: list[DriverForm]
    agents: list[AgentForm]
    network: NetworkForm
    first_boot: FirstBootForm
    guest_tools: list[GuestToolsForm]
    plan: list[BlockForm]
    wanted: list[BlockForm]
    journal: list[EntryForm]
    undo: WayBackForm | None
    boot: VerdictForm
    target: TargetForm
    seconds: dict[str, float]
    notes: list[str]
    next: list[str]
