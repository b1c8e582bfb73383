"""The fewest and smallest inputs that still reach all lines of the readers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import offline_mig

_SOURCE = str(Path(offline_mig.__file__).parent)
#: Bytes of an input that are taken away together where it has no lines: a change of ``iso``.
_GROUP = 4

Reached = frozenset[tuple[str, int]]


def minimised(run: Callable[[bytes], None], inputs: Iterable[bytes], *, text: bool) -> list[bytes]:
    """Return inputs that reach together whatever ``inputs`` do, each made smaller.

    ``text`` tells that they consist of lines.
    """
    covered: set[tuple[str, int]] = set()
    chosen: list[bytes] = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        new = reached(run, data) - covered
        if new:
            small = _smaller(run, data, frozenset(new), text=text)
            covered |= reached(run, small)
            chosen.append(small)
    return chosen


def reached(run: Callable[[bytes], None], data: bytes) -> Reached:
    """Return the lines of this program that reading ``data`` gets to."""
    found: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_SOURCE):
            return None
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return frozenset(found)


def _smaller(run: Callable[[bytes], None], data: bytes, needed: Reached, *, text: bool) -> bytes:
    """Take away as many pieces as can be spared, large runs of them first."""
    pieces = (
        data.splitlines(keepends=True)
        if text
        else [data[at : at + _GROUP] for at in range(0, len(data), _GROUP)]
    )
    size = len(pieces) // 2
    while size:
        at = 0
        while at < len(pieces):
            fewer = pieces[:at] + pieces[at + size :]
            if needed <= reached(run, b"".join(fewer)):
                pieces = fewer
            else:
                at += size
        size //= 2
    return b"".join(pieces)
