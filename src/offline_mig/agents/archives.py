"""Archives that agents are handed out in: zip files and RPMs. Nothing is unpacked to disk."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from offline_mig.drivers.listing import MAX_ENTRIES, safe_path
from offline_mig.drivers.rpm_digest import rpm_damage
from offline_mig.errors import HostNotReadyError, SourceUnreadableError

#: Bytes of one file and of all that are taken. The largest, qemu-ga's MSI, has about ten million.
MAX_FILE_SIZE = 64 * 1024 * 1024
MAX_TOTAL_SIZE = 256 * 1024 * 1024
#: Bytes that are asked of an archive at a time.
_BLOCK = 64 * 1024
#: Bytes that a zip or RPM may unpack to before its last entry is reached.
_MAX_PASSED = 4 * 1024**3
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
#: The first bytes of an RPM's lead ("RPM Package format", rpm.org).
RPM_MARK = bytes.fromhex("edabeedb")
#: Compressions that rpm has or had for its payload, by libarchive's names.
_RPM_FILTERS = ("rpm", "gzip", "bzip2", "lzma", "xz", "zstd")


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
    try:
        damage = rpm_damage(path)
    except OSError as error:
        damage = error.strerror or str(error)
    if damage is not None:
        raise _damaged(path, "RPM", damage)
    taken: dict[str, bytes] = {}
    passed = 0
    with _reading_rpm(path) as entries:
        for count, entry in enumerate(entries):
            passed += entry.size or 0
            if count >= MAX_ENTRIES or passed > _MAX_PASSED:
                raise _too_much(path)
            # The names begin with "./".
            name = safe_path(str(entry.pathname or ""))
            if name is None or not entry.isreg or name in taken or not wanted(name):
                continue
            _take(path, taken, name, entry.get_blocks(_BLOCK))
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


@contextmanager
def _reading_rpm(path: Path) -> Iterator[Any]:
    try:
        import libarchive
        from libarchive import ffi
    # Without the C library the binding fails to load in one of these ways, by its version.
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise HostNotReadyError(
            "RPMs cannot be read: the library libarchive is not installed.",
            "Install libarchive13 (Debian, Ubuntu) or libarchive (Fedora, Arch), or unpack the "
            "RPM and give the folder.",
        ) from error
    try:
        with libarchive.read.new_archive_read("cpio", _RPM_FILTERS[0]) as archive:
            # One by one: "all" would let an RPM start programs, by which libarchive unpacks a few
            # rare compressions.
            for name in _RPM_FILTERS[1:]:
                ffi.get_read_filter_function(name)(archive)
            ffi.read_open_filename_w(archive, str(path), _BLOCK)
            yield libarchive.read.ArchiveRead(archive)
    except libarchive.ArchiveError as error:
        raise _damaged(path, "RPM", str(error.msg)) from error


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
