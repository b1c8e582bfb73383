r"""What the first boot left behind: whether it is still to come, and how its steps went."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import LOG, SERVICE
from offline_mig.surgery.first_boot_script import MARK
from offline_mig.windows.code_page import console_code_page

#: Bytes of a log that are read. A few steps write some KiB each.
_LIMIT = 1024 * 1024
#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4
_STEP = re.compile(
    rf"{MARK} step (?P<id>[a-z0-9-]+) "
    r"(?:try (?P<number>\d+) of (?P<most>\d+)|failed (?P<code>-?\d+)|(?P<end>done|given-up))\s*"
)
_RESTART = re.compile(rf"{MARK} restart [a-z0-9-]+\s*")


class FirstBootState(StrEnum):
    """How far a first boot has come."""

    AHEAD = "still to come"
    BEGUN = "begun, and not at its end"
    OVER = "over"


class StepState(StrEnum):
    """How a step went."""

    DONE = "done"
    GIVEN_UP = "given up"
    BEGUN = "begun, and not at its end"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step: ``tries`` that were made, and the exit code of the last one that failed."""

    id: str
    state: StepState
    tries: int
    code: int | None


@dataclass(frozen=True, slots=True)
class FirstBootRecord:
    """A first boot as its log and the service tell of it; ``log`` is the whole text."""

    state: FirstBootState
    steps: tuple[StepRecord, ...] = ()
    restarts: int = 0
    log: str = ""
    problem: str = ""


def read_first_boot(volume: GuestFilesystem, facts: GuestFacts) -> FirstBootRecord | None:
    """Return what there is of a first boot in a guest, None when there is nothing.

    ``problem`` says why a log cannot be read that is there.
    """
    registered = _is_registered(facts)
    path = f"{facts.root}/{LOG}"
    if not volume.exists(path):
        return FirstBootRecord(FirstBootState.AHEAD) if registered else None
    state = FirstBootState.BEGUN if registered else FirstBootState.OVER
    try:
        content = volume.read(path, limit=_LIMIT)
    except GuestRefusedError as error:
        return FirstBootRecord(state, problem=error.message)
    codec = console_code_page(facts.system, facts.control_sets.default)
    log = content.decode(codec, "replace").replace("\r\n", "\n")
    lines = log.splitlines()
    restarts = sum(_RESTART.fullmatch(line) is not None for line in lines)
    return FirstBootRecord(state, _steps(lines), restarts, log)


def _is_registered(facts: GuestFacts) -> bool:
    key = rf"{facts.control_sets.default}\Services\{SERVICE}"
    start = facts.system.value(key, "Start")
    return start is not None and start.as_int() != _DISABLED


def _steps(lines: Iterable[str]) -> tuple[StepRecord, ...]:
    found: dict[str, StepRecord] = {}
    for line in lines:
        match = _STEP.fullmatch(line)
        if match is None:
            continue
        step = found.get(match["id"], StepRecord(match["id"], StepState.BEGUN, 0, None))
        if match["number"]:
            # A later conversion counts anew.
            step = StepRecord(step.id, StepState.BEGUN, int(match["number"]), step.code)
        elif match["code"]:
            step = StepRecord(step.id, step.state, step.tries, int(match["code"]))
        else:
            state = StepState.DONE if match["end"] == "done" else StepState.GIVEN_UP
            code = None if state is StepState.DONE else step.code
            step = StepRecord(step.id, state, step.tries, code)
        found[step.id] = step
    return tuple(found.values())
