"""INF files, read the way that Windows' SetupAPI reads them.

The format: Microsoft, "General Syntax Rules for INF Files" and "INF Strings Section". Where those
are silent (a continued comment, an unterminated quote), the behaviour is that of Wine's
``setupapi``, which was measured against Windows.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from offline_mig.errors import NoDriverError

#: Bytes. The longest INF of a Windows installation has some hundred kilobytes.
MAX_INF_SIZE = 1024 * 1024
#: Bytes of an INF that is remembered. The longest of virtio-win have some sixteen thousand.
_REMEMBERED = 64 * 1024
#: Characters in one field after substitution: MAX_INF_STRING_LENGTH of setupapi.h.
MAX_FIELD_LENGTH = 4096
#: Characters in all fields after substitution: a hostile file must not multiply itself.
_MAX_TOTAL_LENGTH = 16 * MAX_INF_SIZE
#: Sections whose tokens are looked up, best first: US English, English, the unlocalised ones.
#: Other languages are in code pages that the file does not name.
_STRINGS_SECTIONS = ("strings.0409", "strings.0009", "strings")
#: What separates fields besides commas. ``str.strip`` would also take a no-break space, which
#: is a letter or half of one in the code pages that INF files are written in.
_BLANKS = " \t\r\v\f\0"
#: Control-Z, the end of a text file in MS-DOS.
_END_OF_TEXT = "\x1a"

_PIECE = re.compile(
    r"""
      "(?P<quoted>[^"]*(?:""[^"]*)*)"?
    | (?P<comment>;.*)
    | (?P<continued>\\++[\ \t\r\v\f\0]*+(?:;.*)?\Z)
    | (?P<separator>[,=])
    | (?P<plain>[^",;=\\]+|\\+)
    """,
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(r"%([^%]*)%")
_IDENTIFIER = re.compile("-?[0-9]{1,5}")


class InfError(NoDriverError):
    """An INF file that Windows would not take either."""

    def __init__(self, name: str, problem: str, line: int = 0) -> None:
        where = f"{name}, line {line}" if line else name
        super().__init__(
            f"{where}: {problem}.",
            "Take the driver package from an untouched virtio-win ISO or RPM.",
        )


@dataclass(frozen=True, slots=True)
class InfLine:
    """A line of a section: ``key = field, field, ...`` or, without a key, its fields.

    ``key`` and ``fields`` have their ``%tokens%`` substituted, ``raw_key`` and ``raw_fields`` are
    as written, but without quotes. ``number`` counts from 1.
    """

    number: int
    key: str | None
    fields: tuple[str, ...]
    raw_key: str | None
    raw_fields: tuple[str, ...]

    def text(self, index: int) -> str:
        """Return the field at ``index``, "" where the line is shorter."""
        return self.fields[index] if index < len(self.fields) else ""

    def is_for(self, key: str) -> bool:
        """Tell whether this line's key is ``key`` in any letter case."""
        return self.key is not None and self.key.lower() == key.lower()


@dataclass(frozen=True, slots=True)
class InfFile:
    """The sections of an INF, and its strings, by their lower-case names.

    ``keyed`` are the same lines by section and key, both in lower case.
    """

    name: str
    sections: Mapping[str, tuple[InfLine, ...]]
    strings: Mapping[str, str]
    keyed: Mapping[tuple[str, str], tuple[InfLine, ...]] = field(repr=False)

    def has(self, section: str) -> bool:
        """Tell whether there is such a section, be it empty."""
        return section.lower() in self.sections

    def lines(self, section: str) -> tuple[InfLine, ...]:
        """Return the lines of a section; of one that is not there, none."""
        return self.sections.get(section.lower(), ())

    def lines_for(self, section: str, key: str) -> tuple[InfLine, ...]:
        """Return the lines of a section that have ``key``, in order."""
        return self.keyed.get((section.lower(), key.lower()), ())

    def text(self, section: str, key: str) -> str:
        """Return the first field of the first line with ``key``, "" when there is none."""
        return next((line.text(0) for line in self.lines_for(section, key)), "")

    def expanded(self, raw: str, directory: Callable[[int], str | None]) -> str:
        """Return a raw field with strings and directories in the places of their tokens.

        ``directory`` returns the path for an identifier, None for one that stays. It is one pass,
        as in SetupAPI: ``%%10%%`` is the text %10%, and no directory, and neither is one in what a
        string stands for.
        """
        return _with_tokens_replaced(raw, self.strings, directory)


@dataclass(slots=True)
class _RawLine:
    """A logical line in the making; ``pieces`` are those of the field that is being read."""

    number: int
    key: str | None = None
    fields: list[str] = field(default_factory=list)
    pieces: list[tuple[str, bool]] = field(default_factory=list)

    def read(self, line: str) -> bool:
        """Take in one physical line. Returns whether the next one continues it."""
        for match in _PIECE.finditer(line.lstrip(_BLANKS)):
            if match.lastgroup == "quoted":
                self.pieces.append((match["quoted"].replace('""', '"'), True))
            elif match.lastgroup == "comment":
                return False
            elif match.lastgroup == "continued":
                self._trim()
                return True
            elif match[0] == ",":
                self.fields.append(self._take())
            elif match[0] == "=" and self.key is None and not self.fields:
                self.key = self._take()
            else:
                self._add_plain(match[0])
        return False

    def end(self) -> None:
        """Close the last field. ``key =`` has no field at all, ``key = ""`` an empty one."""
        self._trim()
        if self.pieces or self.fields:
            self.fields.append(self._take())

    @property
    def is_blank(self) -> bool:
        return self.key is None and not self.fields

    def _add_plain(self, text: str) -> None:
        text = text if self.pieces else text.lstrip(_BLANKS)
        if text:
            self.pieces.append((text, False))

    def _trim(self) -> None:
        while self.pieces and not self.pieces[-1][1]:
            text = self.pieces.pop()[0].rstrip(_BLANKS)
            if text:
                self.pieces.append((text, False))
                return

    def _take(self) -> str:
        self._trim()
        text = "".join(piece for piece, _ in self.pieces)
        self.pieces.clear()
        return text


def parse_inf(data: bytes, name: str) -> InfFile:
    """Read an INF. ``name`` is for messages.

    Raises InfError when it is too large, holds text before its first section, a section name
    without its bracket, or a field that is longer than Windows allows.
    """
    if len(data) > MAX_INF_SIZE:
        raise InfError(name, f"it has {len(data)} bytes, and no INF has more than {MAX_INF_SIZE}")
    return (_parse_once if len(data) <= _REMEMBERED else _parse)(data, name)


def _parse(data: bytes, name: str) -> InfFile:
    raw: dict[str, list[_RawLine]] = {}
    for section, line in _logical_lines(_decode(data), name):
        lines = raw.setdefault(section.lower(), [])
        if line is not None:
            lines.append(line)

    strings: dict[str, str] = {}
    for section in _STRINGS_SECTIONS:
        for line in raw.get(section, ()):
            if line.key is not None and line.fields:
                strings.setdefault(line.key.lower(), line.fields[0])

    substitution = _Substitution(name, strings)
    sections = {section: tuple(map(substitution.apply, lines)) for section, lines in raw.items()}
    keyed: dict[tuple[str, str], list[InfLine]] = {}
    for section, read in sections.items():
        for entry in read:
            if entry.key is not None:
                keyed.setdefault((section, entry.key.lower()), []).append(entry)
    return InfFile(name, sections, strings, {key: tuple(read) for key, read in keyed.items()})


#: An INF lies on its medium once for each Windows that its build serves, and is read for several.
_parse_once = functools.lru_cache(maxsize=16)(_parse)


def tokens_in(text: str) -> tuple[str, ...]:
    """Return the names between percent signs in a raw field, in lower case."""
    return tuple(match[1].lower() for match in _TOKEN.finditer(text) if match[1])


def _decode(data: bytes) -> str:
    for mark, codec in (
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF8, "utf-8"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace")
    if len(data) >= 4 and data[0] and not data[1] and data[2] and not data[3]:
        return data.decode("utf-16-le", "replace")
    # One file may use several code pages, a different one in each [Strings.*] section. What
    # matters (names, identifiers, English) is ASCII, and this codec loses nothing of the rest.
    return data.decode("latin-1")


def _logical_lines(text: str, name: str) -> Iterator[tuple[str, _RawLine | None]]:
    """Yield each section's name, with None when it starts and then with each of its lines."""
    section: str | None = None
    current: _RawLine | None = None
    # Not splitlines(): it also splits at U+0085 and U+001C, which are not ends of lines here.
    for number, line in enumerate(text.partition(_END_OF_TEXT)[0].split("\n"), 1):
        if current is None:
            start = line.lstrip(_BLANKS)
            if start.startswith("["):
                section, bracket, _ = start[1:].partition("]")
                if not bracket:
                    raise InfError(name, "a section name has no closing bracket", number)
                section = section.strip(_BLANKS)
                yield section, None
                continue
            current = _RawLine(number)
        if current.read(line):
            continue
        finished, current = current, None
        yield from _finish(finished, section, name)
    if current is not None:
        yield from _finish(current, section, name)


def _finish(line: _RawLine, section: str | None, name: str) -> Iterator[tuple[str, _RawLine]]:
    line.end()
    if line.is_blank:
        return
    if section is None:
        raise InfError(name, "there is text before the first section", line.number)
    yield section, line


class _Substitution:
    """Puts the strings in the places of their tokens, within bounds."""

    def __init__(self, name: str, strings: Mapping[str, str]) -> None:
        self._name = name
        self._strings = strings
        self._total = 0

    def apply(self, line: _RawLine) -> InfLine:
        return InfLine(
            line.number,
            None if line.key is None else self._text(line.key, line.number),
            tuple(self._text(text, line.number) for text in line.fields),
            line.key,
            tuple(line.fields),
        )

    def _text(self, text: str, line: int) -> str:
        if "%" in text:
            length = len(text) + sum(len(self._strings.get(name, "")) for name in tokens_in(text))
            # Counted before it is built: the sum of a hostile file's parts may be gigabytes.
            if length <= 2 * MAX_FIELD_LENGTH:
                text = _with_tokens_replaced(text, self._strings, _kept)
            else:
                raise InfError(self._name, "a field is too long", line)
        self._total += len(text)
        if len(text) > MAX_FIELD_LENGTH:
            raise InfError(self._name, "a field is too long", line)
        if self._total > _MAX_TOTAL_LENGTH:
            raise InfError(self._name, "its strings add up to too much text", line)
        return text


def _kept(_identifier: int) -> None:
    """Leave directories as they are: which paths they get is not known when an INF is read."""


def _with_tokens_replaced(
    text: str, strings: Mapping[str, str], directory: Callable[[int], str | None]
) -> str:
    def replacement(match: re.Match[str]) -> str:
        token = match[1]
        if not token:
            return "%"
        if _IDENTIFIER.fullmatch(token):  # A directory such as %12%, whatever [Strings] says.
            return directory(int(token)) or match[0]
        return strings.get(token.lower(), match[0])

    return _TOKEN.sub(replacement, text)
