"""A folder that keeps results, so that what has been converted need not be once more.

``entries/KEY`` holds the results of one conversion and ``entry.json``, which is written last; the
folder gets its name when it is whole. Whoever takes something out of an entry holds a shared lock
on it, whoever removes it an exclusive one. Results are copied, never linked: a guest that is
started from them writes into its disk. Where the file system can share blocks (Btrfs, XFS), a copy
takes no space and no time.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offline_mig.conversion.content_hash import ContentHashes
from offline_mig.conversion.source_guard import file_sha256
from offline_mig.errors import OfflineMigError, OutputRefusedError
from offline_mig.images.image_lock import refuse_in_use
from offline_mig.processes import run

_MANIFEST = "entry.json"
_SCHEMA = "offline-mig/cache-entry/1"
#: What a cache may take on disk where nobody says, in GiB.
DEFAULT_SIZE = 100
#: What marks a folder as a cache for whoever goes through folders (bford.info/cachedir).
TAG = "CACHEDIR.TAG"
_TAG_CONTENT = "Signature: 8a477f597d28d172789f06886806bc55\n"
#: Seconds after which a draft is one that a killed run has left.
_ABANDONED = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Entry:
    """Results that are kept: their SHA-256 by name, the report last."""

    folder: Path
    files: dict[str, str]


class ResultCache:
    """The cache in ``folder``; ``limit`` is what its entries may take on disk, in bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder.absolute()
        self.hashes = ContentHashes(self.folder / "hashes")
        self.limit = limit
        self._entries = self.folder / "entries"

    @classmethod
    def of_size(cls, folder: Path, size: int) -> ResultCache:
        """Return the cache in a folder that may take ``size`` GiB."""
        return cls(folder, size * 1024**3)

    def prepare(self) -> None:
        """Make the folder; raises OutputRefusedError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._entries.mkdir(exist_ok=True)
            # Not anew each time: on a full disk that would fail.
            if not (self.folder / TAG).exists():
                (self.folder / TAG).write_text(_TAG_CONTENT, encoding="ascii")
        except OSError as error:
            raise OutputRefusedError(
                f"The cache {self.folder} cannot be used: {error.strerror}.",
                "Choose a folder that you may write to with --cache.",
            ) from error

    @contextmanager
    def found(self, key: str) -> Iterator[Entry | None]:
        """Give the entry for ``key``, which stays for the time of the block; None without one."""
        folder = self._entries / key
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            yield None
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            entry = _read(folder)
            if entry is not None:
                # The order in which entries go.
                with suppress(OSError):
                    os.utime(folder / _MANIFEST)
            yield entry
        finally:
            os.close(lock)

    def store(self, key: str, results: Sequence[Path], *, disks: int = 0) -> bool:
        """Keep ``results``, then let go of the oldest entries while there are too many.

        The first ``disks`` of them are disks, the last the report. Returns whether they are there
        now: alone they may be more than the cache may hold. Raises OutputRefusedError for disks
        that are in use or have changed, OfflineMigError, OSError; then nothing of them is kept.
        """
        draft = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self._entries))
        try:
            _require_pristine(results[:disks], results[-1])
            for result in results:
                copy_sparsely(result, draft / result.name)
            # Who waits for the report may have started the guest while its disks were copied.
            _require_pristine(results[:disks], results[-1])
            files = {path.name: file_sha256(draft / path.name) for path in results}
            manifest = {"schema": _SCHEMA, "files": files}
            (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            _remove(self._entries / key)
            self._give_name(draft, key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._tidy()
        return (self._entries / key).exists()

    def _give_name(self, draft: Path, key: str) -> None:
        try:
            draft.rename(self._entries / key)
        except OSError:
            # Another run was first, or somebody is taking the earlier one out: it is the same.
            if not (self._entries / key).exists():
                raise

    def _tidy(self) -> None:
        used: dict[Path, tuple[float, int]] = {}
        for folder in self._entries.iterdir():
            with suppress(OSError):
                if folder.name.startswith("."):
                    if time.time() - folder.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(folder, ignore_errors=True)
                    continue
                size = sum(path.stat().st_blocks * 512 for path in folder.iterdir())
                used[folder] = ((folder / _MANIFEST).stat().st_mtime, size)
        total = sum(size for _, size in used.values())
        for folder, (_, size) in sorted(used.items(), key=lambda item: item[1]):
            if total <= self.limit:
                return
            if _remove(folder):
                total -= size


def copy_sparsely(source: Path, target: Path) -> None:
    """Copy a file, its holes as holes and its blocks shared where the file system can.

    Raises OutputRefusedError for a full disk, ToolFailedError.
    """
    command = ("cp", "--reflink=auto", "--sparse=always", "--preserve=mode", "--", source, target)
    try:
        run(command)
    except OfflineMigError as error:
        if "No space left on device" in error.message or "Disk quota exceeded" in error.message:
            raise OutputRefusedError(
                f"The disk with {target.parent} is full.", "Free some space there."
            ) from error
        raise


def _require_pristine(disks: Sequence[Path], report: Path) -> None:
    """Raise OutputRefusedError unless disks are as they were when the report was written.

    The report is written when the disks are done. SourceUnreadableError is raised for one that a
    machine has open.
    """
    made = report.stat().st_mtime_ns
    for disk in disks:
        refuse_in_use(disk)
        if disk.stat().st_mtime_ns > made:
            raise OutputRefusedError(
                f"{disk} has changed since it was made.",
                "Shut the guest down before anything is made of its disk.",
            )


def _read(folder: Path) -> Entry | None:
    """Return an entry, None when it is not whole: it is made anew then."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        files = {str(name): str(sha256) for name, sha256 in manifest["files"].items()}
        whole = manifest["schema"] == _SCHEMA and files
        sound = all(name == Path(name).name and (folder / name).is_file() for name in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Entry(folder, files) if whole and sound else None


def _remove(folder: Path) -> bool:
    """Remove an entry unless somebody uses it; tells whether it went."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Without its name it is nobody's entry any more, however long removing it takes.
        dead = folder.with_name(f".{folder.name}.{os.getpid()}.dead")
        folder.rename(dead)
        shutil.rmtree(dead, ignore_errors=True)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)
