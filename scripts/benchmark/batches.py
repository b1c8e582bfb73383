"""What a batch gains by two guests at once, and what more guests cost it in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from statistics import median

from benchmark import contenders
from benchmark.contenders import Drivers
from benchmark.correctness import require_right
from benchmark.figures import Reached
from benchmark.guests import Guest
from benchmark.process_tree import Usage, measure

_FEW, _MANY = 8, 32
#: A batch of few is short, and what the storage does meanwhile differs.
_TIMES = 2
#: Two processors are to do 1.7 times as much as one.
_TIME_OF_TWO = 1 / 1.7
#: Memory of the batch itself is not to grow with its guests; samples differ a little.
_MEMORY_OF_MANY = 1.1


def batches(guest: Guest, work: Path, media: Drivers, rounds: int) -> list[Reached]:
    """Measure batches of copies of a guest, in turns."""
    few, many = (_folder(guest, work / f"guests-{count}", count) for count in (_FEW, _MANY))
    output = work / "output"
    peaks = [
        _run(folder, output, media, guest, 2, first=True).memory or 0 for folder in (few, many)
    ]
    time = []
    for _ in range(_TIMES * rounds):
        one, two = (_run(few, output, media, guest, jobs).wall for jobs in (1, 2))
        time.append(two / one)
    return [
        Reached(f"batch of {_FEW}: time, -j 2 against -j 1", median(time), _TIME_OF_TWO),
        Reached(
            f"batch, -j 2: memory, {_MANY} against {_FEW}", peaks[1] / peaks[0], _MEMORY_OF_MANY
        ),
    ]


def _folder(guest: Guest, folder: Path, count: int) -> Path:
    """Make a folder of guests that share one disk, by links."""
    text = guest.vmx.read_text()
    for number in range(count):
        own = folder / str(number)
        own.mkdir(parents=True)
        os.link(guest.disk, own / guest.disk.name)
        renamed = text.replace(f'displayName = "{guest.vmx.stem}"', f'displayName = "{number}"')
        (own / guest.vmx.name).write_text(renamed)
    return folder


def _run(
    folder: Path, output: Path, media: Drivers, guest: Guest, jobs: int, *, first: bool = False
) -> Usage:
    usage, _ = measure(
        (
            *(contenders.OFFLINE_MIG, "batch", folder, "-o", output, "-j", str(jobs), "--quiet"),
            *("--drivers", media.folder, "--allow-unsigned", "--engine", "userspace"),
        ),
        sampled=first,
    )
    if first:
        for disk in output.glob("*.qcow2"):
            require_right(disk, guest.shape)
    shutil.rmtree(output)
    return usage
