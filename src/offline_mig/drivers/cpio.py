"""cpio archives of the kind "newc", which is what RPM packages have inside; cpio(5).

libarchive reads them as well, but looks for the next header however far off it is: a few kilobytes
of a compressed file can keep it busy for hours. Here what is no header ends the reading.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

#: Six characters of magic, then thirteen numbers of eight hexadecimal digits.
_HEADER = re.compile(rb"07070[12]([0-9A-Fa-f]{104})")
_HEADER_SIZE = 110
#: Header with name, and contents, each end at a multiple of this.
_ALIGNMENT = 4
_LAST = "TRAILER!!!"
#: PATH_MAX of Linux. No name is longer, and no target of a symbolic link.
_MAX_NAME = 4096


class CpioError(Exception):
    """An archive that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class CpioEntry:
    """A file of an archive.

    ``identity`` is what the names of one file have in common (device and inode), and ``names`` how
    many there are; of a file with several, the last one that comes has the contents. ``size`` is
    in bytes.
    """

    name: str
    mode: int
    identity: tuple[int, int, int]
    names: int
    size: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link, whose contents are its target."""
        return stat.S_ISLNK(self.mode)


class CpioReader:
    """Goes through an archive once; an entry's contents can be read until the next is asked for.

    All methods raise CpioError when the archive is damaged, and what ``blocks`` raises.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        """``blocks`` are the bytes of the archive, in pieces of any size."""
        self._blocks = blocks
        self._block = memoryview(b"")
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[CpioEntry]:
        """Yield the entries in order, up to the one that ends the archive."""
        while True:
            for _ in self.contents():
                pass
            self._take(self._padding)
            entry = self._header()
            if entry.name == _LAST:
                return
            yield entry

    def contents(self) -> Iterator[memoryview]:
        """Yield what was not yet read of the current entry, each piece good until the next."""
        while self._left:
            piece = self._piece(self._left)
            self._left -= len(piece)
            yield piece

    def read(self) -> bytes:
        """Return what was not yet read of the current entry. Its size is the caller's to check."""
        return b"".join(self.contents())

    def target(self) -> str:
        """Return where the current entry, a symbolic link, leads to."""
        if self._left > _MAX_NAME:
            raise CpioError("a symbolic link is too long")
        return self.read().decode("utf-8", "replace")

    def _header(self) -> CpioEntry:
        match = _HEADER.fullmatch(self._take(_HEADER_SIZE))
        if match is None:
            raise CpioError("there is no file header where one should be")
        digits = match[1]
        number = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
        inode, mode, _, _, names, _, size, major, minor, _, _, length, _ = number
        if not 0 < length <= _MAX_NAME:
            raise CpioError("a file's name is too long")
        name = self._take(length)
        self._take(-(_HEADER_SIZE + length) % _ALIGNMENT)
        self._left, self._padding = size, -size % _ALIGNMENT
        text = name.rstrip(b"\0").decode("utf-8", "replace")
        return CpioEntry(text, mode, (major, minor, inode), names, size)

    def _take(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            taken += self._piece(size - len(taken))
        return bytes(taken)

    def _piece(self, most: int) -> memoryview:
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                raise CpioError("it ends in the middle of a file")
            self._block = memoryview(block)
        piece, self._block = self._block[:most], self._block[most:]
        return piece
