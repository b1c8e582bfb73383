"""A guest's disks, opened by qemu-storage-daemon in a sandbox and served over NBD.

The daemon reads the image formats and gives out what is in them: each whole disk read-only, and
single partitions, writable or not, for a volume to be mounted. NBD rather than its FUSE export,
because it needs neither /dev/fuse nor a mount, and so no privilege at all. Its socket has no name
that another process could find it by, and so leaves none behind.
"""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from offline_mig.errors import ToolFailedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.nbd import choose_export
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.qmp import CommandRefusedError, Monitor
from offline_mig.guest.sandbox import Confinement, sandboxed, why_not
from offline_mig.processes import Running, require_program

_PROGRAM = "qemu-storage-daemon"
#: Bytes of address space: metadata caches of all disks, and stacks of up to 64 threads.
_MEMORY = 4 * 1024**3
#: Seconds that storage may take over one request.
TIMEOUT = 120


class StorageDaemon:
    """A running daemon with a guest's disks open; see ``serving``."""

    def __init__(self, server: _Server, monitor: Monitor, disks: tuple[OpenedDisk, ...]) -> None:
        self._server = server
        self._monitor = monitor
        self._disks = disks
        self._partitions = 0

    def open_disk(self, disk: int, *, writable: bool) -> str:
        """Open a disk's image and return the name of an export of all of it, read-only.

        Raises ToolFailedError.
        """
        image = self._disks[disk]
        self._add_node(
            image,
            f"file{disk}",
            driver="file",
            filename=os.fspath(image.path.absolute()),
            read_only=not writable,
            # An overlay is thrown away unless everything succeeds: it needs no flushing.
            cache={"no-flush": writable},
        )
        file = f"file{disk}"
        if image.window is not None:
            part = f"part{disk}"
            self._add_node(
                image,
                part,
                driver="raw",
                file=file,
                offset=image.window.offset,
                size=image.window.size,
                read_only=not writable,
            )
            file = part
        node = f"disk{disk}"
        self._add_node(image, node, driver=image.format.value, file=file, read_only=not writable)
        self._export(image, node, writable=False)
        return node

    def open_partition(self, disk: int, partition: Partition, *, writable: bool) -> str:
        """Return the name of a fresh export of one partition of an open disk, and of no more."""
        image = self._disks[disk]
        node = f"partition{self._partitions}"
        self._partitions += 1
        self._add_node(
            image,
            node,
            driver="raw",
            file=f"disk{disk}",
            offset=partition.start,
            size=partition.size,
            read_only=not writable,
        )
        self._export(image, node, writable=writable)
        return node

    @contextmanager
    def connection(self, export: str) -> Iterator[tuple[socket.socket, int]]:
        """Connect to an export for the time of a ``with`` block; gives its size in bytes too."""
        with self._server.connect() as connected:
            try:
                size = choose_export(connected.fileno(), export)
            except OSError as error:
                raise storage_failed(error) from error
            yield connected, size

    def _add_node(self, image: OpenedDisk, name: str, **options: object) -> None:
        written = {key.replace("_", "-"): value for key, value in options.items()}
        self._execute(image, "blockdev-add", **{"node-name": name, **written})

    def _export(self, image: OpenedDisk, node: str, *, writable: bool) -> None:
        options = {"type": "nbd", "id": node, "name": node, "node-name": node}
        self._execute(image, "block-export-add", **options, writable=writable)

    def _execute(self, image: OpenedDisk, command: str, **arguments: object) -> None:
        try:
            self._monitor.execute(command, **arguments)
        except CommandRefusedError as error:
            raise ToolFailedError(
                f"{_PROGRAM} cannot open {image.path} as {image.format}: {error}.",
                "See whether the file is whole, readable and not in use.",
            ) from error


@contextmanager
def serving(disks: tuple[OpenedDisk, ...], *, writable: bool) -> Iterator[StorageDaemon]:
    """Run a daemon that may open ``disks`` for the time of a ``with`` block.

    When the block ends well, the daemon is told to close the images and waited for; otherwise it
    is killed. Raises HostNotReadyError, ToolFailedError.
    """
    # A backing file is never written, not even by mistake; nor a disk that is only looked at.
    tops = tuple(disk.path.absolute() for disk in disks)
    below = {file.absolute() for disk in disks for file in disk.files} - set(tops)
    confinement = Confinement(
        memory=_MEMORY,
        readable=(*sorted(below), *(() if writable else tops)),
        writable=tops if writable else (),
        opens_files=True,
    )
    with ExitStack() as stack:
        server = stack.enter_context(_Server())
        mine, its = socket.socketpair()
        stack.callback(its.close)
        mine.settimeout(TIMEOUT)
        monitor = Monitor(mine, _PROGRAM)
        stack.callback(monitor.close)
        program = stack.enter_context(
            sandboxed(
                [
                    require_program(_PROGRAM),
                    "--chardev",
                    f"socket,id=monitor,fd={its.fileno()}",
                    "--monitor",
                    "chardev=monitor",
                    "--nbd-server",
                    f"addr.type=fd,addr.str={server.fileno()}",
                ],
                confinement,
                pass_fds=(its.fileno(), server.fileno()),
            )
        )
        # With these open here, nobody would notice that the daemon is gone.
        its.close()
        server.hand_over()
        try:
            monitor.greet()
        except ToolFailedError as error:
            raise _did_not_start(program, error) from error
        yield StorageDaemon(server, monitor, disks)
        monitor.execute("quit")
        code = program.wait(TIMEOUT)
        if code:
            raise ToolFailedError(
                f"{_PROGRAM} failed with exit code {code}: {program.last_words()}",
                "Nothing was published. See whether the storage is sound, then try again.",
            )


def storage_failed(error: OSError) -> ToolFailedError:
    """Return the error for a daemon that does not serve what it should."""
    reason = "it does not answer" if isinstance(error, BlockingIOError) else error.strerror
    return ToolFailedError(
        f"The disks cannot be read through {_PROGRAM}: {reason}.",
        "See whether the storage answers and the image is whole, then try again.",
    )


def _did_not_start(program: Running, error: ToolFailedError) -> Exception:
    program.end()
    said = program.last_words()
    if said.startswith("bwrap: "):
        return why_not(said.removeprefix("bwrap: "))
    if said:
        return ToolFailedError(f"{_PROGRAM} did not start: {said}.", error.remedy)
    return error


class _Server:
    """The daemon's listening socket, which only this process can connect to."""

    def __init__(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        try:
            with tempfile.TemporaryDirectory(prefix="offline-mig-") as folder:
                path = Path(folder) / "nbd"
                self._listening.bind(os.fspath(path))
                self._listening.listen()
                # What is left of the name, once it is deleted: a handle on the socket.
                self._address = os.open(path, os.O_PATH)
        except BaseException:
            self._listening.close()
            raise

    def __enter__(self) -> _Server:  # noqa: PYI034 - private and never subclassed
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_over()
        os.close(self._address)

    def fileno(self) -> int:
        """Return the descriptor that the daemon is to accept connections on."""
        return self._listening.fileno()

    def hand_over(self) -> None:
        """Leave the socket to the daemon, so that connections fail when it is gone."""
        self._listening.close()

    def connect(self) -> socket.socket:
        """Return a fresh connection whose reads and writes give up after TIMEOUT seconds."""
        connected = socket.socket(socket.AF_UNIX)
        limit = struct.pack("ll", TIMEOUT, 0)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            connected.connect(f"/proc/self/fd/{self._address}")
        except OSError as error:
            connected.close()
            raise storage_failed(error) from error
        return connected
