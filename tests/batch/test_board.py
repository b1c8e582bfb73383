"""Which guest is begun next, and how long the rest takes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from offline_mig.batch.board import Board, next_guest
from offline_mig.batch.orders import End, Progressed, Result, worth_repeating
from offline_mig.batch.record import GuestRecord, GuestState

_GIB = 1024**3


def board(*sizes: int) -> Board:
    records = [GuestRecord(str(n), Path(f"/{n}"), size=size) for n, size in enumerate(sizes)]
    return Board({record.name: record for record in records})


def begin(on: Board, name: str) -> None:
    on.record(replace(on.guests[name], state=GuestState.STARTED))


def chosen(on: Board, jobs: int, free: int) -> str | None:
    record = next_guest(on, jobs, free)
    return None if record is None else record.name


def test_in_their_order_as_many_as_are_allowed() -> None:
    guests = board(1, 1, 1)
    for name in ("0", "1"):
        assert chosen(guests, 2, 100) == name
        begin(guests, name)
    assert chosen(guests, 2, 100) is None
    guests.record(replace(guests.guests["0"], state=GuestState.CONVERTED))
    assert chosen(guests, 2, 100) == "2"


def test_a_guest_waits_for_room_and_smaller_ones_go_first() -> None:
    guests = board(50, 60, 40)
    begin(guests, "0")
    assert chosen(guests, 3, 100) == "2"
    assert chosen(guests, 3, 80) is None
    guests.record(replace(guests.guests["0"], state=GuestState.FAILED))
    # Alone it is begun however little room there is, and says itself what it lacks.
    assert chosen(guests, 3, 10) == "1"


def test_nothing_is_begun_once_the_batch_is_to_end() -> None:
    guests = board(1)
    guests.finishing = True
    assert chosen(guests, 1, 100) is None


def test_what_is_worth_another_try() -> None:
    def again(code: int | None, attempts: int = 1, end: End = End.FAILED) -> bool:
        return worth_repeating(Result(end, exit_code=code), attempts)

    assert [code for code in (None, *range(1, 15)) if again(code)] == [None, 1, 9]
    assert not again(9, attempts=2)
    assert not again(None, end=End.ABANDONED)


def test_rate_of_a_copy_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    guests = board(4 * _GIB, 4 * _GIB)
    assert guests.seconds_left() is None
    begin(guests, "0")
    guests.progressed(Progressed("0", "Copying the disks", 0.0))
    now += 2
    guests.progressed(Progressed("0", "Copying the disks", 0.5))
    assert guests.rate("0") == pytest.approx(1 * _GIB)
    # Two of eight, in two seconds.
    assert guests.seconds_left() == pytest.approx(6, rel=0.3)
    guests.progressed(Progressed("gone", "Verifying"))
    assert guests.rate("gone") is None
    now += 2
    guests.record(replace(guests.guests["0"], state=GuestState.CONVERTED, ended=1.0))
    # Half of the work is done, and took four seconds.
    assert guests.seconds_left() == pytest.approx(4, rel=0.01)
