"""The allocation table of a FAT volume: which clusters follow each other, and which are free.

The table is held in memory as numbers and as bytes; what changes is written to every copy by
``flush``. Chains come from the guest: none is followed out of the volume, in a circle or into what
is free.

Runs in the confined worker as well: only modules that load fast.
"""

from __future__ import annotations

import errno
import os
import sys
from array import array

from offline_mig.guest.fat_layout import FatDamagedError, FatLayout

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Reader = Callable[[int, int], bytes]
    Writer = Callable[[int, bytes], None]

#: The value of the last cluster of a chain, and the lowest that means the same, by the table's
#: bits. The number below is that of a bad cluster.
_LAST = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}
_FIRST_LAST = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}
#: Bits of the second entry that are set while the volume is clean (ClnShutBitMask) and no disk
#: error was met (HrdErrBitMask). FAT12 has none.
_CLEAN = {12: 0, 16: 0x8000, 32: 0x08000000}
_NO_ERROR = {12: 0, 16: 0x4000, 32: 0x04000000}
#: The upper 4 bits of a FAT32 entry are not the table's own and stay as they are.
_MASK_32 = 0x0FFFFFFF
#: Bytes that are compared or written at a time.
_BLOCK = 4096
_PIECE = 1024 * 1024

#: Where bytes are on the volume: offset and size.
Extent = tuple[int, int]


class FatTable:
    """The allocation table. ``changed`` tells whether ``flush`` has something to write."""

    def __init__(self, layout: FatLayout, read: Reader) -> None:
        """Read the table; raises OSError."""
        self._layout = layout
        self._raw = bytearray(read_fully(read, layout.tables[0], layout.table_size))
        self._entries = _numbers(self._raw, layout)
        #: Blocks to be written, the one that changed last at the end.
        self._changed: dict[int, None] = {}
        self._hint = 2
        self.free = self._entries.count(0)

    @property
    def clean(self) -> bool:
        """Whether the volume was taken down in order, as far as the table says."""
        bit = _CLEAN[self._layout.bits]
        return self._flags & bit == bit

    @property
    def without_error(self) -> bool:
        """Whether no error of the disk was met when the volume was last in use."""
        bit = _NO_ERROR[self._layout.bits]
        return self._flags & bit == bit

    @property
    def hint(self) -> int:
        """The cluster from which free ones are looked for."""
        return self._hint

    @property
    def _flags(self) -> int:
        raw = self._raw
        return int.from_bytes(raw[4:8] if self._layout.bits == 32 else raw[2:4], "little")

    def copies_agree(self, read: Reader) -> bool:
        """Tell whether all copies of the table that are in use are the same."""
        for start in self._layout.tables[1:]:
            for at in range(0, len(self._raw), _PIECE):
                size = min(_PIECE, len(self._raw) - at)
                if read_fully(read, start + at, size) != self._raw[at : at + size]:
                    return False
        return True

    def chain(self, first: int) -> list[tuple[int, int]]:
        """Return the runs of a chain that begins with ``first``: first cluster and number.

        Raises FatDamagedError when it leaves the volume, runs in a circle or ends nowhere.
        """
        layout, entries = self._layout, self._entries
        end, beyond = _FIRST_LAST[layout.bits], layout.clusters + 2
        runs = []
        left = layout.clusters
        start = cluster = first
        while True:
            if not 2 <= cluster < beyond:
                raise FatDamagedError(f"a chain of clusters leads to {cluster:#x}")
            left -= 1
            if left < 0:
                raise FatDamagedError(f"the chain from cluster {first} runs in a circle")
            following = entries[cluster - 2]
            if following != cluster + 1:
                runs.append((start, cluster + 1 - start))
                start = following
            if following >= end:
                return runs
            cluster = following

    def extents(self, first: int) -> list[Extent]:
        """Return where the clusters of a chain are; nothing for the chain of an empty file."""
        if not first:
            return []
        cluster = self._layout.cluster
        return [(self._layout.offset(start), count * cluster) for start, count in self.chain(first)]

    def directory(self, first: int) -> list[Extent]:
        """Return where the content of a directory is; the root has ``first`` 0."""
        if not first and not self._layout.root_cluster:
            return [(self._layout.root, self._layout.root_size)]
        return self.extents(first or self._layout.root_cluster)

    def extend(self, first: int, count: int) -> tuple[int, list[Extent]]:
        """Add ``count`` clusters to a chain, or begin one when ``first`` is 0.

        Returns the first cluster of the chain and where the added ones are. Raises OSError
        (ENOSPC) when there are not as many, and then changes nothing.
        """
        if count > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        extents: list[Extent] = []
        size, last = self._layout.cluster, _LAST[self._layout.bits]
        added = tail = 0
        for _ in range(count):
            cluster = self._next_free()
            # Not free any more; what it is in the end is set when the next one is known.
            self._entries[cluster - 2] = last
            if tail:
                self._set(tail, cluster)
            added, tail = added or cluster, cluster
            at = self._layout.offset(cluster)
            if extents and sum(extents[-1]) == at:
                start, length = extents[-1]
                extents[-1] = (start, length + size)
            else:
                extents.append((at, size))
        if count:
            self._set(tail, last)
        self.free -= count
        if first and added:
            # Once all of it is there it becomes part of the chain.
            start, length = self.chain(first)[-1]
            self._set(start + length - 1, added)
        return first or added, extents

    def release(self, first: int) -> None:
        """Make the clusters of a chain free; nothing happens for an empty file's."""
        for start, count in self.chain(first) if first else ():
            for cluster in range(start, start + count):
                self._set(cluster, 0)
            self.free += count
            self._hint = min(self._hint, start)

    def flush(self, write: Writer) -> None:
        """Write what changed to every copy, the last change at last; raises OSError."""
        for block in self._changed:
            at = block * _BLOCK
            for start in self._layout.tables:
                write(start + at, bytes(self._raw[at : at + _BLOCK]))
        self._changed.clear()

    def _next_free(self) -> int:
        entries = self._entries
        try:
            index = entries.index(0, self._hint - 2)
        except ValueError:
            index = entries.index(0)
        self._hint = index + 3 if index + 1 < len(entries) else 2
        return index + 2

    def _set(self, cluster: int, value: int) -> None:
        self._entries[cluster - 2] = value
        bits = self._layout.bits
        at = cluster * bits // 8
        size = 4 if bits == 32 else 2
        held = int.from_bytes(self._raw[at : at + size], "little")
        if bits == 32:
            value |= held & ~_MASK_32
        elif bits == 12:
            value = held & 0x000F | value << 4 if cluster % 2 else held & 0xF000 | value
        self._raw[at : at + size] = value.to_bytes(size, "little")
        for block in (at // _BLOCK, (at + size - 1) // _BLOCK):
            self._changed.pop(block, None)
            self._changed[block] = None


def read_fully(read: Reader, offset: int, size: int) -> bytes:
    """Return exactly ``size`` bytes; raises FatDamagedError when the volume ends before."""
    data = read(offset, size)
    if len(data) != size:
        raise FatDamagedError("it is cut off")
    return data


def read_extents(read: Reader, extents: Iterable[Extent]) -> bytes:
    """Return the bytes of several extents, one after the other."""
    return b"".join(read_fully(read, offset, size) for offset, size in extents)


def _numbers(raw: bytearray, layout: FatLayout) -> array[int]:
    """Return the entries of all clusters, that of cluster 2 first."""
    end = layout.clusters + 2
    if layout.bits == 12:
        # Two entries share three bytes.
        triples = zip(raw[0::3], raw[1::3], raw[2::3], strict=False)
        both = ((a | (b & 15) << 8, b >> 4 | c << 4) for a, b, c in triples)
        entries = array("H", [entry for pair in both for entry in pair])
        if len(entries) < end:
            at = len(entries) * 12 // 8
            entries.append(int.from_bytes(raw[at : at + 2], "little") & 0xFFF)
        return entries[2:end]
    width = layout.bits // 8
    entries = array("I" if width == 4 else "H")
    entries.frombytes(raw[2 * width : end * width])
    if sys.byteorder == "big":
        entries.byteswap()
    if width == 4 and max(entries) > _MASK_32:
        entries = array("I", (entry & _MASK_32 for entry in entries))
    return entries
