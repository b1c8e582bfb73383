"""Driver media: the directories and ISO images that driver packages are taken from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from offline_mig.drivers.iso import is_iso, read_from_iso, scan_iso
from offline_mig.drivers.listing import Listing, MediaInf
from offline_mig.drivers.tree import read_from_tree, scan_tree
from offline_mig.errors import SourceUnreadableError

_REMEDY = (
    "Give a virtio-win ISO, or a directory with driver packages laid out as on it: "
    "<driver>/<release>/<architecture>/, such as viostor/w10/amd64/."
)


@dataclass(frozen=True, slots=True)
class DriverMedia:
    """A directory or an ISO with driver packages, listed but for the INF files not read.

    ``files`` are the paths of all files, as written, by their lower-case forms.
    """

    path: Path
    infs: tuple[MediaInf, ...]
    files: Mapping[str, str] = field(repr=False)
    _read: Callable[[Collection[str]], dict[str, bytes]] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """What people know the medium by."""
        return self.path.name or str(self.path)

    def find(self, directory: str, path: str) -> str | None:
        """Return the file at ``path`` below ``directory`` in any letter case, as listed."""
        return self.files.get("/".join(part for part in (directory, path) if part).lower())

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        """Return the contents of files by their paths as listed.

        Raises SourceUnreadableError when one cannot be read or is too large.
        """
        return self._read(paths)


def open_media(path: Path) -> DriverMedia:
    """List the driver packages of a directory or an ISO image.

    Raises SourceUnreadableError when it is neither, cannot be read or has no INF, and
    HostNotReadyError when it is an ISO and the library that reads them is not there.
    """
    try:
        if path.is_dir():
            return _media(path, scan_tree(path), partial(read_from_tree, path))
        known = (path.is_file() or path.is_block_device()) and is_iso(path)
    except OSError as error:
        raise SourceUnreadableError(
            f"The driver source {path} cannot be read: {error.strerror or error}.",
            "Check its permissions and the disk that it lies on.",
        ) from error
    if not known:
        there = "is neither a driver directory nor an ISO image"
        raise SourceUnreadableError(
            f"The driver source {path} {there if path.exists() else 'does not exist'}.", _REMEDY
        )
    listing = scan_iso(path)
    return _media(path, listing, partial(read_from_iso, path, listing.links))


def _media(
    path: Path, listing: Listing, read: Callable[[Collection[str]], dict[str, bytes]]
) -> DriverMedia:
    if not listing.infs:
        raise SourceUnreadableError(f"{path} holds no driver packages (no INF file).", _REMEDY)
    infs = sorted(listing.infs, key=lambda inf: inf.path.lower())
    return DriverMedia(path, tuple(infs), listing.files, read)
