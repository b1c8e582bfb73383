"""The libguestfs engine: a guest's disks inside an appliance, away from this host's kernel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from offline_mig.errors import HostNotReadyError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest.acceleration import find_acceleration
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import DirectoryEntry
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.space_guard import ending_when_full

#: libguestfs messages are limited to 4 MiB; larger files go through a temporary file.
_MESSAGE_LIMIT = 2 * 1024 * 1024
#: Bytes that one pread_device call may return.
_READ_CHUNK = 1024 * 1024
#: Tried in the root directory to see whether a mount is really writable.
_WRITE_PROBE = "/.offline-mig-write-probe"


class GuestfsEngine:
    """Opens disks with libguestfs, one appliance for each guest."""

    name = "guestfs"
    quick = False

    @contextmanager
    def open(self, disks: tuple[OpenedDisk, ...], *, writable: bool) -> Iterator[GuestfsDisks]:
        """Launch an appliance with ``disks``; it is gone when the block ends.

        Raises HostNotReadyError when libguestfs is missing or cannot launch.
        """
        binding = load_binding()
        acceleration = find_acceleration()
        handle = binding.GuestFS(python_return_dict=True, close_on_exit=True)
        try:
            # The direct backend needs no libvirt daemon and behaves alike on all distributions.
            handle.set_backend("direct")
            if not acceleration.kvm:
                handle.set_backend_setting("force_tcg", "1")
            handle.set_network(False)
            handle.set_identifier("offline-mig")
            for disk in disks:
                # An overlay is thrown away unless everything succeeds: it needs no flushing.
                handle.add_drive_opts(
                    os.fspath(disk.path.absolute()),
                    format=disk.format.value,
                    readonly=not writable,
                    cachemode="unsafe" if writable else "writeback",
                )
            handle.launch()
        except RuntimeError as error:
            handle.close()
            raise HostNotReadyError(
                f"The libguestfs appliance did not start: {_first_line(error)}",
                "Run 'offline-mig check'; libguestfs-test-tool shows the details.",
            ) from error
        notes: tuple[str, ...] = ()
        if not acceleration.kvm and acceleration.fresh:
            notes = (f"The appliance is emulated and so slower: {acceleration.reason}.",)
        try:
            guard = (
                ending_when_full(disks[0].path.parent, handle.get_pid())
                if writable
                else nullcontext()
            )
            with guard:
                yield GuestfsDisks(handle, notes)
                with _failing("shut the appliance down"):
                    # Without it the last writes may still be on their way.
                    handle.shutdown()
        finally:
            handle.close()


class GuestfsDisks:
    """The disks in a running appliance."""

    def __init__(self, handle: Any, notes: tuple[str, ...]) -> None:
        self._handle = handle
        self._devices = list(handle.list_devices())
        self.notes = notes

    def require_ntfs(self) -> None:
        """Raise HostNotReadyError when the appliance cannot mount NTFS."""
        with _failing("list what it can do"):
            able = self._handle.feature_available(["ntfs3g"])
        if not able:
            raise HostNotReadyError(
                "The libguestfs appliance has no ntfs-3g and so cannot open Windows volumes.",
                "Install ntfs-3g (Debian, Ubuntu, Arch) or ntfs-3g with libguestfs-winsupport "
                "(Fedora, RHEL).",
            )

    def size(self, disk: int) -> int:
        """Return a disk's virtual size in bytes."""
        with _failing("read the size of a disk"):
            return int(self._handle.blockdev_getsize64(self._devices[disk]))

    def read(self, disk: int, offset: int, size: int) -> bytes:
        """Return bytes of a disk, fewer at its end."""
        parts = []
        with _failing("read the disk"):
            while size > 0:
                part = self._handle.pread_device(
                    self._devices[disk], min(size, _READ_CHUNK), offset
                )
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                size -= len(part)
        return b"".join(parts)

    @contextmanager
    def mount(
        self, disk: int, partition: Partition, *, writable: bool
    ) -> Iterator[GuestfsFilesystem]:
        """Mount an NTFS volume; everything is written out when the block ends."""
        name = refusal.volume_name(disk, partition)
        device = self._devices[disk]
        if partition.number:
            device = f"{device}{partition.number}"
        handle = self._handle
        # norecover: a journal that needs replaying is for Windows to replay, not to be reset here.
        options = "norecover" if writable else "ro"
        try:
            handle.mount_vfs(options, "ntfs-3g", device, "/")
        except RuntimeError as error:
            raise refusal.unmountable(name, _first_line(error)) from error
        try:
            if writable:
                _require_writable(handle, name)
            yield GuestfsFilesystem(handle)
        finally:
            with _failing("unmount the volume"):
                handle.umount_all()
                # What is read after this comes from the disk, not from memory.
                handle.drop_caches(3)


class GuestfsFilesystem:
    """A mounted volume, see GuestFilesystem."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""
        try:
            found = str(self._handle.case_sensitive_path(path))
        except RuntimeError:
            return None
        with _failing(f"look for {path}"):
            # A missing last component is not an error to case_sensitive_path.
            return found if self._handle.exists(found) else None

    def exists(self, path: str) -> bool:
        """Tell whether a file or directory of that name is there."""
        return self.resolve(path) is not None

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name."""
        directory = self._existing(path)
        with _failing(f"list {path}"):
            kinds = {
                entry["name"]: entry["ftyp"]
                for entry in self._handle.readdir(directory)
                if entry["name"] not in (".", "..")
            }
            names = sorted(kinds)
            sizes = [stat["st_size"] for stat in self._handle.lstatnslist(directory, names)]
        return tuple(
            DirectoryEntry(name, kinds[name] == "d", 0 if kinds[name] == "d" else max(size, 0))
            for name, size in zip(names, sizes, strict=True)
        )

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        existing = self._existing(path)
        with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
            local = Path(scratch) / "file"
            with _failing(f"read {path}"):
                self._handle.download(existing, os.fspath(local))
            return local.read_bytes()

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        existing = self._existing(path)
        with _failing(f"read {path}"):
            return bytes(self._handle.pread(existing, min(size, _MESSAGE_LIMIT), offset))

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place."""
        target = self._target(path)
        with _failing(f"write {path}"):
            if len(data) <= _MESSAGE_LIMIT:
                self._handle.write(target, data)
                return
            with tempfile.NamedTemporaryFile(prefix="offline-mig-") as local:
                local.write(data)
                local.flush()
                self._handle.upload(local.name, target)

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one."""
        target = self._target(path)
        with _failing(f"create the directory {path}"):
            self._handle.mkdir(target)

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory."""
        existing = self._existing(path)
        with _failing(f"delete {path}"):
            if self._handle.is_dir(existing):
                self._handle.rmdir(existing)
            else:
                self._handle.rm(existing)

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""
        with _failing("read the free space"):
            status = self._handle.statvfs("/")
        return int(status["bavail"]) * int(status["bsize"])

    def _existing(self, path: str) -> str:
        found = self.resolve(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _target(self, path: str) -> str:
        found = self.resolve(path)
        if found is not None:
            return found
        parent, _, name = path.rpartition("/")
        directory = self.resolve(parent or "/")
        if directory is None:
            raise FileNotFoundError(parent)
        return f"{directory.rstrip('/')}/{name}"


@contextmanager
def _failing(action: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ToolFailedError(
            f"libguestfs could not {action}: {_first_line(error)}",
            "Nothing was published. Run with LIBGUESTFS_DEBUG=1 to see what happened.",
        ) from error


def _require_writable(handle: Any, volume: str) -> None:
    # ntfs-3g falls back to read-only on a volume that it holds unsafe, without an error.
    try:
        handle.touch(_WRITE_PROBE)
        handle.rm(_WRITE_PROBE)
    except RuntimeError as error:
        raise refusal.read_only(volume) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def load_binding() -> Any:
    """Return the guestfs module; raises HostNotReadyError when it is not installed."""
    try:
        import guestfs
    except ImportError as error:
        raise HostNotReadyError(
            "The Python binding of libguestfs is not installed for this Python.",
            "Install it from the distribution: apt install python3-guestfs (Debian, Ubuntu), "
            "dnf install python3-libguestfs (Fedora), pacman -S libguestfs (Arch); a virtual "
            "environment must be made with --system-site-packages.",
        ) from error
    return guestfs


def guestfs_version() -> str:
    """Return the version of libguestfs; raises HostNotReadyError when it is not installed."""
    handle = load_binding().GuestFS(python_return_dict=True)
    try:
        found = handle.version()
    finally:
        handle.close()
    return f"{found['major']}.{found['minor']}.{found['release']}"
