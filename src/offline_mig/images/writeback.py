"""Having the kernel write a growing file out while it still grows.

qemu-img leaves what it writes in memory, and the kernel waits until much of it is there or half a
minute has passed. A result must be on stable storage before it is published, so all of that would
be waited for in the end; begun early it is done while qemu-img reads. See docs/performance.md for
what it brings.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: SYNC_FILE_RANGE_WRITE, <linux/fs.h>: begin to write out all that is not being written yet.
_BEGIN = 2
#: Seconds between two beginnings. From 0.01 to 0.2 s no difference was measured.
_PACE = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def written_back(path: Path) -> Iterator[None]:
    """Keep writing a file out for the time of a ``with`` block; it need not be there yet.

    It is only sped up: whether everything is written, fsync(2) has to see to.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_keep_writing, args=(path, ended), name="write back")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _keep_writing(path: Path, ended: threading.Event) -> None:
    begin = getattr(_libc, "sync_file_range", None)
    if begin is None:  # musl on some machines
        return
    begin.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    while True:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                # Length 0 means up to the end. File systems that cannot do it say so, no harm done.
                begin(handle, 0, 0, _BEGIN)
            finally:
                os.close(handle)
        if ended.wait(_PACE):
            return
