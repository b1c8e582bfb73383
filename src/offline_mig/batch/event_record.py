"""What happens in a batch as plain data: a line of JSON for each event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from offline_mig.batch.board import Board
from offline_mig.batch.orders import Progressed
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.conversion.plain_data import plain


class ProgressForm(TypedDict):
    """How far a guest is; ``copied`` is the part of its disks, from 0 to 1, and a rate goes by."""

    name: str
    step: str
    copied: float | None
    bytes_per_second: float | None


class StandingForm(TypedDict):
    """Where the whole batch stands; ``seconds_left`` is an estimate."""

    guests: Mapping[GuestState, int]
    seconds_left: float | None


class BatchEventForm(TypedDict):
    """An event. ``guest``, ``progress`` and ``text`` are there for the events that they name.

    ``exit_code`` is there for ``ended``: the command's own.
    """

    schema: Literal["offline-mig/batch-event/1"]
    event: Literal["begun", "guest", "progress", "note", "ended"]
    standing: StandingForm
    guest: GuestRecord | None
    progress: ProgressForm | None
    text: str | None
    exit_code: int | None


def event_record(
    event: Literal["begun", "guest", "progress", "note", "ended"],
    board: Board,
    *,
    guest: GuestRecord | None = None,
    progressed: Progressed | None = None,
    text: str | None = None,
    exit_code: int | None = None,
) -> BatchEventForm:
    """Return an event as plain data."""
    return {
        "schema": "offline-mig/batch-event/1",
        "event": event,
        "standing": {
            "guests": {state: board.count(state) for state in GuestState},
            "seconds_left": board.seconds_left(),
        },
        "guest": plain(guest),
        "progress": None if progressed is None else _progress(board, progressed),
        "text": text,
        "exit_code": exit_code,
    }


def _progress(board: Board, progressed: Progressed) -> ProgressForm:
    return {
        "name": progressed.name,
        "step": progressed.step,
        "copied": progressed.copied,
        "bytes_per_second": board.rate(progressed.name),
    }
