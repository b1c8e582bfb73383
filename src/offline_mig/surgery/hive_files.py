"""Taking a hive out of the guest: the file itself and what waits in its transaction logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.windows.base_block import DamagedHiveError, DirtyHiveError, read_base_block
from offline_mig.windows.hive import MAX_HIVE_SIZE, Hive, HiveName
from offline_mig.windows.hive_log import MAX_LOG_SIZE, HiveLog, NotReplayable
from offline_mig.windows.hive_recovery import AppliedLog, needs_replay, replay

#: What is appended to a hive's name: two logs since Vista, one before.
_LOG_SUFFIXES = (".LOG1", ".LOG2", ".LOG")


@dataclass(frozen=True, slots=True)
class HiveReplay:
    """What was replayed into a hive: the logs, and the bytes by which they make the file grow.

    ``torn`` is the number of a last entry that was cut off and left out, ``base_recovered`` whether
    the hive's header came out of a log.
    """

    path: str
    logs: tuple[AppliedLog, ...]
    growth: int = 0
    torn: int | None = None
    base_recovered: bool = False

    @property
    def source(self) -> str:
        """The logs with their numbers, in the order in which they were applied."""
        return " and ".join(
            f"{log.name} (number {log.first})"
            if log.first == log.last
            else f"{log.name} (numbers {log.first} to {log.last})"
            for log in self.logs
        )


def load_hive(
    volume: GuestFilesystem, path: str, name: HiveName, scratch: Path, *, writable: bool = False
) -> tuple[Hive, HiveReplay | None]:
    """Copy a hive into the folder ``scratch`` and open the copy, its logs replayed if it is dirty.

    Raises GuestRefusedError, also for a dirty hive whose logs cannot be replayed.
    """
    data = volume.read(path, limit=MAX_HIVE_SIZE)
    replayed = None
    if needs_replay(data):
        data, replayed = _replayed(volume, path, name, data)
    local = scratch / name.value
    local.write_bytes(data)
    return Hive(local, name, writable=writable), replayed


def replay_note(name: HiveName, found: HiveReplay) -> str:
    """Return what a user should know of a replay."""
    note = (
        f"Windows had not yet written all its changes into the hive {name}; they were replayed "
        f"from {found.source}, as Windows does when it starts."
    )
    if found.base_recovered:
        note += " The hive's damaged header was replaced by the one that the log keeps."
    if found.torn is not None:
        note += (
            f" Number {found.torn} was cut off while Windows wrote it and is left out, as Windows "
            "itself leaves it out."
        )
    return note


def _replayed(
    volume: GuestFilesystem, path: str, name: HiveName, data: bytes
) -> tuple[bytes, HiveReplay]:
    result = replay(data, _logs_of(volume, path))
    if isinstance(result, NotReplayable):
        raise _not_recovered(name, data, result)
    return result.hive, HiveReplay(
        path, result.applied, len(result.hive) - len(data), result.torn, result.base_recovered
    )


def _not_recovered(name: HiveName, data: bytes, result: NotReplayable) -> GuestRefusedError:
    base = read_base_block(data)
    if base is None:
        return DamagedHiveError(
            f"The hive {name} is damaged: its header is not sound, and its transaction logs "
            f"cannot mend it: {result.detail}.",
            "Restore it from a backup or have Windows repair it (chkdsk, then a clean shutdown).",
        )
    return DirtyHiveError(
        f"The hive {name} is dirty: its sequence numbers are {base.primary} and "
        f"{base.secondary}, so changes of Windows wait in its transaction logs, and these cannot "
        f"be replayed: {result.detail}.",
        "Start the guest once where it still runs, shut it down completely, and try again.",
    )


def _logs_of(volume: GuestFilesystem, path: str) -> tuple[HiveLog, ...]:
    folder, _, hive = path.rpartition("/")
    wanted = {f"{hive}{suffix}".casefold() for suffix in _LOG_SUFFIXES}
    return tuple(
        HiveLog(entry.name, volume.read(f"{folder}/{entry.name}", limit=MAX_LOG_SIZE))
        for entry in volume.list_directory(folder)
        if entry.name.casefold() in wanted and not entry.is_directory
    )
