"""What an engine does: open a guest's disks, read them, mount a volume of theirs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.partition_table import Partition
from offline_mig.machine import DiskFormat, Window


@dataclass(frozen=True, slots=True)
class OpenedDisk:
    """A disk image as an engine is to open it.

    ``files`` are the further files that it consists of (extents, backing files); the programs that
    read the image see no others. ``window`` is where in ``path`` the image lies, None for all of
    it; such a disk can only be opened read-only.
    """

    path: Path
    format: DiskFormat
    files: tuple[Path, ...] = ()
    window: Window | None = None


class GuestDisks(Protocol):
    """The opened disks of one guest. ``disk`` counts from 0 in the order they were given."""

    #: What the user should know about how the engine runs, such as a fall-back to emulation.
    notes: tuple[str, ...]

    def size(self, disk: int) -> int:
        """Return a disk's virtual size in bytes."""

    def read(self, disk: int, offset: int, size: int) -> bytes:
        """Return bytes of a disk, fewer at its end."""

    def write(self, disk: int, offset: int, data: bytes) -> None:
        """Write whole sectors of a disk that was opened writable, past every volume.

        Only what no mounted volume keeps in memory may be written so, such as boot code.
        """

    def mount(
        self, disk: int, partition: Partition, *, writable: bool, discard_session: bool = False
    ) -> AbstractContextManager[GuestFilesystem]:
        """Mount an NTFS or FAT volume for the time of a ``with`` block; several at a time will do.

        Which it is, its first sector says. Raises GuestRefusedError for one that is neither or is
        damaged, and when it can only be mounted read-only although ``writable`` was asked for.
        With ``discard_session`` the session in its hiberfil.sys is no reason for that: the file
        is deleted. Whether one waits in it, and what else is open, the caller has looked at.
        """


class Engine(Protocol):
    """A way to open disk images."""

    name: str
    #: Whether opening takes well under a second, so that doing it once more costs nothing.
    quick: bool

    def open(
        self, disks: tuple[OpenedDisk, ...], *, writable: bool
    ) -> AbstractContextManager[GuestDisks]:
        """Open the disks of one guest for the time of a ``with`` block.

        Raises HostNotReadyError, ToolFailedError.
        """
