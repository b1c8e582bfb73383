"""Temporary files of runs that were killed go with the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from offline_mig.scratch import own_scratch

_RUN = """
import tempfile, time
from offline_mig.scratch import own_scratch
with own_scratch():
    open(tempfile.mkdtemp() + "/hive", "w").write("secret")
    print(tempfile.gettempdir(), flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def started() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def age(folder: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))


def test_what_a_killed_run_left_goes_and_a_running_one_keeps_its_own(folder: Path) -> None:
    killed, left = started()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    running, kept = started()
    try:
        assert list(left.rglob("hive"))
        age(left)
        age(kept)
        with own_scratch():
            assert not left.exists()
            assert list(kept.rglob("hive"))
    finally:
        running.kill()
        running.wait()
    assert list(folder.iterdir()) == [kept]


def test_what_was_just_made_and_what_is_somebody_elses_stays(folder: Path) -> None:
    killed, fresh = started()
    killed.kill()
    killed.wait()
    strange = folder / "offline-mig-run-notes"
    strange.mkdir()
    (strange / "mine.txt").write_text("kept")
    age(strange)
    with own_scratch():
        pass
    assert fresh.exists()
    assert (strange / "mine.txt").exists()


def test_everything_is_gone_at_the_end_and_the_next_is_as_before(folder: Path) -> None:
    before = tempfile.gettempdir()
    with own_scratch():
        inside = Path(tempfile.mkdtemp())
        assert inside.parent.parent == folder
        assert inside.parent.stat().st_mode & 0o077 == 0
    assert tempfile.gettempdir() == before == str(folder)
    assert list(folder.iterdir()) == []


def test_no_room_for_it_is_left_to_whoever_needs_some(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    with own_scratch():
        assert tempfile.tempdir == str(folder / "missing")
