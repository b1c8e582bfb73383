"""What the rows of a preflight add up to, and how long it would take."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_mig.batch.preflight import (
    PUBLISHED_RATES,
    PreflightRow,
    Rates,
    Readiness,
    rates_from,
    recorded_row,
    row_record,
    total,
)
from offline_mig.conversion.space import ALLOWANCE

_GIB = 1024**3


def row(readiness: Readiness, gibibytes: int) -> PreflightRow:
    needed = ALLOWANCE + gibibytes * _GIB
    return PreflightRow("n", Path("/s"), readiness, size=gibibytes * _GIB, needed=needed)


def test_blocked_guests_take_neither_room_nor_time() -> None:
    rows = [row(Readiness.READY, 2), row(Readiness.NOTES, 4), row(Readiness.BLOCKED, 100)]
    totals = total(rows, Rates(1.0, _GIB), 1)
    assert (totals.ready, totals.with_notes, totals.blocked) == (1, 1, 1)
    assert totals.size == 6 * _GIB
    assert totals.needed == 6 * _GIB + 2 * ALLOWANCE
    assert totals.seconds == pytest.approx(8)


def test_several_at_once_take_as_long_as_the_longest_at_least() -> None:
    rows = [row(Readiness.READY, size) for size in (1, 1, 1, 9)]
    rates = Rates(0.0, _GIB)
    assert total(rows, rates, 1).seconds == pytest.approx(12)
    assert total(rows, rates, 2).seconds == pytest.approx(9)
    assert total([], rates, 2).seconds == 0


def test_rates_come_from_what_this_host_did() -> None:
    done = [(size * _GIB, 2.0 + 3.0 * size) for size in (1, 2, 3, 5, 8)]
    rates = rates_from(done)
    assert rates.seconds == pytest.approx(2)
    assert _GIB / rates.throughput == pytest.approx(3)
    assert rates.measured == 5


def test_too_few_conversions_tell_nothing() -> None:
    assert rates_from([(_GIB, 100.0)] * 4) == PUBLISHED_RATES


def test_guests_of_one_size_tell_what_such_a_guest_takes() -> None:
    size = 10 * 1024**2
    rates = rates_from([(size, 4.0), (size, 6.0)] * 5)
    assert rates.seconds + size / rates.throughput == pytest.approx(5)
    # A larger one is not taken to need proportionally more.
    assert rates.throughput == PUBLISHED_RATES.throughput


def test_a_host_faster_than_the_published_one() -> None:
    rates = rates_from([(100 * _GIB, 10.0)] * 5)
    assert rates.seconds + 100 * _GIB / rates.throughput == pytest.approx(10)


def test_a_row_comes_back_as_it_was() -> None:
    before = PreflightRow(
        "n", Path("/s"), Readiness.BLOCKED, "Windows", 1, 2, "why", "what to do", 6, ("a", "b")
    )
    assert recorded_row(row_record(before)) == before
