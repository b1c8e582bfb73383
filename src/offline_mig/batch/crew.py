"""Who works on the guests: processes of this host, by way of concurrent.futures."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from offline_mig.batch.guest_process import carry_out
from offline_mig.batch.orders import Order, Result, Tell


class Crew(Protocol):
    """Whoever takes orders. ``size`` is how many guests are worked on at once."""

    @property
    def size(self) -> int:
        """How many guests are worked on at once."""

    def submit(self, order: Order, tell: Tell) -> Future[Result]:
        """Begin work on a guest; ``tell`` is called from any thread."""

    def abandon(self) -> None:
        """Have everybody give their guests up. What they began ends soon after."""


@dataclass(frozen=True)
class LocalCrew:
    """A thread of this process for each guest at work, which waits for that guest's process.

    Where there are as many of them as processors, each has one to itself: the programs of a guest
    mostly wait for each other, and to wake another up on an idle processor takes longer than to go
    on with it on the same one (docs/performance.md).
    """

    size: int
    _executor: ThreadPoolExecutor
    _stop: threading.Event

    def submit(self, order: Order, tell: Tell) -> Future[Result]:
        """Begin work on a guest."""
        return self._executor.submit(carry_out, order, tell, self._stop)

    def abandon(self) -> None:
        """Have all guests given up."""
        self._stop.set()


@contextmanager
def local_crew(size: int) -> Iterator[LocalCrew]:
    """Give a crew of this host's; leaving the block by an exception has it abandon its guests."""
    stop = threading.Event()
    shares: SimpleQueue[set[int]] = SimpleQueue()
    for share in _shares(size):
        shares.put(share)

    def settle() -> None:
        # 0 is the thread that calls; the processes that it starts inherit it (sched(7)). Should
        # the processor have been taken away meanwhile, any other will do.
        with suppress(OSError):
            os.sched_setaffinity(0, shares.get())

    with ThreadPoolExecutor(size, thread_name_prefix="guest", initializer=settle) as executor:
        try:
            yield LocalCrew(size, executor, stop)
        except BaseException:
            stop.set()
            raise


def _shares(size: int) -> list[set[int]]:
    """Return the processors that each of ``size`` guests at once may use."""
    all_of_them = os.sched_getaffinity(0)
    if size == len(all_of_them):
        return [{processor} for processor in all_of_them]
    return [all_of_them] * size
