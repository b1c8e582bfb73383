"""Running the process that works on one guest, here or on another machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from offline_mig.batch.orders import End, Order, Progressed, Result, Tell, result_of
from offline_mig.errors import OfflineMigError
from offline_mig.processes import ProgramFailedError, run

#: Not imported: it loads all of a conversion, which the process of a batch does without.
_WORKER = "offline_mig.batch.worker"
#: Seconds that an abandoned guest gets to end its programs and remove its files.
_GRACE = 30


def carry_out(order: Order, tell: Tell, stop: threading.Event) -> Result:
    """Work on a guest in a process of its own, until it ends or ``stop`` is set.

    The process dies with this one. ``tell`` is called from another thread.
    """
    ended: list[Result] = []

    def hear(line: str) -> None:
        said: dict[str, Any] = json.loads(line)
        if "result" in said:
            ended.append(result_of(said["result"]))
        else:
            tell(Progressed(order.name, said["step"], said["copied"]))

    if stop.is_set():
        return _abandoned()
    # -P: whatever lies in the current folder is no module of this program.
    command = [sys.executable, "-P", "-m", _WORKER, json.dumps(order.text())]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        run(command, on_output=hear, environment=environment, stop=stop, grace=_GRACE)
    except ProgramFailedError as error:
        if ended:
            return ended[0]
        if stop.is_set():
            return _killed() if error.code == -signal.SIGKILL else _abandoned()
        how = f"by signal {-error.code}" if error.code < 0 else f"with exit code {error.code}"
        remedy = f"Its log says more: {order.log}" if order.log else ""
        return Result(End.FAILED, f"The process at work on it ended {how}.", remedy, None)
    except OfflineMigError as error:
        return Result(End.FAILED, error.message, error.remedy, error.exit_code)
    return ended[0] if ended else Result(End.FAILED, "It ended without a word.", "", None)


def _abandoned() -> Result:
    return Result(End.ABANDONED, "It was abandoned; nothing was left half done.", "", None)


def _killed() -> Result:
    return Result(
        End.ABANDONED,
        f"It was abandoned, and killed when it had not ended after {_GRACE} s.",
        "What it left in a hidden folder beside the results is removed by --resume.",
        None,
    )
