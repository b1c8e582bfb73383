"""What every engine offers of the guest's system volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """One name in a directory. ``size`` is in bytes, 0 for directories."""

    name: str
    is_directory: bool
    size: int


class GuestFilesystem(Protocol):
    r"""The mounted system volume of a guest.

    Paths are absolute from the volume's root with forward slashes (``/Windows/System32``) and
    are looked up without regard to case, as Windows does; what is newly created gets the case
    that was asked for. Nothing here follows links out of the volume.
    """

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""

    def exists(self, path: str) -> bool:
        """Tell whether a file or directory of that name is there."""

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name; raises FileNotFoundError."""

    def read(self, path: str) -> bytes:
        """Return a file's content; raises FileNotFoundError."""

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``; raises FileNotFoundError."""

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place, keeping its attributes and ACL.

        The directory must exist; raises FileNotFoundError when it does not.
        """

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one; raises FileNotFoundError without a parent."""

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory; raises FileNotFoundError."""

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""
