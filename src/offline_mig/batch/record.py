"""What a batch knows of its guests, for its journal and for whoever reports on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class GuestState(StrEnum):
    """How far a guest is."""

    WAITING = "waiting"
    """Not begun yet."""
    STARTED = "started"
    """Begun, and no end recorded: being converted just now, or cut off with the whole batch."""
    CONVERTED = "converted"
    """Its results are in place."""
    FAILED = "failed"
    """Nothing came of it; the record says why."""
    ABANDONED = "abandoned"
    """The batch was told to end before the guest was through."""


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """A guest in a batch.

    ``name`` is that of its results and no other guest's in the batch. ``attempts`` counts how
    often it was begun. ``message`` and ``remedy`` say why it failed, ``exit_code`` is the one that
    ``convert`` would have ended with: 0 for a converted guest, None as long as there is no end.
    ``started`` and ``ended`` are of the last attempt, in seconds since 1970 (UTC); ``seconds`` is
    the wall time of each step of a conversion, as in its report. ``size`` is what the source takes
    on disk and ``written`` what the converted disks do, in bytes. ``results``, ``report`` and
    ``log`` are names relative to the output folder; ``log`` is there as soon as the guest was
    begun. ``fingerprint`` tells source, options and drivers from what they are later.
    """

    name: str
    source: Path
    state: GuestState = GuestState.WAITING
    attempts: int = 0
    message: str = ""
    remedy: str = ""
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    size: int = 0
    written: int = 0
    results: tuple[str, ...] = ()
    report: str | None = None
    log: str | None = None
    notes: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A whole batch: its output folder, the version that began it, its guests as planned.

    ``began`` is when that was in seconds since 1970 (UTC), 0 where it is not written down.
    """

    folder: Path
    version: str
    guests: tuple[GuestRecord, ...]
    began: float = 0.0

    def count(self, state: GuestState) -> int:
        """Return how many guests are in a state."""
        return sum(guest.state is state for guest in self.guests)
