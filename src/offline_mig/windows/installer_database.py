"""Windows Installer databases (.msi): their tables and streams.

An MSI is a compound file, which olefile reads, with one stream for each table. How tables lie in
their streams is published nowhere by Microsoft; what is known of it is in Wine ("dlls/msi") and
msitools, whose ``msiinfo`` the tests hold this against.
"""

from __future__ import annotations

import codecs
import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: The mark of a compound file ([MS-CFB] 2.2).
COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
#: Sizes of sectors and small sectors as powers of two: the only ones that there are, and what the
#: reader would else believe ([MS-CFB] 2.2).
_SHIFTS = slice(30, 34)
_KNOWN_SHIFTS = (bytes((9, 0, 6, 0)), bytes((12, 0, 6, 0)))
#: Characters of stream names: two of this alphabet lie in one character from _PAIRS on, one in
#: a character from _SINGLES on; _TABLE comes before the name of a table.
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
_PAIRS, _SINGLES, _TABLE = 0x3800, 0x4800, 0x4840
#: Bits of a column's type: its size in bytes, and whether it holds texts.
_SIZE, _TEXT = 0xFF, 0x800
#: What is left of the type of a column whose content is a stream of its own.
_KIND, _STREAM = 0xFFF, 0x900
#: In the string pool's first word: references to texts have three bytes.
_LONG_REFERENCES = 0x80000000
_CODEPAGE = 0xFFFF
_UTF8 = 65001
#: Tables, rows and streams of an installer. qemu-ga's has about 30 tables, 20 rows in the largest.
_MAX_TABLES = 1000
_MAX_ROWS = 100_000
_MAX_STREAMS = 10_000

#: A row: what is in it by column. Texts that are missing are empty, missing numbers None.
Row = Mapping[str, str | int | None]


class InstallerDatabaseError(Exception):
    """The file is no Windows Installer database, or it is damaged."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: int

    def width(self, reference: int) -> int:
        if self.kind & _KIND == _STREAM:
            return 2
        if self.kind & _TEXT:
            return reference
        return 2 if self.kind & _SIZE <= 2 else 4

    @property
    def is_text(self) -> bool:
        return bool(self.kind & _TEXT) and self.kind & _KIND != _STREAM


class InstallerDatabase:
    """A database, held in memory whole. Raises InstallerDatabaseError."""

    def __init__(self, data: bytes) -> None:
        self._streams = _read_streams(data)
        pool = self._table("_StringPool")
        self._texts, self._reference = _read_texts(pool, self._table("_StringData"))
        names = [str(row["Name"]) for row in self._rows("_Tables", (_Column("Name", _TEXT),))]
        if len(names) > _MAX_TABLES:
            raise InstallerDatabaseError(f"it has {len(names)} tables")
        self._columns: dict[str, tuple[_Column, ...]] = {}
        catalogue = (
            _Column("Table", _TEXT),
            _Column("Number", 2),
            _Column("Name", _TEXT),
            _Column("Type", 2),
        )
        found: dict[str, list[tuple[int, _Column]]] = {name: [] for name in names}
        for row in self._rows("_Columns", catalogue):
            number, kind = row["Number"], row["Type"]
            if row["Table"] in found and isinstance(number, int) and isinstance(kind, int):
                column = _Column(str(row["Name"]), kind & 0xFFFF)
                found[str(row["Table"])].append((number, column))
        for name, numbered in found.items():
            ordered = sorted(numbered, key=lambda pair: pair[0])
            self._columns[name] = tuple(column for _, column in ordered)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self._columns)

    def rows(self, table: str) -> tuple[Row, ...]:
        """Return the rows of a table; none when there is no such table."""
        return tuple(self._rows(table, self._columns.get(table, ())))

    def stream(self, name: str) -> bytes:
        """Return a stream that is no table, such as an embedded cabinet."""
        try:
            return self._streams[name]
        except KeyError:
            raise InstallerDatabaseError(f"it has no stream {name!r}") from None

    def _table(self, name: str) -> bytes:
        return self._streams.get("!" + name, b"")

    def _rows(self, table: str, columns: tuple[_Column, ...]) -> Iterator[Row]:
        data = self._table(table)
        widths = [column.width(self._reference) for column in columns]
        if not data or not sum(widths):
            return
        count, rest = divmod(len(data), sum(widths))
        if rest or count > _MAX_ROWS:
            raise InstallerDatabaseError(f"its table {table!r} has {len(data)} bytes")
        # All of the first column come first, then all of the second.
        starts = [count * sum(widths[:index]) for index in range(len(widths))]
        for index in range(count):
            row: dict[str, str | int | None] = {}
            for column, width, start in zip(columns, widths, starts, strict=True):
                offset = start + index * width
                number = int.from_bytes(data[offset : offset + width], "little")
                row[column.name] = self._field(column, width, number, table)
            yield row

    def _field(self, column: _Column, width: int, number: int, table: str) -> str | int | None:
        if not column.is_text:
            # Zero is missing; everything else is moved up by half the range.
            return number - (1 << (8 * width - 1)) if number else None
        if number >= len(self._texts):
            raise InstallerDatabaseError(f"its table {table!r} names text {number}, which is none")
        return self._texts[number]


def _read_streams(data: bytes) -> dict[str, bytes]:
    # olefile says what is wrong by these, by where it is.
    broken = (OSError, ValueError, IndexError, KeyError, TypeError, struct.error, RecursionError)
    if data[:8] != COMPOUND_FILE or data[_SHIFTS] not in _KNOWN_SHIFTS:
        raise InstallerDatabaseError("it is no compound file")
    streams: dict[str, bytes] = {}
    try:
        with _olefile().OleFileIO(io.BytesIO(data)) as file:
            entries = file.listdir(streams=True, storages=False)
            if len(entries) > _MAX_STREAMS:
                raise InstallerDatabaseError(f"it has {len(entries)} streams")
            left = len(data)
            for path in entries:
                if len(path) != 1:
                    continue
                content = file.openstream(path).read()
                left -= len(content)
                if left < 0:
                    raise InstallerDatabaseError("its streams share their bytes")
                streams[_stream_name(path[0])] = content
    except broken as error:
        raise InstallerDatabaseError(str(error) or type(error).__name__) from error
    if "!_StringPool" not in streams:
        raise InstallerDatabaseError("it has no tables")
    return streams


def _stream_name(stored: str) -> str:
    name = ""
    for char in stored:
        code = ord(char)
        if _PAIRS <= code < _SINGLES:
            name += _ALPHABET[code - _PAIRS & 0x3F] + _ALPHABET[code - _PAIRS >> 6]
        elif _SINGLES <= code < _TABLE:
            name += _ALPHABET[code - _SINGLES]
        else:
            name += "!" if code == _TABLE else char
    return name


def _read_texts(pool: bytes, data: bytes) -> tuple[list[str], int]:
    """Return the texts by their number, and the size of a reference to one in bytes."""
    if len(pool) < 4 or len(pool) % 4:
        raise InstallerDatabaseError("its string pool is incomplete")
    (head,) = struct.unpack_from("<I", pool)
    codec = _codec(head & _CODEPAGE)
    texts = [""]
    offset, position = 4, 0
    while offset < len(pool):
        size, uses = struct.unpack_from("<HH", pool, offset)
        offset += 4
        if size == 0 and uses and offset < len(pool):
            # Longer than 64 KiB: the size's upper half lies here, the lower one in the next entry.
            low, _ = struct.unpack_from("<HH", pool, offset)
            size = uses << 16 | low
            offset += 4
        if position + size > len(data):
            raise InstallerDatabaseError("its string pool is longer than its texts")
        texts.append(data[position : position + size].decode(codec, "replace"))
        position += size
    return texts, 3 if head & _LONG_REFERENCES else 2


def _codec(codepage: int) -> str:
    name = "utf-8" if codepage == _UTF8 else f"cp{codepage}"
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "latin-1"  # 0 is "neutral": nothing but ASCII.


def _olefile() -> Any:
    import olefile

    return olefile
