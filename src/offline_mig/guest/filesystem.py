"""What every engine offers of a guest's volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from offline_mig.errors import GuestRefusedError

#: Where Windows keeps the session that it resumes.
HIBERFIL = "/hiberfil.sys"
#: Bytes that ``read`` returns at most unless told otherwise. The largest drivers, those of
#: graphics cards, have about 50 MiB; storage and network drivers have some hundred KiB.
READ_LIMIT = 64 * 1024 * 1024
#: What is said of a file that only its owner's key opens.
ENCRYPTED = "it is encrypted by Windows (EFS)"


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """One name in a directory. ``size`` is in bytes, 0 for directories."""

    name: str
    is_directory: bool
    size: int


class UnreadableFileError(GuestRefusedError):
    """A name in the guest is there, but it is no plain file or directory."""


class GuestFilesystem(Protocol):
    r"""A mounted volume of a guest: NTFS, or FAT as on an EFI system partition.

    Paths are absolute from the volume's root with forward slashes (``/Windows/System32``) and
    are looked up without regard to case, as Windows does; what is newly created gets the case
    that was asked for.

    No link is followed, neither out of the volume nor inside it: what a guest says of its
    ``System32\drivers`` must not decide which of its other folders is written to, and Windows has
    links nowhere on the paths that are used here. Neither is anything read that is no plain file:
    compressed by CompactOS, encrypted, kept elsewhere, or a pipe of Interix. Whatever meets such a
    thing raises UnreadableFileError.
    """

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name."""

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name; raises FileNotFoundError."""

    def read(self, path: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's content; raises FileNotFoundError.

        Raises GuestRefusedError for a file of more than ``limit`` bytes, of which a sparse one can
        have any number.
        """

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``; raises FileNotFoundError."""

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place, keeping its attributes and ACL.

        On NTFS a new one gets the ACL that Windows would have it inherit (inherited_security).
        The directory must exist; raises FileNotFoundError when it does not.
        """

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one; raises FileNotFoundError without a parent.

        Its ACL is as with a new file.
        """

    def create(self, directories: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Create directories, outer ones first, and files; none of them may be there yet.

        Raises FileNotFoundError for one whose parent neither is there nor comes before it.
        """

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory; raises FileNotFoundError."""

    def walk(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return all that is below a directory, outer ones first; raises FileNotFoundError.

        The names are paths from there: ``Drivers/vmci.sys``. A link is a file without content.
        """

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it; raises FileNotFoundError.

        A link goes itself, and what it leads to stays.
        """

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""


def create_one_by_one(
    volume: GuestFilesystem, directories: Sequence[str], files: Mapping[str, bytes]
) -> None:
    """Do what GuestFilesystem.create does where that is no slower."""
    for directory in directories:
        volume.make_directory(directory)
    for path, data in files.items():
        volume.write(path, data)


def walk_one_by_one(
    volume: GuestFilesystem, path: str, below: str = ""
) -> Iterator[DirectoryEntry]:
    """Do what GuestFilesystem.walk does where listing a directory takes no time."""
    for entry in volume.list_directory(f"{path}/{below}"):
        yield replace(entry, name=f"{below}{entry.name}")
        if entry.is_directory:
            yield from walk_one_by_one(volume, path, f"{below}{entry.name}/")


def delete_one_by_one(volume: GuestFilesystem, path: str) -> None:
    """Do what GuestFilesystem.delete_tree does where deleting a file takes no time."""
    parent, _, name = (volume.resolve(path) or path).rpartition("/")
    listed = volume.list_directory(parent or "/")
    if any(entry.name == name and entry.is_directory for entry in listed):
        for entry in reversed(volume.walk(path)):
            volume.delete(f"{path}/{entry.name}")
    volume.delete(path)


def too_large(path: str, limit: int, size: int | None = None) -> GuestRefusedError:
    """Return the error for a file of more than ``limit`` bytes."""
    found = f"more than {limit // 1024**2}" if size is None else f"{size // 1024**2}"
    return GuestRefusedError(
        f"The guest's {path} has {found} MiB; a sound file of that name has at most "
        f"{limit // 1024**2} MiB.",
        "See what it is where the guest still runs; remove it or replace it by the real one.",
    )


def not_plain(path: str, what: str) -> UnreadableFileError:
    """Return the error for what is neither a plain file nor a directory."""
    return UnreadableFileError(
        f"The guest's {path} cannot be used: {what}.",
        "If Windows is compressed in the guest (CompactOS), run 'compact.exe /CompactOS:never' "
        "there, or 'compact.exe /U /EXE' for one file; replace a link by what it points to. Then "
        "shut the guest down and try again.",
    )
