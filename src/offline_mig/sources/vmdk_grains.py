"""Whether a hosted sparse extent is all there.

qemu reads grains that lie behind the end of a cut-off file as zeros, without a word and with
exit code 0. So every entry of the grain tables is compared with the file's size first.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Literal

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import OpenFile, shown
from offline_mig.sources.vmdk import (
    GRAIN_DIRECTORY_AT_END,
    SECTOR,
    SparseHeader,
    parse_sparse_header,
    with_footer,
)

COPY_AGAIN = (
    "Copy the file again and compare its size and checksum with the original; a download or "
    "copy seems to have been cut short."
)
#: Footer marker, footer (a header), end-of-stream marker: one sector each.
_FOOTER_SECTORS = 3
_FOOTER_MARKER = 3
_END_OF_STREAM_MARKER = 0
#: Of a marker: value or sector number, size of the data, and for metadata its type.
_MARKER = struct.Struct("<QII")
#: Of a grain marker: sector number and size of the compressed data that follows.
_GRAIN_MARKER = struct.Struct("<QI")
#: Entry of a grain that reads as zeros, where the header allows it (VMDK4_FLAG_ZERO_GRAIN).
_ZERO_GRAIN = 1


def verify_complete(file: OpenFile, header: SparseHeader) -> None:
    """Raise SourceUnreadableError unless every grain of the extent lies within its file."""
    if header.directory == GRAIN_DIRECTORY_AT_END:
        header = with_footer(header, _read_footer(file, header))
    directory = read_entries(file, header.directory, header.table_count, "grain directory")
    if header.redundant_directory:
        # qemu does not use the second directory for reading, but does not open without it.
        read_entries(file, header.redundant_directory, header.table_count, "grain directory")
    highest = 0
    grain_count = header.grain_count
    partial = header.capacity % header.grain_size
    for number, table in enumerate(directory):
        if table == 0:
            continue
        first = number * header.entries_per_table
        count = min(header.entries_per_table, grain_count - first)
        entries = read_entries(file, table, count, "grain table")
        if partial and first + count == grain_count and not header.compressed:
            # Of the last grain only what belongs to the disk has to be there.
            last = entries.pop()
            if last > _ZERO_GRAIN and (last + partial) * SECTOR > file.size:
                raise cut_off(file, last)
        if not entries:
            continue
        highest = max(highest, *entries)
        if not header.zero_grains and _ZERO_GRAIN in entries:
            raise SourceUnreadableError(
                f"{shown(file.path)} has a damaged grain table at sector {table}: an entry "
                "points into the header.",
                COPY_AGAIN,
            )
    if highest <= _ZERO_GRAIN:
        return
    if header.compressed:
        _verify_last_compressed(file, header, highest)
    elif (highest + header.grain_size) * SECTOR > file.size:
        raise cut_off(file, highest)


def _verify_last_compressed(file: OpenFile, header: SparseHeader, sector: int) -> None:
    # Only the grain that lies last in the file: cutting off a file cuts it off first.
    marker = file.read(sector * SECTOR, _GRAIN_MARKER.size)
    if len(marker) < _GRAIN_MARKER.size:
        raise cut_off(file, sector)
    if not header.markers:
        return
    first_sector, size = _GRAIN_MARKER.unpack(marker)
    if first_sector >= header.capacity or first_sector % header.grain_size or size == 0:
        raise SourceUnreadableError(
            f"{shown(file.path)} is damaged: at sector {sector} there is no compressed grain, "
            "although the grain table says so.",
            COPY_AGAIN,
        )
    if sector * SECTOR + _GRAIN_MARKER.size + size > file.size:
        raise cut_off(file, sector)


def _read_footer(file: OpenFile, header: SparseHeader) -> SparseHeader:
    """Return the footer, which stands where qemu looks for it: in the last but one sector."""
    where = shown(file.path)
    start = file.size - _FOOTER_SECTORS * SECTOR
    tail = file.read(start, _FOOTER_SECTORS * SECTOR) if start > 0 else b""
    if len(tail) == _FOOTER_SECTORS * SECTOR and file.size % SECTOR == 0:
        _, marker_size, marker_type = _MARKER.unpack_from(tail)
        end = _MARKER.unpack_from(tail, 2 * SECTOR)
        if (
            (marker_size, marker_type) == (0, _FOOTER_MARKER)
            and end == (0, 0, _END_OF_STREAM_MARKER)
            and tail[SECTOR : SECTOR + 4] == b"KDMV"
        ):
            footer = parse_sparse_header(tail[SECTOR : 2 * SECTOR], f"The footer of {where}")
            if (footer.capacity, footer.grain_size, footer.entries_per_table) != (
                header.capacity,
                header.grain_size,
                header.entries_per_table,
            ):
                raise SourceUnreadableError(
                    f"{where} is damaged: its header and its footer state different sizes.",
                    COPY_AGAIN,
                )
            if footer.directory != GRAIN_DIRECTORY_AT_END:
                return footer
    raise SourceUnreadableError(
        f"{where} is an incomplete stream-optimized VMDK: its footer and end-of-stream mark are "
        f"not at its end ({file.size} bytes).",
        COPY_AGAIN,
    )


def read_entries(
    file: OpenFile, sector: int, count: int, what: str, width: Literal["I", "Q"] = "I"
) -> array[int]:
    """Return ``count`` little-endian entries of a table, of 4 bytes each or, for "Q", of 8.

    Raises SourceUnreadableError for a table that does not lie within the file.
    """
    # array's types have these sizes on every platform that Python supports.
    length = (4 if width == "I" else 8) * count
    if sector == 0 or sector * SECTOR + length > file.size:
        raise SourceUnreadableError(
            f"{shown(file.path)} is incomplete or damaged: its {what} should be at sector "
            f"{sector}, but the file has {file.size} bytes.",
            COPY_AGAIN,
        )
    data = file.read(sector * SECTOR, length)
    if len(data) < length:
        raise cut_off(file, sector)
    entries = array(width, data)
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


def cut_off(file: OpenFile, sector: int) -> SourceUnreadableError:
    """Return the error for a file that ends before the data at ``sector`` do."""
    return SourceUnreadableError(
        f"{shown(file.path)} is cut off: it has {file.size} bytes, but its grain tables point "
        f"to data at byte {sector * SECTOR}.",
        COPY_AGAIN,
    )
