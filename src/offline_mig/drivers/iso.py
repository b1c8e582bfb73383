"""ISO images of drivers, read in place through libarchive: no mount, nothing unpacked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_mig.drivers.archive import (
    entry_content,
    entry_inf,
    entry_text,
    load_libarchive,
    shortfall,
)
from offline_mig.drivers.listing import (
    MAX_ENTRIES,
    MAX_FILE_SIZE,
    MAX_INFS_SIZE,
    MAX_PACKAGE_SIZE,
    Listing,
    MediaInf,
    file_too_large,
    is_inf,
    safe_path,
    too_many_files,
    unreadable_source,
)
from offline_mig.drivers.nested_image import NestedImage
from offline_mig.errors import SourceUnreadableError

#: ECMA-119: volume descriptors start at sector 16, each with "CD001" behind its type byte; the
#: primary one, which is the first, has the volume's size in sectors at byte 80.
_SECTOR = 2048
_DESCRIPTOR = 16 * _SECTOR
_IDENTIFIER = b"CD001"
_VOLUME_SIZE = slice(80, 84)
#: Bytes of a directory record with a name of one letter (ECMA-119, 9.1).
_SHORTEST_RECORD = 34


@dataclass(frozen=True, slots=True)
class IsoImage:
    """An ISO image: where it can be opened, and what messages call it, in full and in short.

    ``backing`` is held on to for as long as the image is.
    """

    file: Path
    shown: str
    name: str
    backing: NestedImage | None = None

    @classmethod
    def at(cls, path: Path) -> IsoImage:
        """Return the image that is a file of its own."""
        return cls(path, str(path), path.name)


def is_iso(path: Path) -> bool:
    """Tell whether a file has the mark of an ISO 9660 image. Raises OSError."""
    return _descriptor(path)[1:6] == _IDENTIFIER


def scan_iso(image: IsoImage) -> Listing:
    """List an ISO and read its INF files, in one pass.

    Raises SourceUnreadableError when it is damaged, HostNotReadyError without libarchive.
    """
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    infs: dict[str, MediaInf] = {}
    total = 0
    with _reading(image) as entries:
        for name, entry in entries:
            key = name.lower()
            if key in files:
                continue  # A name that differs in letter case only: Windows sees the first.
            files[key] = name
            # Names for the same extent come as hard links to the first of them, without data.
            target = _link_target(entry)
            if target is not None:
                target = links.get(target, target)
                links[key] = target
            if not is_inf(name):
                continue
            if target is None:
                infs[key] = entry_inf(name, entry)
            elif target in infs:
                infs[key] = MediaInf(name, infs[target].data, infs[target].problem)
            else:
                infs[key] = MediaInf(name, None, f"it is {target} under another name")
            total += len(infs[key].data or b"")
            if total > MAX_INFS_SIZE:
                raise too_many_files(image.shown)
    return Listing(files, tuple(infs.values()), links)


def read_from_iso(
    image: IsoImage, links: Mapping[str, str], wanted: Collection[str]
) -> dict[str, bytes]:
    """Read files by their paths as listed, in one pass that ends with the last of them.

    Raises SourceUnreadableError when one is too large, or when the ISO is damaged or changed.
    """
    needed = {links.get(name.lower(), name.lower()) for name in wanted}
    found: dict[str, bytes] = {}
    left = MAX_PACKAGE_SIZE
    with _reading(image) as entries:
        for name, entry in entries if needed else ():
            if name.lower() not in needed or name.lower() in found:
                continue
            data = entry_content(entry, min(MAX_FILE_SIZE, left))
            if data is None:
                raise file_too_large(image.name, name)
            if short := shortfall(entry, data):
                raise SourceUnreadableError(
                    f"{image.name}: {name} cannot be read: {short}.",
                    "Give an untouched virtio-win ISO or a directory with its contents.",
                )
            left -= len(data)
            found[name.lower()] = data
            if len(found) == len(needed):
                break
    for name in wanted:
        if links.get(name.lower(), name.lower()) not in found:
            raise SourceUnreadableError(
                f"{image.name}: {name} is no longer there.",
                "Leave the ISO alone while it is being read.",
            )
    return {name: found[links.get(name.lower(), name.lower())] for name in wanted}


@contextlib.contextmanager
def _reading(image: IsoImage) -> Iterator[Iterator[tuple[str, Any]]]:
    """Open an ISO; what comes out are the regular files, each readable until the next."""
    libarchive = load_libarchive()
    try:
        with (
            # Not by its name, which libarchive must be able to write in the locale.
            image.file.open("rb") as file,
            libarchive.fd_reader(file.fileno(), "iso9660", "none") as archive,
        ):
            yield _regular_files(image, archive)
    except libarchive.ArchiveError as error:
        raise _damaged(image, str(error.msg)) from error
    except OSError as error:
        raise unreadable_source(image.shown, error) from error


def _regular_files(image: IsoImage, archive: Any) -> Iterator[tuple[str, Any]]:
    room = _size(image.file) // _SHORTEST_RECORD
    for count, entry in enumerate(archive):
        if count >= MAX_ENTRIES:
            raise too_many_files(image.shown)
        if count >= room:  # libarchive lists files that lie over the descriptors without end.
            raise _damaged(image, "it lists more files than it has room for")
        if not entry.isreg:
            continue  # Symbolic links of an ISO lead anywhere; virtio-win has none.
        name = safe_path(entry_text(entry.pathname))
        if name is not None:
            yield name, entry


def _link_target(entry: Any) -> str | None:
    return entry_text(entry.linkpath).lower() if entry.islnk else None


def _damaged(image: IsoImage, reason: str) -> SourceUnreadableError:
    try:
        expected = int.from_bytes(_descriptor(image.file)[_VOLUME_SIZE], "little") * _SECTOR
        size = _size(image.file)
    except OSError:
        expected = size = 0
    if expected > size > 0:
        return SourceUnreadableError(
            f"The ISO image {image.shown} is incomplete: it has {size} of {expected} bytes.",
            "Download it again and compare its checksum.",
        )
    return SourceUnreadableError(
        f"The ISO image {image.shown} is damaged: {reason}.",
        "Download it again and compare its checksum.",
    )


def _size(path: Path) -> int:
    """Return the bytes of a file or a block device, which its entry does not tell."""
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _descriptor(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(_DESCRIPTOR)
        return file.read(_SECTOR)
