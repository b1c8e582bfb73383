"""Guest tools of the old hypervisor in a guest: what of them there is, and taking it out."""

from __future__ import annotations

from collections.abc import Iterable

from offline_mig.conversion.report_form import GuestToolsForm
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.tools_facts import find_tools
from offline_mig.surgery.tools_removal import ToolsRemoval, plan_removal
from offline_mig.windows.guest_tools import GuestTools
from offline_mig.windows.other_guest_tools import (
    NUTANIX_TOOLS,
    PARALLELS_TOOLS,
    VIRTUALBOX_ADDITIONS,
    XEN_DRIVERS,
)
from offline_mig.windows.vmware_tools import VMWARE_TOOLS

#: Those whose filters are known to keep a guest from booting come first.
ALL_TOOLS: tuple[GuestTools, ...] = (
    XEN_DRIVERS,
    PARALLELS_TOOLS,
    NUTANIX_TOOLS,
    VIRTUALBOX_ADDITIONS,
    VMWARE_TOOLS,
)


def plan_tools_removal(
    files: GuestFilesystem, facts: GuestFacts, others: Iterable[PlanBlock]
) -> tuple[ToolsRemoval, ...]:
    """Return what takes all guest tools out of a guest with its system volume mounted.

    ``others`` are the blocks that are applied as well.
    """
    blocks = tuple(others)
    found = (find_tools(files, facts, tools) for tools in ALL_TOOLS)
    removals = (plan_removal(facts, tools, blocks) for tools in found if tools is not None)
    return tuple(removal for removal in removals if removal.block.changes)


def removals_record(removals: Iterable[ToolsRemoval]) -> list[GuestToolsForm]:
    """Return what becomes of guest tools as plain data."""
    return [
        {
            "name": removal.name,
            "version": removal.version,
            "changes": len(removal.block.changes),
            "deleted_services": list(removal.deleted),
            "disabled_services": list(removal.disabled),
            "kept_services": dict(removal.kept),
        }
        for removal in removals
    ]
