"""What a conversion tells while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Whoever wants to know how far a run is."""

    def step(self, text: str) -> None:
        """A step begins."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def copied(self, disk: int, disks: int, percent: float) -> None:
        """So much of disk ``disk`` of ``disks`` (from 1) is copied."""


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """A step begins."""

    def note(self, text: str) -> None:
        """Something that the user should know; the results have it as well."""

    def copied(self, disk: int, disks: int, percent: float) -> None:
        """So much is copied."""


class Stopwatch:
    """Measures named steps, in seconds of wall time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the step ``name``."""
        start = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
