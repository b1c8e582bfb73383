"""The confined process that reads and writes one volume, on orders over a socket.

Started in a sandbox by ``confined_volume`` with three open descriptors: the orders, the NBD
connection to the volume, and a filter of system calls. Once all that reads the volume is loaded
(libntfs-3g for NTFS; FAT is read by this package) the filter is put on, before the first byte of
the guest is read: from then on the process can compute, read and write those two sockets, and end.
It ends by itself when the other end of the orders is gone.

Only modules that load fast are imported, since each mounted volume starts one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from offline_mig.guest import volume_messages as messages
from offline_mig.guest.fat_check import UnsafeFatError
from offline_mig.guest.fat_volume import FatVolume, prepare
from offline_mig.guest.nbd import BlockDevice
from offline_mig.guest.ntfs_library import Device, load_library
from offline_mig.guest.ntfs_volume import NtfsVolume, UnsafeVolumeError
from offline_mig.guest.volume_messages import as_number, as_text, number, text

#: prctl(2): <linux/prctl.h>, <linux/seccomp.h>.
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_BPF_INSTRUCTION = 8
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_DIRECTORY = "it is a file and no directory"
_NO_FILE = "it is a directory and no file"

_Answer = tuple[bytes, ...]
#: A directory's entries by their names as they are, and by their names in upper case.
_Names = dict[str, tuple[str, int, bool]]


def main(orders: int, device: int, system_calls: int, size: int, *, fat: bool, access: str) -> None:
    """Serve the volume behind the descriptor ``device`` until told to close it.

    ``access`` is one of ``confined_volume.Access``.
    """
    writable = access != "read-only"
    library = None if fat else load_library()
    backing = BlockDevice(device, size)
    # Codecs are loaded when first used, and nothing can be loaded later.
    "".encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    text(as_text(b""))
    prepare()
    _confine(system_calls)
    volume: NtfsVolume | FatVolume
    try:
        if library is None:
            volume = FatVolume(backing, writable=writable)
        else:
            ignoring = access == "discarding"
            volume = NtfsVolume(
                library, Device(backing), writable=writable, ignore_hibernation=ignoring
            )
    except UnsafeVolumeError:
        messages.send(orders, messages.UNSAFE)
        return
    except UnsafeFatError as error:
        messages.send(orders, messages.UNSAFE, text(str(error)))
        return
    except OSError as error:
        messages.send(orders, *_failure(error, backing))
        return
    messages.send(orders, messages.DONE)
    served = _Served(volume, writable=writable)
    while True:
        what, *fields = messages.receive(orders)
        try:
            answer = served.do(what, fields)
        except FileNotFoundError as error:
            answer = (messages.MISSING, text(str(error.filename)))
        except _NotPlainError as error:
            answer = messages.ODD, text(error.path), text(error.what)
        except OSError as error:
            answer = _failure(error, backing)
        if backing.failure is not None:
            answer = _failure(backing.failure, backing)
        messages.send(orders, *answer)
        if what == messages.CLOSE:
            backing.disconnect()
            return


def _failure(error: OSError, device: BlockDevice) -> _Answer:
    # Only the image under the volume can be full here; a full volume is a failure like others.
    cannot_grow = device.failure is not None and device.failure.errno in _FULL
    kind = messages.FULL if cannot_grow else messages.FAILED
    return kind, number(error.errno or errno.EIO), text(error.strerror or str(error))


def _confine(filter_fd: int) -> None:
    program = b""
    while piece := os.read(filter_fd, 65536):
        program += piece
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    described = struct.pack("HP", len(program) // _BPF_INSTRUCTION, ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    held = ctypes.create_string_buffer(described, len(described))
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(held), 0, 0
    ):
        number_ = ctypes.get_errno()
        raise OSError(number_, f"the filter of system calls: {os.strerror(number_)}")


class _NotPlainError(Exception):
    """What is there is not the plain file or directory that is needed."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path)
        self.path = path
        self.what = what


class _Served:
    """A volume by paths, which are looked up without regard to case."""

    def __init__(self, volume: NtfsVolume | FatVolume, *, writable: bool) -> None:
        self._volume = volume
        self._writable = writable
        self._directories: dict[int, tuple[_Names, _Names]] = {}

    def do(self, what: bytes, fields: list[bytes]) -> _Answer:
        """Carry out an order and return the answer; raises OSError."""
        volume = self._volume
        if what == messages.CLOSE:
            volume.close()
            return (messages.DONE,)
        if what == messages.FREE:
            return messages.DONE, number(volume.free_clusters())
        path = as_text(fields[0])
        if what == messages.RESOLVE:
            return messages.DONE, text(self._existing(path)[0])
        if what == messages.LIST:
            return messages.DONE, *self._listed(path)
        if what == messages.READ:
            wanted = min(as_number(fields[2]), messages.PIECE)
            return messages.DONE, volume.read(self._file(path), as_number(fields[1]), wanted)
        if not self._writable:
            # The server would refuse it as well, but the library does not always tell.
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if what == messages.TRUNCATE:
            self._emptied(path)
        elif what == messages.WRITE:
            last = fields[2] == b"\1"
            volume.write(self._file(path), as_number(fields[1]), fields[3], last=last)
        elif what == messages.MAKE_DIRECTORY:
            if self._found(path) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._create(path, is_directory=True)
        elif what == messages.DELETE:
            self._delete(path)
        else:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return (messages.DONE,)

    def _listed(self, path: str) -> list[bytes]:
        directory = self._directory(path)
        fields = []
        for name, (_, reference, is_below) in sorted(self._names(directory)[0].items()):
            size = 0 if is_below else self._volume.size(reference)
            fields += [text(name), b"\1" if is_below else b"\0", number(size)]
        return fields

    def _emptied(self, path: str) -> None:
        if self._found(path) is None:
            self._create(path, is_directory=False)
            return
        self._volume.truncate(self._file(path))

    def _create(self, path: str, *, is_directory: bool) -> None:
        parent, _, name = path.rpartition("/")
        directory = self._directory(parent or "/")
        self._volume.create(directory, name, is_directory=is_directory)
        self._directories.pop(directory, None)

    def _delete(self, path: str) -> None:
        real, reference, _ = self._existing(path)
        parent, _, name = real.rpartition("/")
        _, directory, _ = self._existing(parent or "/")
        self._volume.delete(directory, name, reference)
        self._directories.pop(directory, None)
        self._directories.pop(reference, None)

    def _file(self, path: str) -> int:
        real, reference, is_directory = self._existing(path)
        if what := _NO_FILE if is_directory else self._volume.oddity(reference):
            raise _NotPlainError(real, what)
        return reference

    def _directory(self, path: str) -> int:
        real, reference, is_directory = self._existing(path)
        if not is_directory:
            raise _NotPlainError(real, self._volume.oddity(reference) or _NO_DIRECTORY)
        return reference

    def _existing(self, path: str) -> tuple[str, int, bool]:
        found = self._found(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def _found(self, path: str) -> tuple[str, int, bool] | None:
        """Return the path in its real case, its reference and whether it is a directory."""
        real, reference, is_directory = "", self._volume.root, True
        for part in path.split("/"):
            if not part:
                continue
            if not is_directory:
                if what := self._volume.oddity(reference):
                    raise _NotPlainError(real, what)
                return None
            exact, folded = self._names(reference)
            entry = exact.get(part) or folded.get(_upper(part))
            if entry is None:
                return None
            name, reference, is_directory = entry
            real = f"{real}/{name}"
        return real or "/", reference, is_directory

    def _names(self, directory: int) -> tuple[_Names, _Names]:
        if directory not in self._directories:
            entries = self._volume.entries(directory)
            exact = {name: (name, reference, kind) for name, reference, kind in entries}
            folded = {_upper(name): entry for name, entry in reversed(exact.items())}
            self._directories[directory] = exact, folded
        return self._directories[directory]


def _upper(name: str) -> str:
    # As NTFS compares: letter by letter, so that no name becomes longer.
    return "".join(high if len(high := letter.upper()) == 1 else letter for letter in name)
