"""Carrying a batch out: guests begun as there is room, ends written down, the rest told."""

from __future__ import annotations

import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from offline_mig.batch.board import Board, next_guest
from offline_mig.batch.crew import Crew
from offline_mig.batch.host_memory import HostMemory
from offline_mig.batch.journal import Journal, open_journal
from offline_mig.batch.orders import (
    End,
    Order,
    Progressed,
    Result,
    Task,
    log_path,
    worth_repeating,
)
from offline_mig.batch.plan_guests import GuestWork, unread_text
from offline_mig.batch.record import GuestRecord, GuestState
from offline_mig.batch.resuming import resumed
from offline_mig.conversion.result_cache import ResultCache
from offline_mig.conversion.workspace import absolute_output, output_refused
from offline_mig.errors import OutputRefusedError

#: Seconds between two redrawings while nothing happens.
_PACE = 0.25


class Watcher(Protocol):
    """Whoever wants to see a batch go on."""

    def begun(self, board: Board, *, jobs: int) -> None:
        """The batch begins."""

    def changed(self, board: Board, record: GuestRecord) -> None:
        """A guest was begun or ended."""

    def progressed(self, board: Board, progressed: Progressed) -> None:
        """A guest goes on."""

    def tick(self, board: Board) -> None:
        """Some time has passed."""

    def say(self, board: Board, text: str) -> None:
        """Something that the user should know of the batch."""


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """What became of the guests of a batch, and whether it was told to end before its time.

    ``unread`` are folders that could not be searched: there may be more guests in them.
    """

    board: Board
    interrupted: bool = False
    unread: tuple[Path, ...] = ()

    @property
    def guests(self) -> tuple[GuestRecord, ...]:
        """All guests, in their order."""
        return tuple(self.board.guests.values())

    @property
    def left(self) -> int:
        """How many guests are not converted."""
        return len(self.board.guests) - self.board.count(GuestState.CONVERTED)


@dataclass(frozen=True, slots=True)
class _Ended:
    name: str
    future: Future[Result]


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """Somebody wants the batch to end; ``at_once`` says how."""

    at_once: bool


_Message = Progressed | _Ended | _Interrupted


def run_batch(
    guests: Sequence[GuestWork],
    output: Path,
    crew: Crew,
    watcher: Watcher,
    memory: HostMemory,
    *,
    resume: bool,
    unread: Sequence[Path] = (),
    cache: ResultCache | None = None,
) -> BatchEnd:
    """Convert guests into ``output``; returns what became of them.

    With ``resume`` what is through stays as it is, and so do guests that were refused, as long as
    source, options and drivers are as they were. Without it there must be no batch yet. SIGINT has
    the guests at work finished and no other begun; a second one, and SIGTERM, has them abandoned.
    ``unread`` are folders that could not be searched for guests, which is told. Results are kept in
    ``cache``, and taken from there.

    Raises OutputRefusedError when the journal cannot be begun.
    """
    output = absolute_output(output)
    with open_journal(output) as journal:
        if journal.before is not None and not resume:
            raise OutputRefusedError(
                f"{output} has a batch of {len(journal.before.guests)} guests already.",
                "Give --resume to go on with it, or choose another folder with -o.",
            )
        records = resumed(guests, journal.before)
        try:
            began = journal.begin() if journal.before is None else journal.before.began
            journal.add(*records)
        except OSError as error:
            raise output_refused(error, output) from error
        board = Board({record.name: record for record in records})
        run = _Run(guests, output, crew, watcher, memory, journal, board, began, cache)
        run.to_its_end(unread)
    return BatchEnd(board, interrupted=board.finishing, unread=tuple(unread))


class _Run:
    """One run of a batch. All that happens comes through one queue, to one thread."""

    def __init__(
        self,
        guests: Sequence[GuestWork],
        output: Path,
        crew: Crew,
        watcher: Watcher,
        memory: HostMemory,
        journal: Journal,
        board: Board,
        began: float,
        cache: ResultCache | None,
    ) -> None:
        self._work = {guest.name: guest for guest in guests}
        self._output = output
        self._crew = crew
        self._watcher = watcher
        self._memory = memory
        self._journal = journal
        self._board = board
        self._began = began
        self._cache = cache
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._unwritten: list[GuestRecord] = []

    def to_its_end(self, unread: Sequence[Path]) -> None:
        board = self._board
        self._watcher.begun(board, jobs=self._crew.size)
        for folder in unread:
            self._watcher.say(board, unread_text(folder))
        with _signals(self._messages.put):
            while True:
                self._begin_guests()
                if not board.running:
                    break
                try:
                    self._hear(self._messages.get(timeout=_PACE))
                    while True:
                        self._hear(self._messages.get_nowait())
                except queue.Empty:
                    self._watcher.tick(board)
        self._write_down()
        if self._unwritten:
            self._watcher.say(
                board,
                f"The last lines of the journal could not be written: the disk with "
                f"{self._output} is full. Free some space; --resume finds what is done all the "
                "same.",
            )

    def _begin_guests(self) -> None:
        free = shutil.disk_usage(self._output).free
        while (record := next_guest(self._board, self._crew.size, free)) is not None:
            log = log_path(self._output, record.name)
            started = replace(
                record,
                state=GuestState.STARTED,
                attempts=record.attempts + 1,
                started=time.time(),
                # Not what an earlier attempt came to.
                exit_code=None,
                message="",
                remedy="",
                log=str(log.relative_to(self._output)),
            )
            self._note(started)
            work = self._work[record.name]
            order = Order(
                Task.CONVERT,
                record.name,
                str(record.source),
                work.given,
                str(self._output),
                record.size,
                str(log),
                self._began,
                None if self._cache is None else str(self._cache.folder),
                0 if self._cache is None else self._cache.limit,
            )
            future = self._crew.submit(order, self._messages.put)
            future.add_done_callback(self._ended(record.name))

    def _ended(self, name: str) -> Callable[[Future[Result]], None]:
        return lambda future: self._messages.put(_Ended(name, future))

    def _hear(self, message: _Message) -> None:
        if isinstance(message, Progressed):
            self._board.progressed(message)
            self._watcher.progressed(self._board, message)
        elif isinstance(message, _Ended):
            self._end(message)
        else:
            self._interrupted(message)

    def _interrupted(self, message: _Interrupted) -> None:
        if message.at_once or self._board.finishing:
            self._watcher.say(self._board, "Abandoning the guests at work.")
            self._crew.abandon()
        else:
            count = len(self._board.running)
            what = f"Finishing the guests at work, {count}; interrupt once more to abandon them."
            self._watcher.say(self._board, what if count else "No guest is at work: ending.")
        self._board.finishing = True

    def _end(self, ended: _Ended) -> None:
        record = self._board.guests[ended.name]
        result = _result(ended.future)
        found: Mapping[str, Any] = result.found
        now = replace(
            record, ended=time.time(), exit_code=result.exit_code, message=result.message,
            remedy=result.remedy, state=_STATES[result.end],
        )  # fmt: skip
        if result.end is End.DONE:
            now = replace(
                now,
                seconds=found["seconds"],
                written=found["written"],
                results=tuple(found["results"]),
                report=found["report"],
                notes=tuple(found["notes"]),
            )
            spent = sum(found["seconds"].values())
            # A reproducible report tells of no times.
            if spent > 0:
                self._memory.converted(found["engine"], found["written"], spent)
        elif worth_repeating(result, record.attempts) and not self._board.finishing:
            now = replace(now, state=GuestState.WAITING, ended=None)
        self._note(now)

    def _note(self, record: GuestRecord) -> None:
        self._board.record(record)
        self._unwritten.append(record)
        self._write_down()
        self._watcher.changed(self._board, record)

    def _write_down(self) -> None:
        try:
            self._journal.add(*self._unwritten)
            self._unwritten.clear()
        except OSError:
            # The disk is full. What is done is done; the line comes with the next.
            pass


_STATES = {
    End.DONE: GuestState.CONVERTED,
    End.FAILED: GuestState.FAILED,
    End.ABANDONED: GuestState.ABANDONED,
}


def _result(future: Future[Result]) -> Result:
    if future.cancelled():
        # Nobody here does that: it is how Dask says that the scheduler does not answer any more.
        message = "The worker that has it was lost from sight, and may finish it."
        return Result(End.ABANDONED, message, "", None)
    error = future.exception()
    if error is not None:
        # A worker of a cluster that died, and others after it on the same guest.
        return Result(End.FAILED, f"{type(error).__name__}: {error}", "", None)
    return future.result()


@contextmanager
def _signals(tell: Callable[[_Message], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM told instead of cutting into whatever is being done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, _frame: FrameType | None) -> None:
        tell(_Interrupted(at_once=number == signal.SIGTERM))

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
