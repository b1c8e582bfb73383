"""What is left to do of a batch, and what is not touched again."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from offline_mig.batch.discovery import FoundMachine
from offline_mig.batch.journal import open_journal
from offline_mig.batch.plan_guests import GuestWork, guests_of, plan_at
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


@pytest.mark.parametrize("code", [2, 5, 6, 7])
def test_a_refused_guest_waits_for_something_to_change(code: int) -> None:
    refused = replace(KNOWN, state=GuestState.FAILED, exit_code=code)
    assert left(refused) is refused
    again = left(refused, replace(WORK, fingerprint="changed"))
    assert (again.state, again.attempts, again.exit_code) == (GuestState.WAITING, 0, None)
    assert again.log == "batch/a.log"


@pytest.mark.parametrize("code", [None, 1, 3, 4, 8, 9, 10])
def test_what_the_host_failed_at_is_done_again(code: int | None) -> None:
    failed = replace(KNOWN, state=GuestState.FAILED, exit_code=code)
    assert left(failed).state is GuestState.WAITING


@pytest.mark.parametrize("state", [GuestState.STARTED, GuestState.ABANDONED, GuestState.WAITING])
def test_what_came_to_no_end_is_done_again(state: GuestState) -> None:
    assert left(replace(KNOWN, state=state)).state is GuestState.WAITING


def test_a_name_that_now_stands_for_another_machine_is_a_new_guest() -> None:
    done = replace(KNOWN, source=Path("/exports/other.vmx"), state=GuestState.CONVERTED)
    assert left(done).state is GuestState.WAITING


def test_a_converted_guest_keeps_its_name_when_others_of_that_name_are_added(
    tmp_path: Path,
) -> None:
    for folder in ("b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "box.vmx").write_text('displayName = "box"\n')
    first = {guest.source: guest for guest in guests_of(plan_at(tmp_path, None), {})}
    assert [guest.name for guest in first.values()] == ["box", "box-2"]
    done = GuestRecord("box-2", tmp_path / "c/box.vmx", GuestState.CONVERTED)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "box.vmx").write_text('displayName = "box"\n')
    guests = guests_of(plan_at(tmp_path, None), {}, BatchRecord(tmp_path, "1", (done,)))
    names = {guest.source.parent.name: guest.name for guest in guests}
    assert names == {"a": "box", "b": "box-2-2", "c": "box-2"}


def test_a_guest_that_failed_keeps_its_name_when_others_of_that_name_are_added(
    tmp_path: Path,
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "box.vmx").write_text('displayName = "box"\n')
    failed = GuestRecord("box", tmp_path / "b/box.vmx", GuestState.FAILED, exit_code=9)
    guests = guests_of(plan_at(tmp_path, None), {}, BatchRecord(tmp_path, "1", (failed,)))
    names = {guest.source.parent.name: guest.name for guest in guests}
    assert names == {"a": "box-2", "b": "box"}


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else is converted, and yet the batch is not whole."""
    place, output, plan = tmp_path / "in", tmp_path / "out", tmp_path / "plan.toml"
    (place / "closed").mkdir(parents=True)
    (place / "a.vmx").write_text('displayName = "a"\n')
    scandir = os.scandir

    def closed(path: str | int) -> object:
        # Root, who may run this, reads everything.
        if str(path).endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with open_journal(output) as journal:
        journal.begin()
        journal.add(GuestRecord("a", place / "a.vmx", GuestState.CONVERTED, exit_code=0))
    run = CliRunner().invoke(main, ["batch", str(place), "-o", str(output), "--resume"])
    assert run.exit_code == 13, run.output
    assert f"The folder {place / 'closed'} cannot be read" in run.output
    run = CliRunner().invoke(main, ["batch", str(place), "--write-plan", str(plan)])
    assert run.exit_code == 0, run.output
    assert f"# The folder {place / 'closed'} cannot be read" in plan.read_text()


def test_a_name_in_a_plan_is_not_given_to_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.vmx").write_text('displayName = "box"\n')
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'version = 1\n[[guest]]\nsource = "one.vmx"\n'
        '[[guest]]\nsource = "two.vmx"\nname = "Box"\ntrim = false\n'
    )
    guests = guests_of(plan_at(plan, None), {"trim": True, "checksum": True})
    assert [guest.name for guest in guests] == ["box-2", "Box"]
    # What a guest says of itself goes before the command line.
    assert [guest.given["trim"] for guest in guests] == [True, False]
    assert [guest.given["checksum"] for guest in guests] == [True, True]


def test_a_guest_is_another_once_any_file_of_it_has_changed(tmp_path: Path) -> None:
    """Also a domain and disks that its options name, and the files of a whole folder."""
    for name in ("box/a.raw", "box/b.raw", "outside/c.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"data" * 1024 * 1024 * 5)
    (tmp_path / "box.xml").write_text("<domain/>")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'version = 1\n[[guest]]\nsource = "box"\nxml = "box.xml"\nallow-outside = ["outside"]\n'
    )

    def look() -> GuestWork:
        (guest,) = guests_of(plan_at(plan, None), {})
        return guest

    seen = [look().fingerprint]
    assert look().size >= 40 * 1024 * 1024
    assert look().fingerprint == seen[0]
    for name in ("box.xml", "box/a.raw", "box/b.raw", "outside/c.raw"):
        with (tmp_path / name).open("ab") as stream:
            stream.write(b"more")
        seen.append(look().fingerprint)
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("command", ["batch", "preflight"])
def test_a_folder_without_machines(command: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(main, [command, str(tmp_path), "-o", str(tmp_path / "out")])
    assert run.exit_code == 4
    assert "No machine was found" in run.output
    assert not (tmp_path / "out").exists()
