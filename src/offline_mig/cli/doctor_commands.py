"""The command that says why a guest boots or stops."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from offline_mig.api import diagnosing
from offline_mig.cli import doctor_screen
from offline_mig.cli.convert_options import by_name
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import ENGINE, JSON, PATH, SYSTEM_PARTITION
from offline_mig.cli.source_parameters import file_options
from offline_mig.conversion.boot_question import BootQuestion, question_of
from offline_mig.conversion.engines import EngineChoice
from offline_mig.conversion.named_options import named_source
from offline_mig.diagnosis.boot_bus import BootBus
from offline_mig.diagnosis.finding_page import every_kind, find_kind, finding_page
from offline_mig.diagnosis.verdict import Outcome
from offline_mig.machine import Firmware
from offline_mig.sources.defined_domain import read_domain
from offline_mig.targets.devices import MachineType

#: What ``doctor`` ends with, by its verdict.
EXIT_CODES = {Outcome.BOOTS: 0, Outcome.STOPS: 1, Outcome.UNKNOWN: 11}

BUS = click.option(
    "--bus",
    type=click.Choice([bus.value for bus in BootBus]),
    help="What the system disk is to hang on. [default: virtio]",
)
FIRMWARE = click.option(
    "--firmware",
    type=click.Choice([firmware.value for firmware in Firmware]),
    help="How the machine is to start. [default: what the disk is laid out for]",
)
MACHINE = click.option(
    "--machine",
    type=click.Choice([kind.value for kind in MachineType]),
    help="Its machine type. [default: pc before Windows Vista, else q35]",
)
DOMAIN = click.option(
    "--xml", "domain", type=PATH, help="A libvirt domain that says all of this itself."
)
TRUSTED = click.option(
    "--allow-unsigned",
    "trusted",
    is_flag=True,
    help="The guest runs with test-signing on and takes drivers without a good signature.",
)


def boot_question(
    bus: str | None,
    firmware: str | None,
    machine: str | None,
    domain: Path | None,
    *,
    trusted: bool,
) -> BootQuestion:
    """Return what the options ask; raises click.UsageError when a domain and others are given."""
    if domain is not None:
        if bus or firmware or machine:
            raise click.UsageError("--xml says bus, firmware and machine itself; leave them out.")
        return question_of(read_domain(domain), trusted=trusted)
    return BootQuestion(
        BootBus(bus) if bus else BootBus.VIRTIO,
        Firmware(firmware) if firmware else None,
        MachineType(machine) if machine else None,
        trusted=trusted,
    )


@click.command()
@click.argument("source", type=PATH)
@BUS
@FIRMWARE
@MACHINE
@DOMAIN
@TRUSTED
@file_options
@SYSTEM_PARTITION
@ENGINE
@JSON
def doctor(
    source: Path,
    bus: str | None,
    firmware: str | None,
    machine: str | None,
    domain: Path | None,
    trusted: bool,
    system_partition: str | None,
    engine: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Tell whether the Windows in SOURCE would boot on a machine, and what keeps it from that.

    SOURCE is a disk image, a .vmx or .ovf file or the folder with it, or an .ova file. Nothing is
    changed. Ends with 0 when the model says that it boots, with 1 when it says that it stops, with
    11 when it cannot tell.
    """
    question = boot_question(bus, firmware, machine, domain, trusted=trusted)
    found = diagnosing.diagnose(
        source,
        question,
        engine=engine,
        system_partition=system_partition,
        reading=named_source(by_name(given)),
    )
    if as_json:
        print_json(diagnosing.diagnosis_record(found))
    else:
        options = _repeated(bus, firmware, machine, domain, system_partition, engine, trusted)
        doctor_screen.show_diagnosis(found, options)
    sys.exit(EXIT_CODES[found.verdict.outcome])


def _repeated(
    bus: str | None,
    firmware: str | None,
    machine: str | None,
    domain: Path | None,
    system_partition: str | None,
    engine: str,
    trusted: bool,
) -> list[str]:
    """Return the options that a repair for the same machine must be given."""
    given = {
        "--bus": bus,
        "--firmware": firmware,
        "--machine": machine,
        "--xml": domain,
        "--system-partition": system_partition,
        "--engine": None if engine == EngineChoice.GUESTFS.value else engine,
    }
    words = [word for name, value in given.items() if value for word in (name, str(value))]
    return [*words, *(["--allow-unsigned"] if trusted else [])]


@click.command()
@click.argument("identifier", metavar="[ID]", required=False)
def explain(identifier: str | None) -> None:
    """Explain the finding ID, such as BOOT-STARTOVERRIDE; without one, list all of them."""
    if identifier is None:
        for kind in every_kind():
            click.echo(f"{kind.id:<28}{kind.title}")
        return
    found = find_kind(identifier)
    if found is None:
        raise click.BadParameter(
            f"there is no finding {identifier!r}; 'offline-mig explain' lists them all.",
            param_hint="ID",
        )
    click.echo(finding_page(found), nl=False)
