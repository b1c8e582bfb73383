"""A watch over the space that an overlay grows into.

qemu stops a machine whose disk image cannot grow any more, and waits for someone to make room;
the appliance would then hang for ever. So the machine is ended as soon as the space is used up.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from offline_mig.errors import OfflineMigError, OutputRefusedError

#: Bytes of free space below which qemu is about to stop, or has stopped.
_EXHAUSTED = 1024 * 1024
_INTERVAL = 0.5


def filled_up(folder: Path) -> OutputRefusedError:
    """Return the error for an overlay in ``folder`` that cannot grow any more."""
    return OutputRefusedError(
        f"The disk with {folder} filled up during the operation.",
        "Free some space there or work in another folder; nothing was left behind.",
    )


@contextmanager
def ending_when_full(folder: Path, pid: int) -> Iterator[None]:
    """End the process ``pid`` when the file system of ``folder`` is full.

    What then fails in the block is told as OutputRefusedError.
    """
    done = threading.Event()
    full = threading.Event()

    def watch() -> None:
        while not done.wait(_INTERVAL):
            if shutil.disk_usage(folder).free < _EXHAUSTED:
                full.set()
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except OfflineMigError as error:
        if full.is_set():
            raise filled_up(folder) from error
        raise
    finally:
        done.set()
        watcher.join()
