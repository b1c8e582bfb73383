"""A signal that arrives where Python drops what is raised still ends the command."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: A command that is interrupted in a hook that Python runs before it forks, and goes on.
_PROGRAM = """
import os, signal, subprocess, sys, time
import click
from offline_mig.cli.failure import Commands

signal.signal(signal.SIGINT, signal.default_int_handler)

@click.group(cls=Commands)
def group():
    pass

@group.command()
def work():
    os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.Signals({number})))
    subprocess.run(["true"], preexec_fn=lambda: None, check=True)
    print("the hook dropped it", flush=True)
    time.sleep(30)

group(["work"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_all_the_same(number: signal.Signals) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(number=int(number))],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "the hook dropped it" in run.stdout
    assert (run.returncode, "Interrupted" in run.stderr) == (130, True), run.stderr
    assert "Traceback" not in run.stderr


def test_what_else_is_dropped_is_told_as_ever() -> None:
    program = _PROGRAM.replace("os.kill(os.getpid(), signal.Signals({number}))", "1 / 0").replace(
        "time.sleep(30)", ""
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert run.returncode == 0
    assert "ZeroDivisionError" in run.stderr
