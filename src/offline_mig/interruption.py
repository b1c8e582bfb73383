"""Ctrl-C and SIGTERM as exceptions that do not get lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: Seconds until an interruption that Python dropped is sent again: long enough to be out of what
#: dropped it, short enough for whoever pressed the keys.
_AGAIN = 0.05


class Terminated(BaseException):
    """SIGTERM arrived: the run is wound up as for Ctrl-C."""


@contextmanager
def interruptions() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT and Terminated for SIGTERM, wherever they arrive.

    Python drops what is raised where nothing can catch it, and goes on: in hooks that run at a
    fork (the logging library has one), in destructors, in callbacks from C. Then the signal is
    sent once more.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    hook = sys.unraisablehook

    def again(dropped: UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            _send_later(signal.SIGINT)
        elif issubclass(dropped.exc_type, Terminated):
            _send_later(signal.SIGTERM)
        else:
            hook(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        # Whoever runs a command inside a program of their own gets theirs back.
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _send_later(number: signal.Signals) -> None:
    timer = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
