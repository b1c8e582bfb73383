"""Replaying transaction logs into a hive, as Windows does when it loads one that is dirty.

Pure functions on bytes. Cited are sections of msuhanov's "Windows registry file format
specification". Windows goes on with what it can get, and fills holes with dummy bins; here a hive
is recovered whole or not at all. Only a last entry that was cut off is passed over, by Windows and
here: the flush that should have written it never came to its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from offline_mig.windows import dirty_vector_log, entry_log
from offline_mig.windows.base_block import (
    BASE_BLOCK_SIZE,
    BIN_ALIGNMENT,
    SECTOR_SIZE,
    BaseBlock,
    read_base_block,
    written_cleanly,
)
from offline_mig.windows.dirty_vector_log import read_dirty_pages
from offline_mig.windows.entry_log import EntryLog, newest_entry, read_entry_log
from offline_mig.windows.hive_log import DirtyPage, HiveLog, NotReplayable, Obstacle

#: Where in the first bin the copy of the base block's timestamp is ("Hive bin", note 3).
_BIN_TIMESTAMP_AT = BASE_BLOCK_SIZE + 20
#: Signature, place after the base block, and size of a bin.
_BIN = struct.Struct("<4sII")
#: Sequence numbers above are not believed: the next ones must have room.
_LAST_NUMBER = 0xFFFFFF00
_LAST_TIMESTAMP = 2**64 - 1

#: A log with the sound base block that is in it.
_Sound = tuple[HiveLog, BaseBlock]


@dataclass(frozen=True, slots=True)
class AppliedLog:
    """A log that was applied: its name and the sequence numbers of its first and last entry.

    Logs of the older format have one entry.
    """

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """A hive with its logs applied, clean as after a complete shutdown.

    ``torn`` is the number of the last entry if it was cut off and left out, ``base_recovered``
    whether the base block came out of a log.
    """

    hive: bytes = field(repr=False)
    applied: tuple[AppliedLog, ...]
    torn: int | None = None
    base_recovered: bool = False


def needs_replay(hive: bytes) -> bool:
    """Tell whether a hive is dirty ("Dirty state of a hive"): a clean one's logs are ignored."""
    base = read_base_block(hive)
    return base is None or base.dirty


def replay(hive: bytes, logs: Sequence[HiveLog]) -> Replayed | NotReplayable:
    """Return the dirty ``hive`` with what its ``logs`` hold, or why that is not possible.

    ``logs`` are what lies beside the hive; those that Windows would not look at may be among them.

    The sequence numbers of the result are higher than any in the logs. So Windows can leave these
    as they are: the logs of a clean hive are ignored, and once the hive is dirty again, an entry
    is only applied if its log begins with no lower number than the hive had when it was clean
    ("Log entries", note 7). In the older format it is the timestamp that must be equal ("Old
    format", "Base block", note 3); there it becomes another one.
    """
    present = _in_use(logs)
    if not present:
        return NotReplayable(Obstacle.NO_LOG, "there is none that holds anything")
    if len(hive) < BASE_BLOCK_SIZE + BIN_ALIGNMENT:
        return NotReplayable(Obstacle.DAMAGED, f"the hive has only {len(hive)} bytes")
    base = read_base_block(hive)
    sound: list[_Sound] = []
    for log in present:
        found = read_base_block(log.data)
        # A log that Windows was just about to begin has unequal numbers ("Base block", note 2).
        if found is not None and not found.dirty:
            sound.append((log, found))
    if not sound:
        return NotReplayable(Obstacle.DAMAGED, f"the header of {_names(present)} is not sound")
    if base is not None:
        for log, found in sound:
            if not _same_hive(base, found):
                return NotReplayable(
                    Obstacle.FOREIGN, f"{log.name} belongs to the hive {found.name!r}"
                )
    chains = [(log, found) for log, found in sound if found.file_type == entry_log.FILE_TYPE]
    if chains:
        return _replay_entries(hive, base, chains, present)
    return _replay_dirty_vector(hive, base, sound, present)


def _in_use(logs: Sequence[HiveLog]) -> tuple[HiveLog, ...]:
    """Return the logs that Windows would look at.

    With two of them a single one is left over from the installation image; with a single one the
    two are empty ("Multiple transaction log files").
    """
    filled = tuple(sorted((log for log in logs if log.data), key=lambda log: log.name.casefold()))
    dual = tuple(log for log in filled if not log.name.casefold().endswith(".log"))
    return dual or filled


def _replay_entries(
    hive: bytes, base: BaseBlock | None, chains: Sequence[_Sound], present: Sequence[HiveLog]
) -> Replayed | NotReplayable:
    """Apply the entries of one log or of both ("Multiple transaction log files", "New format")."""
    logs: list[EntryLog] = []
    for source, found in chains:
        # What was begun before the hive was last clean is in it ("Log entries", note 7).
        if base is not None and found.primary < base.secondary:
            continue
        read = read_entry_log(source, found)
        if isinstance(read, NotReplayable):
            return read
        logs.append(read)
    if base is None:
        # The hive's own number is unknown; Windows takes the log with the latest entries only.
        logs = sorted((log for log in logs if log.entries), key=lambda log: log.following)[-1:]
    logs.sort(key=lambda log: (log.base.primary, len(log.entries)))
    filled = [log for log in logs if log.entries]
    if not filled:
        return _nothing_fits(base, chains)
    following = logs[0].base.primary
    for log in logs:
        # Windows would apply the earlier log and leave it at that.
        if log.base.primary != following:
            return _gap(log.name, following, log.base.primary)
        following = log.following
    read_ones = {log.name: log.newest for log in logs}
    newest = {
        other.name: read_ones[other.name] if other.name in read_ones else newest_entry(other.data)
        for other in present
    }
    for name, number in newest.items():
        if number >= following:
            return _gap(name, following, number)
    last = filled[-1].entries[-1]
    return _finished(
        hive if base is not None else _with_base_of(hive, filled[-1].name, present),
        [page for log in filled for entry in log.entries for page in entry.pages],
        applied=tuple(AppliedLog(log.name, log.base.primary, log.following - 1) for log in filled),
        numbers=(*newest.values(), *_numbers(base, chains)),
        bins_size=last.bins_size,
        locked=last.locked,
        torn=next((log.torn for log in logs if log.torn == following), None),
        base_recovered=base is None,
    )


def _replay_dirty_vector(
    hive: bytes, base: BaseBlock | None, sound: Sequence[_Sound], present: Sequence[HiveLog]
) -> Replayed | NotReplayable:
    """Apply the log that fits, the first one before the second.

    The rule is that of the boot loader ("Multiple transaction log files", "Old format"): the log
    must be of the very write in which the hive was interrupted. Kernels of Windows 8 also take
    others and heal what does not fit, which is no way to keep a hive whole.
    """
    timestamp = base.timestamp if base else struct.unpack_from("<Q", hive, _BIN_TIMESTAMP_AT)[0]
    for log, found in sound:
        if found.file_type not in dirty_vector_log.FILE_TYPES or found.timestamp != timestamp:
            continue
        # Two writes may fall within one tick of the clock.
        if base is not None and found.primary < base.secondary:
            continue
        pages = read_dirty_pages(log, found)
        if isinstance(pages, NotReplayable):
            return pages
        # Both base blocks come from the same memory.
        if base is not None and found.bins_size != base.bins_size:
            return NotReplayable(
                Obstacle.DAMAGED,
                f"{log.name} is for {found.bins_size} bytes of data, where the hive's header "
                f"says {base.bins_size}",
            )
        latest = max(timestamp, *(other.timestamp for _, other in sound))
        return _finished(
            hive if base is not None else _with_base_of(hive, log.name, present),
            pages,
            applied=(AppliedLog(log.name, found.primary, found.primary),),
            numbers=_numbers(base, sound),
            bins_size=found.bins_size,
            # Whatever time it is: it must be no log's, and the same replay gives the same bytes.
            timestamp=min(latest + 1, _LAST_TIMESTAMP),
            base_recovered=base is None,
        )
    return _nothing_fits(base, sound)


def _finished(
    hive: bytes,
    pages: Sequence[DirtyPage],
    *,
    applied: tuple[AppliedLog, ...],
    numbers: Sequence[int],
    bins_size: int,
    timestamp: int | None = None,
    locked: bool | None = None,
    torn: int | None = None,
    base_recovered: bool = False,
) -> Replayed | NotReplayable:
    """Put ``pages`` into the hive and end the write that was interrupted.

    ``numbers`` are all sequence numbers that were met.
    """
    names = " and ".join(log.name for log in applied)
    if max(numbers) > _LAST_NUMBER:
        return NotReplayable(Obstacle.DAMAGED, f"the sequence number {max(numbers)} is no real one")
    end = BASE_BLOCK_SIZE + bins_size
    # Bins that the file does not have yet are dirty, so all of them are among the pages.
    if end > len(hive) + sum(len(page.content) for page in pages):
        return NotReplayable(
            Obstacle.DAMAGED, f"{names} promises {bins_size} bytes of data and does not hold them"
        )
    recovered = bytearray(hive.ljust(end, b"\0"))
    for page in pages:
        at = BASE_BLOCK_SIZE + page.offset
        recovered[at : at + len(page.content)] = page.content
    broken = _broken_bin(recovered, bins_size)
    if broken is not None:
        return NotReplayable(
            Obstacle.DAMAGED, f"with {names} the hive has no sound bin at offset {broken}"
        )
    written_cleanly(
        recovered,
        sequence=max(numbers) + 1,
        bins_size=bins_size,
        timestamp=timestamp,
        locked=locked,
    )
    if timestamp is not None:
        struct.pack_into("<Q", recovered, _BIN_TIMESTAMP_AT, timestamp)
    return Replayed(bytes(recovered), applied, torn, base_recovered)


def _broken_bin(hive: bytes | bytearray, bins_size: int) -> int | None:
    """Return the place after the base block where a bin should be and is not, None if all are."""
    offset = 0
    while offset < bins_size:
        signature, place, size = _BIN.unpack_from(hive, BASE_BLOCK_SIZE + offset)
        if signature != b"hbin" or place != offset or size == 0 or size % BIN_ALIGNMENT:
            return offset
        offset += size
    return None if offset == bins_size > 0 else bins_size


def _with_base_of(hive: bytes, name: str, present: Sequence[HiveLog]) -> bytes:
    """Return the hive with the base block that a log keeps ("Base block", note 4).

    That is its first sector; what lies behind it in a base block has no meaning on a disk.
    """
    data = next(log.data for log in present if log.name == name)
    return data[:SECTOR_SIZE] + hive[SECTOR_SIZE:]


def _same_hive(one: BaseBlock, other: BaseBlock) -> bool:
    """Tell whether two base blocks are of one hive, by the file name that Windows keeps in them."""
    names = [block.name.rpartition("\\")[2].casefold() for block in (one, other)]
    return not all(names) or names[0] == names[1]


def _numbers(base: BaseBlock | None, sound: Iterable[_Sound]) -> tuple[int, ...]:
    own = () if base is None else (base.primary, base.secondary)
    return (*own, *(found.primary for _, found in sound))


def _nothing_fits(base: BaseBlock | None, sound: Sequence[_Sound]) -> NotReplayable:
    names = _names([log for log, _ in sound])
    if base is None:
        return NotReplayable(Obstacle.STALE, f"{names} holds nothing that fits the hive's state")
    newest = max(found.primary for _, found in sound)
    if newest < base.secondary:
        return NotReplayable(
            Obstacle.STALE,
            f"what {names} holds (up to number {newest}) is older than the hive (number "
            f"{base.secondary})",
        )
    if any(found.file_type == entry_log.FILE_TYPE for _, found in sound):
        return NotReplayable(Obstacle.DAMAGED, f"{names} holds no entry that is whole")
    return NotReplayable(Obstacle.STALE, f"{names} is of another write than the hive")


def _gap(name: str, expected: int, found: int) -> NotReplayable:
    return NotReplayable(
        Obstacle.BROKEN_CHAIN,
        f"{name} holds changes up to number {found}, but number {expected} is missing or damaged",
    )


def _names(logs: Sequence[HiveLog]) -> str:
    return " or ".join(log.name for log in logs)
