"""Running a command and measuring it with everything that it starts.

Time of the processors and bytes written are the kernel's own sums over all processes that have
ended (getrusage(2), proc(5) on /proc/PID/io); this process adopts those whose parents went before
them, so that none is missed. Memory is sampled: the sum of the proportional set sizes (PSS) of all
processes at one time, where shared pages count once, which the sum of their resident sets (RSS)
would count for each. Peaks shorter than a sample are missed. Sampling takes a good part of a
processor and holds the processes up, so that what is timed is not sampled.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: prctl(2), <linux/prctl.h>.
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")
#: Seconds between samples: little at first, since some commands are done in half a second.
_PACE_AT_FIRST, _PACE_LATER, _AT_FIRST = 0.01, 0.1, 2.0
#: Seconds that left-over processes get to end by themselves.
_GRACE = 20


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took: seconds, and bytes.

    ``memory`` is the peak of the whole tree, or None where it was not sampled. Where it was, the
    seconds are not to be relied on.
    """

    wall: float
    cpu: float
    memory: int | None
    written: int


class CommandFailedError(Exception):
    """A measured command did not end with 0."""


def measure(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    sampled: bool = False,
) -> tuple[Usage, str]:
    """Run a command to its end; returns what it took and what it printed.

    ``sampled`` is whether memory is to be measured in place of time.

    Raises CommandFailedError.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # What an earlier command has written must not slow this one down.
    os.sync()
    cpu, written = _cpu(), _written()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
    )
    sampler = _Sampler(process.pid) if sampled else None
    printed, _ = process.communicate()
    wall = time.perf_counter() - begin
    peak = sampler.end() if sampler is not None else None
    _reap()
    if process.returncode:
        tail = "\n".join(printed.splitlines()[-15:])
        raise CommandFailedError(f"{command[0]} ended with {process.returncode}:\n{tail}")
    return Usage(wall, _cpu() - cpu, peak, _written() - written), printed


class _Sampler(threading.Thread):
    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._peak = 0
        self._root = root
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        begin = time.monotonic()
        pace = 0.0
        while not self._ended.wait(pace):
            self._peak = max(self._peak, sum(map(_memory, _tree(self._root))))
            pace = _PACE_AT_FIRST if time.monotonic() - begin < _AT_FIRST else _PACE_LATER

    def end(self) -> int:
        """Stop sampling; returns the peak."""
        self._ended.set()
        self.join()
        return self._peak


def _tree(root: int) -> Iterator[int]:
    """Yield a process, all below it, and those that have lost their parents to this one."""
    pending = {root, *_children(os.getpid())}
    while pending:
        pid = pending.pop()
        yield pid
        pending.update(_children(pid))


def _children(pid: int) -> Iterator[int]:
    # A process that ends meanwhile has no children any more.
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            yield from map(int, (task / "children").read_text().split())


def _memory(pid: int) -> int:
    folder = _PROC / str(pid)
    try:
        for line in (folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Without the right to look closer, all that is resident counts.
    with suppress(OSError, IndexError):
        return int((folder / "statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _written() -> int:
    lines = (_PROC / "self" / "io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def _reap() -> None:
    limit = time.monotonic() + _GRACE
    with suppress(ChildProcessError):
        while time.monotonic() < limit:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
