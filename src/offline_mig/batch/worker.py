"""The process that works on one guest; run as a module, with its order as the only argument.

It prints lines of JSON: how far it is, and in the end what became of it. What libraries print goes
to standard error instead: nobody could read it between these. A guest that brings a library down
takes only this process with it. SIGTERM abandons the guest, as Ctrl-C does a conversion.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from offline_mig.batch.earlier_result import earlier_result
from offline_mig.batch.look import look_at
from offline_mig.batch.orders import End, Order, Result, Task, order_of
from offline_mig.batch.preflight import row_record
from offline_mig.conversion.cached import Reused, convert_cached
from offline_mig.conversion.convert import convert
from offline_mig.conversion.engines import choose_engine
from offline_mig.conversion.named_options import named_engine, named_options
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.result_cache import ResultCache
from offline_mig.conversion.workspace import WorkspaceBusyError, recover_workspace
from offline_mig.errors import OfflineMigError
from offline_mig.guest.engine import Engine
from offline_mig.interruption import Terminated, interruptions
from offline_mig.scratch import own_scratch

#: Seconds between two lines about a copy, and between two looks at whether a guest is free.
_PACE, _PATIENCE = 0.5, 1.0


class _Lines:
    """What is told, line by line, through a descriptor that nothing else writes to."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def add(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


class _Teller:
    """Progress as lines of JSON, and as text in the log."""

    def __init__(self, lines: _Lines, log: Path | None) -> None:
        self._lines = lines
        self._log = log
        self._step = ""
        self._copied_at = 0.0

    def step(self, text: str) -> None:
        """A step begins."""
        self._step = text
        self.log(text)
        self._print(text)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.log(f"Note: {text}")

    def copied(self, disk: int, disks: int, percent: float) -> None:
        """So much of disk ``disk`` of ``disks`` (from 1) is copied."""
        if time.monotonic() - self._copied_at > _PACE:
            self._copied_at = time.monotonic()
            self._print(self._step, (disk - 1 + percent / 100) / disks)

    def log(self, text: str) -> None:
        """Add a line to the log."""
        if self._log is None:
            return
        now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        # A full disk fails the conversion by itself, and says so better.
        with suppress(OSError), self._log.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{now} {line}\n" for line in text.splitlines()))

    def _print(self, step: str, copied: float | None = None) -> None:
        self._lines.add({"step": step, "copied": copied})


def _look(order: Order, teller: _Teller) -> dict[str, Any]:
    options = named_options(Path(order.output), order.given)
    engine = choose_engine(named_engine(order.given), options.moment)
    row = look_at(order.name, Path(order.source), order.size, options, engine, teller)
    return row_record(row)


def _convert(order: Order, teller: _Teller) -> dict[str, Any]:
    source = Path(order.source)
    options = named_options(Path(order.output), order.given)
    waiting = False
    while True:
        report = earlier_result(source, options, order.since)
        if report is not None:
            teller.log("The results are in place already, of the same source and options.")
            break
        try:
            engine = choose_engine(named_engine(order.given), options.moment)
            report = _converted(source, options, order, engine, teller)
            break
        except Terminated:
            # It may have arrived in the middle of tidying up, with the results in place.
            recover_workspace(options.output, order.name)
            report = earlier_result(source, options, order.since)
            if report is None:
                raise
            break
        except WorkspaceBusyError:
            # A worker that was taken for dead may be at it yet, and will end one way or another.
            if not waiting:
                waiting = True
                teller.step("Waiting for another run that has this guest")
            time.sleep(_PATIENCE)
    published = list(report["published"])
    disks = published[: len(report["source"]["machine"]["disks"])]
    return {
        "results": published,
        "report": published[-1],
        "engine": report["engine"]["name"],
        "seconds": report["seconds"],
        "notes": report["notes"],
        "written": sum((options.output / name).stat().st_blocks * 512 for name in disks),
    }


def _converted(
    source: Path, options: ConvertOptions, order: Order, engine: Engine, teller: _Teller
) -> dict[str, Any]:
    """Convert the guest or take it from the cache; returns the report."""
    if order.cache is None:
        return cast("dict[str, Any]", convert(source, options, engine, teller).report.record)
    cache = ResultCache(Path(order.cache), order.cache_limit)
    done = convert_cached(source, options, cache, engine, teller)
    if not isinstance(done, Reused):
        return cast("dict[str, Any]", done.report.record)
    teller.log("The results came from the cache.")
    # What the conversion took was another time's.
    notes = [*done.report["notes"], f"The results came from the cache {cache.folder}."]
    return {**done.report, "seconds": {}, "notes": notes}


_TASKS: dict[Task, Callable[[Order, _Teller], dict[str, Any]]] = {
    Task.LOOK: _look,
    Task.CONVERT: _convert,
}


def _carry_out(order: Order, teller: _Teller) -> Result:
    # Before, nothing was begun and it may end the process; after, what became of it is to be told.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptions(), own_scratch():
            return Result(End.DONE, found=_TASKS[order.task](order, teller))
    except Terminated:
        return Result(End.ABANDONED, "It was abandoned; nothing was left half done.", "", None)
    except OfflineMigError as error:
        return Result(End.FAILED, error.message, error.remedy, error.exit_code)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return Result(End.FAILED, f"{name}{error.strerror or error}.", "", 1)


def _main(argument: str) -> None:
    order = order_of(json.loads(argument))
    log = Path(order.log) if order.log else None
    lines = _Lines(os.dup(1))
    teller = _Teller(lines, log)
    if log is not None:
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            # What libraries complain of, and tracebacks, belong to this guest.
            with log.open("ab") as stream:
                os.dup2(stream.fileno(), 2)
        teller.log(f"Begun: {order.source}")
    os.dup2(2, 1)
    result = _carry_out(order, teller)
    for text in (result.message, result.remedy):
        if text:
            teller.log(text)
    teller.log({End.DONE: "Done."}.get(result.end, f"Ended: {result.end.value}."))
    lines.add({"result": asdict(result)})


if __name__ == "__main__":
    _main(*sys.argv[1:])
    # The interpreter looks for garbage before it ends, a tenth of what starting it takes, and all
    # of it is freed by that end.
    gc.freeze()
