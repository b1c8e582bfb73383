"""The whole dance for one guest: read, operate on an overlay, copy, verify, publish."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from offline_mig.conversion.agent_choice import (
    open_agent_sources,
)
from offline_mig.conversion.boot_question import questions_of_targets
from offline_mig.conversion.bulk_copy import BulkCopy, CopyAfterwards
from offline_mig.conversion.definition import defined, fit_notes, require_libvirt
from offline_mig.conversion.disk_preparation import prepare_disks, require_space
from offline_mig.conversion.driver_choice import open_sources
from offline_mig.conversion.examination import (
    locate_windows,
    opened_source,
    source_images,
    with_found_firmware,
)
from offline_mig.conversion.operated_guest import operate, verdict_notes, verify_results
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
from offline_mig.conversion.way_back import find_way_back
from offline_mig.conversion.workspace import (
    absolute_output,
    open_workspace,
    recover_workspace,
    refuse_existing,
)
from offline_mig.guest.engine import Engine, OpenedDisk
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat, Machine
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.targets.documents import TargetDocument, target_documents
from offline_mig.targets.hardware import TargetDisk, TargetMachine, plan_hardware
from offline_mig.targets.limits import target_limits


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
            jobs, left_out = prepare_disks(machine, options, workspace, names)
            require_space(jobs, options, workspace)
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
                placed = [(output / name, job.size) for name, job in zip(names, jobs, strict=True)]
                target = _plan_target(machine, volume, proposal, placed, options)
                target_notes = _target_notes(target, options)
                target_notes += fit_notes(options.define, target, _replaced(placed, options))
                documents = target_documents(target, machine.name, options.targets)
            with watch.measure("operate"):
                progress.step(f"Operating: {len(proposal.pending)} changes")
                journal, hives, verdict = operate(
                    disks,
                    layout,
                    volume,
                    proposal,
                    questions_of_targets(target, options.targets, trusted=options.allow_unsigned),
                    options,
                )
            notes = (*found_notes(machine, volume, proposal), *verdict_notes(verdict))
            engine_notes = disks.notes
            way_back = find_way_back(
                disks, volume, output / names[volume.disk], options.format, journal, hives
            )
            notes = (*notes, *way_back.notes)
        with watch.measure("copy"):
            progress.step("Copying the disks")
            copy.finish(progress.copied)
        with watch.measure("verify"), workspace.stored_meanwhile(names):
            progress.step("Verifying")
            for job in jobs:
                qemu_img.check(job.target, job.format, job.size)
            if engine.quick:
                verify_results(engine, jobs, layout, volume, proposal)
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
        results = list(workspace.publish(published, of_results.every, overwrite=options.overwrite))
    return Conversion(output, documents, tuple(results[: len(names)]), results[-1], report)


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
