"""Logs of Windows 8.1 and later: entries (HvLE), one after the other, each with its checksums.

Cited are notes in the section "Log entries" of msuhanov's "Windows registry file format
specification".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from offline_mig.windows.base_block import BIN_ALIGNMENT, SECTOR_SIZE, BaseBlock
from offline_mig.windows.hive_log import DirtyPage, HiveLog, NotReplayable, Obstacle
from offline_mig.windows.marvin32 import marvin32

#: File type in the base block of such a log.
FILE_TYPE = 6
#: Signature, size, flags, sequence number, hive bins data size, number of pages, both checksums.
_HEADER = struct.Struct("<4sIIIII8s8s")
#: A page's place after the base block, and its size.
_REFERENCE = struct.Struct("<II")
#: The second checksum covers what precedes it in the header.
_HEADER_SPAN = 32
#: The one flag that an entry has: the hive has pending transactions (note 11).
_LOCKED = 0x1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one flush of a hive changed.

    ``sequence`` is the hive's sequence number with it, ``bins_size`` the size of all bins then,
    ``locked`` whether the hive had pending transactions.
    """

    sequence: int
    bins_size: int
    locked: bool
    pages: tuple[DirtyPage, ...]


@dataclass(frozen=True, slots=True)
class EntryLog:
    """The entries of a log that follow each other without a gap.

    ``torn`` is the number of the next entry where it was begun but does not fit its checksums;
    ``newest`` is the largest number of any entry, those behind a gap included.
    """

    name: str
    base: BaseBlock
    entries: tuple[LogEntry, ...]
    torn: int | None
    newest: int

    @property
    def following(self) -> int:
        """The number that the entry after the last one has."""
        return self.base.primary + len(self.entries)


def read_entry_log(log: HiveLog, base: BaseBlock) -> EntryLog | NotReplayable:
    """Return the entries of a log whose base block is ``base``.

    The first has the number that the base block gives, each one after it the next (note 7). They
    end at the first that does not (there lie remnants of earlier use, note 4) or that does not fit
    its checksums (note 8): Windows was interrupted while it wrote that one. What fits them and yet
    makes no sense no Windows has written; then the log is not to be trusted.
    """
    entries: list[LogEntry] = []
    at, expected = SECTOR_SIZE, base.primary
    torn = None
    while True:
        size, sequence = _size_and_sequence(log.data, at)
        if sequence != expected:
            break
        if not (size and _is_whole(log.data, at, size)):
            torn = expected
            break
        entry = _entry(log.data, at, size)
        if entry is None:
            return NotReplayable(Obstacle.DAMAGED, f"entry {expected} of {log.name} makes no sense")
        entries.append(entry)
        at, expected = at + size, expected + 1
    behind = at if torn is None else at + SECTOR_SIZE
    newest = max(expected - 1, newest_entry(log.data, behind))
    return EntryLog(log.name, base, tuple(entries), torn, newest)


def newest_entry(data: bytes, start: int = SECTOR_SIZE) -> int:
    """Return the largest number of an entry whose header is sound, from ``start``; 0 for none."""
    newest = 0
    for at in range(start, len(data) - _HEADER.size + 1, SECTOR_SIZE):
        size, sequence = _size_and_sequence(data, at)
        if size and sequence is not None:
            newest = max(newest, sequence)
    return newest


def _size_and_sequence(data: bytes, at: int) -> tuple[int, int | None]:
    """Return an entry's size, 0 where its header is not sound, and its number, None for none."""
    if data[at : at + 4] != b"HvLE" or at + _HEADER.size > len(data):
        return 0, None
    _, size, _, sequence, _, _, _, checksum = _HEADER.unpack_from(data, at)
    sound = checksum == marvin32(data[at : at + _HEADER_SPAN])
    return size if sound else 0, sequence


def _is_whole(data: bytes, at: int, size: int) -> bool:
    if size % SECTOR_SIZE or at + size > len(data):
        return False
    checksum = _HEADER.unpack_from(data, at)[6]
    return bool(checksum == marvin32(data[at + _HEADER.size : at + size]))


def _entry(data: bytes, at: int, size: int) -> LogEntry | None:
    _, _, flags, sequence, bins_size, count, _, _ = _HEADER.unpack_from(data, at)
    end = at + size
    references_at = at + _HEADER.size
    page_at = references_at + count * _REFERENCE.size
    if bins_size % BIN_ALIGNMENT or bins_size == 0 or page_at > end:
        return None
    content = memoryview(data)
    pages = []
    for offset, length in _REFERENCE.iter_unpack(content[references_at:page_at]):
        if offset % SECTOR_SIZE or length % SECTOR_SIZE or length == 0:
            return None
        if page_at + length > end or offset + length > bins_size:
            return None
        pages.append(DirtyPage(offset, content[page_at : page_at + length]))
        page_at += length
    return LogEntry(sequence, bins_size, bool(flags & _LOCKED), tuple(pages))
