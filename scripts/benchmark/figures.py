"""From measurements to the figures that were aimed at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmark.process_tree import Usage


@dataclass(frozen=True, slots=True)
class Run:
    """One conversion: how it was done, of which guest, what it took and how large the result is."""

    contender: str
    guest: str
    usage: Usage
    output: int


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of one contender as a part of another's on the same guest."""

    what: str
    guest: str
    contender: str
    against: str
    figure: str
    at_most: float


#: As set in the project's issue on speed.
GOALS = (
    Goal("time, userspace", "small", "userspace", "virt-v2v", "wall", 0.04),
    Goal("time, guestfs", "small", "guestfs", "virt-v2v", "wall", 0.50),
    Goal("time, userspace, no trim", "big", "userspace-no-trim", "qemu-img", "wall", 1.15),
    Goal("the same, both synced", "big", "userspace-no-trim", "qemu-img+sync", "wall", 1.15),
    Goal("time, userspace", "big", "userspace", "virt-v2v", "wall", 0.12),
    Goal("output, userspace", "big", "userspace", "virt-v2v", "output", 1.02),
    Goal("time, guestfs", "big", "guestfs", "virt-v2v", "wall", 0.45),
    Goal("memory, userspace", "big", "userspace", "virt-v2v", "memory", 0.25),
    Goal("memory, guestfs", "big", "guestfs", "virt-v2v", "memory", 0.85),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure that was measured, and whether it is as good as was aimed at."""

    what: str
    measured: float
    at_most: float
    unit: str = ""

    @property
    def good(self) -> bool:
        """Whether the goal is reached."""
        return self.measured <= self.at_most


def figure(run: Run, name: str) -> float | None:
    """Return one figure of a run by its name, or None where it was not measured."""
    sampled = run.usage.memory is not None
    if name == "output":
        return float(run.output)
    if name in ("wall", "cpu") and sampled:
        return None
    return getattr(run.usage, name)  # type: ignore[no-any-return]


def reached_goals(rounds: list[list[Run]]) -> list[Reached]:
    """Return the median over the rounds of each ratio that was measured."""
    found = []
    for goal in GOALS:
        ratios = []
        for runs in rounds:
            by_name = {run.contender: run for run in runs if run.guest == goal.guest}
            if goal.contender in by_name and goal.against in by_name:
                mine, other = (
                    figure(by_name[name], goal.figure) for name in (goal.contender, goal.against)
                )
                if mine is not None and other is not None:
                    ratios.append(mine / other)
        if ratios:
            what = f"{goal.guest}: {goal.what} against {goal.against}"
            found.append(Reached(what, median(ratios), goal.at_most))
    return found


def medians(rounds: list[list[Run]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median of each figure by guest and contender."""
    grouped: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in (run for runs in rounds for run in runs):
        grouped[run.guest][run.contender].append(run)
    return {
        guest: {contender: _medians(runs) for contender, runs in contenders.items()}
        for guest, contenders in grouped.items()
    }


def _medians(runs: list[Run]) -> dict[str, float]:
    found = {}
    for name in ("wall", "cpu", "memory", "output", "written"):
        values = [value for run in runs if (value := figure(run, name)) is not None]
        if values:
            found[name] = median(values)
    return found


def show_medians(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print what each contender took."""
    head = ("guest", "contender", "wall s", "CPU s", "peak MiB", "output MB", "written MB")
    print("{:<11}{:<19}{:>8}{:>8}{:>10}{:>11}{:>12}".format(*head))
    for guest, contenders in found.items():
        for contender, took in contenders.items():
            peak = f"{took['memory'] / 1024**2:10.0f}" if "memory" in took else f"{'-':>10}"
            print(
                f"{guest:<11}{contender:<19}{took['wall']:8.2f}{took['cpu']:8.2f}{peak}"
                f"{took['output'] / 1e6:11.1f}{took['written'] / 1e6:12.1f}"
            )


def show_reached(found: list[Reached]) -> None:
    """Print the figures beside the goals."""
    print(f"{'figure (medians)':<58}{'measured':>10}{'at most':>9}")
    for one in found:
        mark = "" if one.good else "  MISSED"
        print(f"{one.what:<58}{one.measured:8.3f} {one.unit:1}{one.at_most:8.2f}{mark}")


def as_json(runs: list[list[Run]], reached: list[Reached], **more: Any) -> dict[str, Any]:
    """Return everything that was measured."""
    return {
        "schema": "offline-mig/bench/1",
        **more,
        "rounds": [[asdict(run) for run in one] for one in runs],
        "medians": medians(runs),
        "goals": [{**asdict(one), "good": one.good} for one in reached],
    }
