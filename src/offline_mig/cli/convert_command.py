"""The command that converts a guest."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from offline_mig.cli import convert_screen
from offline_mig.cli.parameters import DISCARD_HIBERNATION, ENGINE, JSON, PATH, SYSTEM_PARTITION
from offline_mig.cli.screen import Screen
from offline_mig.conversion.convert import Conversion, Rehearsal, convert, rehearse
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import agents_record, drivers_record, report_json
from offline_mig.machine import DiskFormat
from offline_mig.surgery.record import plan_record
from offline_mig.targets.devices import DiskBus, MachineType
from offline_mig.targets.documents import TargetDocument
from offline_mig.targets.options import TargetKind, TargetOptions


@click.command("convert")
@click.argument("source", type=PATH)
@click.option(
    "--drivers",
    "driver_sources",
    type=PATH,
    multiple=True,
    help="A virtio-win ISO or RPM, or a driver folder; may be given several times. [required from "
    "Windows XP on]",
)
@click.option(
    "--agent",
    "agent_sources",
    type=PATH,
    multiple=True,
    help="A guest agent to put in place: the RPM, MSI or zip of the SPICE agent, the MSI of the "
    "QEMU guest agent, a folder or virtio-win ISO with them; may be given several times.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="Folder for the results. [required unless --dry-run]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option(
    "--format",
    "image_format",
    type=click.Choice([DiskFormat.QCOW2.value, DiskFormat.RAW.value]),
    default=DiskFormat.QCOW2.value,
    show_default=True,
    help="Format of the converted disks.",
)
@click.option(
    "--target",
    "targets",
    type=click.Choice([kind.value for kind in TargetKind]),
    multiple=True,
    default=[TargetKind.LIBVIRT.value],
    show_default=True,
    help="What the machine is written down for; may be given several times.",
)
@click.option("--name", help="Name of the converted guest. [default: the machine's own]")
@click.option(
    "--allow-unsigned", is_flag=True, help="Let a boot driver without a good signature through."
)
@DISCARD_HIBERNATION
@click.option("--overwrite", is_flag=True, help="Replace earlier results of this guest.")
@click.option(
    "--trim/--no-trim",
    default=True,
    show_default=True,
    help="Leave out the free space of clean NTFS volumes, and deleted files with it.",
)
@click.option("--checksum", is_flag=True, help="Hash the source before and after, and the results.")
@SYSTEM_PARTITION
@ENGINE
@click.option(
    "--machine",
    "machine_type",
    type=click.Choice([kind.value for kind in MachineType]),
    help="Machine type. [default: pc before Windows Vista, else q35]",
)
@click.option(
    "--bus",
    type=click.Choice([DiskBus.VIRTIO.value, DiskBus.VIRTIO_SCSI.value]),
    default=DiskBus.VIRTIO.value,
    show_default=True,
    help="What the disks hang on.",
)
@click.option("--network", default="default", show_default=True, help="libvirt network.")
@click.option(
    "--bridge",
    help="Bridge of the host, instead of a libvirt network; on KubeVirt a "
    "NetworkAttachmentDefinition.",
)
@click.option(
    "--resolution",
    metavar="WIDTHxHEIGHT",
    default="1920x1080",
    show_default=True,
    help="Largest screen, for the video memory.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def convert_command(
    source: Path,
    driver_sources: tuple[Path, ...],
    agent_sources: tuple[Path, ...],
    output: Path | None,
    dry_run: bool,
    image_format: str,
    targets: tuple[str, ...],
    name: str | None,
    allow_unsigned: bool,
    discard_hibernation: bool,
    overwrite: bool,
    trim: bool,
    checksum: bool,
    system_partition: str | None,
    engine: str,
    machine_type: str | None,
    bus: str,
    network: str,
    bridge: str | None,
    resolution: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Convert the powered-off guest SOURCE into a KVM guest on VirtIO.

    SOURCE is a .vmx or .ovf file, a folder with one, an .ova file, or a disk image (VMDK, qcow2,
    raw, VDI, VHD, VHDX).
    It is opened read-only and never changed.
    """
    if output is None and not dry_run:
        raise click.UsageError("Missing option '-o' / '--output'.")
    if name is not None and not name.strip():
        raise click.BadParameter("the name is empty.", param_hint="--name")
    options = ConvertOptions(
        output=output or Path(),
        drivers=driver_sources,
        agents=agent_sources,
        format=DiskFormat(image_format),
        name=name,
        allow_unsigned=allow_unsigned,
        discard_hibernation=discard_hibernation,
        overwrite=overwrite,
        checksum=checksum,
        trim=trim,
        system_partition=system_partition,
        targets=tuple(TargetKind(kind) for kind in dict.fromkeys(targets)),
        target=TargetOptions(
            machine_type=MachineType(machine_type) if machine_type else None,
            disk_bus=DiskBus(bus),
            network=network,
            bridge=bridge,
            resolution=_resolution(resolution),
        ),
    )
    chosen = choose_engine(EngineChoice(engine))
    progress = Screen(quiet=quiet or as_json)
    if dry_run:
        rehearsal = rehearse(source, options, chosen, progress)
        if as_json:
            _print_json(_rehearsal_record(rehearsal))
        else:
            arguments = [part for part in sys.argv[1:] if part != "--dry-run"]
            arguments += [] if output else ["-o", "FOLDER"]
            convert_screen.show_rehearsal(rehearsal, shlex.join(["offline-mig", *arguments]))
        return
    done = convert(source, options, chosen, progress)
    if as_json:
        _print_json(_conversion_record(done))
    else:
        convert_screen.show_conversion(done)


def _resolution(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not all(re.fullmatch("[1-9][0-9]{0,4}", number) for number in (width, height)):
        raise click.BadParameter(
            f"{text!r} is not WIDTHxHEIGHT, such as 1920x1080.", param_hint="--resolution"
        )
    return int(width), int(height)


def _rehearsal_record(rehearsal: Rehearsal) -> dict[str, Any]:
    proposal = rehearsal.proposal
    return {
        "schema": "offline-mig/plan/1",
        "machine": plain(rehearsal.machine),
        "guest": guest_record(proposal.facts, rehearsal.volume, rehearsal.layout),
        "drivers": drivers_record(proposal.drivers),
        "agents": agents_record(proposal.agents),
        "plan": plan_record(proposal.pending),
        "wanted": plan_record(proposal.wanted),
        "target": plain(rehearsal.target),
        "domain": next((d.text for d in rehearsal.documents if _is_domain(d)), None),
        "documents": plain(rehearsal.documents),
        "notes": list(rehearsal.notes),
    }


def _conversion_record(done: Conversion) -> dict[str, Any]:
    report = json.loads(report_json(done.report))
    return {
        "schema": "offline-mig/convert/1",
        "domain": next((str(done.folder / d.name) for d in done.documents if _is_domain(d)), None),
        "documents": [
            {"kind": document.kind.value, "file": str(done.folder / document.name)}
            for document in done.documents
        ],
        "disks": [str(path) for path in done.disks],
        "report_file": str(done.report_file),
        "report": report,
    }


def _is_domain(document: TargetDocument) -> bool:
    return document.kind is TargetKind.LIBVIRT


def _print_json(record: dict[str, Any]) -> None:
    click.echo(json.dumps(record, indent=2, ensure_ascii=False))
