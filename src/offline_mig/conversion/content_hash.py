"""SHA-256 of files, each computed once for as long as the file stays as it is.

What was computed is kept in a folder, one small file for each path. A file counts as the same while
its device, inode, size, time of modification and time of the last change of its inode are those
that it had; the last can be set by nobody but the kernel. A file that was changed in the last
moments is hashed each time, since a further change might fall on the same tick of the clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from offline_mig.conversion.source_guard import file_sha256

#: Nanoseconds; FAT has the coarsest times, of 2 s.
_TICK = 2_000_000_000
#: Bytes of a file that is hashed sooner than looked up: driver folders have thousands.
_SMALL = 1024 * 1024


class ContentHashes:
    """Hashes of files that are kept in ``folder``, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of_file(self, path: Path) -> str:
        """Return the SHA-256 of a file's content; raises OSError."""
        if path.stat().st_size < _SMALL:
            return file_sha256(path)
        place = self._folder / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
        state = _state(path)
        known = _read(place)
        if known is not None and known[0] == state:
            return known[1]
        digest = file_sha256(path)
        now = time.time_ns()
        if _state(path) == state and now - max(state[-2:]) > _TICK:
            # On a full disk it is computed again the next time, which is all.
            with suppress(OSError):
                _write(place, state, digest)
        return digest

    def of_tree(self, path: Path) -> str:
        """Return the SHA-256 of a file, or of all names and contents below a folder.

        Raises OSError.
        """
        if not path.is_dir():
            return self.of_file(path)
        digest = hashlib.sha256()
        for parent, folders, files in os.walk(path, followlinks=True):
            folders.sort()
            for name in sorted(files):
                file = Path(parent, name)
                digest.update(os.fsencode(file.relative_to(path)) + b"\0")
                digest.update(self.of_file(file).encode("ascii") + b"\n")
        return digest.hexdigest()


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read(place: Path) -> tuple[list[int], str] | None:
    try:
        record = json.loads(place.read_bytes())
        return record["state"], record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(place: Path, state: list[int], digest: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(json.dumps({"state": state, "sha256": digest}), encoding="ascii")
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
