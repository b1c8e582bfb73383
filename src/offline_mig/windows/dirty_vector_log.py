"""Logs of Windows 2000 to 8: a bitmap of dirty pages (DIRT) and the pages themselves.

Cited are sections of msuhanov's "Windows registry file format specification".
"""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.windows.base_block import BIN_ALIGNMENT, SECTOR_SIZE, BaseBlock
from offline_mig.windows.hive_log import DirtyPage, HiveLog, NotReplayable, Obstacle

#: File types in the base block of such a log: Windows 2000 writes 2, later ones 1 ("Base block").
FILE_TYPES = (1, 2)
#: Bytes that a bit of the vector stands for, whatever the sectors of the disk ("Dirty vector").
_PAGE_SIZE = 512
#: Sectors of 512 and of 4096 bytes, and what lies between ("Sector size and clustering factor").
_CLUSTERING_FACTORS = (1, 2, 4, 8)


def read_dirty_pages(log: HiveLog, base: BaseBlock) -> tuple[DirtyPage, ...] | NotReplayable:
    """Return the pages of a log whose base block is ``base``.

    All of them or nothing: Windows would stop at the first that is missing ("Dirty pages"), and
    leave a hive that is half old and half new.
    """
    if base.clustering_factor not in _CLUSTERING_FACTORS or base.bins_size % BIN_ALIGNMENT:
        return _damaged(log, "its header makes no sense")
    # The vector begins with the second sector, the pages with the first one after it.
    sector = base.clustering_factor * SECTOR_SIZE
    vector_at = sector + len(b"DIRT")
    vector_end = vector_at + base.bins_size // _PAGE_SIZE // 8
    if log.data[sector:vector_at] != b"DIRT" or vector_end > len(log.data):
        return _damaged(log, "it has no bitmap of changed pages")
    at = -(-vector_end // sector) * sector
    content = memoryview(log.data)
    pages = []
    for first, count in _runs(log.data[vector_at:vector_end]):
        size = count * _PAGE_SIZE
        if at + size > len(content):
            return _damaged(log, "it is cut off amid the changed pages")
        pages.append(DirtyPage(first * _PAGE_SIZE, content[at : at + size]))
        at += size
    return tuple(pages)


def _runs(vector: bytes) -> Iterator[tuple[int, int]]:
    """Yield the stretches of set bits, as their first bit and their number."""
    first = count = 0
    for number, byte in enumerate(vector):
        for bit in range(8):
            if byte >> bit & 1:
                first = first if count else number * 8 + bit
                count += 1
            elif count:
                yield first, count
                count = 0
    if count:
        yield first, count


def _damaged(log: HiveLog, what: str) -> NotReplayable:
    return NotReplayable(Obstacle.DAMAGED, f"{log.name} is damaged: {what}")
