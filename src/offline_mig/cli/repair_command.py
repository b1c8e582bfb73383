"""The command that mends a guest which would stop."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from offline_mig.api import diagnosing
from offline_mig.cli import doctor_screen, screen
from offline_mig.cli.doctor_commands import BUS, DOMAIN, FIRMWARE, MACHINE, TRUSTED, boot_question
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import DISCARD_HIBERNATION, ENGINE, JSON, PATH, SYSTEM_PARTITION
from offline_mig.conversion.in_place import InPlaceOptions
from offline_mig.conversion.repair import Repair, RepairOptions
from offline_mig.sources.file_access import shown


@click.command("repair")
@click.argument("image", type=PATH)
@BUS
@FIRMWARE
@MACHINE
@DOMAIN
@TRUSTED
@click.option(
    "--drivers",
    "driver_sources",
    type=PATH,
    multiple=True,
    help="A virtio-win ISO or RPM, or a driver folder, for what the guest lacks; may be given "
    "several times.",
)
@click.option(
    "--remove-vmware-tools",
    "remove_tools",
    is_flag=True,
    help="Take VMware Tools, or another hypervisor's guest tools, out as well.",
)
@DISCARD_HIBERNATION
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option(
    "--journal",
    type=PATH,
    help="Where to write what 'undo' needs. [default: a new file beside the image]",
)
@click.option(
    "--no-commit",
    is_flag=True,
    help="Leave the image as it is and the changes in an overlay, for a boot to try them out.",
)
@SYSTEM_PARTITION
@ENGINE
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def repair_command(
    image: Path,
    bus: str | None,
    firmware: str | None,
    machine: str | None,
    domain: Path | None,
    trusted: bool,
    driver_sources: tuple[Path, ...],
    remove_tools: bool,
    discard_hibernation: bool,
    dry_run: bool,
    journal: Path | None,
    no_commit: bool,
    system_partition: str | None,
    engine: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Mend the Windows in IMAGE so that it boots on a machine, in place and reversibly.

    What 'doctor' finds is cleared, and the boot model asked again before anything counts: when it
    says that the guest would still stop, nothing is changed.
    """
    options = RepairOptions(
        boot_question(bus, firmware, machine, domain, trusted=trusted),
        driver_sources,
        remove_tools,
        InPlaceOptions(
            journal=journal,
            commit=not no_commit,
            dry_run=dry_run,
            system_partition=system_partition,
            discard_hibernation=discard_hibernation,
        ),
    )
    progress = screen.Screen(quiet=quiet or as_json)
    done = diagnosing.repair(image, options, engine=engine, progress=progress)
    if as_json:
        print_json(diagnosing.repair_record(done, dry_run=dry_run))
    else:
        _show(done, dry_run=dry_run)


def _show(done: Repair, *, dry_run: bool) -> None:
    result = done.result
    name = shown(result.image.path.name)
    click.secho(f"{name}: {screen.windows_name(result.facts.version)}", bold=True)
    click.echo()
    doctor_screen.show_findings(done.before)
    click.echo()
    pending = result.pending
    if not len(pending):
        found = done.before.findings
        what = "Nothing of this is for a repair to mend" if found else "Nothing to mend"
        click.echo(f"{what}: the guest boots as it is, by the boot model.")
        screen.show_notes(result.notes)
        return
    if dry_run:
        screen.show_diff(result.diff)
        click.echo(f"{screen.counted(pending)} would be changed; nothing was.")
        click.echo("Whether it then boots, the model is asked before any of it counts.")
        screen.show_notes(result.notes)
        return
    for block in pending.blocks:
        click.echo(
            f"  mended: {shown(block.title)} ({screen.plural(len(block.changes), 'change')})"
        )
    click.echo()
    if done.after is not None:
        doctor_screen.show_outcome(done.after)
    screen.show_notes(result.notes)
    click.echo()
    if result.overlay is not None:
        image, overlay = shown(result.image.path), shown(result.overlay)
        click.echo(f"{image} is as it was; the changes are in {overlay}.")
        click.echo("Boot that one to try them out. To keep them:")
        click.echo(f"  {shown(result.commit_command or '')}")
    if result.journal is not None:
        where, how = shlex.quote(str(result.image.path)), shlex.quote(str(result.journal))
        click.echo("To take it back:")
        click.echo(f"  {shown(f'offline-mig undo {where} --journal {how}')}")
