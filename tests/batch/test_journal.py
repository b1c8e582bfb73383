"""The journal of a batch: what was written is there, whatever was cut off after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from offline_mig.batch.journal import journal_path, open_journal, read_batch
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.errors import OutputRefusedError, SourceUnreadableError

WAITING = GuestRecord("one", Path("/exports/o\udcff\nne.vmx"), size=7, fingerprint="abc")
DONE = replace(
    WAITING,
    state=GuestState.CONVERTED,
    attempts=2,
    exit_code=0,
    started=1.5,
    ended=2.5,
    seconds={"copy": 0.5},
    results=("one.qcow2", "one.report.json"),
    report="one.report.json",
    log="batch/one.log",
    notes=("a note",),
)
OTHER = GuestRecord("two", Path("/exports/two.vmx"))


def written(output: Path, *records: GuestRecord) -> bytes:
    with open_journal(output) as journal:
        if journal.before is None:
            journal.begin()
        journal.add(*records)
    return journal_path(output).read_bytes()


def test_the_last_line_of_a_guest_counts(tmp_path: Path) -> None:
    written(tmp_path, WAITING, OTHER)
    written(tmp_path, DONE)
    batch = read_batch(tmp_path)
    assert batch is not None
    assert batch.guests == (DONE, OTHER)
    assert batch.count(GuestState.CONVERTED) == 1


def test_cut_off_anywhere_it_loses_no_more_than_the_last_line(tmp_path: Path) -> None:
    before = len(written(tmp_path, WAITING))
    data = written(tmp_path, DONE)
    for end in range(before, len(data)):
        journal_path(tmp_path).write_bytes(data[:end])
        batch = read_batch(tmp_path)
        assert batch is not None
        assert batch.guests == (WAITING,)
    # What is written next does not become a part of it.
    written(tmp_path, OTHER)
    batch = read_batch(tmp_path)
    assert batch is not None
    assert batch.guests == (WAITING, OTHER)


def test_one_that_was_cut_off_in_its_first_line_is_none(tmp_path: Path) -> None:
    data = written(tmp_path)
    journal_path(tmp_path).write_bytes(data[:-1])
    assert read_batch(tmp_path) is None
    with open_journal(tmp_path) as journal:
        assert journal.before is None


def test_no_batch(tmp_path: Path) -> None:
    assert read_batch(tmp_path) is None


def test_only_one_batch_writes_it(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path),
        pytest.raises(OutputRefusedError, match="Another batch is at work"),
        open_journal(tmp_path),
    ):
        pass


@pytest.mark.parametrize("content", ["{}\n", "no JSON\n", '{"schema": "other", "version": "1"}\n'])
def test_another_file_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    journal_path(tmp_path).parent.mkdir()
    journal_path(tmp_path).write_text(content)
    with pytest.raises(SourceUnreadableError, match="not the journal of a batch"):
        read_batch(tmp_path)
    assert journal_path(tmp_path).read_text() == content
