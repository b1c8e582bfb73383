"""What a driver medium holds, as its reader found it, and how much of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.errors import SourceUnreadableError

#: Bytes. The largest driver files of virtio-win have some hundred kilobytes.
MAX_FILE_SIZE = 64 * 1024 * 1024
#: Bytes of all files of one package.
MAX_PACKAGE_SIZE = 256 * 1024 * 1024
#: A virtio-win ISO has some thousand entries.
MAX_ENTRIES = 200_000
#: Bytes of all INF files. Those of a virtio-win ISO have some five million.
MAX_INFS_SIZE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class MediaInf:
    """An INF on a medium: its path there, and its bytes or why they could not be read."""

    path: str
    data: bytes | None = field(repr=False)
    problem: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]

    @property
    def directory(self) -> str:
        """The directory that the INF lies in, "" for the top."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Listing:
    """The paths of all files, as written, by their lower-case forms; and the INF files.

    ``links`` are files that are further names of another: lower-case paths of both.
    """

    files: Mapping[str, str]
    infs: tuple[MediaInf, ...]
    links: Mapping[str, str] = field(default_factory=dict)


def is_inf(path: str) -> bool:
    """Tell whether a path names an INF."""
    return path.lower().endswith(".inf")


def safe_path(path: str) -> str | None:
    """Return a path on a medium in its plain form; None for one that leads out of the medium.

    Nothing is ever written under such a path. This is so that no name can stand for another.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts:
        return None
    if any(char in path for char in "\\\0"):
        return None
    return "/".join(parts)


#: Why an INF is not read.
INF_TOO_LARGE = f"it is larger than {MAX_INF_SIZE} bytes, which no INF is"


def too_many_files(shown: str | Path) -> SourceUnreadableError:
    """Return the error for a medium with more files than a collection of drivers has."""
    return SourceUnreadableError(
        f"{shown} holds more files than any collection of drivers.",
        "Give a virtio-win ISO, or a directory with nothing but driver packages.",
    )


def file_too_large(medium: str, name: str) -> SourceUnreadableError:
    """Return the error for a driver file that is larger than any is."""
    return SourceUnreadableError(
        f"{medium}: {name} is larger than any driver file.",
        "Take the driver package from an untouched virtio-win ISO or RPM.",
    )


def unreadable_source(shown: str | Path, error: OSError) -> SourceUnreadableError:
    """Return the error for a medium that the system does not let be read."""
    return SourceUnreadableError(
        f"The driver source {shown} cannot be read: {error.strerror or error}.",
        "Check its permissions and the disk that it lies on.",
    )
