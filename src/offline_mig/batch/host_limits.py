"""How many guests this host converts well at once: by processors, memory and disks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.batch.plan_guests import GuestWork
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.named_options import named_engine
from offline_mig.guest.userspace_engine import UserspaceEngine

#: Peaks of one conversion, docs/performance.md, "Figures": 50 MiB by the userspace engine, 654 MiB
#: with an appliance; rounded up, since hives and drivers differ.
_MEMORY = {UserspaceEngine.name: 128 * 1024**2}
_MEMORY_OF_APPLIANCE = 1024**3
#: How Linux calls disks of virtio-blk and Xen.
_VIRTUAL = ("vd", "xvd")
#: A page cache too small for what is being copied makes every guest slower.
_LEFT_FREE = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class HostLimits:
    """How many guests at once each resource allows, and the word for the one that allows least."""

    processors: int
    memory: int
    disks: int | None

    @property
    def jobs(self) -> int:
        """How many guests are converted at once where the user does not say."""
        return max(1, min(self.processors, self.memory, self.disks or self.processors))


def jobs_of(asked: int | None, places: Iterable[Path], guests: Sequence[GuestWork]) -> int:
    """Return how many of some guests to work on at once, between the folders ``places``.

    That is as many as the user asks for or else as this host converts well, and never more than
    there are: a crew too large would be told of, and each guest get less of the host.
    """
    fitting = asked or host_limits(places, [named_engine(guest.given) for guest in guests]).jobs
    return max(1, min(fitting, len(guests)))


def host_limits(places: Iterable[Path], choices: Iterable[EngineChoice]) -> HostLimits:
    """Return what this host allows.

    ``choices`` are the engines of the guests, ``places`` folders that are read and written. One of
    these on a disk with a moving head makes it one guest at a time: two streams would have the head
    travel between them. Where it cannot be told what a folder lies on (NFS, LVM over several
    disks), nothing is concluded.
    """
    engines = {choose_engine(choice).name for choice in set(choices)}
    needed = max((_MEMORY.get(engine, _MEMORY_OF_APPLIANCE) for engine in engines), default=1)
    return HostLimits(
        processors=len(os.sched_getaffinity(0)),
        memory=max(1, (_available_memory() - _LEFT_FREE) // needed),
        disks=1 if any(_has_moving_head(place) for place in places) else None,
    )


def _available_memory() -> int:
    """Return the kernel's estimate of what can be used without swapping, in bytes (proc(5))."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return _MEMORY_OF_APPLIANCE


def _has_moving_head(place: Path) -> bool:
    """Tell whether a folder, or the nearest one that exists, lies on a rotational disk.

    By queue/rotational in sysfs (Linux, Documentation/ABI/stable/sysfs-block); a partition has it
    at its disk. Disks of virtual machines say that they rotate unless they are told otherwise, and
    are not believed.
    """
    place = place.absolute()
    existing = next((folder for folder in (place, *place.parents) if folder.exists()), None)
    if existing is None:
        return False
    device = existing.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if block.resolve().name.startswith(_VIRTUAL):
        return False
    for folder in (block, block / ".."):
        try:
            return (folder / "queue" / "rotational").read_text(encoding="ascii").strip() == "1"
        except OSError:
            continue
    return False
