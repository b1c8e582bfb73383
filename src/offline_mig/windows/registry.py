"""Registry values, and the text encodings that they are kept in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class RegistryType(IntEnum):
    """Value types, by their numbers in ``winnt.h``."""

    NONE = 0
    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    DWORD_BIG_ENDIAN = 5
    LINK = 6
    MULTI_SZ = 7
    RESOURCE_LIST = 8
    FULL_RESOURCE_DESCRIPTOR = 9
    RESOURCE_REQUIREMENTS_LIST = 10
    QWORD = 11


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """The type and the raw bytes of a value, as a hive stores them.

    ``type`` is an int and not a RegistryType: Windows keeps device properties under types such
    as 0xFFFF0012.
    """

    type: int
    data: bytes

    @classmethod
    def dword(cls, number: int) -> RegistryValue:
        """Return a REG_DWORD."""
        return cls(RegistryType.DWORD, number.to_bytes(4, "little"))

    @classmethod
    def sz(cls, text: str) -> RegistryValue:
        """Return a REG_SZ with its terminator: an NT 5 loader reads past a string without one."""
        return cls(RegistryType.SZ, _encode(text))

    @classmethod
    def expand_sz(cls, text: str) -> RegistryValue:
        """Return a REG_EXPAND_SZ with its terminator."""
        return cls(RegistryType.EXPAND_SZ, _encode(text))

    @classmethod
    def multi_sz(cls, texts: Iterable[str]) -> RegistryValue:
        """Return a REG_MULTI_SZ: each string terminated, and one terminator more."""
        return cls(RegistryType.MULTI_SZ, b"".join(map(_encode, texts)) + b"\0\0")

    @classmethod
    def binary(cls, data: bytes) -> RegistryValue:
        """Return a REG_BINARY."""
        return cls(RegistryType.BINARY, data)

    def as_int(self) -> int | None:
        """Return the number in a REG_DWORD or REG_QWORD, None for any other type or size."""
        if self.type == RegistryType.DWORD and len(self.data) == 4:
            return int.from_bytes(self.data, "little")
        if self.type == RegistryType.DWORD_BIG_ENDIAN and len(self.data) == 4:
            return int.from_bytes(self.data, "big")
        if self.type == RegistryType.QWORD and len(self.data) == 8:
            return int.from_bytes(self.data, "little")
        return None

    def as_text(self) -> str | None:
        """Return the text of a REG_SZ or REG_EXPAND_SZ up to its terminator, else None."""
        if self.type not in (RegistryType.SZ, RegistryType.EXPAND_SZ):
            return None
        return _decode(self.data).split("\0", 1)[0]

    def as_texts(self) -> tuple[str, ...]:
        """Return the strings of a REG_MULTI_SZ; of a REG_SZ the one, of anything else none."""
        if self.type == RegistryType.MULTI_SZ:
            return tuple(part for part in _decode(self.data).split("\0") if part)
        text = self.as_text()
        return (text,) if text else ()

    def __str__(self) -> str:
        """Show the value as regedit would, for people."""
        if self.type == RegistryType.MULTI_SZ:
            return "multi-string: " + ", ".join(f'"{text}"' for text in self.as_texts())
        text = self.as_text()
        if text is not None:
            return f'"{text}"' if self.type == RegistryType.SZ else f'expandable "{text}"'
        number = self.as_int()
        if number is not None:
            return f"0x{number:x}"
        kind = RegistryType(self.type).name if self.type in set(RegistryType) else hex(self.type)
        return f"{kind} {self.data.hex(' ') if self.data else '(empty)'}"


def _encode(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def _decode(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "replace")
