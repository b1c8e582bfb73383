"""The whole dance for one guest: read, operate on an overlay, copy, verify, publish."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from offline_mig.conversion.agent_choice import (
    open_agent_sources,
)
from offline_mig.conversion.boot_examination import examine_boot
from offline_mig.conversion.boot_question import BootQuestion, questions_of_targets
from offline_mig.conversion.bulk_copy import BulkCopy, CopyAfterwards, CopyJob
from offline_mig.conversion.definition import defined, fit_notes, require_libvirt
from offline_mig.conversion.driver_choice import open_sources
from offline_mig.conversion.examination import (
    joined_volumes,
    locate_windows,
    opened_source,
    readable_hives,
    source_images,
    with_found_firmware,
)
from offline_mig.conversion.hive_history import edited_hives, hive_contents
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.progress import Progress, Stopwatch
from offline_mig.conversion.proposal import Proposal, found_notes, propose
from offline_mig.conversion.provenance import Run, provenance_json
from offline_mig.conversion.report import Report, report_json
from offline_mig.conversion.result_names import disk_names, named, result_names
from offline_mig.conversion.source_guard import (
    file_sha256,
    record_state,
    require_unchanged,
    without_times,
)
from offline_mig.conversion.space import ALLOWANCE, measured
from offline_mig.conversion.way_back import find_way_back
from offline_mig.conversion.workspace import (
    Workspace,
    absolute_output,
    open_workspace,
    recover_workspace,
    refuse_existing,
)
from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.verdict import Outcome, Verdict, judge
from offline_mig.errors import OutputRefusedError
from offline_mig.guest.engine import Engine, GuestDisks, OpenedDisk
from offline_mig.images import qemu_img
from offline_mig.images.trimmed_image import create_trimmed
from offline_mig.machine import DiskFormat, Machine
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.facts import examine
from offline_mig.surgery.operation import Journal, apply_plan, require_done, verify_plan
from offline_mig.surgery.stored_journal import EditedHive
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.targets.documents import TargetDocument, target_documents
from offline_mig.targets.hardware import TargetDisk, TargetMachine, plan_hardware
from offline_mig.targets.limits import target_limits
from offline_mig.windows.hive import HiveName


@dataclass(frozen=True)
class Rehearsal:
    """The outcome of a dry run."""

    machine: Machine
    layout: DiskLayout
    volume: SystemVolume
    proposal: Proposal
    target: TargetMachine
    documents: tuple[TargetDocument, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """The outcome of a conversion: the published files and the report about them.

    ``documents`` are named as in ``folder``.
    """

    folder: Path
    documents: tuple[TargetDocument, ...]
    disks: tuple[Path, ...]
    report_file: Path
    report: Report


def rehearse(
    source: Path, options: ConvertOptions, engine: Engine, progress: Progress
) -> Rehearsal:
    """Do everything up to the first change, and nothing beyond: source and output stay as is."""
    progress.step("Reading the machine")
    with opened_source(source, options.source) as found:
        return rehearse_machine(found, options, engine, progress)


def rehearse_machine(
    found: Machine, options: ConvertOptions, engine: Engine, progress: Progress
) -> Rehearsal:
    """Do what ``rehearse`` does for a machine that was read already."""
    machine = named(found, options.name)
    media = open_sources(options.drivers)
    agents = open_agent_sources(options.agents)
    progress.step("Opening the guest")
    with locate_windows(
        engine,
        source_images(machine),
        writable=False,
        system_partition=options.system_partition,
        discard_hibernation=options.discard_hibernation,
    ) as (disks, layout, volume):
        progress.step("Planning")
        machine = with_found_firmware(machine, layout)
        proposal = propose(disks, layout, volume, machine, media, agents, options)
        notes = (*disks.notes, *found_notes(machine, volume, proposal))
        sizes = [disks.size(number) for number in range(len(machine.disks))]
    output = options.output.absolute()
    names = disk_names(machine, options.format)
    files = [(output / name, size) for name, size in zip(names, sizes, strict=True)]
    target = _plan_target(machine, volume, proposal, files, options)
    documents = target_documents(target, machine.name, options.targets)
    notes = (*notes, *_target_notes(target, options))
    notes += fit_notes(options.define, target, _replaced(files, options))
    return Rehearsal(machine, layout, volume, proposal, target, documents, notes)


def convert(
    source: Path, options: ConvertOptions, engine: Engine, progress: Progress
) -> Conversion:
    """Convert a powered-off machine into ``options.output``.

    Raises OfflineMigError; then nothing is published and nothing is left behind. The source is
    opened read-only throughout.
    """
    watch = Stopwatch()
    with ExitStack() as unpacked:
        with watch.measure("read source"):
            progress.step("Reading the machine")
            opened = unpacked.enter_context(opened_source(source, options.source))
            machine = named(opened, options.name)
        return _convert(machine, options, engine, progress, watch)


def _convert(
    machine: Machine, options: ConvertOptions, engine: Engine, progress: Progress, watch: Stopwatch
) -> Conversion:
    with watch.measure("read source"):
        media = open_sources(options.drivers)
        agents = open_agent_sources(options.agents)
        output = absolute_output(options.output)
        names = disk_names(machine, options.format)
        of_results = result_names(machine, options.format)
        files = machine.files
        recover_workspace(output, machine.name)
        refuse_existing(
            output,
            of_results.every,
            [*files, *options.source_files],
            overwrite=options.overwrite,
        )
        require_libvirt(options.define)
        began = datetime.now(UTC)
        before = record_state(files, checksum=options.hashes)

    with ExitStack() as opened:
        workspace = opened.enter_context(open_workspace(output, machine.name))
        with watch.measure("prepare"):
            progress.step("Preparing the overlays")
            jobs, left_out = _prepare(machine, options, workspace, names)
            _require_space(jobs, options, workspace)
        # What is written while something else is read lands in another order each time.
        copy: BulkCopy | CopyAfterwards = CopyAfterwards(jobs)
        if options.moment is None:
            copy = BulkCopy(jobs)
        opened.enter_context(copy)
        overlays = tuple(
            OpenedDisk(job.overlay, DiskFormat.QCOW2, (job.source, *disk.image.files))
            for job, disk in zip(jobs, machine.disks, strict=True)
        )
        with ExitStack() as opened_guest:
            with watch.measure("open guest"):
                progress.step("Opening the guest")
                disks, layout, volume = opened_guest.enter_context(
                    locate_windows(
                        engine,
                        overlays,
                        writable=True,
                        system_partition=options.system_partition,
                        discard_hibernation=options.discard_hibernation,
                    )
                )
            with watch.measure("plan"):
                progress.step("Planning")
                for note in disks.notes:
                    progress.note(note)
                machine = with_found_firmware(machine, layout)
                proposal = propose(disks, layout, volume, machine, media, agents, options)
                # A wish that the target cannot meet must not surface after the long copy.
                placed = [
                    (output / name, qemu_img.info(job.source, DiskFormat.QCOW2).virtual_size)
                    for name, job in zip(names, jobs, strict=True)
                ]
                target = _plan_target(machine, volume, proposal, placed, options)
                target_notes = _target_notes(target, options)
                target_notes += fit_notes(options.define, target, _replaced(placed, options))
                documents = target_documents(target, machine.name, options.targets)
            with watch.measure("operate"):
                progress.step(f"Operating: {len(proposal.pending)} changes")
                journal, hives, verdict = _operate(
                    disks,
                    layout,
                    volume,
                    proposal,
                    questions_of_targets(target, options.targets, trusted=options.allow_unsigned),
                    options.moment,
                )
            notes = (*found_notes(machine, volume, proposal), *_verdict_notes(verdict))
            engine_notes = disks.notes
            way_back = find_way_back(
                disks, volume, output / names[volume.disk], options.format, journal, hives
            )
            notes = (*notes, *way_back.notes)
        with watch.measure("copy"):
            progress.step("Copying the disks")
            copy.finish(progress.copied)
        with watch.measure("verify"):
            progress.step("Verifying")
            for job in jobs:
                size = qemu_img.info(job.source, DiskFormat.QCOW2).virtual_size
                qemu_img.check(job.target, job.format, size)
            if engine.quick:
                _verify_results(engine, jobs, layout, volume, proposal)
            require_unchanged(before, checksum=options.hashes)
        for document in documents:
            workspace.write(document.name, document.text, executable=document.executable)
        if options.define is not None:
            progress.step(f"Defining the domain at {options.define}")
        # What fails from here on takes it back.
        definition = opened.enter_context(
            defined(options.define, target, _replaced(placed, options))
        )
        # The report comes last: whoever waits for it finds everything else in place.
        statement = (of_results.provenance,) if options.provenance else ()
        written_down = (document.name for document in documents)
        published = (*names, *written_down, *statement, of_results.report)
        report = Report(
            machine=machine,
            layout=layout,
            volume=volume,
            facts=proposal.facts,
            drivers=proposal.drivers,
            agents=proposal.agents,
            network=proposal.network,
            first_start=proposal.first_start,
            removals=proposal.removals,
            wanted=proposal.wanted,
            pending=proposal.pending,
            journal=journal,
            way_back=way_back,
            verdict=verdict,
            options=options,
            folder=output,
            published=published,
            documents=documents,
            target=target,
            definition=definition,
            source_files=before if options.moment is None else without_times(before),
            disk_sha256=tuple(
                file_sha256(workspace.folder / name) if options.hashes else None for name in names
            ),
            seconds=dict(watch.seconds) if options.moment is None else {},
            notes=(*notes, *target_notes),
            engine=engine.name,
            engine_notes=engine_notes,
            free_space_left_out=left_out,
        )
        workspace.write(of_results.report, report_json(report))
        if options.provenance:
            others = [name for name in published[len(names) :] if name not in statement]
            hashed = {name: file_sha256(workspace.folder / name) for name in others}
            run = Run(began, datetime.now(UTC)) if options.moment is None else None
            workspace.write(of_results.provenance, provenance_json(report, hashed, run))
        results = list(workspace.publish(published, of_results.every))
    return Conversion(output, documents, tuple(results[: len(names)]), results[-1], report)


def _prepare(
    machine: Machine, options: ConvertOptions, workspace: Workspace, names: list[str]
) -> tuple[tuple[CopyJob, ...], int]:
    """Make the overlays of all disks; returns them and the bytes of free space left out.

    Each disk gets two: a trimmed image over the source, from which is copied, and over that the
    one that is operated on.
    """
    jobs = []
    left_out = 0
    for number, (disk, name) in enumerate(zip(machine.disks, names, strict=True), start=1):
        image = disk.image
        source = workspace.folder / f"source-{number}.qcow2"
        if options.trim:
            left_out += create_trimmed(source, image.path, image.format, image.window).left_out
        else:
            qemu_img.create_overlay(source, image.path, image.format, image.window)
        overlay = workspace.folder / f"overlay-{number}.qcow2"
        qemu_img.create_overlay(overlay, source, DiskFormat.QCOW2)
        jobs.append(CopyJob(source, overlay, workspace.folder / name, options.format))
    return tuple(jobs), left_out


def _require_space(
    jobs: tuple[CopyJob, ...], options: ConvertOptions, workspace: Workspace
) -> None:
    needed = ALLOWANCE + sum(measured(job.source) for job in jobs)
    free = shutil.disk_usage(workspace.folder).free
    if needed > free:
        raise OutputRefusedError(
            f"The disk with {options.output} is too full: the result can take up to "
            f"{needed // 1024**2 + 1} MiB, and {free // 1024**2} MiB are free.",
            "Free some space or choose another folder with -o.",
        )


def _operate(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    proposal: Proposal,
    questions: tuple[BootQuestion, ...],
    moment: int | None,
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
                    moment,
                    keep_deleted=False,
                )
        with joined_volumes(disks, layout, volume, writable=False) as files:
            hives = edited_hives(files, hive_files, old)
            facts = examine(files, volume.root, scratch)
            require_done(proposal.wanted, OpenGuest(files, readable_hives(facts)))
            for question in questions:
                found = examine_boot(disks, layout, volume, files, facts, question, scratch)
                findings |= dict.fromkeys(found.findings)
    return journal, hives, judge(findings)


def _verify_results(
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


def _verdict_notes(verdict: Verdict) -> tuple[str, ...]:
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


def _plan_target(
    machine: Machine,
    volume: SystemVolume,
    proposal: Proposal,
    files: list[tuple[Path, int]],
    options: ConvertOptions,
) -> TargetMachine:
    """Decide on the machine; ``files`` are its disks and their sizes in bytes."""
    disks = [
        TargetDisk(path, options.format, size, boot=number == volume.disk)
        for number, (path, size) in enumerate(files)
    ]
    return plan_hardware(
        machine,
        proposal.facts.version,
        disks,
        options=options.target,
        realtime_is_universal=proposal.facts.realtime_is_universal,
        drivers=proposal.drivers.in_place,
        placed_nics=proposal.network.placed,
        hal=proposal.hal,
    )


def _replaced(files: list[tuple[Path, int]], options: ConvertOptions) -> tuple[Path, ...]:
    """Return the disks of an earlier conversion that the new ones may take the place of."""
    return tuple(path for path, _ in files) if options.overwrite else ()


def _target_notes(target: TargetMachine, options: ConvertOptions) -> tuple[str, ...]:
    """Return what the user should know of the machine, whatever runs it and for each target."""
    limits = (limit for kind in options.targets for limit in target_limits(target, kind))
    return (*target.notes, *limits)
