"""Preflights: verdicts that are remembered as long as they hold, and thousands of machines."""

from __future__ import annotations

import json
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fixtures.conversion_run import offline_mig
from offline_mig.batch.host_memory import open_memory
from offline_mig.batch.orders import Order, Result, Tell
from offline_mig.batch.plan_guests import GuestWork, guests_of, plan_at
from offline_mig.batch.preflight import PUBLISHED_RATES, PreflightRow, Rates, Readiness, total
from offline_mig.batch.preflight_run import preflight_engine, quickly, run_preflight
from offline_mig.batch.record import BatchRecord, GuestRecord, GuestState
from offline_mig.cli import main


def preflight(exports: Path, drivers: Path) -> list[dict[str, Any]]:
    """Run it; returns what it says of the machines."""
    options = ("--allow-unsigned", "--engine", "userspace", "--json")
    run = offline_mig("preflight", exports, "--drivers", drivers, *options)
    assert run.returncode in (0, 13), run.stderr
    machines: list[dict[str, Any]] = json.loads(run.stdout)["machines"]
    return machines


@pytest.mark.conversion
def test_a_verdict_is_remembered_until_something_changes(
    exports: Callable[[int], Path],
    drivers_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = exports(2)
    drivers = shutil.copytree(drivers_dir, tmp_path / "drivers")
    first = preflight(folder, drivers)
    assert [row["readiness"] for row in first] == ["ready with notes"] * 2

    # Nothing can be looked at anew without the programs that open images.
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nothing")
    assert preflight(folder, drivers) == first
    (folder / "xp-01" / "xp-01.vmx").touch()
    second = preflight(folder, drivers)
    assert second[0] == first[0]
    assert second[1]["exit_code"] == 3
    # Of the host and not of the machine, that is forgotten; without a driver nothing goes.
    monkeypatch.setenv("PATH", path)
    assert preflight(folder, drivers) == first
    for driver in drivers.rglob("viostor.sys"):
        driver.unlink()
    assert [row["exit_code"] for row in preflight(folder, drivers)] == [7, 7]


@pytest.mark.conversion
def test_a_machine_that_runs_meanwhile_is_told(
    exports: Callable[[int], Path], drivers_dir: Path
) -> None:
    folder = exports(1)
    assert preflight(folder, drivers_dir)[0]["readiness"] == "ready with notes"
    (folder / "xp-00" / "xp-00.vmdk.lck").mkdir()
    assert preflight(folder, drivers_dir)[0]["readiness"] == "ready with notes"
    (folder / "xp-00" / "xp-00.vmdk.lck" / "M1.lck").touch()
    assert "in use by a running machine" in preflight(folder, drivers_dir)[0]["message"]


def test_a_memory_that_is_damaged_is_done_without(cache: Path) -> None:
    database = cache / "offline-mig" / "batch.sqlite"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database " * 1000)
    row = PreflightRow("n", Path("/s"), Readiness.READY)
    with open_memory() as memory:
        assert memory.verdict("x") is None
    with open_memory() as memory:
        memory.keep("x", row)
    with open_memory() as memory:
        assert memory.verdict("x") == row
        assert memory.verdict("y") is None


def test_a_host_without_a_cache_folder(cache: Path) -> None:
    cache.write_text("in the way")
    with open_memory() as memory:
        memory.keep("x", PreflightRow("n", Path("/s"), Readiness.READY))
        assert memory.verdict("x") is not None


def test_a_memory_that_is_damaged_meanwhile_knows_nothing(cache: Path) -> None:
    with open_memory() as memory:
        memory.keep("x", PreflightRow("n", Path("/s"), Readiness.READY))
        database = cache / "offline-mig" / "batch.sqlite"
        os.truncate(database, 4096)
        assert memory.verdict("x") is None
        assert memory.rates("userspace") == PUBLISHED_RATES


class NobodyCrew:
    """A crew that must not be asked."""

    size = 1

    def submit(self, order: Order, tell: Tell) -> Future[Result]:
        pytest.fail(f"{order.name} was looked at again")

    def abandon(self) -> None:
        pass


def test_what_is_in_the_way_of_the_results_is_told(tmp_path: Path) -> None:
    """Every time, though all else is remembered; but not of guests that are converted already."""
    place, output = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    output.mkdir()
    (place / "box.vmx").write_text('displayName = "box"\n')
    (guest,) = guests_of(plan_at(place, output), {})
    done = GuestRecord("box", guest.source, GuestState.CONVERTED)
    with open_memory() as memory:
        memory.keep(guest.fingerprint, PreflightRow("box", guest.source, Readiness.READY))

        def look(
            guest: GuestWork, output: Path | None, *before: GuestRecord
        ) -> tuple[Readiness, int]:
            batch = BatchRecord(tmp_path, "1", before)
            (row,) = run_preflight([guest], output, NobodyCrew(), memory, lambda _: None, batch)
            return row.readiness, row.exit_code

        assert look(guest, output) == (Readiness.READY, 0)
        for name in ("box.qcow2", "box-disk1.qcow2", "box.report.json"):
            (output / name).touch()
            assert look(guest, output) == (Readiness.BLOCKED, 8)
            assert look(guest, None) == (Readiness.READY, 0)
            (output / name).unlink()
        (output / "box.xml").touch()
        assert look(guest, output, replace(done, state=GuestState.FAILED))[1] == 8
        assert look(guest, output, done)[1] == 0
        assert look(replace(guest, given={"overwrite": True}), output)[1] == 0


def test_an_engine_that_a_plan_names_is_the_one_that_looks(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('version = 1\n[options]\nengine = "guestfs"\n[[guest]]\nsource = "a.vmx"\n')
    scope = plan_at(plan, None)
    (guest,) = guests_of(scope, quickly(scope, {}))
    assert guest.given["engine"] == "guestfs"
    assert quickly(scope, {"engine": "auto"}) == {"engine": "auto"}
    plan.write_text('version = 1\n[[guest]]\nsource = "a.vmx"\n')
    assert quickly(plan_at(plan, None), {}) == {"engine": preflight_engine().value}


def test_two_thousand_machines_from_recorded_facts(tmp_path: Path, cache: Path) -> None:
    """Facts as recorded of one machine, for machines that are there: found, judged and shown."""
    count = 2000
    exports = tmp_path / "exports"
    disk = tmp_path / "disk.vmdk"
    disk.write_bytes(b"KDMV" + bytes(64 * 1024))
    for number in range(count):
        folder = exports / f"rack-{number % 20:02}" / f"vm-{number:04}"
        folder.mkdir(parents=True)
        os.link(disk, folder / "disk.vmdk")
        (folder / "vm.vmx").write_text(
            f'displayName = "vm-{number:04}"\nscsi0.present = "TRUE"\n'
            'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "disk.vmdk"\n'
        )
    recorded = PreflightRow(
        "", Path(), Readiness.NOTES, "Windows 10 Pro (amd64, build 19045)", 3 << 30, 5 << 30,
        notes=("a note", "another note"),
    )  # fmt: skip

    tracemalloc.start()
    began = time.process_time()
    scope = plan_at(exports, None)
    guests = guests_of(scope, {"engine": preflight_engine().value})
    assert len({guest.name for guest in guests}) == count
    with open_memory() as memory:
        for number, guest in enumerate(guests):
            blocked = number % 10 == 0
            row = replace(recorded, name=guest.name, source=guest.source)
            if blocked:
                row = replace(
                    row, readiness=Readiness.BLOCKED, message="hibernated", exit_code=6, notes=()
                )
            memory.keep(guest.fingerprint, row)
    with open_memory() as memory:
        rows = run_preflight(guests, tmp_path, NobodyCrew(), memory, lambda _: None)
    totals = total(rows, Rates(1.0, 1 << 30), 4)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (totals.ready, totals.with_notes, totals.blocked) == (0, 1800, 200)
    assert totals.needed == 1800 * (5 << 30)
    # A few KiB a machine, most of it its row.
    assert most < count * 20_000
    shown = CliRunner().invoke(main, ["preflight", str(exports)])
    assert shown.exit_code == 13, shown.output
    assert "2000 machines: 0 ready, 1800 ready with notes, 200 blocked." in shown.output
    assert len(shown.output.splitlines()) > count
    # Of processor time, so that a busy host does not count.
    assert time.process_time() - began < 30
