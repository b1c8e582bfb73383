"""What became of one guest, as a summary tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """How a guest's conversion ended."""

    CONVERTED = "converted"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """It was not begun, or abandoned, or is being converted just now."""
    UNREADABLE = "unreadable"
    """There is a report that cannot be read."""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a diff: ``sign`` is + (new), - (gone), ~ (replaced) or a space (a heading)."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class ChangedBlock:
    """Changes that belong together."""

    title: str
    lines: tuple[DiffLine, ...]

    @property
    def change_count(self) -> int:
        """The number of lines that say what was changed."""
        return sum(line.sign != " " for line in self.lines)


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding of the boot model about the converted guest."""

    id: str
    severity: str
    title: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the boot model says of the converted guest: boots, stops or unknown, and how sure."""

    outcome: str
    confidence: str
    findings: tuple[ShownFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestResult:
    """A guest, what was found in it and what was done to it.

    ``report`` and ``log`` are paths relative to the folder. ``seconds`` are those of each step, in
    order. ``source_bytes`` is the size of all files that were read, ``result_bytes`` what the
    disks take where they lie, None when they are not there. ``reason`` and ``remedy`` tell why
    there are no results. ``facts``, ``drivers`` and ``agents`` are pairs of a label and a text.
    ``next`` are commands.
    """

    name: str
    state: State
    source: str = ""
    windows: str = ""
    report: str = ""
    log: str = ""
    exit_code: int | None = None
    reason: str = ""
    remedy: str = ""
    verdict: Verdict | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    source_bytes: int | None = None
    result_bytes: int | None = None
    disks: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    drivers: tuple[tuple[str, str], ...] = ()
    agents: tuple[tuple[str, str], ...] = ()
    changes: tuple[ChangedBlock, ...] = ()
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    @property
    def total_seconds(self) -> float:
        """The time that all steps took."""
        return sum(self.seconds.values())

    @property
    def change_count(self) -> int:
        """The number of lines that say what was changed."""
        return sum(block.change_count for block in self.changes)
