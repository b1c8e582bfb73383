"""Telling whether a guest would start, and mending it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.api.paths import StrPath
from offline_mig.conversion import repair as mending
from offline_mig.conversion.boot_question import BootQuestion
from offline_mig.conversion.diagnosis_record import diagnosis_record
from offline_mig.conversion.doctor import Diagnosis
from offline_mig.conversion.doctor import diagnose as look_at_start
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.guest_form import GuestFactsForm
from offline_mig.conversion.guest_record import guest_facts_record
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.progress import Progress, Silent
from offline_mig.conversion.repair import Repair, RepairOptions
from offline_mig.conversion.verdict_record import VerdictForm, verdict_record
from offline_mig.sources.options import SourceOptions
from offline_mig.surgery.record import plan_record
from offline_mig.surgery.record_form import BlockForm

__all__ = ["RepairForm", "diagnose", "diagnosis_record", "repair", "repair_record"]


class RepairForm(TypedDict):
    """What ``repair`` did; ``after`` is null where nothing was changed."""

    schema: Literal["offline-mig/repair/1"]
    dry_run: bool
    image: str
    guest: GuestFactsForm
    before: VerdictForm
    after: VerdictForm | None
    driver: str | None
    plan: list[BlockForm]
    journal: str | None
    overlay: str | None
    notes: list[str]


def diagnose(
    source: StrPath,
    question: BootQuestion | None = None,
    *,
    engine: str = EngineChoice.GUESTFS,
    system_partition: str | None = None,
    reading: SourceOptions | None = None,
) -> Diagnosis:
    """Tell whether a guest would start on the machine of ``question``; changes nothing.

    ``engine`` is one of ``EngineChoice``, ``reading`` is how the source is read. Raises
    OfflineMigError.
    """
    asked, chosen = question or BootQuestion(), choose_engine(EngineChoice(engine))
    options = reading or SourceOptions()
    return look_at_start(Path(source), asked, chosen, system_partition, options)


def repair(
    image: StrPath,
    options: RepairOptions,
    *,
    engine: str = EngineChoice.GUESTFS,
    progress: Progress | None = None,
) -> Repair:
    """Mend the guest in ``image`` in place; raises NotMendedError when it would still stop."""
    chosen = choose_engine(EngineChoice(engine))
    return mending.repair(Path(image), options, chosen, progress or Silent())


def repair_record(done: Repair, *, dry_run: bool) -> RepairForm:
    """Return a repair as plain data."""
    result = done.result
    return {
        "schema": "offline-mig/repair/1",
        "dry_run": dry_run,
        "image": plain(result.image.path),
        "guest": guest_facts_record(result.facts, result.volume),
        "before": verdict_record(done.before),
        "after": None if done.after is None else verdict_record(done.after),
        "driver": None if done.driver is None else done.driver.location,
        "plan": plan_record(result.pending),
        "journal": plain(result.journal),
        "overlay": plain(result.overlay),
        "notes": list(result.notes),
    }
