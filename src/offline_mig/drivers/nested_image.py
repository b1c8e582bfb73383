"""An ISO image out of a package, in a temporary file without a name."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from offline_mig.errors import HostNotReadyError, SourceUnreadableError

#: Where large temporary files go; /tmp may lie in memory: file-hierarchy(7).
_LARGE_FILES = Path("/var/tmp")  # noqa: S108


class NestedImage:
    """A file that goes away with this object, or with the process, whichever ends first."""

    def __init__(self, shown: str, size: int, blocks: Iterable[memoryview]) -> None:
        """Take ``size`` bytes from ``blocks``; ``shown`` is what messages call them.

        Raises HostNotReadyError when there is no room, SourceUnreadableError when it cannot be
        written for another reason, and what ``blocks`` raises.
        """
        folder = _folder()
        try:
            with tempfile.TemporaryFile(dir=folder, prefix="offline-mig-") as file:
                free = os.statvfs(file.fileno())
                if free.f_bavail * free.f_frsize < size:
                    raise _no_room(shown, size, folder)
                for block in blocks:
                    file.write(block)
                file.flush()
                descriptor = os.dup(file.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _no_room(shown, size, folder) from error
            raise SourceUnreadableError(
                f"{shown} cannot be unpacked to {folder}: {error.strerror or error}.",
                "Name a folder for temporary files in TMPDIR, or unpack the package and give the "
                "ISO image itself.",
            ) from error
        weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor

    @property
    def path(self) -> Path:
        """Where the file can be opened while this object is there."""
        return Path(f"/proc/self/fd/{self._descriptor}")


def _folder() -> Path:
    if named := os.environ.get("TMPDIR"):
        return Path(named)
    return _LARGE_FILES if os.access(_LARGE_FILES, os.W_OK) else Path(tempfile.gettempdir())


def _no_room(shown: str, size: int, folder: Path) -> HostNotReadyError:
    return HostNotReadyError(
        f"There is no room in {folder} for {shown}, which has {size} bytes.",
        "Free that much there, name another folder in TMPDIR, or unpack the package and give the "
        "ISO image itself.",
    )
