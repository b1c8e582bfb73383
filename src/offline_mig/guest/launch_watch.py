"""Ends an appliance that hangs while it is launched on KVM.

That KVM worked once since boot does not mean that it works now: a nested host may have been moved.
``launch()`` itself has no time limit, its handle is locked while it runs, and an emulated
appliance may well take minutes on a slow host; hence only qemu on KVM is watched, from outside.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds between two looks at the processes.
_INTERVAL = 0.5


@contextmanager
def ending_hung_kvm(limit: float) -> Iterator[threading.Event]:
    """Kill a qemu on KVM that is started in a ``with`` block and still there after ``limit`` s.

    The event that is yielded is set when that was done. The time counts from the start of qemu:
    building the appliance before may take long the first time.
    """
    before = _kvm_children()
    done, hung = threading.Event(), threading.Event()
    watch = threading.Thread(target=_watch, args=(before, limit, done, hung), daemon=True)
    watch.start()
    try:
        yield hung
    finally:
        done.set()
        watch.join()


def _watch(before: set[int], limit: float, done: threading.Event, hung: threading.Event) -> None:
    seen: dict[int, float] = {}
    while not done.wait(_INTERVAL):
        now = time.monotonic()
        seen = {pid: seen.get(pid, now) for pid in _kvm_children() - before}
        for pid, since in seen.items():
            if now - since > limit:
                hung.set()
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _kvm_children() -> set[int]:
    """Return the children of this process that are machines on KVM, by what libguestfs passes."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # proc(5): the parent is the second field after the name in brackets.
            parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid() and b"accel=kvm" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            # It ended meanwhile.
            continue
    return found
