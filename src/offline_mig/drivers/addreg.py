"""AddReg and DelReg lines: what an INF does to the registry.

The forms and flags: Microsoft, "INF AddReg Directive", "INF DelReg Directive"; the numbers are
those of ``setupapi.h``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from offline_mig.drivers.directories import directory_path
from offline_mig.drivers.inf import InfError, InfFile, InfLine
from offline_mig.drivers.numbers import hexadecimal_of, number_of
from offline_mig.windows.registry import RegistryType, RegistryValue

FLG_ADDREG_BINVALUETYPE = 0x1
FLG_ADDREG_NOCLOBBER = 0x2
FLG_ADDREG_DELVAL = 0x4
FLG_ADDREG_APPEND = 0x8
FLG_ADDREG_KEYONLY = 0x10
FLG_ADDREG_OVERWRITEONLY = 0x20
FLG_ADDREG_KEYONLY_COMMON = 0x2000
FLG_ADDREG_DELREG_BIT = 0x8000

#: The flags that say the type: the high word, and whether the data are bytes.
_TYPE_MASK = 0xFFFF0000 | FLG_ADDREG_BINVALUETYPE
_TYPES = {
    0x00000000: RegistryType.SZ,
    0x00000001: RegistryType.BINARY,
    0x00010000: RegistryType.MULTI_SZ,
    0x00010001: RegistryType.DWORD,
    0x00020000: RegistryType.EXPAND_SZ,
    0x00020001: RegistryType.NONE,
}
_ROOTS = frozenset({"HKCR", "HKCU", "HKLM", "HKU", "HKR"})


@dataclass(frozen=True, slots=True)
class InfRegistryValue:
    """One thing that an INF does to the registry.

    ``root`` is HKR (which key that is, depends on the section), HKLM, HKCR, HKCU or HKU.
    ``name`` is "" for a key's default value and None where the line is about the key itself.
    Without ``delete``, ``value`` None means that the key is made and nothing set.
    ``append`` adds to the strings that a REG_MULTI_SZ has already; ``no_clobber`` leaves a value
    alone that is there, ``overwrite_only`` makes none that is not. ``flags`` is the number as it
    was written.
    """

    root: str
    subkey: str
    name: str | None
    value: RegistryValue | None
    append: bool = False
    no_clobber: bool = False
    overwrite_only: bool = False
    delete: bool = False
    flags: int = 0


def read_added(
    inf: InfFile, sections: Iterable[str], windows_directory: str
) -> tuple[InfRegistryValue, ...]:
    """Read AddReg sections. Raises InfError for a missing section or a line without sense."""
    return tuple(
        _added(inf, line, windows_directory)
        for section in sections
        for line in _lines(inf, section, "AddReg")
    )


def read_deleted(inf: InfFile, sections: Iterable[str]) -> tuple[InfRegistryValue, ...]:
    """Read DelReg sections. Raises InfError for a missing section or an unknown root."""
    return tuple(
        InfRegistryValue(_root(inf, line), _subkey(line), line.text(2) or None, None, delete=True)
        for section in sections
        for line in _lines(inf, section, "DelReg")
    )


def read_number(inf: InfFile, line: InfLine, text: str) -> int:
    """Return the number that a field holds (decimal, or hexadecimal after 0x), "" being 0.

    Raises InfError for anything else and for what does not fit into 32 bits.
    """
    number = number_of(text or "0")
    if number is None:
        raise InfError(inf.name, f"{text!r} is not a number", line.number)
    if not -0x80000000 <= number <= 0xFFFFFFFF:
        raise InfError(inf.name, f"{text} does not fit into 32 bits", line.number)
    return number


def _lines(inf: InfFile, section: str, directive: str) -> tuple[InfLine, ...]:
    if not inf.has(section):
        raise InfError(inf.name, f"{directive} names the section [{section}], which is not there")
    return inf.lines(section)


def _root(inf: InfFile, line: InfLine) -> str:
    root = line.text(0).upper()
    if line.key is not None or root not in _ROOTS:
        raise InfError(inf.name, f"{line.text(0)!r} is no root of the registry", line.number)
    return root


def _subkey(line: InfLine) -> str:
    return line.text(1).strip("\\")


def _added(inf: InfFile, line: InfLine, windows_directory: str) -> InfRegistryValue:
    root = _root(inf, line)
    subkey = _subkey(line)
    name = line.text(2)
    flags = read_number(inf, line, line.text(3)) & 0xFFFFFFFF
    if flags & (FLG_ADDREG_DELREG_BIT | FLG_ADDREG_DELVAL):
        return InfRegistryValue(root, subkey, name or None, None, delete=True, flags=flags)
    if flags & (FLG_ADDREG_KEYONLY | FLG_ADDREG_KEYONLY_COMMON) or not any(line.fields[2:]):
        return InfRegistryValue(root, subkey, None, None, flags=flags)
    directory = partial(directory_path, windows_directory=windows_directory)
    data = tuple(inf.expanded(raw, directory) for raw in line.raw_fields[4:])
    return InfRegistryValue(
        root,
        subkey,
        name,
        _value(inf, line, flags, data),
        append=bool(flags & FLG_ADDREG_APPEND),
        no_clobber=bool(flags & FLG_ADDREG_NOCLOBBER),
        overwrite_only=bool(flags & FLG_ADDREG_OVERWRITEONLY),
        flags=flags,
    )


def _value(inf: InfFile, line: InfLine, flags: int, data: tuple[str, ...]) -> RegistryValue:
    kind: int | None = _TYPES.get(flags & _TYPE_MASK)
    if kind is RegistryType.MULTI_SZ:
        return RegistryValue.multi_sz(text for text in data if text)
    if kind is RegistryType.SZ:
        return RegistryValue.sz(data[0] if data else "")
    if kind is RegistryType.EXPAND_SZ:
        return RegistryValue.expand_sz(data[0] if data else "")
    if not flags & FLG_ADDREG_BINVALUETYPE:
        raise InfError(inf.name, f"the flags {flags:#x} stand for no type", line.number)
    if kind is None:
        kind = flags >> 16  # Any other type is the number in the high word.
    if kind == RegistryType.DWORD and len(data) <= 1:
        return RegistryValue.dword(read_number(inf, line, "".join(data)) & 0xFFFFFFFF)
    return RegistryValue(kind, bytes(_byte(inf, line, text) for text in data if text))


def _byte(inf: InfFile, line: InfLine, text: str) -> int:
    number = hexadecimal_of(text)
    if number is None or number > 0xFF:
        raise InfError(inf.name, f"{text!r} is not a hexadecimal byte", line.number)
    return number
