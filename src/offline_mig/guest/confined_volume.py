"""A volume in the hands of a confined worker, seen from the engine's side."""

from __future__ import annotations

import errno
import importlib
import marshal
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.abc import InspectLoader
from pathlib import Path

from offline_mig.errors import HostNotReadyError, OfflineMigError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest import volume_messages as messages
from offline_mig.guest.filesystem import (
    HIBERFIL,
    READ_LIMIT,
    DirectoryEntry,
    create_one_by_one,
    delete_one_by_one,
    not_plain,
    too_large,
    walk_one_by_one,
)
from offline_mig.guest.ntfs import VolumeKind
from offline_mig.guest.ntfs_library import LIBRARY_NAMES
from offline_mig.guest.sandbox import Confinement, open_bytes, sandboxed, why_not
from offline_mig.guest.space_guard import filled_up
from offline_mig.guest.stopped_clock import stopped_clock
from offline_mig.guest.syscall_filter import parser_filter
from offline_mig.guest.volume_messages import as_number, as_text, number, text
from offline_mig.processes import Running

#: Bytes of address space of the worker.
_MEMORY = 1024**3
#: Seconds that one operation on a volume may take.
_TIMEOUT = 300
#: What the worker consists of, each after what it imports.
_MODULES = (
    "offline_mig",
    "offline_mig.guest",
    "offline_mig.guest.nbd",
    "offline_mig.guest.volume_messages",
    "offline_mig.guest.inherited_security",
    "offline_mig.guest.ntfs_library",
    "offline_mig.guest.ntfs_volume",
    "offline_mig.guest.fat_layout",
    "offline_mig.guest.fat_table",
    "offline_mig.guest.fat_directory",
    "offline_mig.guest.fat_check",
    "offline_mig.guest.fat_volume",
    "offline_mig.guest.volume_worker",
)
#: Takes the compiled modules from a descriptor, so that the sandbox need not show where this
#: package is installed, which may be a folder that nobody else may read.
_START = """
import marshal, os, sys
with os.fdopen(int(sys.argv[1]), "rb") as stream:
    for name, code in marshal.load(stream):
        module = sys.modules[name] = type(sys)(name)
        package, _, last = name.rpartition(".")
        if package:
            setattr(sys.modules[package], last, module)
        module.__path__ = []
        exec(code, vars(module))
kind, access = sys.argv[6:8]
module.main(*map(int, sys.argv[2:6]), fat=kind == "fat", access=access)
"""


class Access(StrEnum):
    """What may be done with a volume, as it is told to the worker."""

    READ_ONLY = "read-only"
    WRITABLE = "writable"
    DISCARDING = "discarding"
    """Writable although a session waits in hiberfil.sys, which goes."""


@dataclass(frozen=True, slots=True)
class VolumeToMount:
    """An NTFS or FAT volume: ``name`` is what to call it, ``folder`` where its image grows.

    ``cluster_size`` is in bytes.
    """

    name: str
    kind: VolumeKind
    cluster_size: int
    folder: Path


@contextmanager
def mounted_volume(
    connection: socket.socket,
    size: int,
    volume: VolumeToMount,
    access: Access,
    moment: int | None = None,
) -> Iterator[ConfinedVolume]:
    """Have a worker open the volume behind an NBD connection for a ``with`` block.

    When the block ends well, the volume is written out and closed; otherwise the worker is
    killed. ``moment`` is what it takes for the time, see ``stopped_clock``. Raises
    GuestRefusedError, HostNotReadyError, OutputRefusedError, ToolFailedError.
    """
    mine, its = socket.socketpair()
    system_calls = open_bytes(parser_filter())
    code = open_bytes(_compiled())
    try:
        limit = struct.pack("ll", _TIMEOUT, 0)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        descriptors = (code, its.fileno(), connection.fileno(), system_calls)
        numbers = [str(value) for value in (*descriptors, size)]
        clock = [] if moment is None else stopped_clock(moment)
        command = [*clock, _python(), "-I", "-S", "-c", _START, *numbers]
        command += [volume.kind, access]
        confinement = Confinement(memory=_MEMORY, readable=_interpreter())
        with sandboxed(command, confinement, pass_fds=descriptors) as program:
            its.close()
            worker = _Worker(mine, program, volume)
            worker.begin()
            files = ConfinedVolume(worker, volume.cluster_size)
            if access is Access.DISCARDING and files.exists(HIBERFIL):
                files.delete(HIBERFIL)
            yield files
            worker.close()
    finally:
        os.close(system_calls)
        os.close(code)
        its.close()
        mine.close()


class ConfinedVolume:
    """A mounted volume, see GuestFilesystem."""

    def __init__(self, worker: _Worker, cluster_size: int) -> None:
        self._worker = worker
        self._cluster_size = cluster_size

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""
        try:
            (found,) = self._worker.ask(f"look for {path}", messages.RESOLVE, text(path))
        except FileNotFoundError:
            return None
        return as_text(found)

    def exists(self, path: str) -> bool:
        """Tell whether a file or directory of that name is there."""
        return self.resolve(path) is not None

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name."""
        fields = self._worker.ask(f"list {path}", messages.LIST, text(path))
        return tuple(
            DirectoryEntry(as_text(name), kind == b"\1", max(as_number(size), 0))
            for name, kind, size in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
        )

    def read(self, path: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's content."""
        parts = []
        size = 0
        while True:
            parts.append(self.read_part(path, size, messages.PIECE))
            size += len(parts[-1])
            if size > limit:
                raise too_large(path, limit)
            # A shorter one is the last.
            if len(parts[-1]) < messages.PIECE:
                return b"".join(parts)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        fields = (text(path), number(offset), number(size))
        (content,) = self._worker.ask(f"read {path}", messages.READ, *fields)
        return content[:size]

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place."""
        action = f"write {path}"
        self._worker.ask(action, messages.TRUNCATE, text(path))
        for offset in range(0, len(data), messages.PIECE):
            piece = data[offset : offset + messages.PIECE]
            last = b"\1" if offset + len(piece) == len(data) else b"\0"
            self._worker.ask(action, messages.WRITE, text(path), number(offset), last, piece)

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one."""
        self._worker.ask(f"create the directory {path}", messages.MAKE_DIRECTORY, text(path))

    def create(self, directories: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Create directories and files, none of which is there yet."""
        create_one_by_one(self, directories, files)

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory."""
        self._worker.ask(f"delete {path}", messages.DELETE, text(path))

    def walk(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return all that is below a directory, outer ones first."""
        return tuple(walk_one_by_one(self, path))

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""
        delete_one_by_one(self, path)

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""
        (clusters,) = self._worker.ask("read the free space", messages.FREE)
        return as_number(clusters) * self._cluster_size


class _Worker:
    """The engine's end of the orders. What comes back is checked, since the worker may lie."""

    def __init__(self, connection: socket.socket, program: Running, volume: VolumeToMount) -> None:
        self._connection = connection
        self._program = program
        self._volume = volume.name
        self._is_fat = volume.kind is VolumeKind.FAT
        self._folder = volume.folder

    def begin(self) -> None:
        """Wait until the volume is open."""
        try:
            kind, *fields = messages.receive(self._connection.fileno())
        except (OSError, ValueError) as error:
            raise self._gone(error) from error
        if kind == messages.UNSAFE:
            if self._is_fat:
                raise refusal.fat_read_only(self._volume, _printable(fields, 0))
            raise refusal.read_only(self._volume)
        if kind != messages.DONE:
            # The program's own words say more than the number of the error.
            self._program.end()
            said = self._program.last_words()
            reason = f"{_printable(fields, 1)}{said and f' ({said})'}"
            if self._is_fat:
                raise refusal.fat_unmountable(self._volume, reason)
            raise refusal.unmountable(self._volume, reason)

    def ask(self, action: str, what: bytes, *fields: bytes) -> list[bytes]:
        """Have an order carried out and return the answer.

        Raises FileNotFoundError, OutputRefusedError, ToolFailedError, UnreadableFileError.
        """
        try:
            messages.send(self._connection.fileno(), what, *fields)
            kind, *answer = messages.receive(self._connection.fileno())
        except (OSError, ValueError) as error:
            raise self._gone(error) from error
        if kind == messages.DONE:
            return answer
        if kind == messages.MISSING and answer:
            raise FileNotFoundError(as_text(answer[0]))
        if kind == messages.FULL:
            raise filled_up(self._folder)
        if kind == messages.ODD:
            raise not_plain(_printable(answer, 0), _printable(answer, 1))
        reader = "The reader of FAT" if self._is_fat else "ntfs-3g"
        raise ToolFailedError(
            f"{reader} could not {action}: {_printable(answer, 1)}",
            "Nothing was published. See whether the volume is sound (chkdsk), then try again.",
        )

    def close(self) -> None:
        """Have everything written out, and wait for the worker to end."""
        self.ask("write everything out", messages.CLOSE)
        if self._program.wait(_TIMEOUT):
            raise self._gone(OSError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def _gone(self, error: Exception) -> OfflineMigError:
        slow = isinstance(error, BlockingIOError)
        self._program.end()
        said = self._program.last_words()
        if said.startswith("bwrap: "):
            return why_not(said.removeprefix("bwrap: "))
        if "libntfs-3g is not installed" in said:
            return library_missing()
        how = f"did not answer within {_TIMEOUT} s" if slow else "ended before its time"
        return ToolFailedError(
            f"The program that reads the volume {self._volume} {how}: {said or error}",
            "Nothing was published. Have Windows check the volume (chkdsk /f), or try "
            "--engine guestfs.",
        )


def library_missing() -> HostNotReadyError:
    """Return the error for a host without libntfs-3g."""
    return HostNotReadyError(
        f"The library libntfs-3g is not installed ({', '.join(LIBRARY_NAMES)}).",
        "Install ntfs-3g (Debian, Ubuntu, Arch) or ntfs-3g-libs (Fedora).",
    )


def _printable(fields: list[bytes], number: int) -> str:
    said = as_text(fields[number]) if len(fields) > number else "no reason was given"
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _python() -> str:
    # The interpreter itself and not a virtual environment's link to it.
    return os.path.realpath(sys.executable)


def _interpreter() -> tuple[Path, ...]:
    """Return the folders of the interpreter that are not among the system's own."""
    folders = {Path(sys.base_prefix), Path(_python()).parent}
    return tuple(sorted(folder for folder in folders if not folder.is_relative_to("/usr")))


@cache
def _compiled() -> bytes:
    codes = []
    for name in _MODULES:
        loader = importlib.import_module(name).__loader__
        if not isinstance(loader, InspectLoader):
            raise TypeError(f"{name} was not loaded from a file")
        codes.append((name, loader.get_code(name)))
    return marshal.dumps(codes)
