"""Looking at a guest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.api.paths import StrPath
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.examination import Examination, inspect_guest
from offline_mig.conversion.guest_form import GuestForm
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.machine_record import machine_record
from offline_mig.conversion.plain_data import plain
from offline_mig.machine import Machine
from offline_mig.sources.options import SourceOptions
from offline_mig.surgery.first_boot_log import FirstBootRecord


class InspectForm(TypedDict):
    """What ``inspect`` found; ``first_boot`` is what a conversion left for it, null for nothing."""

    schema: Literal["offline-mig/inspect/1"]
    machine: Machine
    guest: GuestForm
    first_boot: FirstBootRecord | None
    notes: list[str]


def inspect(
    source: StrPath,
    *,
    engine: str = EngineChoice.GUESTFS,
    system_partition: str | None = None,
    reading: SourceOptions | None = None,
) -> Examination:
    """Tell what machine ``source`` is and which Windows is in it; changes nothing.

    ``engine`` is one of ``EngineChoice``, ``reading`` is how the source is read. Raises
    OfflineMigError.
    """
    chosen = choose_engine(EngineChoice(engine))
    return inspect_guest(Path(source), chosen, system_partition, reading or SourceOptions())


def inspection_record(found: Examination) -> InspectForm:
    """Return what a guest is as plain data."""
    return {
        "schema": "offline-mig/inspect/1",
        "machine": machine_record(found.machine),
        "guest": guest_record(found.facts, found.volume, found.layout),
        "first_boot": plain(found.first_boot),
        "notes": list(found.notes),
    }
