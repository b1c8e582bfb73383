"""Whether a FAT volume may be written: it was taken down in order, and all of it makes sense.

Nothing is mended here, nor by any writer: Windows asks before it does, and so its own chkdsk
should. Clusters that are taken by nothing (what chkdsk calls lost allocation units) and a wrong
count of free ones do no harm to what is written and are let pass.

Runs in the confined worker as well: only modules that load fast.
"""

from __future__ import annotations

from offline_mig.guest.fat_directory import LARGEST_DIRECTORY, FatEntry, entries
from offline_mig.guest.fat_layout import SMALLEST_SECTOR, FatDamagedError, FatLayout
from offline_mig.guest.fat_table import FatTable, read_extents

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from offline_mig.guest.fat_table import Extent, Reader

#: Bytes of directories that are looked at: two million names. An EFI system partition has some
#: hundred; a hostile volume that is all directories would take hours.
_MOST_DIRECTORIES = 64 * 1024 * 1024
_TAKEN = b"\1"


class UnsafeFatError(Exception):
    """The volume may be read but not written; the text says why."""


def require_writable(layout: FatLayout, table: FatTable, read: Reader) -> None:
    """Raise UnsafeFatError when the volume must not be written.

    Reads all directories. Raises OSError.
    """
    if layout.dirty or not table.clean:
        raise UnsafeFatError(
            "it is marked as in use or not cleanly taken down (its dirty bit is set)"
        )
    if not table.without_error:
        raise UnsafeFatError("it is marked as having met errors of its disk")
    if not table.copies_agree(read):
        raise UnsafeFatError("it is damaged: the copies of its allocation table differ")
    try:
        _walk(layout, table, read)
    except FatDamagedError as error:
        raise UnsafeFatError(f"it is damaged: {error.strerror}") from error


def check_volume(read: Reader, size: int, *, writable: bool) -> None:
    """Raise FatDamagedError for a volume that is none, and as ``require_writable`` does.

    For who mounts it by other means than this package's own.
    """
    layout = FatLayout(read(0, SMALLEST_SECTOR), size)
    if writable:
        require_writable(layout, FatTable(layout, read), read)


def directory_content(table: FatTable, read: Reader, first: int) -> tuple[bytes, list[Extent]]:
    """Return the content of a directory and where it is; the root has ``first`` 0.

    Raises FatDamagedError for one that is larger than directories can be.
    """
    extents = table.directory(first)
    if sum(size for _, size in extents) > LARGEST_DIRECTORY:
        raise FatDamagedError("a directory is larger than directories can be")
    return read_extents(read, extents), extents


def _walk(layout: FatLayout, table: FatTable, read: Reader) -> None:
    """Look at every directory and every chain, each cluster at most once."""
    taken = bytearray(layout.clusters)
    if layout.root_cluster:
        _take(table, taken, layout.root_cluster)
    waiting = [0]
    left = _MOST_DIRECTORIES
    while waiting:
        content, _ = directory_content(table, read, waiting.pop())
        left -= len(content)
        if left < 0:
            raise FatDamagedError("it has more directories than can be looked at")
        names = set()
        for entry in entries(content, layout.bits):
            if not entry.name:
                raise FatDamagedError("there is a name that can be none")
            if entry.short in names:
                raise FatDamagedError(f"the name {_shown(entry)} is there twice")
            names.add(entry.short)
            clusters = _take(table, taken, entry.cluster) if entry.cluster else 0
            _require_length(entry, clusters, layout.cluster)
            if entry.is_directory:
                waiting.append(entry.cluster)


def _require_length(entry: FatEntry, clusters: int, cluster: int) -> None:
    if entry.is_directory:
        if not clusters:
            raise FatDamagedError(f"the directory {_shown(entry)} has no content")
    elif clusters != -(-entry.size // cluster):
        raise FatDamagedError(
            f"the file {_shown(entry)} has {entry.size} bytes in {clusters} clusters of {cluster}"
        )


def _take(table: FatTable, taken: bytearray, first: int) -> int:
    """Mark the clusters of a chain and return their number."""
    total = 0
    for start, count in table.chain(first):
        run = slice(start - 2, start - 2 + count)
        if any(taken[run]):
            raise FatDamagedError(f"clusters from {start} on belong to several files")
        taken[run] = _TAKEN * count
        total += count
    return total


def _shown(entry: FatEntry) -> str:
    """Return a name as it may be shown: a guest may put anything into it."""
    return "".join(letter if letter.isprintable() else "?" for letter in entry.name)
