"""What is left to do of a batch, and what is not touched again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from offline_mig.batch.discovery import FoundMachine
from offline_mig.batch.plan_guests import GuestWork
from offline_mig.batch.record import BatchRecord, GuestRecord, GuestState
from offline_mig.batch.resuming import resumed
from offline_mig.cli import main

SOURCE = Path("/exports/a.vmx")
WORK = GuestWork("a", FoundMachine(SOURCE, "a", (SOURCE,)), {}, 7, "as it is")
KNOWN = GuestRecord("a", SOURCE, attempts=1, fingerprint="as it is", log="batch/a.log")


def left(known: GuestRecord, work: GuestWork = WORK) -> GuestRecord:
    (record,) = resumed([work], BatchRecord(Path("/out"), "1", (known,)))
    return record


def test_without_a_batch_everything_is_to_be_done() -> None:
    (record,) = resumed([WORK], None)
    assert record == GuestRecord("a", SOURCE, size=7, fingerprint="as it is")


def test_a_converted_guest_stays_whatever_changes() -> None:
    done = replace(KNOWN, state=GuestState.CONVERTED, exit_code=0)
    assert left(done) is done
    assert left(done, replace(WORK, fingerprint="changed")) is done


@pytest.mark.parametrize("code", [4, 5, 6, 7])
def test_a_refused_guest_waits_for_something_to_change(code: int) -> None:
    refused = replace(KNOWN, state=GuestState.FAILED, exit_code=code)
    assert left(refused) is refused
    again = left(refused, replace(WORK, fingerprint="changed"))
    assert (again.state, again.attempts, again.exit_code) == (GuestState.WAITING, 0, None)
    assert again.log == "batch/a.log"


@pytest.mark.parametrize("code", [None, 1, 3, 8, 9, 10])
def test_what_the_host_failed_at_is_done_again(code: int | None) -> None:
    failed = replace(KNOWN, state=GuestState.FAILED, exit_code=code)
    assert left(failed).state is GuestState.WAITING


@pytest.mark.parametrize("state", [GuestState.STARTED, GuestState.ABANDONED, GuestState.WAITING])
def test_what_came_to_no_end_is_done_again(state: GuestState) -> None:
    assert left(replace(KNOWN, state=state)).state is GuestState.WAITING


def test_a_name_that_now_stands_for_another_machine_is_a_new_guest() -> None:
    done = replace(KNOWN, source=Path("/exports/other.vmx"), state=GuestState.CONVERTED)
    assert left(done).state is GuestState.WAITING


@pytest.mark.parametrize("command", ["batch", "preflight"])
def test_a_folder_without_machines(command: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(main, [command, str(tmp_path), "-o", str(tmp_path / "out")])
    assert run.exit_code == 4
    assert "No machine was found" in run.output
    assert not (tmp_path / "out").exists()
