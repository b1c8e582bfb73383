"""Where a batch stands: for the scheduling of what is next and for whoever watches."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from offline_mig.batch.orders import Progressed
from offline_mig.batch.record import GuestRecord, GuestState

#: What a guest without any data takes, in bytes, for estimates: about 0.6 s at 1.2 GiB/s.
_FIXED_COST = 700 * 1024 * 1024
#: Seconds of a guest before which its rate says little.
_TELLING = 0.5


@dataclass(frozen=True, slots=True)
class Running:
    """A guest at work: its step, when it began (monotonic clock), and how much is copied."""

    step: str
    began: float
    copied: float | None = None


@dataclass
class Board:
    """All guests of a batch by name, and those at work.

    ``began`` is on the monotonic clock; ``finishing`` says that no other guest is to be begun.
    """

    guests: dict[str, GuestRecord]
    running: dict[str, Running] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    finishing: bool = False

    def __post_init__(self) -> None:
        self._to_do = {
            record.name for record in self.guests.values() if record.state is GuestState.WAITING
        }

    def record(self, record: GuestRecord) -> None:
        """Take note of what is known of a guest now."""
        self.guests[record.name] = record
        now = time.monotonic()
        if record.state is GuestState.STARTED:
            self.running[record.name] = Running("Starting", now)
        else:
            self.running.pop(record.name, None)

    def progressed(self, progressed: Progressed) -> None:
        """Take note of how far a guest is."""
        before = self.running.get(progressed.name)
        if before is None:
            return
        # A copy that is through stays so while the guest has other steps to go.
        copied = before.copied if progressed.copied is None else progressed.copied
        self.running[progressed.name] = replace(before, step=progressed.step, copied=copied)

    def count(self, state: GuestState) -> int:
        """Return how many guests are in a state."""
        return sum(record.state is state for record in self.guests.values())

    @property
    def waiting(self) -> list[GuestRecord]:
        """The guests that have not been begun, in their order."""
        return [r for r in self.guests.values() if r.state is GuestState.WAITING]

    @property
    def at_work(self) -> list[GuestRecord]:
        """The guests that are being converted."""
        return [self.guests[name] for name in self.running]

    def rate(self, name: str) -> float | None:
        """Return how fast a guest's disks are being copied, in bytes per second, where known.

        The copy begins soon after the guest does, and goes on beside the other steps.
        """
        running = self.running.get(name)
        if running is None or running.copied is None:
            return None
        spent = time.monotonic() - running.began
        if spent < _TELLING:
            return None
        return self.guests[name].size * running.copied / spent

    def seconds_left(self) -> float | None:
        """Return how long the rest will take, by how long what is done took; None at first."""
        done = _work(self.guests[name] for name in self._to_do if self.guests[name].ended)
        spent = time.monotonic() - self.began
        under_way = sum(
            (running.copied or 0) * self.guests[name].size for name, running in self.running.items()
        )
        left = _work([*self.waiting, *self.at_work]) - under_way
        if done + under_way == 0:
            return None
        return max(0.0, left) * spent / (done + under_way)


def _work(guests: Iterable[GuestRecord]) -> float:
    return float(sum(record.size + _FIXED_COST for record in guests))


def next_guest(board: Board, jobs: int, free: int) -> GuestRecord | None:
    """Return the guest to begin now, None to wait.

    ``jobs`` are at work at most, ``free`` bytes are free where the results go. A guest waits for
    as long as others that are at work may need the room, and smaller ones go before it; with none
    at work it is begun all the same, and will say itself what it lacks. What the others have
    written by now counts twice, which errs on the side of waiting.
    """
    if board.finishing or len(board.running) >= jobs:
        return None
    waiting = board.waiting
    if not waiting:
        return None
    if not board.running:
        return waiting[0]
    left = free - sum(record.size for record in board.at_work)
    return next((record for record in waiting if record.size <= left), None)
