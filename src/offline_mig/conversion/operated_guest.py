"""What a conversion does to the guest itself: the plan is applied, read back and judged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from offline_mig.conversion.boot_examination import examine_boot
from offline_mig.conversion.boot_question import BootQuestion
from offline_mig.conversion.bulk_copy import CopyJob
from offline_mig.conversion.examination import (
    joined_volumes,
    readable_hives,
)
from offline_mig.conversion.hive_history import edited_hives, hive_contents
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.proposal import Proposal
from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.verdict import Outcome, Verdict, judge
from offline_mig.guest.engine import Engine, GuestDisks, OpenedDisk
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.facts import examine
from offline_mig.surgery.operation import Journal, apply_plan, require_done, verify_plan
from offline_mig.surgery.stored_journal import EditedHive
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.windows.hive import HiveName


def operate(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    proposal: Proposal,
    questions: tuple[BootQuestion, ...],
    options: ConvertOptions,
) -> tuple[Journal, dict[HiveName, EditedHive], Verdict]:
    """Apply what is pending, read all of it back, and ask the boot model about the outcome.

    The second result is what brings back the hives. What is wrong on the machine of one target is
    in the verdict for all.
    """
    journal = Journal()
    hive_files = proposal.facts.hive_files
    old: dict[HiveName, bytes] = {}
    findings: dict[Finding, None] = {}
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as name:
        scratch = Path(name)
        if len(proposal.pending):
            with joined_volumes(
                disks,
                layout,
                volume,
                writable=True,
                discard_session=proposal.pending.discards_session,
            ) as files:
                old = hive_contents(files, hive_files, proposal.pending.hives)
                # What was deleted is still in the source.
                journal = apply_plan(
                    proposal.pending,
                    files,
                    hive_files,
                    scratch,
                    options.moment,
                    keep_deleted=options.undoable,
                )
        with joined_volumes(disks, layout, volume, writable=False) as files:
            hives = edited_hives(files, hive_files, old)
            facts = examine(files, volume.root, scratch)
            require_done(proposal.wanted, OpenGuest(files, readable_hives(facts)))
            for question in questions:
                found = examine_boot(disks, layout, volume, files, facts, question, scratch)
                findings |= dict.fromkeys(found.findings)
    return journal, hives, judge(findings)


def verify_results(
    engine: Engine,
    jobs: tuple[CopyJob, ...],
    layout: DiskLayout,
    volume: SystemVolume,
    proposal: Proposal,
) -> None:
    """Read the plan back once more, from the disks that are about to be published."""
    results = tuple(OpenedDisk(job.target, job.format) for job in jobs)
    with (
        tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
        engine.open(results, writable=False) as disks,
        joined_volumes(disks, layout, volume, writable=False) as files,
    ):
        verify_plan(proposal.wanted, files, proposal.facts.hive_files, Path(scratch))


def verdict_notes(verdict: Verdict) -> tuple[str, ...]:
    """Return what the boot model says against the converted guest."""
    if verdict.broken is None:
        return tuple(
            f"After the start: {finding.detail} ({finding.id})" for finding in verdict.findings
        )
    how = "would stop" if verdict.outcome is Outcome.STOPS else "may or may not start"
    note = (
        f"By the boot model the converted guest {how}: {verdict.broken.id}, "
        f"{verdict.broken.detail} 'offline-mig doctor' tells more."
    )
    return (note,)
