"""The dates on a disc, all set to one: what wrote it has put in the time of day.

Layout: ECMA-119, 8.4 and 8.5 (volume descriptors), 9.1 (directory records), and 8.4.26.1 and 9.1.5
(dates).
"""

from __future__ import annotations

import datetime
import struct
from typing import BinaryIO

_SECTOR = 2048
#: Where volume descriptors begin, and their types: primary, supplementary (Joliet), the last.
_FIRST_DESCRIPTOR = 16
_WITH_DIRECTORIES, _LAST = (1, 2), 255
#: In a descriptor: the root's directory record, and the dates of creation, modification,
#: expiration and taking effect, of 17 bytes each.
_ROOT, _DATES = 156, 813
_NEVER = b"0" * 16 + b"\0"
#: In a directory record: where the content begins, its size, the date, the flags.
_EXTENT, _SIZE, _DATE, _FLAGS, _NAME = 2, 10, 18, 25, 32
_IS_DIRECTORY = 0x02
#: Names of a directory itself and of its parent.
_ITSELF = (b"\1\0", b"\1\1")


def set_dates(disc: BinaryIO, moment: datetime.datetime) -> None:
    """Set every date on an ISO 9660 disc to ``moment``, in UTC. Raises OSError."""
    text = moment.strftime("%Y%m%d%H%M%S").encode("ascii") + b"00\0"
    short = struct.pack("7B", moment.year - 1900, *moment.timetuple()[1:6], 0)
    sector = _FIRST_DESCRIPTOR
    while True:
        descriptor = _read(disc, sector * _SECTOR, _SECTOR)
        if descriptor[0] == _LAST:
            return
        if descriptor[0] in _WITH_DIRECTORIES:
            _write(disc, sector * _SECTOR + _DATES, text + text + _NEVER + text)
            _write(disc, sector * _SECTOR + _ROOT + _DATE, short)
            _set_records(disc, descriptor[_ROOT:], short)
        sector += 1


def _set_records(disc: BinaryIO, root: bytes, date: bytes) -> None:
    waiting = [_place(root)]
    while waiting:
        start, size = waiting.pop()
        content = _read(disc, start, size)
        at = 0
        while at < size:
            length = content[at]
            if not length:
                # A record does not cross the end of a sector.
                at = (at // _SECTOR + 1) * _SECTOR
                continue
            record = content[at : at + length]
            _write(disc, start + at + _DATE, date)
            if record[_FLAGS] & _IS_DIRECTORY and record[_NAME : _NAME + 2] not in _ITSELF:
                waiting.append(_place(record))
            at += length


def _place(record: bytes) -> tuple[int, int]:
    (sector,) = struct.unpack_from("<I", record, _EXTENT)
    (size,) = struct.unpack_from("<I", record, _SIZE)
    return sector * _SECTOR, size


def _read(disc: BinaryIO, offset: int, size: int) -> bytes:
    disc.seek(offset)
    return disc.read(size)


def _write(disc: BinaryIO, offset: int, data: bytes) -> None:
    disc.seek(offset)
    disc.write(data)
