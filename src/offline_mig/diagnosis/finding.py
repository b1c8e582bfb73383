"""Findings: what is wrong with a guest's start, how sure that is, and what proves it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for the next start."""

    STOP = "stop"
    """Windows does not get to its system volume."""
    WARNING = "warning"
    """It starts, or may, and something goes wrong after that."""
    UNKNOWN = "unknown"
    """Something could not be read, so that nothing can be said beyond it."""


class Confidence(StrEnum):
    """How sure a statement is; the model has never booted a Windows."""

    HIGH = "high"
    """Seen in boots of an NT 5 like kernel, or documented by Microsoft."""
    MEDIUM = "medium"
    """Reported by many, and agrees with what is known."""
    LOW = "low"
    """Depends on what the image does not tell, or sources disagree."""


class Link(StrEnum):
    """The links of the chain from firmware to the mounted system volume, in their order."""

    FIRMWARE = "firmware"
    BOOT_SECTOR = "boot sector"
    BOOT_MANAGER = "boot manager"
    CONFIGURATION = "boot configuration"
    LOADER = "loader"
    CORE_DRIVERS = "core drivers"
    CONTROLLER = "disk controller"
    FILTERS = "filters"
    SYSTEM_VOLUME = "system volume"
    AFTER = "after the system volume"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What all findings of one id have in common.

    ``stop`` is the STOP code or the loader's status that people see, "" where there is none;
    ``explanation``, ``remedy`` and ``source`` are what the documentation says of it.
    """

    id: str
    severity: Severity
    link: Link
    title: str
    explanation: str
    remedy: str
    source: str
    stop: str = ""

    @property
    def mendable(self) -> bool:
        """Whether ``repair`` may mend it, which its remedy then says."""
        return "offline-mig repair" in self.remedy


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    ``detail`` says in a sentence what was found and where; ``evidence`` are the keys, values and
    files that it rests on. ``service`` and ``key`` (relative to the hive SYSTEM) and ``name`` are
    what a repair needs to know of it, and ``cause`` what is wrong where ``kind`` says only that it
    is so in one of two control sets.
    """

    kind: FindingKind
    detail: str
    evidence: tuple[str, ...] = ()
    confidence: Confidence = Confidence.HIGH
    service: str = ""
    key: str = ""
    name: str = ""
    cause: FindingKind | None = None

    @property
    def fault(self) -> FindingKind:
        """What is wrong, of whatever kind the finding is told as."""
        return self.cause or self.kind

    @property
    def id(self) -> str:
        """The stable id, such as ``BOOT-STARTOVERRIDE``."""
        return self.kind.id
