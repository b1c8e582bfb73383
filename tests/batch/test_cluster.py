"""Batches on a real Dask cluster of this host: a scheduler and workers, one of which dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, offline_mig
from fixtures.interruption import descendants, require_nothing_runs
from offline_mig.batch.cluster import cluster_crew
from offline_mig.batch.journal import read_batch
from offline_mig.batch.record import GuestState

pytestmark = pytest.mark.conversion


@contextmanager
def running(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.txt").open("wb") as log:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name.split('-')[0]}", *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler that has no workers yet."""
    told = tmp_path / "scheduler.json"
    options = ("--scheduler-file", str(told), "--host", "127.0.0.1", "--port", "0")
    with running(tmp_path, "scheduler", *options, "--no-dashboard"):
        deadline = time.monotonic() + 60
        while not (told.exists() and told.read_text().rstrip().endswith("}")):
            assert time.monotonic() < deadline, (tmp_path / "scheduler.txt").read_text()
            time.sleep(0.1)
        yield json.loads(told.read_text())["address"]


def worker(
    folder: Path, scheduler: str, name: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    options = (scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    return running(folder, f"worker-{name}", *options, "--name", name)


def command(exports: Path, drivers: Path, output: Path, scheduler: str) -> list[str | Path]:
    return [
        "batch", exports, "--drivers", drivers, "-o", output, "--allow-unsigned",
        "--engine", "userspace", "--scheduler", scheduler,
    ]  # fmt: skip


def wait_for_workers(folder: Path, *names: str) -> None:
    deadline = time.monotonic() + 60
    for name in names:
        while "Registered to" not in (folder / f"worker-{name}.txt").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)


def works_on(process: subprocess.Popen[bytes], guest: str) -> bool:
    """Tell whether a worker has a process that works on a guest."""
    for pid in descendants(process.pid):
        with suppress(OSError):
            if f'"name": "{guest}"' in Path(f"/proc/{pid}/cmdline").read_text():
                return True
    return False


def test_a_worker_that_dies_has_its_guest_done_elsewhere(
    exports: Callable[[int], Path], drivers_dir: Path, scheduler: str, tmp_path: Path
) -> None:
    folder, output = exports(6), tmp_path / "out"
    with worker(tmp_path, scheduler, "a") as doomed, worker(tmp_path, scheduler, "b"):
        wait_for_workers(tmp_path, "a", "b")
        process = subprocess.Popen(
            [*COMMAND, *command(folder, drivers_dir, output, scheduler), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            progress = json.loads(line)["progress"] or {}
            if progress.get("step") == "Planning" and works_on(doomed, progress["name"]):
                doomed.send_signal(signal.SIGKILL)
                doomed.wait()
        _, errors = process.communicate(timeout=180)
        require_nothing_runs(tmp_path)
    assert process.returncode == 0, errors
    batch = read_batch(output)
    assert batch is not None
    assert doomed.returncode == -signal.SIGKILL
    assert batch.count(GuestState.CONVERTED) == 6
    names = {guest.name for guest in batch.guests}
    results = {name for guest in batch.guests for name in guest.results}
    assert {path.name for path in output.iterdir()} == results | {"batch"}
    # It was begun once more than there are guests, and ended once for each.
    logs = [(output / "batch" / f"{name}.log").read_text() for name in names]
    assert sum(log.count("Begun: ") for log in logs) == 7
    assert [log.count("Done.") for log in logs] == [1] * 6
    for disk in output.glob("*.qcow2"):
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", disk], check=True)


def test_interrupted_twice_the_workers_give_up_as_well(
    exports: Callable[[int], Path], drivers_dir: Path, scheduler: str, tmp_path: Path
) -> None:
    folder, output = exports(4), tmp_path / "out"
    with worker(tmp_path, scheduler, "a"):
        wait_for_workers(tmp_path, "a")
        process = subprocess.Popen(
            [*COMMAND, *command(folder, drivers_dir, output, scheduler), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        for line in process.stdout:
            if (json.loads(line)["progress"] or {}).get("step") == "Planning":
                os.kill(process.pid, signal.SIGINT)
                time.sleep(0.2)
                os.kill(process.pid, signal.SIGINT)
                break
        process.communicate(timeout=120)
        require_nothing_runs(tmp_path)
    assert process.returncode == 130
    batch = read_batch(output)
    assert batch is not None
    assert batch.count(GuestState.STARTED) == 0
    assert [path.name for path in output.iterdir()] == ["batch"]


def test_a_worker_that_is_to_have_fewer_guests_than_threads(scheduler: str, tmp_path: Path) -> None:
    options = ("--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--nthreads")
    with (
        running(tmp_path, "worker-a", scheduler, *options, "4", "--resources", "guest=2"),
        running(tmp_path, "worker-b", scheduler, *options, "4"),
    ):
        wait_for_workers(tmp_path, "a", "b")
        with cluster_crew(scheduler, None, tmp_path / "out") as crew:
            assert crew.size == 2


def test_what_keeps_a_cluster_from_working_is_said(
    drivers_dir: Path, scheduler: str, tmp_path: Path
) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "disk.vmdk").write_bytes(b"KDMV")
    run = offline_mig(*command(exports, drivers_dir, tmp_path / "out", scheduler))
    assert run.returncode == 3
    assert "has no workers" in run.stderr
    run = offline_mig(*command(exports, drivers_dir, tmp_path / "out", "tcp://127.0.0.1:1"))
    assert run.returncode == 3
    assert "does not answer" in run.stderr
    assert "Traceback" not in run.stderr
