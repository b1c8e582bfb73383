"""RPM packages of drivers, read in place: no rpm program, nothing unpacked but an image inside.

virtio-win's have ``/usr/share/virtio-win/drivers/by-driver/`` laid out as the ISO is, the same
files once more in ``by-os/`` and ``<architecture>/<Release>/``, and ``virtio-win-<version>.iso``;
those of later distributions have the image alone (virtio-win/virtio-win-pkg-scripts).
Such a package has some hundred megabytes, compressed as one: whoever wants a file must go through
all that come before. So it is gone through once, and what a driver package may consist of is kept.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.drivers.archive import BLOCK, load_libarchive
from offline_mig.drivers.copies import without_copies
from offline_mig.drivers.cpio import CpioEntry, CpioError, CpioReader
from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.listing import (
    INF_TOO_LARGE,
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
from offline_mig.drivers.rpm_digest import rpm_damage
from offline_mig.errors import SourceUnreadableError

#: RPMLEAD_MAGIC of rpm's lib/rpmlead.c.
_MAGIC = b"\xed\xab\xee\xdb"
#: What payloads are compressed with: gzip and xz from the beginning, zstd since Fedora 31, the
#: others once. Not all of libarchive's filters: some run programs.
_COMPRESSIONS = ("gzip", "xz", "zstd", "lzma", "bzip2")
#: Bytes when unpacked. virtio-win's packages have about two thousand million, with an ISO of seven
#: hundred million and the symbols of all drivers.
MAX_UNPACKED = 4 * 1024**3
#: What INF files name; symbols, installers and documents are left where they are.
_KEPT = (".inf", ".cat", ".sys", ".dll", ".exe")
#: Bytes of a file that is kept. The largest of virtio-win, co-installers, have two million.
_MAX_KEPT_FILE = 8 * 1024 * 1024
#: Bytes of all that is kept, what has the same contents once: virtio-win's have some fifty million.
MAX_KEPT = 256 * 1024 * 1024
#: Symbolic links that lead to symbolic links; the kernel follows forty.
_MAX_HOPS = 8

_DAMAGED = "Download it again and compare its checksum."


@dataclass(frozen=True, slots=True)
class RpmContents:
    """What an RPM holds: its files, those of them that were kept, and an ISO image inside.

    ``kept`` is by lower-case paths as ``listing.links`` leads to them. ``image`` and its name are
    there only when the package has no INF of its own.
    """

    listing: Listing
    kept: Mapping[str, bytes] = field(repr=False)
    image: NestedImage | None = None
    image_name: str = ""


def is_rpm(path: Path) -> bool:
    """Tell whether a file has the mark of an RPM package. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def scan_rpm(path: Path) -> RpmContents:
    """List an RPM in one pass, reading its INF files and keeping what belongs to drivers.

    What has a digest is checked by it before.

    Raises SourceUnreadableError when it is damaged or too large when unpacked, HostNotReadyError
    without libarchive or without room for the image inside.
    """
    scan = _Scan(path)
    _require_undamaged(path)
    with _reading(path) as reader:
        for count, entry in enumerate(reader):
            if count >= MAX_ENTRIES:
                raise too_many_files(path)
            if scan.take(entry, reader):
                break
    return scan.finish()


def read_from_rpm(path: Path, contents: RpmContents, wanted: Collection[str]) -> dict[str, bytes]:
    """Read files by their paths as listed, in a further pass when they were not kept.

    Raises SourceUnreadableError when one is too large, or when the RPM is damaged or changed.
    """
    links, kept = contents.listing.links, contents.kept
    places = {name: links.get(name.lower(), name.lower()) for name in wanted}
    missing = {place for place in places.values() if place not in kept}
    found = {place: kept[place] for place in places.values() if place in kept}
    left = MAX_PACKAGE_SIZE
    with _reading(path) as reader:
        for entry in reader if missing else ():
            name = _name(entry)
            place = links.get(name.lower(), name.lower()) if name is not None else ""
            if place not in missing or not entry.is_file or _comes_later(entry):
                continue
            if entry.size > min(MAX_FILE_SIZE, left):
                raise file_too_large(path.name, name or "")
            found[place] = reader.read()
            left -= entry.size
            missing.discard(place)
            if not missing:
                break
    for name, place in places.items():
        if place not in found:
            raise SourceUnreadableError(
                f"{path.name}: {name} has no contents, or is no longer there.",
                "Leave the package alone while it is being read, or download it again.",
            )
    return {name: found[place] for name, place in places.items()}


def rpm_files(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the wanted regular files of any RPM: their names, and their contents in pieces.

    Contents are good until the next file is asked for. Of files with several names the one that
    has the contents is yielded. Raises SourceUnreadableError, HostNotReadyError without libarchive.
    """
    _require_undamaged(path)
    with _reading(path) as reader:
        for count, entry in enumerate(reader):
            if count >= MAX_ENTRIES:
                raise too_many_files(path)
            name = _name(entry)
            if name is not None and entry.is_file and not _comes_later(entry) and wanted(name):
                yield name, map(bytes, reader.contents())


class _Scan:
    """What is known of a package in the middle of the pass through it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._symbolic: dict[str, tuple[str, str]] = {}
        self._first_names: dict[tuple[int, int, int], str] = {}
        self._kept: dict[str, bytes] = {}
        self._by_hash: dict[bytes, bytes] = {}
        self._size = self._infs_size = 0
        self._too_large: set[str] = set()
        self._has_infs = False
        self._image: NestedImage | None = None
        self._image_name = ""

    def take(self, entry: CpioEntry, reader: CpioReader) -> bool:
        """Take in one entry. Returns whether what is to come does not matter.

        The files of a package are in order, so that an image comes after the drivers.
        """
        name = _name(entry)
        if name is None or name.lower() in self._files:
            return False  # A name that differs in letter case only: Windows sees the first.
        key = name.lower()
        if entry.is_link:
            self._symbolic[key] = (name, reader.target())
        if not entry.is_file:
            return False
        is_image = key.endswith(".iso")
        if is_image and self._has_infs:
            return True
        self._files[key] = name
        self._has_infs = self._has_infs or is_inf(name)
        if entry.names > 1:
            first = self._first_names.setdefault(entry.identity, key)
            if first != key:
                self._links[key] = first
            if _comes_later(entry):
                return False
            key = first
        if is_image and self._image is None:
            shown = f"{name.rpartition('/')[2]} in {self._path}"
            self._image = NestedImage(shown, entry.size, reader.contents())
            self._image_name = name
        else:
            self._keep(key, name, entry, reader)
        return False

    def finish(self) -> RpmContents:
        """Return what was found."""
        self._follow_links()
        found = [self._inf(key, name) for key, name in self._files.items() if is_inf(name)]
        listing = without_copies(Listing(self._files, tuple(found), self._links), self._kept)
        image = None if found else self._image
        return RpmContents(listing, self._kept, image, self._image_name if image else "")

    def _keep(self, key: str, name: str, entry: CpioEntry, reader: CpioReader) -> None:
        if key in self._kept or not name.lower().endswith(_KEPT):
            return
        room = min(_MAX_KEPT_FILE, MAX_KEPT - self._size)
        if is_inf(name):
            if entry.size > MAX_INF_SIZE:
                self._too_large.add(key)
                return
            room = MAX_INFS_SIZE - self._infs_size
            self._infs_size += entry.size
            if entry.size > room:
                raise too_many_files(self._path)
        if entry.size <= room:
            data = reader.read()
            known = self._by_hash.setdefault(hashlib.sha256(data).digest(), data)
            self._size += len(data) if known is data else 0
            self._kept[key] = known

    def _inf(self, key: str, name: str) -> MediaInf:
        key = self._links.get(key, key)
        if key in self._too_large:
            return MediaInf(name, None, INF_TOO_LARGE)
        data = self._kept.get(key)
        return MediaInf(name, data, "" if data is not None else "it has no contents")

    def _follow_links(self) -> None:
        """Give files the names that symbolic links have for them; other links lead nowhere."""
        for key, (name, target) in self._symbolic.items():
            current, leads_to = name, target
            for _ in range(_MAX_HOPS):
                joined = posixpath.normpath(posixpath.join(posixpath.dirname(current), leads_to))
                place = (safe_path(joined.lstrip("/")) or "").lower()
                if place not in self._symbolic:
                    break
                current, leads_to = self._symbolic[place]
            if place in self._files and key not in self._files:
                self._links[key] = self._links.get(place, place)
                self._files[key] = name


def _name(entry: CpioEntry) -> str | None:
    # ./usr/share/..., or absolute: either way from the top of the system that it is made for.
    return safe_path(entry.name.lstrip("/"))


def _comes_later(entry: CpioEntry) -> bool:
    """Tell whether the contents come with another name of the same file."""
    return entry.names > 1 and entry.size == 0


def _require_undamaged(path: Path) -> None:
    try:
        damage = rpm_damage(path)
    except OSError as error:
        raise unreadable_source(path, error) from error
    if damage is not None:
        raise _damaged(path, damage)


@contextmanager
def _reading(path: Path) -> Iterator[CpioReader]:
    libarchive = load_libarchive()
    try:
        with (
            path.open("rb") as file,
            closing(_unpacked(path, file.fileno())) as blocks,
        ):
            yield CpioReader(blocks)
    except CpioError as error:
        raise _damaged(path, str(error)) from error
    except libarchive.ArchiveError as error:
        raise _damaged(path, str(error.msg)) from error
    except OSError as error:
        raise unreadable_source(path, error) from error


def _unpacked(path: Path, descriptor: int) -> Generator[bytes]:
    """Yield the payload without its compression."""
    from libarchive import ffi
    from libarchive.read import ArchiveRead, new_archive_read

    with new_archive_read("raw", "rpm") as handle:
        for name in _COMPRESSIONS:
            ffi.get_read_filter_function(name)(handle)
        ffi.read_open_fd(handle, descriptor, BLOCK)
        archive = ArchiveRead(handle)
        for payload in archive:
            # What is compressed twice may unpack to anything before a byte of it is seen here.
            if len(archive.filter_names) > 2:
                raise _damaged(path, "its payload is compressed more than once")
            left = MAX_UNPACKED
            for block in payload.get_blocks(BLOCK):
                left -= len(block)
                if left < 0:
                    raise SourceUnreadableError(
                        f"The RPM package {path} unpacks to more than {MAX_UNPACKED} bytes, which "
                        "no package of drivers does.",
                        "Download it again from where it was published.",
                    )
                yield block


def _damaged(path: Path, reason: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"The RPM package {path} is damaged or incomplete: {reason}.", _DAMAGED
    )
