"""A medium that was made, as plain data for JSON."""

from __future__ import annotations

from typing import Literal, TypedDict

from offline_mig.agents.agent import AgentKind
from offline_mig.conversion.guest_form import WindowsForm
from offline_mig.conversion.guest_record import windows_record
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import choice_record
from offline_mig.conversion.report_form import DriverForm
from offline_mig.conversion.setup_medium import MadeMedium
from offline_mig.setup_media.disc_image import FileDigest


class WindowsDriversForm(TypedDict):
    """What a medium has for a Windows."""

    windows: WindowsForm
    drivers: list[DriverForm]


#: The agent of a kind that a medium has, null for none.
MediumAgentForm = TypedDict("MediumAgentForm", {"kind": AgentKind, "from": str | None})


class MediumForm(TypedDict):
    """What ``media`` made; ``libvirt`` is the element by which a domain takes it.

    ``size`` is in bytes, as that of each file on it; ``f6_menu`` are the lines that a set-up shows.
    """

    schema: Literal["offline-mig/media/1"]
    file: str
    kind: str
    size: int
    sha256: str
    files: dict[str, FileDigest]
    windows: list[WindowsDriversForm]
    agents: list[MediumAgentForm]
    f6_menu: list[str]
    libvirt: str
    notes: list[str]


def medium_record(made: MadeMedium) -> MediumForm:
    """Return what was made, of which drivers, and how a libvirt domain takes it."""
    return {
        "schema": "offline-mig/media/1",
        "file": plain(made.path),
        "kind": made.kind,
        "size": made.whole.size,
        "sha256": made.whole.sha256,
        "files": plain(made.files),
        "windows": [
            {
                "windows": windows_record(chosen.windows),
                "drivers": [choice_record(choice) for choice in chosen.choices],
            }
            for chosen in made.drivers
        ],
        "agents": [
            {"kind": choice.kind, "from": choice.agent.origin if choice.agent else None}
            for choice in made.agents
        ],
        "f6_menu": list(made.menu),
        "libvirt": made.element,
        "notes": list(made.notes),
    }
