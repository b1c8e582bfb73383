"""Builds guests, measures in turns, prints the figures beside the goals and writes JSON.

Fails when a result is wrong, never because something took long.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmark import contenders, driver_media, figures, guests
from benchmark.batches import batches
from benchmark.contenders import Contender, Drivers
from benchmark.correctness import WrongResultError, require_right
from benchmark.figures import Reached, Run
from benchmark.guests import Guest
from benchmark.process_tree import CommandFailedError, measure

#: Repetitions of what takes less than a second.
_INSPECTIONS = 7
_GROWING = (1, 4, 16)


def main() -> int:
    """Run the bench; returns the exit code."""
    arguments = _arguments()
    media = Drivers(*guests.drivers())
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=arguments.work) as work:
        try:
            return _run(arguments, Path(work), media)
        except (CommandFailedError, WrongResultError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small guest, one round, no virt-v2v")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="guests of 1 to 16 GiB, too (34 GiB)")
    parser.add_argument("--no-virt-v2v", action="store_true")
    parser.add_argument("--json", type=Path, help="where to write [build/bench.json]")
    parser.add_argument("--work", type=Path, default=Path("build"), help="folder for the results")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.work = arguments.work.resolve()
    name = "bench-short.json" if arguments.short else "bench.json"
    arguments.json = arguments.json or arguments.work / name
    return arguments


def _run(arguments: argparse.Namespace, work: Path, media: Drivers) -> int:
    short = arguments.short
    peer = not (short or arguments.no_virt_v2v)
    if peer and shutil.which("virt-v2v") is None:
        print("bench: virt-v2v is not installed and is left out (apt-get install virt-v2v)")
        peer = False
    shapes = (guests.SMALL,) if short else (guests.SMALL, guests.BIG)
    built = [guests.build(shape) for shape in shapes]
    load = os.getloadavg()[0]
    print(f"load before: {load:.1f} on {os.cpu_count()} processors; memory is PSS, sampled")
    rounds: list[list[Run]] = []
    # The first is not timed: memory is measured, and whether the results are right.
    for first in [True] + [False] * (1 if short else arguments.rounds):
        rounds.append([])
        for guest in built:
            rounds[-1] += _round(guest, work, media, peer=peer, first=first)
    reached = figures.reached_goals(rounds)
    reached += _iso(built[0], work, media, 1 if short else _INSPECTIONS)
    if not short:
        reached += _inspections() + _listings() + _imports()
        reached += batches(built[0], work, media, arguments.rounds)
    growth = _growth(work, media) if arguments.growth else []
    figures.show_medians(figures.medians([*rounds, growth]))
    figures.show_reached(reached)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    record = figures.as_json([*rounds, growth], reached, load=load, when=int(time.time()))
    arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written to {arguments.json}")
    return 0


def _round(guest: Guest, work: Path, media: Drivers, *, peer: bool, first: bool) -> list[Run]:
    """Measure every way to convert a guest once, one after another."""
    _warm(guest)
    output = work / "output"
    chosen: list[Contender | None] = [
        contenders.floor(guest, output),
        contenders.synced_floor(guest, output),
        contenders.offline_mig(guest, output, "userspace", media.folder),
        contenders.offline_mig(
            guest, output, "userspace", media.folder, "--no-trim", name="userspace-no-trim"
        ),
        contenders.offline_mig(guest, output, "guestfs", media.folder),
        contenders.virt_v2v(guest, output, media.folder, work) if peer else None,
    ]
    return [_one(one, guest, output, first=first) for one in chosen if one is not None]


def _one(contender: Contender, guest: Guest, output: Path, *, first: bool = False) -> Run:
    """Measure one way: its time, or as the ``first`` its memory and whether its result is right."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    usage, _ = measure(contender.command, environment=contender.environment, sampled=first)
    size = contender.result.stat().st_blocks * 512
    if first and contender.name != "virt-v2v":
        plain = contender.name.startswith("qemu-img")
        require_right(contender.result, guest.shape, converted=not plain)
    shutil.rmtree(output)
    what = " (and memory)" if first else ""
    print(f"  {guest.shape.name:<11}{contender.name:<19}{usage.wall:7.2f} s{what}", file=sys.stderr)
    return Run(contender.name, guest.shape.name, usage, size)


def _warm(guest: Guest) -> None:
    with guest.disk.open("rb") as stream:
        while stream.read(16 * guests.MIB):
            pass


def _iso(guest: Guest, work: Path, media: Drivers, times: int) -> list[Reached]:
    output = work / "output"
    both = [
        contenders.offline_mig(guest, output, "userspace", drivers, name=name)
        for name, drivers in (("from-folder", media.folder), ("from-iso", media.iso))
    ]
    for one in both:
        _one(one, guest, output, first=True)
    more = []
    for _ in range(times):
        folder, iso = (_one(one, guest, output) for one in both)
        more.append(iso.usage.wall - folder.usage.wall)
    return [Reached("drivers from an ISO instead of a folder, more by", median(more), 1.0, "s")]


def _inspections() -> list[Reached]:
    found = []
    for shape in (guests.with_real_hives(), guests.with_large_hives()):
        if shape is None:
            print("bench: real hives are not at hand; only made ones are inspected")
            continue
        guest = guests.build(shape)
        command = (contenders.OFFLINE_MIG, "inspect", "--engine", "userspace", guest.vmx)
        took = median(measure(command)[0].wall for _ in range(_INSPECTIONS))
        found.append(Reached(f"inspect, {shape.name}", took, 0.6, "s"))
    return found


def _listings() -> list[Reached]:
    found = []
    for (name, media), at_most in zip(driver_media.published().items(), (1.0, 5.0), strict=True):
        command = (contenders.OFFLINE_MIG, "drivers", "list", media)
        took = median(measure(command)[0].wall for _ in range(_INSPECTIONS))
        found.append(Reached(f"drivers list, {name}", took, at_most, "s"))
    return found


def _imports() -> list[Reached]:
    """Sum up what ``-X importtime`` says of ``inspect``; it takes longer with it than without."""
    command = (sys.executable, "-X", "importtime", "-c", "import offline_mig.cli.inspect_command")
    took = []
    for _ in range(_INSPECTIONS):
        told = re.findall(r"^import time: +(\d+) \|", measure(command)[1], re.MULTILINE)
        took.append(sum(map(int, told)) / 1e6)
    return [Reached("imports of inspect", median(took), 0.15, "s")]


def _growth(work: Path, media: Drivers) -> list[Run]:
    """Measure guests of growing size once each; they are not kept, being large."""
    runs = []
    output = work / "output"
    for gibibytes in _GROWING:
        guest = guests.build(guests.growing(gibibytes))
        try:
            _warm(guest)
            both = (
                contenders.synced_floor(guest, output),
                contenders.offline_mig(guest, output, "userspace", media.folder),
            )
            runs += [_one(one, guest, output) for one in both]
            runs.append(_one(both[1], guest, output, first=True))
        finally:
            guests.discard(guest)
    return runs


if __name__ == "__main__":
    sys.exit(main())
