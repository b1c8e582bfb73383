"""What a file was, told as the pages in which it differs from what it became.

A hive that was edited with hivex has the same bytes as before in nearly all places: cells are
never moved, and what is new goes where there was room or to the end. Two hundred values put into a
SOFTWARE hive of 36 MiB change 184 KiB of it; to keep all of it would take megabytes, compressed.
They bring the old hive back only out of the very bytes of the new one, which is no loss: in any
other hive there are changes of Windows that the old one must not wipe out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: Bytes that are compared at a time, and kept when one of them differs.
PAGE = 4096


@dataclass(frozen=True, slots=True)
class PageDelta:
    """The size of the old content in bytes, and its (offset, bytes) that the new one has not."""

    size: int
    pieces: tuple[tuple[int, bytes], ...]


def difference(old: bytes, new: bytes) -> PageDelta:
    """Return what has to be put into ``new`` to make it ``old`` again."""
    return PageDelta(len(old), tuple(_pieces(old, new)))


def restored(new: bytes, delta: PageDelta) -> bytes:
    """Return the old content; to be checked by its hash, since any ``new`` is taken."""
    content = bytearray(new[: delta.size].ljust(delta.size, b"\0"))
    for offset, data in delta.pieces:
        content[offset : offset + len(data)] = data
    return bytes(content)


def _pieces(old: bytes, new: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the differing pages, neighbours joined."""
    start: int | None = None
    for offset in range(0, len(old), PAGE):
        same = old[offset : offset + PAGE] == new[offset : offset + min(PAGE, len(old) - offset)]
        if not same and start is None:
            start = offset
        elif same and start is not None:
            yield start, old[start:offset]
            start = None
    if start is not None:
        yield start, old[start:]
