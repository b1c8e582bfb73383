"""The one place where external programs are run."""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from offline_mig.errors import HostNotReadyError, ToolFailedError

#: prctl(2) option, <linux/prctl.h>: the signal that a child gets when its parent dies.
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)

#: Programs that users know by their package, for the "install it" sentence.
_PACKAGES = {
    "qemu-img": "qemu-utils (Debian, Ubuntu), qemu-img (Fedora, Arch)",
    "qemu-storage-daemon": "qemu-system-common (Debian, Ubuntu), qemu-img (Fedora), "
    "qemu-full (Arch)",
    "bwrap": "bubblewrap",
    "setpriv": "util-linux",
}
#: Seconds between looks at whether a program is to be ended early.
_STOP_INTERVAL = 0.1
#: Seconds that a program gets to end when it has to.
_LAST_BREATH = 10
#: Bytes of a long-running program's standard error that are kept, the last ones.
_LAST_WORDS = 4096


class ProgramFailedError(ToolFailedError):
    """A program that ended by itself, or by a signal, and not well.

    ``code`` is its exit code, negative for a signal.
    """

    def __init__(self, message: str, remedy: str, code: int) -> None:
        super().__init__(message, remedy)
        self.code = code


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended well: what it printed."""

    stdout: str
    stderr: str


def _dying_with(parent: int) -> Callable[[], None]:
    def die_with_parent() -> None:
        # A killed run must not leave a qemu-img behind that goes on writing.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # Nobody tells of a parent that was killed before.
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    grace: float = 0,
    brief: bool = False,
) -> Finished:
    """Run ``argv`` to its end and return what it printed.

    ``timeout`` is in seconds. ``on_output`` gets pieces of standard output as they appear, split
    at line feeds and carriage returns. Messages are asked for in English (``LC_ALL=C``), since
    some are looked at. The program dies with the thread that runs it, and is ended early when
    ``stop`` is set: by SIGTERM when it has ``grace``, seconds to clean up, and then killed.
    One that is ``brief`` begins 4 ms sooner, without being copied from this process first; it
    ends by itself when this process is killed.

    Raises HostNotReadyError when the program is not there, ProgramFailedError when it fails,
    ToolFailedError when it takes longer than ``timeout``.
    """
    command = [os.fspath(part) for part in argv]
    with _starting(command[0]):
        # A thread-safe preexec_fn: two system calls, no lock.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {}), "LC_ALL": "C"},
            # Ctrl-C in a terminal reaches this program only, which then ends the other.
            start_new_session=True,
            preexec_fn=None if brief else _dying_with(os.getpid()),  # noqa: PLW1509
        )

    attended = _Attended(process, on_output, timeout, stop, grace)
    try:
        code = attended.until_its_end()
    except subprocess.TimeoutExpired as error:
        raise ToolFailedError(
            f"{command[0]} did not end within {timeout:g} s: {shlex.join(command)}",
            "See whether the storage answers, then try again.",
        ) from error
    finally:
        attended.kill()
    stdout, stderr = attended.said()
    if code != 0:
        raise _failed(command, code, stdout, stderr)
    return Finished(stdout, stderr)


def _failed(command: Sequence[str], code: int, stdout: str, stderr: str) -> ProgramFailedError:
    said = (stderr.strip() or stdout.strip() or "it printed nothing").replace("\n", "; ")
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    remedy = f"It was run as: {shlex.join(command)}"
    return ProgramFailedError(f"{command[0]} {how}: {said}", remedy, code)


def _ended(process: subprocess.Popen[bytes], timeout: float | None) -> int:
    """Wait as ``Popen.wait`` does, which looks ever more seldom, but return at once."""
    if process.returncode is not None:
        return process.returncode
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:  # Linux before 5.3
        return process.wait(timeout)
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        ended = waiting.poll(None if timeout is None else timeout * 1000)
    finally:
        os.close(handle)
    # Who traces it (strace) hears of its end first.
    return process.wait(timeout if ended else 0)


def run_to_its_end(
    argv: Sequence[str | os.PathLike[str]],
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``argv`` to its end, be it that this program is told to end, or killed.

    It gets the file descriptors ``pass_fds`` and a session of its own. What it prints must be
    short. SIGINT and SIGTERM wait until it has ended. Raises HostNotReadyError when the program
    is not there, ToolFailedError when it fails.
    """
    command = [os.fspath(part) for part in argv]
    waiting = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        with _starting(command[0]):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {}), "LC_ALL": "C"},
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
        stdout, stderr = (part.decode("utf-8", "replace") for part in process.communicate())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if process.returncode:
        raise _failed(command, process.returncode, stdout, stderr)
    return Finished(stdout, stderr)


class _Attended:
    """A program that is heard out, and ended early when it is time to."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_output: Callable[[str], None] | None,
        timeout: float | None,
        stop: threading.Event | None,
        grace: float,
    ) -> None:
        self._process = process
        self._on_output = on_output
        self._timeout = timeout
        self._stop = stop
        self._grace = grace
        self._began = time.monotonic()
        self._killed_at: float | None = None
        self._pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
        self._said: tuple[list[bytes], ...] = ([], [])
        self._pending = b""

    def until_its_end(self) -> int:
        """Return the exit code, negative for a signal; raises subprocess.TimeoutExpired."""
        with selectors.DefaultSelector() as pipes:
            for number, pipe in enumerate(self._pipes):
                pipes.register(pipe, selectors.EVENT_READ, number)
            # What it started may hold the pipes open after it was stopped.
            while pipes.get_map() and not (self._killed_at and self._process.poll() is not None):
                for key, _ in pipes.select(self._patience()):
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        pipes.unregister(key.fileobj)
                    self._hear(key.data, chunk)
        # Having closed both, it has ended, or is about to.
        while True:
            patience = self._patience()
            with suppress(subprocess.TimeoutExpired):
                return _ended(self._process, patience)

    def kill(self) -> None:
        """End the program at once; does nothing when it has ended."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            pipe.close()

    def said(self) -> tuple[str, str]:
        """Return what came out of standard output and standard error."""
        stdout, stderr = (b"".join(parts).decode("utf-8", "replace") for parts in self._said)
        return stdout, stderr

    def _patience(self) -> float | None:
        """Return the seconds until it is time to look again, and do what is due now."""
        now = time.monotonic()
        waits = []
        if self._timeout is not None:
            waits.append(self._began + self._timeout - now)
            if waits[0] <= 0:
                raise subprocess.TimeoutExpired(self._process.args, self._timeout)
        if self._stop is not None:
            waits.append(_STOP_INTERVAL)
            if self._stop.is_set():
                if self._killed_at is None:
                    self._killed_at = now + self._grace
                    self._process.terminate()
                if now >= self._killed_at:
                    self._process.kill()
        return min(waits, default=None)

    def _hear(self, pipe: int, chunk: bytes) -> None:
        self._said[pipe].append(chunk)
        if pipe or self._on_output is None:
            return
        *pieces, self._pending = (self._pending + chunk).replace(b"\r", b"\n").split(b"\n")
        if not chunk:
            pieces.append(self._pending)
        for piece in pieces:
            if piece:
                self._on_output(piece.decode("utf-8", "replace"))


class Running:
    """A program that runs beside this one, see ``running``."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self.name = name
        self._process = process
        self._lifeline: int | None = lifeline
        self._said = b""
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id of the program as it was started."""
        return self._process.pid

    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal.

        Raises ToolFailedError when the program still runs after ``timeout`` seconds.
        """
        try:
            return _ended(self._process, timeout)
        except subprocess.TimeoutExpired as error:
            raise ToolFailedError(
                f"{self.name} did not end within {timeout:g} s.",
                "See whether the storage answers, then try again.",
            ) from error

    def end(self) -> None:
        """Have the program end, and wait for it; does nothing when it has ended."""
        if self._lifeline is not None:
            # The end of the pipe is not seen while a process that a library forked holds it, too.
            with suppress(BrokenPipeError):
                os.write(self._lifeline, b"\n")
            os.close(self._lifeline)
            self._lifeline = None
        try:
            _ended(self._process, _LAST_BREATH)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return what an ended program wrote to standard error last, one printable line."""
        # What it started may hold the pipe open for a moment longer.
        self._reader.join(timeout=1)
        lines = self._said.decode("utf-8", "replace").split("\n")
        # It may quote what it found in an image.
        shown = ("".join(c if c.isprintable() else "?" for c in line).strip() for line in lines)
        return "; ".join(line for line in shown if line)

    def _listen(self) -> None:
        if self._process.stderr is None:
            return
        with self._process.stderr as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._said = (self._said + chunk)[-_LAST_WORDS:]


@contextmanager
def running(
    argv: Sequence[str | os.PathLike[str]],
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run ``argv`` beside this program for the time of a ``with`` block, then have it end.

    It gets the file descriptors ``pass_fds`` under the same numbers, ``environment`` and nothing
    else of this process's, and a session of its own: Ctrl-C reaches this program only, which then
    ends the other in order. What it has as standard output is a pipe to read from, out of
    which a line comes when the block ends, and whose end when this process does, be it killed: the
    program has to end then.

    Raises HostNotReadyError when the program is not there.
    """
    command = [os.fspath(part) for part in argv]
    its_end, lifeline = os.pipe()
    try:
        with _starting(command[0]):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=its_end,
                stderr=subprocess.PIPE,
                env={
                    **(environment or {}),
                    "LC_ALL": "C",
                    "PATH": os.environ.get("PATH", os.defpath),
                },
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(its_end)
    program = Running(command[0], process, lifeline)
    try:
        yield program
    finally:
        program.end()
        program.last_words()


def require_program(name: str) -> str:
    """Return the path of a program; raises HostNotReadyError when it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise _not_installed(name)
    return found


def _not_installed(name: str) -> HostNotReadyError:
    return HostNotReadyError(
        f"The program {name} is not installed.", f"Install {_PACKAGES.get(name, name)}."
    )


@contextmanager
def _starting(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _not_installed(name) from error
    except OSError as error:
        raise HostNotReadyError(
            f"The program {name} cannot be started: {error.strerror}.",
            "Check its installation with 'offline-mig check'.",
        ) from error
