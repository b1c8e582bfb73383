"""Publishing: earlier results are replaced whole, or stay as they were."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from fixtures.running_guest import running_guest
from offline_mig.conversion.workspace import (
    Workspace,
    WorkspaceBusyError,
    open_workspace,
    recover_workspace,
    refuse_existing,
)
from offline_mig.errors import OutputRefusedError

NAMES = ("guest-disk1.qcow2", "guest-disk2.qcow2", "guest.xml", "guest.report.json")


def put(folder: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        (folder / name).write_text(f"{text} {name}")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_new_results_replace_all_earlier_ones(tmp_path: Path) -> None:
    put(tmp_path, "old")
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new")
        workspace.publish(NAMES, overwrite=True)
    assert contents(tmp_path) == {name: f"new {name}" for name in NAMES}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["guest-disk1.qcow2", "guest.qemu.sh"])
def test_what_has_come_meanwhile_is_not_replaced_unasked(tmp_path: Path, name: str) -> None:
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new")
        put(tmp_path, "another's", (name,))
        with pytest.raises(OutputRefusedError, match=f"already holds {name}"):
            workspace.publish(NAMES, (*NAMES, "guest.qemu.sh"), overwrite=False)
    assert contents(tmp_path) == {name: f"another's {name}"}


@pytest.mark.parametrize("last", range(1, len(NAMES)))
@pytest.mark.parametrize("earlier", [NAMES, NAMES[1:], NAMES[-1:], ()])
def test_a_result_that_cannot_take_its_place_brings_all_earlier_ones_back(
    tmp_path: Path, last: int, earlier: tuple[str, ...]
) -> None:
    put(tmp_path, "old", earlier)
    # A name given twice is gone when its turn comes again.
    names = (*NAMES[:last], NAMES[0], *NAMES[last:])
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new")
        with pytest.raises(OutputRefusedError):
            workspace.publish(names, overwrite=True)
        assert contents(tmp_path) == {name: f"old {name}" for name in earlier}
    assert contents(tmp_path) == {name: f"old {name}" for name in earlier}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("moved", range(1, len(NAMES) + 1))
@pytest.mark.parametrize("published", range(len(NAMES)))
def test_results_that_a_killed_run_had_moved_aside_come_back(
    tmp_path: Path, moved: int, published: int
) -> None:
    put(tmp_path, "old")
    killed = tmp_path / ".guest.offline-mig"
    (killed / "replaced").mkdir(parents=True)
    for name in tuple(reversed(NAMES))[:moved]:
        (tmp_path / name).rename(killed / "replaced" / name)
    if moved == len(NAMES):
        put(tmp_path, "new", NAMES[:published])
    with open_workspace(tmp_path, "guest"):
        assert contents(tmp_path) == {name: f"old {name}" for name in NAMES}
    assert not killed.exists()


def test_a_run_killed_after_publishing_leaves_the_new_results(tmp_path: Path) -> None:
    put(tmp_path, "new")
    killed = tmp_path / ".guest.offline-mig"
    (killed / "replaced").mkdir(parents=True)
    put(killed / "replaced", "old")
    with open_workspace(tmp_path, "guest"):
        pass
    assert contents(tmp_path) == {name: f"new {name}" for name in NAMES}
    assert not killed.exists()


def test_earlier_results_of_other_targets_go_with_their_disks(tmp_path: Path) -> None:
    put(tmp_path, "old")
    names = (*NAMES[:2], "guest.qemu.sh", NAMES[-1])
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new", names)
        workspace.publish(names, (*NAMES[:-1], "guest.qemu.sh", NAMES[-1]), overwrite=True)
    assert contents(tmp_path) == {name: f"new {name}" for name in names}


def test_a_program_can_be_run_by_whoever_may_read_it(tmp_path: Path) -> None:
    with open_workspace(tmp_path, "guest") as workspace:
        workspace.write("guest.qemu.sh", "#!/bin/sh\n", executable=True)
        workspace.write("guest.xml", "<domain/>\n")
        plain = (workspace.folder / "guest.xml").stat().st_mode
        program = (workspace.folder / "guest.qemu.sh").stat().st_mode
    assert not plain & 0o111
    assert program & 0o777 == plain & 0o777 | (plain & 0o444) >> 2


@pytest.mark.parametrize("published", range(len(NAMES)))
def test_results_that_a_killed_run_had_published_in_part_are_taken_back(
    tmp_path: Path, published: int
) -> None:
    killed = tmp_path / ".guest.offline-mig"
    killed.mkdir()
    (killed / "replaced").mkdir()
    (killed / "publishing").write_text(json.dumps(NAMES))
    put(tmp_path, "new", NAMES[:published])
    put(killed, "new", NAMES[published:])
    recover_workspace(tmp_path, "guest")
    assert list(tmp_path.iterdir()) == []


def test_earlier_results_put_back_by_a_run_that_was_killed_in_turn_stay(tmp_path: Path) -> None:
    """The list of what was being published goes before anything is put back."""
    put(tmp_path, "old", NAMES[:2])
    killed = tmp_path / ".guest.offline-mig"
    (killed / "replaced").mkdir(parents=True)
    put(killed, "new", NAMES[2:])
    recover_workspace(tmp_path, "guest")
    assert contents(tmp_path) == {name: f"old {name}" for name in NAMES[:2]}


def test_a_workspace_is_held_alone(tmp_path: Path) -> None:
    with open_workspace(tmp_path, "guest"):
        with pytest.raises(WorkspaceBusyError), open_workspace(tmp_path, "guest"):
            pass
        with open_workspace(tmp_path, "other"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing"
)
def test_a_result_that_a_running_machine_has_open_is_not_replaced(tmp_path: Path) -> None:
    disk, overlay = tmp_path / "guest.qcow2", tmp_path / "snapshot.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*command, disk, "1M"], check=True)
    subprocess.run([*command, "-b", disk, "-F", "qcow2", overlay], check=True)
    for opened in (disk, overlay):
        with (
            running_guest(opened, "qcow2"),
            pytest.raises(OutputRefusedError, match=r"guest.qcow2 is in use") as caught,
        ):
            refuse_existing(tmp_path, [disk.name], (), overwrite=True)
        assert "-o" in caught.value.remedy
    refuse_existing(tmp_path, [disk.name], (), overwrite=True)


def test_what_the_storage_refuses_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new")
        with (
            pytest.raises(OutputRefusedError, match=r"storage with .* failed"),
            workspace.stored_meanwhile(NAMES),
        ):
            pass


def test_an_error_does_not_wait_for_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def wait(_descriptor: int) -> None:
        asked.set()
        answered.wait(30)

    def interrupted(workspace: Workspace) -> None:
        with workspace.stored_meanwhile(NAMES):
            assert asked.wait(30)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", wait)
    with open_workspace(tmp_path, "guest") as workspace:
        put(workspace.folder, "new")
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupted(workspace)
        assert time.monotonic() - began < 15
        answered.set()
