"""A FAT12, FAT16 or FAT32 volume on a block device: reading and changing its files.

What is written is written so that whatever is there at any moment is sound, but for clusters that
nothing belongs to: content first, then the allocation table, then the directory; and in deleting,
the other way round. While there are changes the volume is marked as in use, as Windows and Linux
do, so that a run that breaks off shows.

Runs in the confined worker: only modules that load fast.
"""

from __future__ import annotations

import errno
import os
import struct
import time

from offline_mig.guest.fat_check import directory_content, require_writable
from offline_mig.guest.fat_directory import (
    ARCHIVE,
    CODE_PAGE,
    DIRECTORY,
    LARGEST_DIRECTORY,
    changed,
    described,
    dos_time,
    entries,
    erased,
    first_cluster,
    is_empty,
    is_stale,
    new_directory,
    pointing,
    room_for,
    size_of,
)
from offline_mig.guest.fat_layout import DIRTY, ENTRY, SMALLEST_SECTOR, FatDamagedError, FatLayout
from offline_mig.guest.fat_table import FatTable

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from offline_mig.guest.fat_table import Extent

    class Device(Protocol):
        """What a volume lies on, such as ``nbd.BlockDevice``; ``size`` is in bytes."""

        @property
        def size(self) -> int:
            """Where it ends."""

        def read(self, offset: int, size: int) -> bytes:
            """Return bytes, fewer at its end."""

        def write(self, offset: int, data: bytes) -> None:
            """Write bytes."""

        def flush(self) -> None:
            """Have what was written on stable storage."""


#: Sizes are 32-bit numbers.
_LARGEST_FILE = 0xFFFFFFFF
#: FSInfo: its signatures by their offsets, and where the number of free clusters and the cluster
#: from which to look for them are.
_INFO_SIGNATURES = ((0, b"RRaA"), (484, b"rrAa"), (508, b"\0\0\x55\xaa"))
_INFO_COUNTS = 488


class FatVolume:
    """A FAT volume. Files and directories go by where their slot is on it, the root by 0."""

    root = 0

    def __init__(
        self, device: Device, *, writable: bool, now: tuple[int, int] | None = None
    ) -> None:
        """Open the volume.

        ``now`` is what is noted as the time of changes, as ``dos_time`` makes it; without it that
        is the time of day. Raises UnsafeFatError when it must not be written although
        ``writable`` was asked for, OSError when it cannot be opened at all.
        """
        self._device = device
        self._fixed_time = now
        self._layout = FatLayout(device.read(0, SMALLEST_SECTOR), device.size)
        self._table = FatTable(self._layout, device.read)
        if writable:
            require_writable(self._layout, self._table, device.read)
        self._slots: dict[int, bytes] = {}
        self._marked = False
        #: Where the file that was read last is, by its first cluster.
        self._found: tuple[int, list[Extent]] = (0, [])

    def close(self) -> None:
        """Write everything out and unmark the volume; raises OSError."""
        if self._marked:
            self._write_info()
            self._mark(in_use=False)
            self._device.flush()

    def free_clusters(self) -> int:
        """Return how many clusters nothing is in."""
        return self._table.free

    def oddity(self, _reference: int) -> str:
        """Return what is odd about a file; FAT has neither links nor compressed files."""
        return ""

    def entries(self, directory: int) -> list[tuple[str, int, bool]]:
        """Return name, reference and whether it is a directory of all that is in a directory."""
        content, extents = self._directory(directory)
        places = _places(extents)
        found = []
        for entry in entries(content, self._layout.bits):
            if entry.name:
                reference = places[entry.slot]
                self._slots[reference] = entry.raw
                found.append((entry.name, reference, entry.is_directory))
        return found

    def size(self, file: int) -> int:
        """Return the size of a file's content in bytes."""
        return size_of(self._slots[file])

    def read(self, file: int, offset: int, size: int) -> bytes:
        """Return bytes of a file, fewer at its end."""
        size = max(0, min(size, self.size(file) - offset))
        extents = self._extents(self._first(file))
        return b"".join(
            self._device.read(at, length) for at, length in _parts(extents, offset, size)
        )

    def truncate(self, file: int) -> None:
        """Empty a file in place."""
        self._begin()
        first = self._first(file)
        self._replace(file, changed(self._slots[file], 0, 0, self._now()))
        self._table.release(first)
        self._flush_table()

    def write(self, file: int, offset: int, data: bytes, *, last: bool) -> None:
        """Write a piece of a file, at most up to the end or continuing it."""
        del last  # nothing is held back
        old, end = self.size(file), offset + len(data)
        if offset > old:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if end > _LARGEST_FILE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        if not data:
            return
        self._begin()
        cluster, first = self._layout.cluster, self._first(file)
        missing = -(-end // cluster) - -(-old // cluster)
        if missing > 0:
            first, _ = self._table.extend(first, missing)
        done = 0
        for at, length in _parts(self._table.extents(first), offset, len(data)):
            self._device.write(at, data[done : done + length])
            done += length
        self._flush_table()
        self._replace(file, changed(self._slots[file], first, max(old, end), self._now()))

    def create(self, directory: int, name: str, *, is_directory: bool) -> None:
        """Create an empty file or directory."""
        content, extents = self._directory(directory)
        taken = {entry.short for entry in entries(content, self._layout.bits)}
        now = self._now()
        slots = described(name, taken, DIRECTORY if is_directory else ARCHIVE, now)
        count = len(slots) // ENTRY
        start, missing = room_for(content, count)
        self._begin()
        if missing:
            extents = self._grown(directory, extents, missing)
        if is_directory:
            cluster, ((at, size),) = self._table.extend(0, 1)
            parent = self._first(directory) if directory else 0
            self._device.write(at, new_directory(cluster, parent, now, size))
            self._flush_table()
            slots = slots[:-ENTRY] + pointing(slots[-ENTRY:], cluster)
        if is_stale(content, start + count):
            self._device.write(_places(extents)[start + count], bytes(ENTRY))
        done = 0
        for at, length in _parts(extents, start * ENTRY, len(slots)):
            self._device.write(at, slots[done : done + length])
            done += length

    def delete(self, directory: int, name: str, reference: int) -> None:
        """Delete a file or an empty directory; raises FileNotFoundError when it is gone."""
        raw = self._slots[reference]
        if raw[11] & DIRECTORY and not is_empty(self._directory(reference)[0]):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        content, extents = self._directory(directory)
        places = _places(extents)
        for entry in entries(content, self._layout.bits):
            if places[entry.slot] == reference:
                break
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        self._begin()
        first = self._first(reference)
        # What is its own goes first: without it the rest belongs to nothing.
        for slot in range(entry.slot, entry.first_slot - 1, -1):
            at = slot * ENTRY
            self._device.write(places[slot], erased(content[at : at + ENTRY]))
        del self._slots[reference]
        self._table.release(first)
        self._flush_table()

    def _now(self) -> tuple[int, int]:
        return self._fixed_time or _now()

    def _first(self, reference: int) -> int:
        return first_cluster(self._slots[reference], self._layout.bits)

    def _directory(self, reference: int) -> tuple[bytes, list[Extent]]:
        first = 0
        if reference:
            first = self._first(reference)
            if not first:
                # It would be taken for the root.
                raise FatDamagedError("a directory has no content")
        return directory_content(self._table, self._device.read, first)

    def _extents(self, first: int) -> list[Extent]:
        if self._found[0] != first:
            self._found = first, self._table.extents(first)
        return self._found[1]

    def _grown(self, directory: int, extents: list[Extent], slots: int) -> list[Extent]:
        """Make a directory longer by so many slots and return where it is then."""
        first = self._first(directory) if directory else self._layout.root_cluster
        cluster = self._layout.cluster
        count = -(-slots * ENTRY // cluster)
        size = sum(length for _, length in extents) + count * cluster
        # The root directory of FAT12 and FAT16 is no chain.
        if not first or size > LARGEST_DIRECTORY:
            raise OSError(errno.ENOSPC, "No space left in the directory")
        _, added = self._table.extend(first, count)
        for at, length in added:
            self._device.write(at, bytes(length))
        self._flush_table()
        return extents + added

    def _replace(self, reference: int, raw: bytes) -> None:
        self._device.write(reference, raw)
        self._slots[reference] = raw

    def _flush_table(self) -> None:
        self._found = (0, [])
        self._table.flush(self._device.write)

    def _begin(self) -> None:
        if not self._marked:
            self._mark(in_use=True)
            self._marked = True

    def _mark(self, *, in_use: bool) -> None:
        at = self._layout.dirty_at
        flags = self._device.read(at, 1)[0] & ~DIRTY
        self._device.write(at, bytes((flags | DIRTY if in_use else flags,)))

    def _write_info(self) -> None:
        at = self._layout.info
        if not at:
            return
        info = self._device.read(at, SMALLEST_SECTOR)
        if all(info[start : start + 4] == said for start, said in _INFO_SIGNATURES):
            counts = struct.pack("<II", self._table.free, self._table.hint)
            self._device.write(at + _INFO_COUNTS, counts)


def prepare() -> None:
    """Load what is loaded when first used, while it still can be."""
    b"A".decode(CODE_PAGE)
    _now()


def _now() -> tuple[int, int]:
    # FAT keeps local time, but where the guest is nobody knows.
    return dos_time(*time.gmtime()[:6])


def _places(extents: list[Extent]) -> list[int]:
    """Return where each slot of a directory is."""
    return [at for start, size in extents for at in range(start, start + size, ENTRY)]


def _parts(extents: list[Extent], offset: int, size: int) -> Iterator[Extent]:
    """Yield where bytes of a file are; raises FatDamagedError when it ends before."""
    for start, length in extents:
        if not size:
            return
        if offset < length:
            part = min(length - offset, size)
            yield start + offset, part
            size -= part
            offset = 0
        else:
            offset -= length
    if size:
        raise FatDamagedError("the file is longer than its chain of clusters")
