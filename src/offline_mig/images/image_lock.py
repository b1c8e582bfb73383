"""Whether a virtual machine has an image open, and keeping it from being opened.

qemu says what it does with an image by locks on single bytes of the file: on byte 100 + N that it
uses the permission N, on byte 200 + N that it does not want anybody else to use it (qemu,
block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE; the permissions are those of
include/block/block-common.h, BLK_PERM_*). All are shared locks; a conflict is one on the other
byte. They are open file description locks, which a killed program does not leave behind.

Asking qemu is not enough. Opening a qcow2 image it minds a writer, since that moves the tables
about; a raw image has none, so its reader says nothing (measured, 7.2), and would copy a disk
that changes meanwhile. Hence the locks are looked at here, for every format alike.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from offline_mig.errors import SourceUnreadableError

_USED = 100
_NOT_SHARED = 200
#: Permissions by their bit: to read what makes sense, to write, to change the size.
_READ, _WRITE, _RESIZE = 0, 1, 3
#: struct flock of Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi4x")
#: File systems without such locks say so in different ways; qemu does without them then, too.
_NO_LOCKS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def refuse_in_use(path: Path) -> None:
    """Raise SourceUnreadableError when a virtual machine, or qemu-img, writes to ``path``."""
    descriptor = _opened(path)
    try:
        _refuse_locked(descriptor, path, [_USED + _WRITE, _USED + _RESIZE])
    finally:
        os.close(descriptor)


@contextmanager
def kept_from_others(path: Path) -> Iterator[None]:
    """Keep everyone from writing to an image for the time of a ``with`` block.

    Others may go on reading only as far as a change of the image does them no harm: a machine
    that runs on an overlay of it, or keeps its own changes apart, does not let it be changed.
    What qemu opens here as the backing file of an overlay is not hindered. Raises
    SourceUnreadableError for an image that is in use.
    """
    descriptor = _opened(path)
    try:
        for byte in (_USED + _READ, _NOT_SHARED + _WRITE, _NOT_SHARED + _RESIZE):
            _lock(descriptor, byte)
        # After taking our own, as qemu does: of two that come together at least one sees it.
        others = [base + bit for base in (_USED, _NOT_SHARED) for bit in (_WRITE, _RESIZE)]
        _refuse_locked(descriptor, path, others)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceUnreadableError(
            f"{path} cannot be opened: {error.strerror}.", "Check the path and its permissions."
        ) from error


def _lock(descriptor: int, byte: int) -> None:
    wanted = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _refuse_locked(descriptor: int, path: Path, numbers: Iterable[int]) -> None:
    for byte in numbers:
        # An exclusive lock collides with any other; it is only asked about, never taken.
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            raise
        if _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK:
            raise SourceUnreadableError(
                f"{path} is in use: a virtual machine or another program of qemu has it open.",
                "Shut the guest down and wait until its qemu has ended, then try again.",
            )
