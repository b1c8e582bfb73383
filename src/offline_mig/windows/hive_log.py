"""What transaction logs of either format have in common.

Windows writes changes of a hive into its logs first, beside the hive (``SYSTEM.LOG1``), and then
into the hive itself. The format of both kinds of log is that of msuhanov's "Windows registry file
format specification", section "Format of transaction log files".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

#: Bytes of a log that are read. A log holds no more than its hive does; the largest hives have
#: some hundred MiB.
MAX_LOG_SIZE = 256 * 1024**2


class Obstacle(StrEnum):
    """Why logs cannot be replayed into a hive."""

    NO_LOG = "no log"  # none is there, or all are empty
    DAMAGED = "damaged"  # a log, or the hive that comes of it, makes no sense
    STALE = "stale"  # they hold what was written into the hive before
    FOREIGN = "foreign"  # they are another hive's
    BROKEN_CHAIN = "broken chain"  # later changes are there, but not those before them


@dataclass(frozen=True, slots=True)
class NotReplayable:
    """That logs cannot be replayed; ``detail`` is a clause that says what was found where."""

    obstacle: Obstacle
    detail: str


@dataclass(frozen=True, slots=True)
class HiveLog:
    """A transaction log as it lies beside its hive: its file name and content."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DirtyPage:
    """Bytes to be put into a hive, ``offset`` bytes after its base block."""

    offset: int
    content: memoryview
