"""Driver media: the directories, ISO images and RPM packages that drivers are taken from."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from offline_mig.drivers.iso import IsoImage, is_iso, read_from_iso, scan_iso
from offline_mig.drivers.listing import Listing, MediaInf, unreadable_source
from offline_mig.drivers.rpm import is_rpm, read_from_rpm, scan_rpm
from offline_mig.drivers.tree import read_from_tree, scan_tree
from offline_mig.errors import SourceUnreadableError

_REMEDY = (
    "Give a virtio-win ISO or RPM, or a directory with driver packages laid out as on it: "
    "<driver>/<release>/<architecture>/, such as viostor/w10/amd64/."
)


#: Installers that a message names.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DriverMedia:
    """A directory, an ISO or an RPM with driver packages, listed but for the INF files not read.

    ``name`` is what people know it by. ``above`` is where a directory itself lies, with its name,
    and "" for what has its directories inside. ``files`` are the paths of all files, as written,
    by their lower-case forms.
    """

    path: Path
    name: str
    infs: tuple[MediaInf, ...]
    files: Mapping[str, str] = field(repr=False)
    _read: Callable[[Collection[str]], dict[str, bytes]] = field(repr=False, compare=False)
    above: str = ""

    def find(self, directory: str, path: str) -> str | None:
        """Return the file at ``path`` below ``directory`` in any letter case, as listed."""
        return self.files.get("/".join(part for part in (directory, path) if part).lower())

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        """Return the contents of files by their paths as listed.

        Raises SourceUnreadableError when one cannot be read or is too large.
        """
        return self._read(paths)


def open_media(path: Path) -> DriverMedia:
    """List the driver packages of a directory, an ISO image or an RPM package.

    Raises SourceUnreadableError when it is none of them, cannot be read or has no INF, and
    HostNotReadyError when the library that reads archives is not there, or no room for an image
    inside a package.
    """
    # It is told in reports, which are text, be the name text or not.
    name = os.fsencode(path.name or path).decode("utf-8", "backslashreplace")
    try:
        if path.is_dir():
            listed = _media(path, name, scan_tree(path), partial(read_from_tree, path))
            return replace(listed, above=path.absolute().as_posix())
        is_file = path.is_file()
        package = is_file and is_rpm(path)
        image = (is_file or path.is_block_device()) and is_iso(path)
    except OSError as error:
        raise unreadable_source(path, error) from error
    if package:
        return _package(path, name)
    if image:
        return _image(path, name, IsoImage.at(path))
    there = "is neither a driver directory nor an ISO image nor an RPM package"
    raise SourceUnreadableError(
        f"The driver source {path} {there if path.exists() else 'does not exist'}.", _REMEDY
    )


def _image(path: Path, name: str, image: IsoImage) -> DriverMedia:
    listing = scan_iso(image)
    return _media(path, name, listing, partial(read_from_iso, image, listing.links))


def _package(path: Path, name: str) -> DriverMedia:
    contents = scan_rpm(path)
    if contents.image is None:
        return _media(path, name, contents.listing, partial(read_from_rpm, path, contents))
    inside = contents.image_name.rpartition("/")[2]
    backing = contents.image
    image = IsoImage(backing.path, f"{inside} in {path}", inside, backing)
    return _image(path, f"{name} ({inside})", image)


def _media(
    path: Path, name: str, listing: Listing, read: Callable[[Collection[str]], dict[str, bytes]]
) -> DriverMedia:
    if not listing.infs:
        raise _no_drivers(path, listing)
    infs = sorted(listing.infs, key=lambda inf: inf.path.lower())
    return DriverMedia(path, name, tuple(infs), listing.files, read)


def _no_drivers(path: Path, listing: Listing) -> SourceUnreadableError:
    """Return the error for a medium without a single INF; what it has instead is told."""
    names = sorted(listing.files.values(), key=str.lower)
    inside = [name for name in names if name.lower().endswith((".iso", ".rpm"))]
    installers = [name for name in names if name.lower().endswith(".msi")]
    message = f"{path} holds no driver packages (no INF file)."
    if inside and path.is_dir():
        return SourceUnreadableError(message, f"Give {path / inside[-1]}, which lies there.")
    if installers:
        shown = [name.rpartition("/")[2] for name in installers[:_SHOWN]]
        more = f" and {len(installers) - _SHOWN} more" if len(installers) > _SHOWN else ""
        message += f" It has installers for a running Windows: {', '.join(shown)}{more}."
    return SourceUnreadableError(message, _REMEDY)
