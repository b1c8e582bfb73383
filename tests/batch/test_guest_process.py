"""The process of one guest, and what the batch hears and notes of it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from offline_mig.batch.discovery import FoundMachine
from offline_mig.batch.guest_process import carry_out
from offline_mig.batch.host_memory import open_memory
from offline_mig.batch.journal import read_batch
from offline_mig.batch.orders import End, Order, Result, Task, Tell
from offline_mig.batch.plan_guests import GuestWork
from offline_mig.batch.record import GuestRecord
from offline_mig.batch.run import run_batch

#: Writes to standard output as a library would, once the machine is read.
NOISE = """
import os, sys

def hear(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".vmx"):
        os.write(1, b"a warning of some library\\n")

sys.addaudithook(hear)
"""


def test_what_a_library_prints_is_not_taken_for_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "vm.vmx").write_text("no machine")
    log = tmp_path / "vm.log"
    source, output = str(tmp_path / "vm.vmx"), str(tmp_path / "out")
    order = Order(Task.CONVERT, "vm", source, {"engine": "userspace"}, output, log=str(log))
    result = carry_out(order, lambda _: None, threading.Event())
    assert result.end is End.FAILED
    assert "vm.vmx" in result.message
    assert "a warning of some library" in log.read_text()


class FailingCrew:
    """A crew whose work fails; ``seen`` is what the journal says when it begins."""

    size = 1

    def __init__(self, output: Path) -> None:
        self._output = output
        self.seen: list[GuestRecord] = []

    def submit(self, order: Order, tell: Tell) -> Future[Result]:
        batch = read_batch(self._output)
        assert batch is not None
        self.seen.extend(batch.guests)
        future: Future[Result] = Future()
        future.set_result(Result(End.FAILED, "qemu-img failed.", "Look at it.", 9))
        return future

    def abandon(self) -> None:
        pass


def test_a_guest_at_work_does_not_say_what_an_earlier_attempt_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "a.vmx"
    work = GuestWork("a", FoundMachine(source, "a", (source,)), {}, 0, "as it is")
    crew = FailingCrew(tmp_path / "out")
    quiet = dict.fromkeys(("begun", "changed", "progressed", "tick", "say"), _nothing)
    with open_memory() as memory:
        end = run_batch(
            [work], tmp_path / "out", crew, SimpleNamespace(**quiet), memory, resume=False
        )
    assert [(guest.attempts, guest.message) for guest in crew.seen] == [(1, ""), (2, "")]
    assert [guest.exit_code for guest in crew.seen] == [None, None]
    assert end.guests[0].message == "qemu-img failed."


def _nothing(*_: Any, **__: Any) -> None:
    pass
