"""Changes that Windows had not yet written into its hives, as a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping

from offline_mig.surgery.changes import ReplayLogs
from offline_mig.surgery.hive_files import HiveReplay
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.windows.hive import HiveName


def replay_blocks(replays: Mapping[HiveName, HiveReplay]) -> tuple[PlanBlock, ...]:
    """Return what brings the transaction logs into dirty hives; none where there is none."""
    changes = tuple(
        ReplayLogs(name, replay.path, replay.source, replay.growth, "Windows left the hive dirty")
        for name, replay in replays.items()
    )
    title = "Changes that Windows has not yet written into its hives"
    return (PlanBlock(title, changes),) if changes else ()


def with_replays(plan: Plan, replays: Mapping[HiveName, HiveReplay]) -> Plan:
    """Return a plan that first replays the logs of every dirty hive that it changes.

    A hive that is written is written with its logs replayed, so the plan has to say so.
    """
    planned = {change.hive for change in plan if isinstance(change, ReplayLogs)}
    missing = {
        name: replay
        for name, replay in replays.items()
        if name in plan.hives and name not in planned
    }
    return Plan((*replay_blocks(missing), *plan.blocks), plan.notes)
