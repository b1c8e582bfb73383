"""A plan: what is to be changed in a guest, in which order and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from offline_mig.surgery.changes import (
    Change,
    DeleteFiles,
    DiscardSession,
    OpenGuest,
    ReplayLogs,
    WriteFile,
)
from offline_mig.windows.hive import HiveName


@dataclass(frozen=True, slots=True)
class PlanBlock:
    """Changes that belong together, such as those that make one driver boot-start."""

    title: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be changed. ``notes`` are sentences for the user about what is not."""

    blocks: tuple[PlanBlock, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        """Yield the changes in the order in which they are applied."""
        for block in self.blocks:
            yield from block.changes

    def __len__(self) -> int:
        """Return the number of changes."""
        return sum(len(block.changes) for block in self.blocks)

    @property
    def added_bytes(self) -> int:
        """The size of all files that the plan writes, an upper bound of the space it takes."""
        written = sum(len(change.content) for change in self if isinstance(change, WriteFile))
        return written + sum(change.growth for change in self if isinstance(change, ReplayLogs))

    @property
    def hives(self) -> frozenset[HiveName]:
        """The hives that are changed."""
        elsewhere = WriteFile | DeleteFiles | DiscardSession
        return frozenset(c.hive for c in self if not isinstance(c, elsewhere))

    @property
    def discards_session(self) -> bool:
        """Whether the session in hiberfil.sys is given up."""
        return any(isinstance(change, DiscardSession) for change in self)

    def pending(self, guest: OpenGuest) -> Plan:
        """Return the plan without what the guest already is."""
        blocks = (
            PlanBlock(block.title, tuple(c for c in block.changes if not c.is_done(guest)))
            for block in self.blocks
        )
        return replace(self, blocks=tuple(block for block in blocks if block.changes))
