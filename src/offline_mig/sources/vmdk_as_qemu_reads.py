"""What qemu takes out of a VMDK descriptor, which is not always what stands there.

qemu's block/vmdk.c looks for words anywhere in the text, comments included, reads extent lines
with sscanf, to which a line feed is a space like any other, and skips lines that it does not
like. A descriptor can thus show one set of files to a careful reader and another to qemu, and a
blank line before an extent makes qemu count that extent twice. So what qemu will read is worked
out here as well, and a descriptor on which the two readings differ is refused.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from offline_mig.sources.vmdk import SECTOR, Descriptor

#: DESC_SIZE: where qemu looks for the parent; in a sparse extent from sector 1 on, whatever the
#: header says.
PARENT_WINDOW = 20 * SECTOR
_PARENT_KEY = b"parentFileNameHint"
_MAX_DIGITS = 20

#: sscanf("%10s %lld %10s \"%511[^\n\r\"]\" %lld"). Possessive, as scanf does not step back; the
#: closing quote is optional, since scanf counts the name before it gets there.
_EXTENT = re.compile(
    rb'\s*(\S{1,10}+)\s*([+-]?\d++)\s*(\S{1,10}+)\s*"([^\n\r"]{1,511}+)(?:"\s*([+-]?\d++))?'
)


@dataclass(frozen=True, slots=True)
class QemuExtent:
    """A file that qemu opens as an extent."""

    sectors: int
    type: str
    name: str
    offset: int | None


def parent_name(window: bytes) -> str | None:
    """Return the name that qemu opens as the backing file (vmdk_parent_open()).

    ``window`` is the first PARENT_WINDOW bytes of a text descriptor, or as many from byte 512 on
    of a sparse extent.
    """
    text = window[:PARENT_WINDOW].split(b"\0", 1)[0]
    found = text.find(_PARENT_KEY)
    if found < 0:
        return None
    # qemu steps over ="  without looking at it.
    start = found + len(_PARENT_KEY) + 2
    end = text.find(b'"', start)
    return os.fsdecode(text[start:end]) if end > start else None


def extents(text: bytes) -> tuple[QemuExtent, ...]:
    """Return the extents that qemu opens for a descriptor (vmdk_parse_extents())."""
    text = text.split(b"\0", 1)[0]
    lines = text.split(b"\n")
    found: list[QemuExtent] = []
    position = len(text) + 1
    # From the last line to the first: a blank line reads as whatever the next line reads as,
    # and so needs no second look. A file of nothing but line feeds must not take for ever.
    read: QemuExtent | None = None
    for line in reversed(lines):
        position -= len(line) + 1
        if line.strip():
            read = _read_extent(text, position)
        if read is not None:
            found.append(read)
    return tuple(reversed(found))


def _read_extent(text: bytes, position: int) -> QemuExtent | None:
    match = _EXTENT.match(text, position)
    if match is None or match[1] != b"RW":
        return None
    return QemuExtent(
        sectors=_number(match[2]),
        type=match[3].decode("ascii", "replace"),
        name=os.fsdecode(match[4]),
        offset=None if match[5] is None else _number(match[5]),
    )


def _number(digits: bytes) -> int:
    # More digits than 64 bits hold: what scanf makes of them is not defined.
    return int(digits) if len(digits) <= _MAX_DIGITS else -1


def expected_extents(descriptor: Descriptor) -> tuple[QemuExtent, ...]:
    """Return what qemu has to read for it to read what the descriptor says."""
    return tuple(
        QemuExtent(extent.sectors, extent.type, extent.name, extent.offset)
        for extent in descriptor.extents
        if extent.name is not None
    )
