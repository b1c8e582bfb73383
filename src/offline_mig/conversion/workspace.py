"""Where results are made before they are published: a hidden folder beside their final place.

It lies in the output folder itself, so that publishing is a rename within one file system, which
is atomic and keeps sparse files sparse. Its name is fixed for each guest: what a killed run left
behind is found and removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OutputRefusedError, SourceUnreadableError
from offline_mig.images.image_lock import kept_from_others

#: Where earlier results wait in a workspace until their successors are all in place.
_REPLACED = "replaced"
#: The names that are being published, and what whoever is at work holds a lock on.
_PUBLISHING, _LOCK = "publishing", "lock"


class WorkspaceBusyError(OutputRefusedError):
    """Another run has the workspace of the guest."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The hidden folder of one guest; nothing in it counts as a result."""

    folder: Path
    output: Path

    def write(self, name: str, text: str, *, executable: bool = False) -> None:
        """Make a file. Programs may be run by whoever may read them."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        if executable:
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & 0o444) >> 2)

    @contextmanager
    def stored_meanwhile(self, names: Iterable[str]) -> Iterator[None]:
        """Put finished files on stable storage while something else is done in a ``with`` block.

        Publishing does so as well, but then there is nothing to do but to wait for it. The block
        ends when they are there. Raises OutputRefusedError for what the storage refuses: the kernel
        tells that once, and whoever asks again later finds nothing wrong.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            storing = [executor.submit(_sync, self.folder / name) for name in names]
            yield
            for stored in storing:
                try:
                    stored.result()
                except OSError as error:
                    raise output_refused(error, self.output) from error
        finally:
            # What failed meanwhile is told at once: nothing will be published.
            executor.shutdown(wait=False, cancel_futures=True)

    def publish(
        self, names: Sequence[str], earlier: Sequence[str] = (), *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Give finished files their final names in the output folder, in the given order.

        Each is on stable storage before it appears. ``earlier`` are all names that earlier
        results may have, in their order; by default those of the new. Of earlier results the last
        named goes first: the report, then what names the disks, so that nothing is ever seen
        beside a disk that is not its own. All of them are put back when one of the new cannot
        take its place. Without ``overwrite`` there must be none: what has come while the new were
        made is somebody else's. Raises OutputRefusedError.
        """
        _refuse_earlier(self.output, earlier or names, overwrite=overwrite)
        replaced = self.folder / _REPLACED
        published: list[str] = []
        try:
            for name in names:
                _sync(self.folder / name)
            self.write(_PUBLISHING, json.dumps(list(names)))
            _sync(self.folder / _PUBLISHING)
            replaced.mkdir()
            for name in reversed(earlier or names):
                if os.path.lexists(self.output / name):
                    (self.output / name).replace(replaced / name)
            for name in names:
                (self.folder / name).replace(self.output / name)
                published.append(name)
            _sync(self.output)
        except BaseException as error:
            with suppress(OSError):
                for name in reversed(published):
                    (self.output / name).unlink()
                _put_back(self.folder, self.output, names[-1])
            if isinstance(error, OSError):
                raise output_refused(error, self.output) from error
            raise
        return tuple(self.output / name for name in names)


def absolute_output(output: Path) -> Path:
    """Return the output folder, or an output file, as an absolute path.

    Absolute, since qemu takes a relative name with a colon for a protocol. Raises
    OutputRefusedError for a name that is not text: neither XML nor JSON could hold it.
    """
    try:
        str(output).encode()
    except UnicodeEncodeError as error:
        raise OutputRefusedError(
            f"The name of the output is not valid UTF-8: {os.fsencode(output)!r}.",
            "Choose another with -o.",
        ) from error
    return output.absolute()


def refuse_existing(
    output: Path, names: Sequence[str], inputs: Iterable[Path], *, overwrite: bool
) -> None:
    """Refuse to replace earlier results, unless asked to, and inputs, whatever is asked.

    ``inputs`` are all files that are read: a guest that is converted again in its own folder has
    the name of its result. Nor is a result replaced that a running machine has open, or an overlay
    of it: all that was written since would be gone. Raises OutputRefusedError.
    """
    try:
        existing = [output / name for name in names if os.path.lexists(output / name)]
        read = {_identity(path): path for path in inputs}
        for path in existing:
            if path.exists() and _identity(path) in read:
                raise OutputRefusedError(
                    f"The result {path} would replace {read[_identity(path)]}, which it is made "
                    "from.",
                    "Choose another folder with -o, or another name with --name.",
                )
        strange = [path for path in existing if path.is_symlink() or not path.is_file()]
    except OSError as error:
        raise output_refused(error, output) from error
    if strange:
        raise OutputRefusedError(
            f"{strange[0]} is in the way and is no plain file.",
            "Move it away, or choose another folder with -o.",
        )
    _refuse_earlier(output, names, overwrite=overwrite)


def _refuse_earlier(output: Path, names: Sequence[str], *, overwrite: bool) -> None:
    existing = [name for name in names if os.path.lexists(output / name)]
    if existing and not overwrite:
        raise OutputRefusedError(
            f"{output} already holds {', '.join(existing)}.",
            "Choose another folder with -o, or give --overwrite to replace them.",
        )
    for name in existing:
        _refuse_in_use(output / name)


def _refuse_in_use(path: Path) -> None:
    try:
        with kept_from_others(path):
            pass
    except SourceUnreadableError as error:
        raise OutputRefusedError(
            f"The earlier result cannot be replaced: {error.message}",
            "Shut the virtual machine down that uses it, or choose another folder with -o.",
        ) from error


@contextmanager
def open_workspace(output: Path, stem: str) -> Iterator[Workspace]:
    """Make the workspace of a guest and remove it in the end, whatever happens.

    ``output`` is absolute. Folders that were made here and stayed empty are removed too. Raises
    OutputRefusedError when the folder cannot be written, WorkspaceBusyError when another run is
    working on this guest.
    """
    made = [path for path in (output, *output.parents) if not path.exists()]
    folder = _folder(output, stem)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_refused(error, output) from error
    report = f"{stem}.report.json"
    try:
        with _claimed(folder, stem, output):
            try:
                try:
                    _put_back(folder, output, report)
                    _empty(folder)
                except OSError as error:
                    raise output_refused(error, output) from error
                yield Workspace(folder, output)
            finally:
                # Earlier results that could not be put back are not for this run to delete.
                if not _waiting(folder, output, report):
                    with suppress(OSError):
                        _empty(folder)
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def recover_workspace(output: Path, stem: str) -> None:
    """Put in order what a killed run left of a guest; does nothing where none did.

    Results that it had published are taken back, since the rest never came, and what they replaced
    is put in their place. Raises as ``open_workspace`` does.
    """
    if os.path.lexists(_folder(output, stem)):
        with open_workspace(output, stem):
            pass


def _folder(output: Path, stem: str) -> Path:
    return output / f".{stem}.offline-mig"


@contextmanager
def _claimed(folder: Path, stem: str, output: Path) -> Iterator[None]:
    """Make the folder of a workspace and hold it alone; removes it where it is empty in the end.

    The lock is on a file that is open for writing: NFS locks nothing else, and no folders.
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # The name is known beforehand: what lies there may be another's, or lead elsewhere.
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.lexists(folder):
            raise _not_ours(folder) from error
        raise output_refused(error, output) from error
    with ExitStack() as held:
        held.callback(os.close, opened)
        if os.fstat(opened).st_uid != os.geteuid():
            raise _not_ours(folder)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            lock = os.open(_LOCK, flags, 0o600, dir_fd=opened)
            held.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it until now removes both.
            there = _is_open_as(folder, opened) and _is_open_as(folder / _LOCK, lock)
        except (BlockingIOError, FileNotFoundError):
            there = False
        except OSError as error:
            raise output_refused(error, output) from error
        if not there:
            raise WorkspaceBusyError(
                f"Another run is converting {stem} into {output}.",
                "Wait for it, or choose another folder with -o.",
            )
        try:
            yield
        finally:
            # NFS keeps a file that is open, under another name, and the folder with it.
            with suppress(OSError):
                (folder / _LOCK).unlink()
            held.close()
            with suppress(OSError):
                folder.rmdir()


def _is_open_as(path: Path, descriptor: int) -> bool:
    return os.path.samestat(path.lstat(), os.fstat(descriptor))


def output_refused(error: OSError, output: Path) -> OutputRefusedError:
    """Return the error that tells why results cannot be written to ``output``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputRefusedError(
            f"The disk with {output} is full.",
            "Free some space or choose another folder with -o; nothing was left behind.",
        )
    if error.errno == errno.EIO:
        return OutputRefusedError(
            f"The storage with {output} failed: {error.strerror}.",
            "See what the kernel says of it (dmesg), and choose another folder with -o.",
        )
    return OutputRefusedError(
        f"The results cannot be written to {output}: {error.strerror}.",
        "Choose a folder that you may write to with -o.",
    )


def _not_ours(folder: Path) -> OutputRefusedError:
    return OutputRefusedError(
        f"{folder} is in the way: it is not a folder that this user's runs have made.",
        "Remove it, or choose another folder with -o.",
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def _waiting(folder: Path, output: Path, report: str) -> list[Path]:
    """Return earlier results that were moved aside and whose successors are not all in place.

    The report is the last to be published: once it is there the new results are whole.
    """
    replaced = folder / _REPLACED
    if (output / report).exists() or replaced.is_symlink() or not replaced.is_dir():
        return []
    # The report last here, too.
    return sorted(replaced.iterdir(), key=lambda path: path.name == report)


def _put_back(folder: Path, output: Path, report: str) -> None:
    if not (output / report).exists():
        for name in _begun(folder):
            if not os.path.lexists(folder / name):
                (output / name).unlink(missing_ok=True)
    # What is put back from here on has the same names, and must not go should this be cut off.
    (folder / _PUBLISHING).unlink(missing_ok=True)
    for path in _waiting(folder, output, report):
        path.replace(output / path.name)


def _begun(folder: Path) -> list[str]:
    """Return the names that a run was about to publish; what is not in the folder any more, was."""
    try:
        names: list[str] = json.loads((folder / _PUBLISHING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # There is none, or it was cut off: then nothing had been published.
        return []
    return names


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == _LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
