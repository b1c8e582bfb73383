"""Volumes that stay mounted for reading: mounting takes longer than most of what is read there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from offline_mig.guest.partition_table import Partition

_Files = TypeVar("_Files")


@dataclass
class _Mounted(Generic[_Files]):
    """A mounted volume, what unmounts it, and how many are at it."""

    files: _Files
    unmounting: ExitStack
    users: int = 0


class ReadableVolumes(Generic[_Files]):
    """Mounts volumes by ``mounting`` and keeps them for the time of a ``with`` block."""

    def __init__(
        self, mounting: Callable[[int, Partition], AbstractContextManager[_Files]]
    ) -> None:
        self._mounting = mounting
        self._mounted: dict[tuple[int, Partition], _Mounted[_Files]] = {}

    def __enter__(self) -> Self:
        """Begin; nothing is mounted yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unmount everything."""
        everything = ExitStack()
        while self._mounted:
            everything.push(self._mounted.popitem()[1].unmounting)
        everything.__exit__(kind, error, trace)

    @contextmanager
    def using(self, disk: int, partition: Partition) -> Iterator[_Files]:
        """Give a volume for the time of a ``with`` block; after a failure in it it is unmounted."""
        place = (disk, partition)
        if place not in self._mounted:
            with ExitStack() as unmounting:
                files = unmounting.enter_context(self._mounting(disk, partition))
                self._mounted[place] = _Mounted(files, unmounting.pop_all())
        volume = self._mounted[place]
        volume.users += 1
        try:
            yield volume.files
        except BaseException:
            if volume.users == 1 and self._mounted.get(place) is volume:
                del self._mounted[place]
                volume.unmounting.__exit__(*sys.exc_info())
            raise
        finally:
            volume.users -= 1

    def release(self, disk: int) -> None:
        """Unmount what nobody reads any more: it would not see what is written to the disk."""
        for place, volume in list(self._mounted.items()):
            if place[0] == disk and not volume.users:
                del self._mounted[place]
                volume.unmounting.close()
