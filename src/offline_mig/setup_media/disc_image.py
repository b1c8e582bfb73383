"""Images of discs: ISO 9660 with Joliet, written by pycdlib and read back by libarchive."""

from __future__ import annotations

import datetime
import errno
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from offline_mig.drivers.archive import BLOCK, entry_text, load_libarchive
from offline_mig.errors import OutputRefusedError
from offline_mig.setup_media.disc_dates import set_dates
from offline_mig.setup_media.disc_names import plain_paths

#: Shown by Windows beside the drive's letter.
_LABEL = "DRIVERS"
_MADE_BY = "OFFLINE-MIG"
#: ECMA-119, 9.1.4: sizes have 32 bits. More takes several extents, which not every Windows reads.
LARGEST_FILE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file by its size in bytes and its SHA-256."""

    size: int
    sha256: str


def write_disc(
    stream: BinaryIO, files: Mapping[str, bytes | Path], moment: datetime.datetime
) -> None:
    """Write a disc with ``files``, which are bytes or files of this host, by their paths.

    The same files and ``moment``, in UTC, give the same bytes. The paths are such as
    ``disc_names.name_problem`` has nothing against. Raises OutputRefusedError, and OSError.
    """
    # Takes longer to load than most commands, which have no use for it.
    from pycdlib import PyCdlib
    from pycdlib.pycdlibexception import PyCdlibException

    disc = PyCdlib()
    try:
        disc.new(interchange_level=1, joliet=3, vol_ident=_LABEL, app_ident_str=_MADE_BY)
        for path, plain in plain_paths(files).items():
            content = files.get(path)
            if content is None:
                disc.add_directory(plain, joliet_path=f"/{path}")
            elif isinstance(content, bytes):
                disc.add_fp(io.BytesIO(content), len(content), plain, joliet_path=f"/{path}")
            else:
                disc.add_file(str(content), plain, joliet_path=f"/{path}")
        disc.write_fp(stream)
        disc.close()
    except PyCdlibException as error:
        raise OutputRefusedError(
            f"The disc cannot be written: {error}.", "Leave out the file that it names."
        ) from error
    set_dates(stream, moment)


def read_disc(stream: BinaryIO) -> dict[str, FileDigest]:
    """Return what is on a disc by its Joliet paths. Raises OSError for one that is damaged."""
    libarchive = load_libarchive()
    stream.seek(0)
    try:
        with libarchive.fd_reader(stream.fileno(), "iso9660", "none") as entries:
            return {
                entry_text(entry.pathname): _digest(entry.get_blocks(BLOCK))
                for entry in entries
                if not entry.isdir
            }
    except libarchive.ArchiveError as error:
        raise OSError(errno.EIO, f"it cannot be read back ({error.msg})") from error


def _digest(blocks: Iterable[bytes]) -> FileDigest:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return FileDigest(size, digest.hexdigest())


def digest_of(content: bytes | Path | BinaryIO) -> FileDigest:
    """Return the digest of bytes, or of a file from its start. Raises OSError."""
    if isinstance(content, bytes):
        return FileDigest(len(content), hashlib.sha256(content).hexdigest())
    if isinstance(content, Path):
        with content.open("rb") as file:
            return digest_of(file)
    content.seek(0)
    return _digest(iter(partial(content.read, BLOCK), b""))
