"""Archives that agents are handed out in: zip files and RPMs. Nothing is unpacked to disk."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from offline_mig.drivers.listing import MAX_ENTRIES, safe_path
from offline_mig.drivers.rpm import rpm_files
from offline_mig.errors import SourceUnreadableError

#: Bytes of one file and of all that are taken. The largest, qemu-ga's MSI, has about ten million.
MAX_FILE_SIZE = 64 * 1024 * 1024
MAX_TOTAL_SIZE = 256 * 1024 * 1024
#: Bytes that are asked of an archive at a time.
_BLOCK = 64 * 1024
#: What Python's zipfile raises besides OSError: a RuntimeError for an encrypted file, a
#: NotImplementedError (which is one) for an unknown compression, a ValueError for an odd name.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


def read_zip(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the wanted files of a zip by their paths in it. Raises SourceUnreadableError."""
    taken: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise _too_much(path)
            for entry in entries:
                name = safe_path(entry.filename)
                if name is None or entry.is_dir() or name in taken or not wanted(name):
                    continue
                with archive.open(entry) as file:
                    _take(path, taken, name, _blocks(file))
    except _ZIP_ERRORS as error:
        raise _damaged(path, "zip", str(error)) from error
    except OSError as error:
        raise _damaged(path, "zip", error.strerror or str(error)) from error
    return taken


def read_rpm(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the wanted files of an RPM by their paths in it.

    Raises SourceUnreadableError, and HostNotReadyError without libarchive.
    """
    taken: dict[str, bytes] = {}
    for name, blocks in rpm_files(path, wanted):
        if name not in taken:
            _take(path, taken, name, blocks)
    return taken


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _take(path: Path, taken: dict[str, bytes], name: str, blocks: Iterator[bytes]) -> None:
    left = min(MAX_FILE_SIZE, MAX_TOTAL_SIZE - sum(map(len, taken.values())))
    kept: list[bytes] = []
    for block in blocks:
        left -= len(block)
        if left < 0:
            raise SourceUnreadableError(
                f"{path.name}: {name} is larger than any agent.",
                "Give an RPM, MSI or zip of the agent's own makers.",
            )
        kept.append(block)
    taken[name] = b"".join(kept)


def _too_much(path: Path) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{path} holds more than any collection of agents.",
        "Give an RPM, MSI or zip of the agent's own makers.",
    )


def _damaged(path: Path, kind: str, reason: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"The {kind} file {path} cannot be read: {reason}.",
        "Download it again and compare its checksum.",
    )
