"""Where the files of an OVF lie: beside it in a folder, or in the tar archive of an OVA."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Window
from offline_mig.sources.file_access import exists, open_file, shown, stat_regular_file, unreadable
from offline_mig.sources.named_files import Bounds, check_name, find_inside
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.tar_members import TarMember, read_members

_SECTOR = 512
_PIECE = 1024 * 1024
_NETWORK = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
_LISTED = 10


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of an OVF: ``name`` as the OVF says it, ``size`` bytes from ``offset`` in ``path``."""

    name: str
    path: Path
    size: int
    offset: int = 0
    in_archive: bool = False

    @property
    def window(self) -> Window | None:
        """Where qemu is to look for it, in whole sectors; None for a file of its own.

        An archive pads its members with zeros.
        """
        if not self.in_archive:
            return None
        return Window(self.offset, -(-self.size // _SECTOR) * _SECTOR)

    def pieces(self) -> Iterator[bytes]:
        """Yield the content. Raises SourceUnreadableError when the storage fails."""
        with open_file(self.path, wrong_kind=SourceUnsafeError) as file:
            done = 0
            while done < self.size:
                piece = file.read(self.offset + done, min(_PIECE, self.size - done))
                if not piece:
                    raise SourceUnreadableError(
                        f"{shown(self.name)} became shorter while it was read.",
                        "Make sure that nothing else writes to it, then try again.",
                    )
                done += len(piece)
                yield piece

    def content(self, most: int, what: str) -> bytes:
        """Return all of it; raises SourceUnreadableError for more than ``most`` bytes."""
        if self.size > most:
            raise SourceUnreadableError(
                f"{shown(self.name)} has {self.size} bytes, too many for {what}.",
                "Copy it again from where it came from.",
            )
        return b"".join(self.pieces())


class OvfPackage(Protocol):
    """An OVF with its files. ``source`` is resolved: the OVF itself, or the archive."""

    source: Path
    descriptor: PackagedFile

    def find(self, name: str, role: str) -> PackagedFile | None:
        """Return the file of that name beside the descriptor, None when it is missing.

        Raises SourceUnsafeError for a name that leads elsewhere.
        """

    def where(self) -> str:
        """Return where the files are looked for, in words."""


class OvfFolder:
    """An OVF beside its disks."""

    def __init__(self, source: Path, bounds: Bounds) -> None:
        self.source = source
        self._bounds = bounds
        size = stat_regular_file(source).st_size
        self.descriptor = PackagedFile(source.name, source, size)

    def find(self, name: str, role: str) -> PackagedFile | None:
        """Return the file of that name beside the OVF, None when it is missing."""
        folder = self.source.parent
        for spelled in _spellings(name, self.source, role):
            path = find_inside(
                spelled, folder=folder, bounds=self._bounds, namer=self.source, role=role
            )
            if exists(path):
                size = stat_regular_file(path, wrong_kind=SourceUnsafeError).st_size
                return PackagedFile(spelled, path, size)
        return None

    def where(self) -> str:
        """Return the folder."""
        return shown(self.source.parent)


class OvaArchive:
    """An OVF and its disks in a tar archive, which stays as it is."""

    def __init__(self, source: Path) -> None:
        self.source = source
        members = read_members(source)
        self._members = {member.name: member for member in members}
        ovfs = [member for member in members if member.name.lower().endswith(".ovf")]
        if len(ovfs) != 1:
            found = ovfs or members
            names = ", ".join(shown(member.name) for member in found[:_LISTED])
            what = f"{len(ovfs)} OVF files: {names}" if ovfs else f"no OVF file, but {names}"
            raise SourceUnreadableError(
                f"{shown(source)} holds {what if found else 'no files at all'}.",
                "Give an OVA as it was exported, or unpack it and give one disk or OVF.",
            )
        self._folder = PurePosixPath(ovfs[0].name).parent
        self.descriptor = self._file(ovfs[0])

    def find(self, name: str, role: str) -> PackagedFile | None:
        """Return the member of that name beside the OVF, None when it is missing."""
        for spelled in _spellings(name, self.source, role):
            check_name(spelled, self.source, role, Bounds(self.source))
            member = self._members.get(str(self._folder / spelled))
            if member is not None:
                return self._file(member)
        return None

    def where(self) -> str:
        """Return the archive."""
        return shown(self.source)

    def _file(self, member: TarMember) -> PackagedFile:
        return PackagedFile(member.name, self.source, member.size, member.offset, in_archive=True)


def open_package(path: Path, options: SourceOptions, *, archive: bool) -> OvfPackage:
    """Return the OVF or OVA at ``path``.

    Raises SourceUnreadableError when it is missing or damaged, SourceUnsafeError for an archive
    that holds more than plain files.
    """
    try:
        source = path.resolve(strict=True)
    except OSError as error:
        raise unreadable(path, error) from error
    if archive:
        return OvaArchive(source)
    return OvfFolder(source, options.bounds(source.parent))


def _spellings(name: str, namer: Path, role: str) -> list[str]:
    """Return a name as it stands and with its percent signs resolved: it is a URI reference."""
    if _NETWORK.match(name):
        raise SourceUnsafeError(
            f'{shown(namer)} names "{shown(name)}" as its {role}, which lies on the network.',
            "Download the file beside the OVF and write its plain name into a copy of that.",
        )
    return list(dict.fromkeys((name, unquote(name))))
