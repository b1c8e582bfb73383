"""Undoing an edit of an image, or ending one that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from offline_mig.api.paths import StrPath
from offline_mig.conversion.edit import recover_image
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.progress import Progress, Silent
from offline_mig.conversion.undo import UndoResult, undo_edit
from offline_mig.surgery.undo import LeftAlone
from offline_mig.windows.hive import HiveName


class JournalIdentityForm(TypedDict):
    """Which journal it was."""

    identity: str
    created: str


class UndoForm(TypedDict):
    """What ``undo`` put back, and what it left alone."""

    schema: Literal["offline-mig/undo/1"]
    dry_run: bool
    image: str
    journal: JournalIdentityForm
    whole_hives: list[HiveName]
    files: list[str]
    taken_back: list[str]
    already: int
    left_alone: list[LeftAlone]
    notes: list[str]


class RecoverForm(TypedDict):
    """What ``recover`` came to."""

    schema: Literal["offline-mig/recover/1"]
    carried_through: bool


def undo(
    image: StrPath,
    journal: StrPath,
    *,
    dry_run: bool = False,
    engine: str = EngineChoice.GUESTFS,
    progress: Progress | None = None,
) -> UndoResult:
    """Put back what the edit of ``journal`` changed in ``image``; raises OfflineMigError."""
    chosen = choose_engine(EngineChoice(engine))
    return undo_edit(Path(image), Path(journal), chosen, progress or Silent(), dry_run=dry_run)


def undo_record(done: UndoResult) -> UndoForm:
    """Return an undo as plain data."""
    plan = done.plan
    return {
        "schema": "offline-mig/undo/1",
        "dry_run": done.dry_run,
        "image": plain(done.image),
        "journal": {"identity": done.journal.identity, "created": done.journal.created},
        "whole_hives": plain(plan.whole_hives),
        "files": [file.path for file in plan.files],
        "taken_back": list(plan.taken_back),
        "already": plan.already,
        "left_alone": plain(plan.left_alone),
        "notes": list(done.notes),
    }


def recover(image: StrPath) -> bool:
    """End what an interrupted edit of ``image`` began; returns whether its changes count."""
    return recover_image(Path(image))


def recovery_record(*, carried_through: bool) -> RecoverForm:
    """Return what a recovery came to as plain data."""
    return {"schema": "offline-mig/recover/1", "carried_through": carried_through}
