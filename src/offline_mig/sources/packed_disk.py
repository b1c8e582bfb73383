"""Disks that cannot be read where they lie: compressed ones, and ones cut into chunks.

Both are ways of DMTF DSP0243 (7.1, "References"): gzip over the whole file, and pieces of one
size called NAME.000000000 and on. No part in the middle of such a file can be read on its own, so
it is unpacked, once, into a folder for temporary files.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from offline_mig.errors import OutputRefusedError, SourceUnreadableError
from offline_mig.sources.file_access import shown
from offline_mig.sources.ovf_package import OvfPackage, PackagedFile

#: zlib's wbits for gzip with its header and checksum.
_GZIP = 31
_PIECE = 1024 * 1024
#: Whole blocks of zeros are left out of what is written.
_BLOCK = 64 * 1024
_ZEROS = bytes(_BLOCK)
#: Bytes that are left free, so that a compressed disk cannot fill the host's storage.
_KEPT_FREE = 256 * 1024 * 1024
#: Bytes that are written between two looks at the free space.
_LOOK_EVERY = 64 * 1024 * 1024
_MAX_CHUNKS = 100_000
_COPY_AGAIN = "Copy it again from where it came from."


def find_chunks(package: OvfPackage, name: str, role: str) -> tuple[PackagedFile, ...]:
    """Return the chunks of a file in order, none where the first is missing."""
    chunks: list[PackagedFile] = []
    while len(chunks) < _MAX_CHUNKS:
        found = package.find(f"{name}.{len(chunks):09}", role)
        if found is None:
            break
        chunks.append(found)
    return tuple(chunks)


def require_chunks(name: str, chunks: tuple[PackagedFile, ...], size: int, total: int) -> None:
    """Raise SourceUnreadableError unless chunks of ``size`` bytes make up ``total`` bytes.

    The last one may be shorter: a missing chunk in the end shows by nothing else.
    """
    there = sum(chunk.size for chunk in chunks)
    if any(chunk.size != size for chunk in chunks[:-1]) or there != total:
        raise SourceUnreadableError(
            f"{shown(name)} is incomplete: its {len(chunks)} chunks hold {there} bytes, but the "
            f"OVF says {total}, in chunks of {size}.",
            "Copy all of its chunks again.",
        )


def unpack(files: tuple[PackagedFile, ...], target: Path, *, gzip: bool) -> int:
    """Write the content of ``files``, one after the other, to the new file ``target``.

    Returns its size in bytes. Raises SourceUnreadableError for damaged data, OutputRefusedError
    when the space does not suffice.
    """
    name = files[0].name
    _require_space(target, sum(file.size for file in files), name)
    stored = (piece for file in files for piece in file.pieces())
    pieces = _expanded(stored, name) if gzip else stored
    try:
        with target.open("xb") as stream:
            return _write(stream, pieces, target, name)
    except OSError as error:
        raise OutputRefusedError(
            f"{shown(name)} cannot be unpacked to {target.parent}: {error.strerror}.",
            "Set TMPDIR to a folder with enough space for the whole disk.",
        ) from error


def _write(stream: BinaryIO, pieces: Iterable[bytes], target: Path, name: str) -> int:
    size = 0
    looked_at = 0
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            block = piece[start : start + _BLOCK]
            if block == _ZEROS[: len(block)]:
                stream.seek(len(block), 1)
            else:
                stream.write(block)
        size += len(piece)
        if size - looked_at >= _LOOK_EVERY:
            _require_space(target, 0, name)
            looked_at = size
    stream.truncate(size)
    return size


def _require_space(target: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed + _KEPT_FREE:
        raise OutputRefusedError(
            f"{shown(name)} has to be unpacked, for which {target.parent} has too little space: "
            f"{free // 1024**2} MiB are free.",
            "Set TMPDIR to a folder with enough space for the whole disk.",
        )


def _expanded(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield what a gzip stream holds, which may consist of several members."""
    decoder = zlib.decompressobj(_GZIP)
    begun = False
    try:
        for piece in pieces:
            left = piece
            while left:
                if decoder.eof:
                    # Tapes and some programs pad with zeros.
                    left = left.lstrip(b"\0")
                    if not left:
                        break
                    decoder = zlib.decompressobj(_GZIP)
                begun = True
                data = decoder.decompress(left, _PIECE)
                left = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                if data:
                    yield data
        # The last output may wait inside when all input is taken.
        yield decoder.flush()
    except zlib.error as error:
        raise SourceUnreadableError(
            f"{shown(name)} is no sound gzip file: {error}.", _COPY_AGAIN
        ) from error
    if not begun or not decoder.eof:
        raise SourceUnreadableError(f"{shown(name)} ends in the middle of its data.", _COPY_AGAIN)
