"""Who works on the guests: processes of this host, by way of concurrent.futures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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
    """A thread of this process for each guest at work, which waits for that guest's process."""

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
    with ThreadPoolExecutor(size, thread_name_prefix="guest") as executor:
        try:
            yield LocalCrew(size, executor, stop)
        except BaseException:
            stop.set()
            raise
