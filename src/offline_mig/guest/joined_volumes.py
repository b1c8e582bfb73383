r"""Several volumes of a guest and single sectors of its disks, behind one file system.

A path that begins with a slash is on the system volume. ``1:1:/EFI/BOOT/BOOTX64.EFI`` is on the
first partition of the first disk; ``1:1:boot sector`` is that partition's first sector, and
``1:first sector`` the disk's, as if they were files. So a plan for more than the system volume, its
journal and its undoing are made like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.filesystem import READ_LIMIT, DirectoryEntry, GuestFilesystem
from offline_mig.guest.partition_table import SECTOR, Partition, PartitionTable
from offline_mig.guest.refusal import volume_name
from offline_mig.guest.volume_state import require_writable

FIRST_SECTOR = "first sector"
BOOT_SECTOR = "boot sector"
_ELSEWHERE = re.compile(
    r"(?P<disk>[1-9][0-9]{0,3}):(?:(?P<partition>[0-9]{1,5}):)?"
    r"(?P<path>/.*|first sector|boot sector)",
    re.ASCII | re.DOTALL,
)


def on_partition(disk: int, partition: Partition, path: str) -> str:
    """Return the name of a path on a volume that need not be the system volume."""
    return f"{volume_name(disk, partition)}:{path}"


def boot_sector_of(disk: int, partition: Partition) -> str:
    """Return the name of a volume's first sector."""
    return f"{volume_name(disk, partition)}:{BOOT_SECTOR}"


def first_sector_of(disk: int) -> str:
    """Return the name of a disk's first sector, which holds its master boot record."""
    return f"{disk + 1}:{FIRST_SECTOR}"


@dataclass(frozen=True, slots=True)
class _Sector:
    disk: int
    offset: int


class JoinedVolumes:
    """The system volume and whatever else of the disks is named, see GuestFilesystem.

    A context manager: other volumes are mounted when they are first named, and written out when
    the block ends. ``system`` is mounted by whoever makes it.
    """

    def __init__(
        self,
        system: GuestFilesystem,
        disks: GuestDisks,
        tables: Sequence[PartitionTable],
        place: tuple[int, Partition],
        *,
        writable: bool,
    ) -> None:
        self._system = system
        self._disks = disks
        self._tables = tables
        self._writable = writable
        self._system_name = volume_name(*place)
        self._mounted = {self._system_name: system}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin; nothing is mounted yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write out and close what was mounted."""
        self._stack.__exit__(kind, error, trace)

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""
        try:
            volume, below, prefix = self._find(path)
        except FileNotFoundError:
            return None
        if isinstance(volume, _Sector):
            return path
        found = volume.resolve(below)
        return None if found is None else prefix + found

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name."""
        try:
            volume, below, _ = self._find(path)
        except FileNotFoundError:
            return False
        return isinstance(volume, _Sector) or volume.exists(below)

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            raise FileNotFoundError(path)
        return volume.list_directory(below)

    def read(self, path: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's content; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            return self._disks.read(volume.disk, volume.offset, SECTOR)
        return volume.read(below, limit=limit)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            return self.read(path)[offset : offset + size]
        return volume.read_part(below, offset, size)

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place; a sector takes a whole sector."""
        volume, below, _ = self._find(path)
        if not isinstance(volume, _Sector):
            volume.write(below, data)
        elif len(data) != SECTOR:
            raise ValueError(f"{path} has {SECTOR} bytes, not {len(data)}")
        else:
            self._disks.write(volume.disk, volume.offset, data)

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one; raises FileNotFoundError without a parent."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            raise FileNotFoundError(path)
        volume.make_directory(below)

    def create(self, directories: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Create directories and files, none of which is there yet; sectors always are."""
        folders: dict[int, list[str]] = {}
        contents: dict[int, dict[str, bytes]] = {}
        volumes: dict[int, GuestFilesystem] = {}
        for path in (*directories, *files):
            volume, below, _ = self._find(path)
            if isinstance(volume, _Sector):
                raise FileExistsError(path)
            volumes[id(volume)] = volume
            if path in files:
                contents.setdefault(id(volume), {})[below] = files[path]
            else:
                folders.setdefault(id(volume), []).append(below)
        for key, volume in volumes.items():
            volume.create(folders.get(key, []), contents.get(key, {}))

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            raise FileNotFoundError(path)
        volume.delete(below)

    def walk(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return all that is below a directory, outer ones first; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            raise FileNotFoundError(path)
        return volume.walk(below)

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it; raises FileNotFoundError."""
        volume, below, _ = self._find(path)
        if isinstance(volume, _Sector):
            raise FileNotFoundError(path)
        volume.delete_tree(below)

    def free_space(self) -> int:
        """Return the free space of the system volume, in bytes."""
        return self._system.free_space()

    def require_writable(self, paths: Iterable[str]) -> None:
        """Raise GuestRefusedError when a path is on another volume that must not be written.

        The system volume is for the caller to look at, who knows of the session in it.
        """
        places: dict[str, tuple[int, Partition]] = {}
        for path in paths:
            if path.startswith("/"):
                continue
            disk, partition, below = self._elsewhere(path)
            if partition is not None and below.startswith("/"):
                places[volume_name(disk, partition)] = (disk, partition)
        for name, place in places.items():
            if name != self._system_name:
                require_writable(self._disks, *place)

    def _find(self, path: str) -> tuple[GuestFilesystem | _Sector, str, str]:
        """Return where a path is, the path there, and what stands before it."""
        if path.startswith("/"):
            return self._system, path, ""
        disk, partition, below = self._elsewhere(path)
        if partition is None:
            return _Sector(disk, 0), path, ""
        if below == BOOT_SECTOR:
            return _Sector(disk, partition.start), path, ""
        name = volume_name(disk, partition)
        return self._volume(disk, partition), below, f"{name}:"

    def _elsewhere(self, path: str) -> tuple[int, Partition | None, str]:
        """Take the name of a place apart; the partition is None for a disk's first sector."""
        match = _ELSEWHERE.fullmatch(path)
        disk = int(match["disk"]) - 1 if match else 0
        if match is None or disk >= len(self._tables):
            raise FileNotFoundError(path)
        if match["path"] == FIRST_SECTOR and match["partition"] is None:
            return disk, None, FIRST_SECTOR
        partition = self._partition(disk, match["partition"])
        if partition is None or match["path"] == FIRST_SECTOR:
            raise FileNotFoundError(path)
        return disk, partition, match["path"]

    def _partition(self, disk: int, number: str | None) -> Partition | None:
        found = [p for p in self._tables[disk].partitions if str(p.number) == number]
        return found[0] if len(found) == 1 else None

    def _volume(self, disk: int, partition: Partition) -> GuestFilesystem:
        name = volume_name(disk, partition)
        if name not in self._mounted:
            if self._writable:
                # Of NTFS that is dirty the engines' own readers say nothing.
                require_writable(self._disks, disk, partition)
            self._mounted[name] = self._stack.enter_context(
                self._disks.mount(disk, partition, writable=self._writable)
            )
        return self._mounted[name]


def is_sector(path: str) -> bool:
    """Tell whether a path in the form of a known place names a sector."""
    return path.endswith((f":{FIRST_SECTOR}", f":{BOOT_SECTOR}")) and not path.startswith("/")


def is_known_place(path: str) -> bool:
    """Tell whether a path, such as a journal's, has the form of a place in a guest."""
    return path.startswith("/") or _ELSEWHERE.fullmatch(path) is not None
