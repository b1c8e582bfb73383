"""The members of a tar archive and where in it they lie; nothing is unpacked.

An OVA is a tar archive of plain files (DMTF DSP0243, 5.3). Their contents are stored as they are,
in whole blocks of 512 bytes.
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.sources.file_access import OpenFile, open_file, shown

_BLOCK = 512
#: An OVA holds a handful of files; the list of a hostile one must not fill the memory.
_MAX_MEMBERS = 10_000
#: Long names and pax headers are read whole; real ones have some hundred bytes.
_MAX_HEADER = 256 * 1024
_COPY_AGAIN = (
    "Copy the archive again and compare its size and checksum with the original; a download or "
    "copy seems to have been cut short."
)


@dataclass(frozen=True, slots=True)
class TarMember:
    """A plain file of an archive: ``size`` bytes from ``offset``.

    ``name`` has no leading ``./``.
    """

    name: str
    offset: int
    size: int


def read_members(path: Path) -> tuple[TarMember, ...]:
    """Return the files of the archive at ``path``, in order.

    Raises SourceUnreadableError for an archive that is damaged, cut off or holds a name twice,
    SourceUnsafeError for one with links, devices or names that lead out of it.
    """
    members: dict[str, TarMember] = {}
    with open_file(path) as file:
        try:
            with tarfile.open(
                fileobj=_Headers(file), mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as archive:
                seen = 0
                while (found := archive.next()) is not None:
                    # tarfile keeps all that it has seen.
                    seen += 1
                    if seen > _MAX_MEMBERS:
                        raise SourceUnreadableError(
                            f"{shown(path)} holds more than {_MAX_MEMBERS} files.",
                            "Give an OVA as it was exported.",
                        )
                    member = _judged(path, found, file.size)
                    if member is None:
                        continue
                    if member.name in members:
                        raise SourceUnreadableError(
                            f"{shown(path)} holds {shown(member.name)} twice.",
                            "Unpack it with 'tar -xf' and see which is right, or export the "
                            "machine again.",
                        )
                    members[member.name] = member
                end = archive.offset
        except (tarfile.TarError, ValueError, OSError, EOFError, RecursionError) as error:
            raise SourceUnreadableError(
                f"{shown(path)} is no sound tar archive: {error}.", _COPY_AGAIN
            ) from error
        # tarfile takes a damaged header for the end of the archive.
        if any(file.read(end, _BLOCK)):
            raise SourceUnreadableError(
                f"{shown(path)} is damaged: at byte {end} there is no header of a file.",
                _COPY_AGAIN,
            )
    return tuple(members.values())


def _judged(path: Path, found: tarfile.TarInfo, file_size: int) -> TarMember | None:
    """Return a member that is fit to be used, None for a folder."""
    name = found.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise SourceUnsafeError(
            f'{shown(path)} holds a file called "{shown(found.name)}", which leads out of the '
            "archive.",
            "Do not use this archive unless you know how it was made.",
        )
    if found.isdir():
        return None
    # isreg() is true of sparse files, too.
    if found.issparse() or not found.isreg():
        kind = "sparse file" if found.issparse() else "link, device or the like"
        raise SourceUnsafeError(
            f"{shown(path)} holds a {kind}, {shown(found.name)}; an OVA consists of plain files.",
            "Unpack it with 'tar -xf' where you trust it, and give the OVF inside.",
        )
    if found.size < 0 or found.offset_data < 0:
        raise SourceUnreadableError(
            f"{shown(path)} states {found.size} bytes for {shown(found.name)}.", _COPY_AGAIN
        )
    # qemu reads whole blocks, so the last one has to be there as well.
    end = found.offset_data + -(-found.size // _BLOCK) * _BLOCK
    if end > file_size:
        raise SourceUnreadableError(
            f"{shown(path)} is cut off: {shown(found.name)} ends at byte {end}, but the archive "
            f"has {file_size} bytes.",
            _COPY_AGAIN,
        )
    return TarMember(name, found.offset_data, found.size)


class _Headers(io.RawIOBase):
    """What tarfile sees of an archive: it reads nothing but headers, and no large ones."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._position = 0

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, counted from the start of the archive."""
        if whence != os.SEEK_SET or position < 0:
            raise io.UnsupportedOperation("only forwards from the start")
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        if not 0 <= size <= _MAX_HEADER:
            raise SourceUnreadableError(
                f"{shown(self._file.path)} has a header of {size} bytes at byte "
                f"{self._position}, which no OVA needs.",
                "Do not use this archive unless you know how it was made.",
            )
        data = self._file.read(self._position, size)
        self._position += len(data)
        return data
