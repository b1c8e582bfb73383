"""What a batch knows of the guests that came to nothing, and of the logs of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from offline_mig.batch.journal import read_batch
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.summary.guest_result import GuestResult, State

#: Why there are no results of a guest that the batch has not come to an end with.
_REASONS = {
    GuestState.WAITING: "It was not begun.",
    GuestState.STARTED: "It is being converted, or was cut off with the whole batch.",
    GuestState.ABANDONED: "The batch was told to end before it was through.",
}
_REMEDY = "To go on with what is left: the same 'offline-mig batch' with --resume."


def with_batch(results: Sequence[GuestResult], folder: Path) -> tuple[GuestResult, ...]:
    """Return ``results`` with what the batch in ``folder`` knows; as they are if there is none.

    Raises SourceUnreadableError for a journal that is none.
    """
    batch = read_batch(folder)
    if batch is None:
        return tuple(results)
    guests = {guest.report or f"{guest.name}.report.json": guest for guest in batch.guests}
    known = (_with_batch(result, guests.get(result.report)) for result in results)
    return (*known, *_others(batch.guests, {result.report for result in results}))


def _with_batch(result: GuestResult, guest: GuestRecord | None) -> GuestResult:
    if guest is None:
        return result
    if guest.state is GuestState.CONVERTED:
        # Of results that came from a cache, the report tells what another conversion took.
        seconds = result.seconds if guest.seconds else {}
        notes = tuple(dict.fromkeys((*result.notes, *guest.notes)))
        return replace(result, log=guest.log or "", seconds=seconds, notes=notes)
    if guest.state is GuestState.FAILED:
        note = f"These results are not the batch's, which ended with: {guest.message}"
        return replace(result, log=guest.log or "", notes=(*result.notes, note))
    return result


def _others(guests: Sequence[GuestRecord], reports: set[str]) -> Iterator[GuestResult]:
    for guest in guests:
        if guest.state is GuestState.CONVERTED:
            if guest.report not in reports:
                yield _without_results(
                    guest, "It was converted, and its report is not there any more.", ""
                )
        # Of one that has a report that tells: it was cut off before the line on its end, or the
        # results of an earlier conversion were in its way.
        elif f"{guest.name}.report.json" in reports:
            continue
        elif guest.state is GuestState.FAILED:
            yield _without_results(guest, guest.message, guest.remedy)
        else:
            yield _without_results(guest, _REASONS[guest.state], _REMEDY)


def _without_results(guest: GuestRecord, reason: str, remedy: str) -> GuestResult:
    state = {GuestState.FAILED: State.FAILED, GuestState.CONVERTED: State.UNREADABLE}
    return GuestResult(
        name=guest.name,
        state=state.get(guest.state, State.UNFINISHED),
        source=str(guest.source),
        log=guest.log or "",
        exit_code=guest.exit_code,
        reason=reason,
        remedy=remedy,
        seconds=guest.seconds,
        source_bytes=guest.size or None,
        notes=guest.notes,
    )
