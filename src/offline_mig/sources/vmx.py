"""The VMX file as such: lines of ``key = "value"`` in some encoding.

VMware has not published the format. Sources: libvirt's src/vmx/vmx.c, and files that VMware
Workstation, Fusion, Server and ESX wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from offline_mig.errors import SourceUnreadableError

#: Real files have some ten kilobytes.
MAX_VMX = 4 * 1024 * 1024

_DECLARED = re.compile(rb'^[ \t]*\.encoding[ \t]*=[ \t]*"?([\w.:-]{1,40})"?', re.I | re.M)
_ASSIGNMENT = re.compile(r"([^\s=\"#][^\s=\"]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = re.compile(r"(?:\|[0-9A-Fa-f]{2})+")
_TRUE = {"true", "t", "yes", "y", "on", "1"}
_FALSE = {"false", "f", "no", "n", "off", "0", ""}
#: A code page in which these mean something else is no encoding of a VMX file.
_SYNTAX = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "\\~")
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
#: What Windows editions of VMware write without saying so.
_FALLBACK = "windows-1252"


@dataclass(frozen=True, slots=True)
class VmxValues:
    """The values of a VMX file by lower-case key. ``notes`` are sentences for the user."""

    values: Mapping[str, str]
    encoding: str
    notes: tuple[str, ...] = ()

    def text(self, key: str) -> str | None:
        """Return the value, None when it is missing or blank."""
        value = self.values.get(key.lower(), "").strip()
        return value or None

    def flag(self, key: str) -> bool:
        """Return a truth value, False when it is missing. Raises SourceUnreadableError."""
        value = self.values.get(key.lower(), "").strip().lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise _not_understood(key, value, "TRUE or FALSE")

    def number(self, key: str, most: int) -> int | None:
        """Return a whole number, None when it is missing.

        Raises SourceUnreadableError for anything else, and for more than ``most``.
        """
        value = self.text(key)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,12}", value) or int(value) > most:
            raise _not_understood(key, value, f"a whole number up to {most}")
        return int(value)


def parse_vmx(data: bytes) -> VmxValues:
    """Read the content of a VMX file.

    Keys are taken without regard to case, of keys that occur twice the last one counts, quotes
    may be missing, and ``|22`` stands for the character with that hexadecimal code. Lines that
    are no assignments are passed over.

    Raises SourceUnreadableError when there is not one assignment.
    """
    text, encoding, notes = _decode(data)
    values: dict[str, str] = {}
    # Not splitlines(): it also splits at characters that stand in names, such as U+2028.
    for raw in re.split(r"[\r\n]+", text):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            values[match[1].lower()] = _unescape(_unquote(match[2]), encoding)
    if not values:
        raise SourceUnreadableError(
            'The file is no VMX file: it has no line of the form key = "value".',
            "Give the .vmx file of the machine, or a disk image.",
        )
    return VmxValues(MappingProxyType(values), encoding, tuple(notes))


def _decode(data: bytes) -> tuple[str, str, list[str]]:
    """Return the text, the encoding that it was read with, and notes."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace"), encoding, []
    declared = _DECLARED.search(data)
    wanted = declared[1].decode("ascii", "replace") if declared else "UTF-8"
    for encoding in dict.fromkeys([wanted, "UTF-8"]):
        if not _is_usable(encoding):
            continue
        try:
            return data.decode(encoding), encoding, _encoding_notes(declared, wanted, encoding)
        except UnicodeError:
            continue
    text = data.decode(_FALLBACK, "replace")
    return text, _FALLBACK, _encoding_notes(declared, wanted, _FALLBACK)


def _encoding_notes(declared: object, wanted: str, taken: str) -> list[str]:
    if wanted == taken:
        return []
    says = f"says that it is written in {wanted}" if declared else "does not say its encoding"
    return [f"The VMX file {says}; it was read as {taken}, so names may look wrong."]


def _is_usable(encoding: str) -> bool:
    """Tell whether Python knows the encoding and ASCII keeps its meaning in it.

    The backslash and the tilde are left out: Shift_JIS has the yen sign and the overline there.
    """
    try:
        return _SYNTAX.encode("ascii").decode(encoding) == _SYNTAX
    except (LookupError, UnicodeError):
        return False


def _unquote(value: str) -> str:
    if value.startswith('"'):
        # What follows the closing quote is a remark.
        return value[1:].partition('"')[0]
    return value.strip()


def _unescape(value: str, encoding: str) -> str:
    def replace(match: re.Match[str]) -> str:
        octets = bytes.fromhex(match[0].replace("|", ""))
        try:
            return octets.decode(encoding)
        except UnicodeError:
            return octets.decode(_FALLBACK, "replace")

    return _ESCAPES.sub(replace, value)


def _not_understood(key: str, value: str, wanted: str) -> SourceUnreadableError:
    printable = "".join(c if c.isprintable() else "?" for c in value[:60])
    return SourceUnreadableError(
        f'The VMX file has {key} = "{printable}", which is not {wanted}.',
        "Correct that line in a copy of the VMX file, or give the disk itself.",
    )
