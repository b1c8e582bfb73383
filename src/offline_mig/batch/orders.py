"""What a process of its own is told to do for one guest, and what it tells in return.

Plain data, since it travels through a command line, a pipe and perhaps a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Task(StrEnum):
    """What is to be done."""

    LOOK = "look"
    CONVERT = "convert"


@dataclass(frozen=True, slots=True)
class Order:
    """Work on one guest.

    ``given`` are the options of ``convert`` by their names, with absolute paths; ``size`` is what
    the source takes on disk in bytes; ``log`` is where to write what happens. Results from before
    ``since``, in seconds since 1970 by the clock of the output's storage, are none of the batch.
    ``cache`` is a folder that results are kept in and taken from, and may hold ``cache_limit``
    bytes.
    """

    task: Task
    name: str
    source: str
    given: Mapping[str, Any]
    output: str
    size: int = 0
    log: str | None = None
    since: float = 0.0
    cache: str | None = None
    cache_limit: int = 0

    def text(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "task": self.task.value,
            "name": self.name,
            "source": self.source,
            "given": dict(self.given),
            "output": self.output,
            "size": self.size,
            "log": self.log,
            "since": self.since,
            "cache": self.cache,
            "cache_limit": self.cache_limit,
        }


def order_of(text: Mapping[str, Any]) -> Order:
    """Return the order of plain data."""
    return Order(**{**text, "task": Task(text["task"])})


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a guest is: the step, and the part of the copy that is done, from 0 to 1."""

    name: str
    step: str
    copied: float | None = None


Tell = Callable[[Progressed], None]


class End(StrEnum):
    """How the work on a guest ended."""

    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an order.

    ``exit_code`` is that of the error, None where the process died of something else. ``found``
    is what was asked for: the row of a preflight, or the results of a conversion.
    """

    end: End
    message: str = ""
    remedy: str = ""
    exit_code: int | None = 0
    found: Mapping[str, Any] = field(default_factory=dict)


def result_of(text: Mapping[str, Any]) -> Result:
    """Return the result of plain data."""
    return Result(**{**text, "end": End(text["end"])})


#: Failures of the host or of a program, which may not be met again: see errors.py.
_REPEATED = {None, 1, 9}
MOST_ATTEMPTS = 2


def worth_repeating(result: Result, attempts: int) -> bool:
    """Tell whether a guest is to be tried once more at once.

    It is when a program failed (9), the host did (1) or the process died (None): a storage that
    was away for a moment, memory that others had. What is wrong with a source, a guest, drivers or
    a full disk is wrong a second later, too.
    """
    return result.end is End.FAILED and result.exit_code in _REPEATED and attempts < MOST_ATTEMPTS


def log_path(output: Path, name: str) -> Path:
    """Return where the log of a guest lies."""
    return output / "batch" / f"{name}.log"
