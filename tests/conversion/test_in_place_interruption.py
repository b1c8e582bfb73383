"""An edit in place, or its undo, killed at any moment: the old guest or the new one, no other."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, require_engine
from fixtures.guest_files import files_of
from fixtures.guests import GuestKind, GuestSpec
from fixtures.interruption import COMMITS, killed, moments, require_nothing_runs
from fixtures.small_edit import edit
from offline_mig.cli.screen import Screen
from offline_mig.conversion.edit import recover_image
from offline_mig.conversion.undo import undo_edit
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat

pytestmark = pytest.mark.conversion

#: Kills of each operation on each format: some 50 together.
KILLS = 13


@dataclass(frozen=True)
class Bench:
    """An image with all its files before and after the edit."""

    image: Path
    format: DiskFormat
    old: dict[str, str]
    new: dict[str, str]

    def files(self) -> dict[str, str]:
        return files_of(self.image, self.format)

    def names(self) -> set[str]:
        return {path.name for path in self.image.parent.iterdir()}

    def undo(self, journal: Path) -> None:
        undo_edit(self.image, journal, UserspaceEngine(), Screen(quiet=True))


@pytest.fixture(params=[DiskFormat.RAW, DiskFormat.QCOW2])
def bench(
    request: pytest.FixtureRequest, base_image: Callable[[GuestSpec], Path], tmp_path: Path
) -> Bench:
    require_engine("userspace")
    folder = tmp_path / "images"
    folder.mkdir()
    image = folder / f"guest.{request.param}"
    source = base_image(GuestSpec(GuestKind.XP))
    subprocess.run(["qemu-img", "convert", "-O", request.param, source, image], check=True)
    old = files_of(image, request.param)
    journal = edit(image).journal
    assert journal is not None
    new = files_of(image, request.param)
    undo_edit(image, journal, UserspaceEngine(), Screen(quiet=True))
    journal.unlink()
    made = Bench(image, request.param, old, new)
    assert made.files() == old != new
    return made


def edit_command(bench: Bench) -> list[str | Path]:
    return [sys.executable, "-m", "fixtures.small_edit", bench.image]


def seconds_of_an_edit(bench: Bench) -> float:
    begun = time.monotonic()
    journal = edit(bench.image).journal
    spent = time.monotonic() - begun
    assert journal is not None
    bench.undo(journal)
    journal.unlink()
    return spent


def test_edit_killed_at_any_moment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    journal = bench.image.with_name(f"{bench.image.name}.journal.json")
    outcomes = []
    for after, delay in moments(random.Random(1), seconds_of_an_edit(bench), KILLS):
        killed(edit_command(bench), after, delay)
        recover_image(bench.image)
        found = bench.files()
        assert found in (bench.old, bench.new), (after, delay)
        is_new = found == bench.new
        assert bench.names() == {bench.image.name, *([journal.name] if is_new else [])}
        if is_new:
            bench.undo(journal)
            assert bench.files() == bench.old
            journal.unlink()
        require_nothing_runs(bench.image.parent)
        outcomes.append(is_new)
    # Else no kill came early enough, or none late enough.
    assert {True, False} == set(outcomes)


def test_undo_killed_at_any_moment(bench: Bench) -> None:
    outcomes = []
    command = ["undo", bench.image, "--engine", "userspace", "--journal"]
    for after, delay in moments(random.Random(2), seconds_of_an_edit(bench), KILLS):
        journal = edit(bench.image).journal
        assert journal is not None
        killed([*COMMAND, *command, journal], after, delay)
        recover_image(bench.image)
        found = bench.files()
        assert found in (bench.old, bench.new), (after, delay)
        assert bench.names() == {bench.image.name, journal.name}
        # Also after an undo that came through.
        bench.undo(journal)
        assert bench.files() == bench.old
        journal.unlink()
        require_nothing_runs(bench.image.parent)
        outcomes.append(found == bench.old)
    assert {True, False} == set(outcomes)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", ["Planning", COMMITS])
def test_interrupted_undo_leaves_nothing_behind(
    bench: Bench, step: str, sent: signal.Signals
) -> None:
    journal = edit(bench.image).journal
    assert journal is not None
    process = subprocess.Popen(
        [*COMMAND, "undo", bench.image, "--engine", "userspace", "--journal", journal],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(step):
            break
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert bench.names() == {bench.image.name, journal.name}
    if step == "Planning":
        assert process.returncode == 130
        assert bench.files() == bench.new
    else:
        # The commit itself is waited for; it depends on the moment whether it had begun.
        assert process.returncode in (0, 130)
        assert bench.files() in (bench.old, bench.new)
