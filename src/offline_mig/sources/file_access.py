"""Opening the files of a source: only regular files, never by surprise, errors as sentences.

Everything that a source names is looked at with stat before it is opened: opening a FIFO would
wait for ever, and opening a device can have effects.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from offline_mig.errors import OfflineMigError, SourceUnreadableError
from offline_mig.machine import Window

ErrorClass: TypeAlias = type[OfflineMigError]

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


def shown(name: str | os.PathLike[str]) -> str:
    """Return a name fit for a message.

    What a terminal would obey or could not print is escaped: names in a source were chosen by
    others.
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in os.fspath(name)
    )


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, or a window of one, opened for reading.

    ``size`` is in bytes; ``start`` is where in the file the first of them lies.
    """

    path: Path
    size: int
    descriptor: int
    start: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes at ``offset``, fewer only where the file ends.

        Raises SourceUnreadableError when the storage fails.
        """
        if offset < 0 or offset >= self.size or length <= 0:
            return b""
        parts: list[bytes] = []
        left = min(length, self.size - offset)
        try:
            while left > 0:
                part = os.pread(self.descriptor, left, self.start + offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                left -= len(part)
        except OSError as error:
            raise SourceUnreadableError(
                f"{shown(self.path)} cannot be read at byte {offset}: {_reason(error)}.",
                "See whether the storage is healthy, then copy the file again.",
            ) from error
        return b"".join(parts)


def stat_regular_file(
    path: Path, *, missing: str | None = None, wrong_kind: ErrorClass = SourceUnreadableError
) -> os.stat_result:
    """Return the stat of ``path``, links followed, when it is a regular file.

    ``missing`` is the remedy for a file that is not there. Raises SourceUnreadableError when it
    cannot be looked at, ``wrong_kind`` when it is a directory, device, FIFO or socket.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error, missing) from error
    except ValueError as error:  # a NUL character in the name
        raise SourceUnreadableError(
            f"{shown(path)} is not a file name.", "Give the path of a file."
        ) from error
    for is_kind, words in _KINDS:
        if is_kind(found.st_mode):
            raise wrong_kind(
                f"{shown(path)} is {words}, not a file.",
                "Give a disk image or a VMX file; a device's content can be copied to an image "
                "with 'qemu-img convert'.",
            )
    return found


@contextmanager
def open_file(
    path: Path,
    *,
    wrong_kind: ErrorClass = SourceUnreadableError,
    window: Window | None = None,
) -> Iterator[OpenFile]:
    """Open a regular file, or only a window of it, for reading.

    Raises SourceUnreadableError when it cannot be opened, ``wrong_kind`` when it is not a regular
    file.
    """
    stat_regular_file(path, wrong_kind=wrong_kind)
    try:
        # Should a FIFO have taken the file's place since, O_NONBLOCK keeps this from waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise wrong_kind(
                f"{shown(path)} changed while it was looked at.",
                "Make sure that nothing else works in this folder.",
            )
        if window is None:
            yield OpenFile(path, found.st_size, descriptor)
        else:
            size = max(0, min(window.size, found.st_size - window.offset))
            yield OpenFile(path, size, descriptor, window.offset)
    finally:
        os.close(descriptor)


def exists(path: Path) -> bool:
    """Tell whether there is anything at ``path``, links followed.

    Raises SourceUnreadableError where that cannot be found out.
    """
    try:
        return path.exists()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError, missing: str | None = None) -> SourceUnreadableError:
    """Return the sentence for an error of the operating system at ``path``."""
    if error.errno == errno.ENOENT:
        return SourceUnreadableError(
            f"{shown(path)} does not exist.", missing or "Check the name and the folder."
        )
    if isinstance(error, PermissionError):
        return SourceUnreadableError(
            f"{shown(path)} may not be read by this user: {_reason(error)}.",
            "Give this user the right to read the file and to enter its folder, or run as a user "
            "who has it.",
        )
    return SourceUnreadableError(
        f"{shown(path)} cannot be opened: {_reason(error)}.", "Check the path and the storage."
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
