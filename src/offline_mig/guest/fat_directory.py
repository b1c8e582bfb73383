"""Directories of a FAT volume: slots of 32 bytes, and the long and short names in them.

A file has one slot with its short name (8 + 3 letters), and before it, unless its name is short
and in capitals, further slots with its long name, last part first. Layout: "Microsoft FAT32 File
System Specification" 1.03 (fatgen103); the two flags for names in small letters are Windows NT's.
Short names are read in code page 437, as Linux does, and made of ASCII alone.

Runs in the confined worker as well: only modules that load fast.
"""

from __future__ import annotations

import errno
import os
import struct

from offline_mig.guest.fat_layout import ENTRY

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

READ_ONLY, HIDDEN, SYSTEM, LABEL, DIRECTORY, ARCHIVE = 1, 2, 4, 8, 16, 32
#: The attributes of a slot that holds a part of a long name, and the bits that are looked at.
_LONG, _LONG_MASK = 0x0F, 0x3F
_FREE, _END = 0xE5, 0x00
#: Stands for a first letter that would mean a free slot.
_KANJI = 0x05
#: In the number of a part: it is the last of the name, which comes first.
_LAST_PART = 0x40
_UNITS_IN_PART, _LONGEST_NAME = 13, 255
#: DIR_NTRes: the name or its extension is shown in small letters.
_SMALL_BASE, _SMALL_EXTENSION = 0x08, 0x10
#: A directory has 65536 slots at most.
LARGEST_DIRECTORY = 65536 * ENTRY
_IN_SHORT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%'-_@~`!(){}^#&")
_NOT_IN_LONG = frozenset('"*/:<>?\\|')
_MOST_ALIKE = 999_999
CODE_PAGE = "cp437"


class FatEntry:
    """One file or directory. ``first_slot`` to ``slot`` are its slots, counted from 0.

    ``name`` is empty when what is there can be no name.
    """

    __slots__ = ("attributes", "cluster", "first_slot", "name", "raw", "size", "slot")

    def __init__(self, raw: bytes, bits: int, name: str, first_slot: int, slot: int) -> None:
        self.raw = raw
        self.name = name
        self.first_slot = first_slot
        self.slot = slot
        self.attributes = raw[11]
        self.cluster = first_cluster(raw, bits)
        self.size = size_of(raw)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory and no file."""
        return bool(self.attributes & DIRECTORY)

    @property
    def short(self) -> bytes:
        """The short name as it is kept, 11 bytes."""
        return self.raw[:11]


def first_cluster(raw: bytes, bits: int) -> int:
    """Return the first cluster of what a slot describes, 0 for nothing and for the root."""
    high, low = struct.unpack_from("<H4xH", raw, 20)
    # OS/2 keeps other things in the upper half where the table has no use for it.
    return int(high << 16 | low) if bits == 32 else int(low)


def size_of(raw: bytes) -> int:
    """Return the size of the file that a slot describes, in bytes; 0 for a directory."""
    return 0 if raw[11] & DIRECTORY else int(struct.unpack_from("<I", raw, 28)[0])


def entries(content: bytes, bits: int) -> Iterator[FatEntry]:
    """Yield what is in a directory; ``.``, ``..`` and the volume's label are left out.

    ``bits`` are those of the volume's table. A long name that does not belong to its short name is
    passed over, as everywhere.
    """
    parts: list[bytes] = []
    first_slot = expected = checksum = 0
    for slot in range(len(content) // ENTRY):
        raw = content[slot * ENTRY : (slot + 1) * ENTRY]
        if raw[0] == _END:
            return
        if raw[0] == _FREE:
            expected = 0
        elif raw[11] & _LONG_MASK == _LONG:
            part = raw[0]
            if part & _LAST_PART:
                parts, first_slot, checksum = [], slot, raw[13]
                expected = part & ~_LAST_PART
            elif part != expected or raw[13] != checksum:
                expected = 0
            if expected:
                parts.append(raw[1:11] + raw[14:26] + raw[28:32])
                expected -= 1
                if not expected:
                    # All parts are there: the next slot must be the file's.
                    expected = -1
        else:
            whole = expected == -1 and _checksum(raw[:11]) == checksum
            name = _long_name(parts) if whole else ""
            if not raw[11] & LABEL and raw[:11] not in (_DOT, _DOTS):
                first = first_slot if name else slot
                yield FatEntry(raw, bits, name or _short_text(raw), first, slot)
            expected = 0


_DOT, _DOTS = b".".ljust(11), b"..".ljust(11)


def is_empty(content: bytes) -> bool:
    """Tell whether a directory holds nothing but itself and its parent."""
    for at in range(0, len(content), ENTRY):
        if content[at] == _END:
            break
        long_part = content[at + 11] & _LONG_MASK == _LONG
        if not long_part and content[at] != _FREE and content[at : at + 11] not in (_DOT, _DOTS):
            return False
    return True


def room_for(content: bytes, count: int) -> tuple[int, int]:
    """Return the first of ``count`` free slots in a row, and how many of them are missing.

    The missing ones would follow the last slot of the directory.
    """
    total = len(content) // ENTRY
    start = 0
    for slot in range(total):
        kind = content[slot * ENTRY]
        if kind == _END:
            return start, max(0, start + count - total)
        if kind != _FREE:
            start = slot + 1
        elif slot + 1 - start == count:
            return start, 0
    return start, start + count - total


def is_stale(content: bytes, slot: int) -> bool:
    """Tell whether what is at ``slot`` lies beyond the end of the directory, where anything may be.

    Once the end moves up to it, it has to become the end.
    """
    at = slot * ENTRY
    return at < len(content) and content[at] != _END and _END in content[:at:ENTRY]


def described(name: str, taken: Collection[bytes], attributes: int, now: tuple[int, int]) -> bytes:
    """Return the slots of something new and empty; the last is the one that is its own.

    ``taken`` are the short names of the directory, ``now`` is as ``dos_time`` makes it. Raises
    OSError for a name that FAT does not allow, and FileExistsError for one that is another's
    short name.
    """
    units = name.encode("utf-16-le", "surrogatepass")
    length = len(units) // 2
    if length > _LONGEST_NAME:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if not name or name[-1] in ". " or any(c in _NOT_IN_LONG or c < " " for c in name):
        raise OSError(errno.EINVAL, "FAT does not allow such a name")
    short, needs_long = _short_name(name, taken)
    date, time = now
    entry = struct.pack(
        "<11sBBBHHHHHHHI",
        short, attributes, 0, 0, time, date, date, 0, time, date, 0, 0
    )  # fmt: skip
    if not needs_long:
        return entry
    count = -(-length // _UNITS_IN_PART)
    size = 2 * _UNITS_IN_PART
    if length % _UNITS_IN_PART:
        units += b"\0\0"
    units = units.ljust(count * size, b"\xff")
    slots = []
    for number in range(count, 0, -1):
        part = units[(number - 1) * size : number * size]
        mark = number | (_LAST_PART if number == count else 0)
        head = bytes((mark,)) + part[:10] + bytes((_LONG, 0, _checksum(short)))
        slots.append(head + part[10:22] + b"\0\0" + part[22:])
    return b"".join(slots) + entry


def new_directory(cluster: int, parent: int, now: tuple[int, int], size: int) -> bytes:
    """Return the content of an empty directory: one cluster of ``size`` bytes.

    ``parent`` is the parent's first cluster, 0 for the root.
    """
    date, time = now
    slots = b"".join(
        struct.pack(
            "<11sBBBHHHHHHHI",
            name, DIRECTORY, 0, 0, time, date, date, first >> 16, time, date, first & 0xFFFF, 0
        )
        for name, first in ((_DOT, cluster), (_DOTS, parent))
    )  # fmt: skip
    return slots.ljust(size, b"\0")


def pointing(raw: bytes, cluster: int) -> bytes:
    """Return a slot with another first cluster."""
    slot = bytearray(raw)
    # Apart, since pad bytes of a format are written as zeros: between them is the time.
    struct.pack_into("<H", slot, 20, cluster >> 16)
    struct.pack_into("<H", slot, 26, cluster & 0xFFFF)
    return bytes(slot)


def changed(raw: bytes, cluster: int, size: int, now: tuple[int, int]) -> bytes:
    """Return a file's slot after its content was changed."""
    date, time = now
    slot = bytearray(pointing(raw, cluster))
    slot[11] |= ARCHIVE
    struct.pack_into("<H", slot, 18, date)
    struct.pack_into("<HH", slot, 22, time, date)
    struct.pack_into("<I", slot, 28, size)
    return bytes(slot)


def erased(slots: bytes) -> bytes:
    """Return slots as they are after what they describe was deleted."""
    freed = bytearray(slots)
    freed[::ENTRY] = bytes((_FREE,)) * (len(slots) // ENTRY)
    return bytes(freed)


def dos_time(
    year: int, month: int, day: int, hour: int, minute: int, second: int
) -> tuple[int, int]:
    """Return the date and the time as FAT keeps them, from 1980 to 2107 and to two seconds."""
    year = min(max(year, 1980), 2107)
    return (year - 1980) << 9 | month << 5 | day, hour << 11 | minute << 5 | min(second, 59) // 2


def _long_name(parts: list[bytes]) -> str:
    """Return the name of which these are the parts, last first; "" for what can be none."""
    units = b"".join(reversed(parts))
    for at in range(0, len(units), 2):
        if units[at : at + 2] == b"\0\0":
            units = units[:at]
            break
    name = units.decode("utf-16-le", "surrogatepass")
    # A separator in a name can only be there to deceive.
    return "" if name in (".", "..") or "/" in name or len(units) > 2 * _LONGEST_NAME else name


def _short_text(raw: bytes) -> str:
    """Return a short name as it is shown, "" for what can be none."""
    first = bytes((_FREE,)) if raw[0] == _KANJI else raw[:1]
    base = (first + raw[1:8]).rstrip(b" ").decode(CODE_PAGE)
    extension = raw[8:11].rstrip(b" ").decode(CODE_PAGE)
    if raw[12] & _SMALL_BASE:
        base = base.lower()
    if raw[12] & _SMALL_EXTENSION:
        extension = extension.lower()
    name = f"{base}.{extension}" if extension else base
    return "" if name in (".", "..") or {"/", "\0"} & set(name) else name


def _short_name(name: str, taken: Collection[bytes]) -> tuple[bytes, bool]:
    """Return a short name that is not taken, and whether it does not say all of ``name``."""
    # Letter by letter, and only those that are the same in every code page.
    upper = "".join(letter.upper() if letter.isascii() else letter for letter in name)
    base, dot, extension = upper.rpartition(".") if "." in upper else (upper, "", "")
    plain = _kept(base) == base and _kept(extension) == extension
    if plain and 0 < len(base) <= 8 and len(extension) <= 3 and (extension or not dot):
        short = f"{base:8}{extension:3}".encode()
        if short in taken:
            # It is what another file's long name was shortened to, by which it is found as well.
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        return short, upper != name
    while base.startswith((".", " ")):
        base = base[1:]
    base, extension = _kept(base) or "_", _kept(extension)[:3]
    for number in range(1, _MOST_ALIKE):
        tail = f"~{number}"
        short = f"{base[: 8 - len(tail)] + tail:8}{extension:3}".encode()
        if short not in taken:
            return short, True
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _kept(text: str) -> str:
    """Return what of a name in capitals may be in a short one."""
    return "".join(
        letter if ord(letter) in _IN_SHORT else "_" for letter in text if letter not in ". "
    )


def _checksum(short: bytes) -> int:
    """Return what each part of a long name holds of its short one."""
    value = 0
    for byte in short:
        value = ((value & 1) << 7 | value >> 1) + byte & 0xFF
    return value
