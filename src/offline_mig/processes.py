"""The one place where external programs are run."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from offline_mig.errors import HostNotReadyError, ToolFailedError

#: prctl(2) option, <linux/prctl.h>: the signal that a child gets when its parent dies.
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)

#: Programs that users know by their package, for the "install it" sentence.
_PACKAGES = {
    "qemu-img": "qemu-utils (Debian, Ubuntu), qemu-img (Fedora, Arch)",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended well: what it printed."""

    stdout: str
    stderr: str


def _die_with_parent() -> None:
    # A killed run must not leave a qemu-img behind that goes on writing.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``argv`` to its end and return what it printed.

    ``timeout`` is in seconds. ``on_output`` gets pieces of standard output as they appear, split
    at line feeds and carriage returns. Messages are asked for in English (``LC_ALL=C``), since
    some are looked at. The program dies with this process.

    Raises HostNotReadyError when the program is not there, ToolFailedError when it fails or
    takes longer than ``timeout``.
    """
    command = [os.fspath(part) for part in argv]
    try:
        # A thread-safe preexec_fn: one system call, no allocation, no lock.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {}), "LC_ALL": "C"},
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    except FileNotFoundError as error:
        package = _PACKAGES.get(command[0])
        raise HostNotReadyError(
            f"The program {command[0]} is not installed.",
            f"Install {package}." if package else f"Install {command[0]}.",
        ) from error
    except OSError as error:
        raise HostNotReadyError(
            f"The program {command[0]} cannot be started: {error.strerror}.",
            "Check its installation with 'offline-mig check'.",
        ) from error

    stderr_parts: list[bytes] = []
    stdout_parts: list[bytes] = []
    readers = [
        threading.Thread(target=_drain, args=(process.stderr, stderr_parts, None), daemon=True),
        threading.Thread(
            target=_drain, args=(process.stdout, stdout_parts, on_output), daemon=True
        ),
    ]
    for reader in readers:
        reader.start()
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise ToolFailedError(
            f"{command[0]} did not end within {timeout:g} s: {shlex.join(command)}",
            "See whether the storage answers, then try again.",
        ) from error
    except BaseException:
        process.kill()
        process.wait()
        raise
    for reader in readers:
        reader.join()
    stdout = b"".join(stdout_parts).decode("utf-8", "replace")
    stderr = b"".join(stderr_parts).decode("utf-8", "replace")
    if code != 0:
        said = (stderr.strip() or stdout.strip() or "it printed nothing").replace("\n", "; ")
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise ToolFailedError(
            f"{command[0]} {how}: {said}", f"It was run as: {shlex.join(command)}"
        )
    return Finished(stdout, stderr)


def _drain(
    stream: IO[bytes] | None, parts: list[bytes], on_output: Callable[[str], None] | None
) -> None:
    if stream is None:
        return
    pending = b""
    while chunk := os.read(stream.fileno(), 65536):
        parts.append(chunk)
        if on_output is None:
            continue
        *pieces, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
        for piece in pieces:
            if piece:
                on_output(piece.decode("utf-8", "replace"))
    if pending and on_output is not None:
        on_output(pending.decode("utf-8", "replace"))
