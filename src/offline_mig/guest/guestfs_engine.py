"""The libguestfs engine: a guest's disks inside an appliance, away from this host's kernel."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from offline_mig.errors import GuestRefusedError, HostNotReadyError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest.acceleration import find_acceleration, give_up_kvm, remember_told
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.fat_check import UnsafeFatError, check_volume
from offline_mig.guest.fat_layout import FatDamagedError
from offline_mig.guest.filesystem import (
    HIBERFIL,
    READ_LIMIT,
    DirectoryEntry,
    not_plain,
    too_large,
)
from offline_mig.guest.inherited_security import inherited_descriptor
from offline_mig.guest.launch_watch import ending_hung_kvm
from offline_mig.guest.ntfs import VolumeKind, volume_kind
from offline_mig.guest.partition_table import SECTOR, Partition
from offline_mig.guest.secured_archive import DESCRIPTOR_ATTRIBUTE, write_archive
from offline_mig.guest.space_guard import ending_when_full

#: libguestfs messages are limited to 4 MiB; larger files go through a temporary file.
_MESSAGE_LIMIT = 2 * 1024 * 1024
#: Bytes of a disk that are read at a time.
_BLOCK = 256 * 1024
#: Seconds that an appliance may take to come up on KVM; a slow disk under it takes its time.
LAUNCH_TIME_LIMIT = 120
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
        handle = None
        if acceleration.kvm:
            with ending_hung_kvm(LAUNCH_TIME_LIMIT) as hung:
                try:
                    handle = _launched(binding, disks, writable=writable, kvm=True)
                except HostNotReadyError:
                    if not hung.is_set():
                        raise
            if handle is None:
                acceleration = give_up_kvm(LAUNCH_TIME_LIMIT)
        if handle is None:
            handle = _launched(binding, disks, writable=writable, kvm=False)
        notes: tuple[str, ...] = ()
        if not acceleration.kvm and acceleration.fresh:
            notes = (f"The appliance is emulated and so slower: {acceleration.reason}.",)
            remember_told(acceleration)
        try:
            with _failing("say which process it is"):
                process = handle.get_pid()
            guard = ending_when_full(disks[0].path.parent, process) if writable else nullcontext()
            with guard:
                yield GuestfsDisks(handle, notes)
                with _failing("shut the appliance down"):
                    # Without it the last writes may still be on their way.
                    handle.shutdown()
        finally:
            # What went wrong before must be heard, and not what then fails as well.
            with suppress(RuntimeError):
                handle.close()


def _launched(binding: Any, disks: tuple[OpenedDisk, ...], *, writable: bool, kvm: bool) -> Any:
    handle = binding.GuestFS(python_return_dict=True, close_on_exit=True)
    try:
        # The direct backend needs no libvirt daemon and behaves alike on all distributions.
        handle.set_backend("direct")
        if not kvm:
            handle.set_backend_setting("force_tcg", "1")
        handle.set_network(False)
        handle.set_identifier("offline-mig")
        # Ctrl-C in a terminal goes to a whole process group: it must reach this program only,
        # which then ends the appliance in order.
        handle.set_pgroup(True)
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
        with suppress(RuntimeError):
            handle.close()
        raise HostNotReadyError(
            f"The libguestfs appliance did not start: {_first_line(error)}",
            "Run 'offline-mig check'; libguestfs-test-tool shows the details.",
        ) from error
    except BaseException:
        with suppress(RuntimeError):
            handle.close()
        raise
    return handle


class GuestfsDisks:
    """The disks in a running appliance."""

    def __init__(self, handle: Any, notes: tuple[str, ...]) -> None:
        self._handle = handle
        with _failing("list the disks"):
            self._devices = list(handle.list_devices())
        self._tables: dict[int, dict[int, tuple[int, int]]] = {}
        self._blocks: dict[tuple[int, int], bytes] = {}
        self._same_place: set[tuple[int, Partition]] = set()
        self._numbers = itertools.count()
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
        end = offset + size
        first = offset // _BLOCK
        blocks = []
        for number in range(first, -(-end // _BLOCK)):
            blocks.append(self._block(disk, number))
            if len(blocks[-1]) < _BLOCK:
                break
        return b"".join(blocks)[offset - first * _BLOCK : end - first * _BLOCK]

    def _block(self, disk: int, number: int) -> bytes:
        # Without KVM a read takes 0.05 s however small it is, and boot sectors and records of the
        # MFT are looked at again and again.
        if (disk, number) not in self._blocks:
            with _failing("read the disk"):
                read = self._handle.pread_device(self._devices[disk], _BLOCK, number * _BLOCK)
            self._blocks[disk, number] = bytes(read)
        return self._blocks[disk, number]

    @contextmanager
    def mount(
        self, disk: int, partition: Partition, *, writable: bool, discard_session: bool = False
    ) -> Iterator[GuestfsFilesystem]:
        """Mount an NTFS or FAT volume; everything is written out when the block ends."""
        name = refusal.volume_name(disk, partition)
        device = self._devices[disk]
        if partition.number:
            device = f"{device}{partition.number}"
            self._require_same_place(disk, partition, device, name)
        handle = self._handle
        kind = volume_kind(self.read(disk, partition.start, SECTOR))
        if kind is VolumeKind.FAT:
            self._require_sound_fat(disk, partition, name, writable=writable)
            # Long names as libguestfs takes them.
            driver, options = "vfat", f"utf8,{'rw' if writable else 'ro'}"
            unmountable = refusal.fat_unmountable
        elif kind is VolumeKind.NTFS:
            # norecover: a journal that needs replaying is for Windows to replay.
            driver, options = "ntfs-3g", "norecover" if writable else "ro"
            if writable and discard_session:
                options += ",remove_hiberfile"
            unmountable = refusal.unmountable
        else:
            raise refusal.unknown(name, kind)
        # A place of its own, so that several volumes can be open side by side.
        place = f"/volume{next(self._numbers)}"
        try:
            handle.mkmountpoint(place)
            handle.mount_vfs(options, driver, device, place)
        except RuntimeError as error:
            raise unmountable(name, _first_line(error)) from error
        try:
            if writable and kind is VolumeKind.NTFS:
                _require_writable(handle, place, name)
            files = GuestfsFilesystem(handle, place, secured=kind is VolumeKind.NTFS)
            if writable and discard_session and files.exists(HIBERFIL):
                # ntfs-3g knows the signatures hibr and HIBR only.
                files.delete(HIBERFIL)
            yield files
        except BaseException:
            # What went wrong must be heard, and not what then fails as well.
            with suppress(RuntimeError):
                handle.umount(place)
            raise
        with _failing("unmount the volume"):
            handle.umount(place)
            handle.rmmountpoint(place)
            if writable:
                self._forget_blocks()

    def write(self, disk: int, offset: int, data: bytes) -> None:
        """Write whole sectors of a disk, past every volume."""
        with _failing("write to the disk"):
            written = self._handle.pwrite_device(self._devices[disk], data, offset)
            if written != len(data):
                raise RuntimeError(f"{written} of {len(data)} bytes were written")
            self._forget_blocks()

    def _forget_blocks(self) -> None:
        # What is read after this comes from the disk, not from memory.
        self._handle.drop_caches(3)
        self._blocks.clear()

    def _require_sound_fat(
        self, disk: int, partition: Partition, name: str, *, writable: bool
    ) -> None:
        """Refuse what Linux would mount without a word: dirty and damaged FAT volumes."""

        def read(offset: int, size: int) -> bytes:
            size = max(0, min(size, partition.size - offset))
            return self.read(disk, partition.start + offset, size)

        try:
            check_volume(read, partition.size, writable=writable)
        except UnsafeFatError as error:
            raise refusal.fat_read_only(name, str(error)) from error
        except FatDamagedError as error:
            raise refusal.fat_unmountable(name, str(error.strerror)) from error

    def _require_same_place(self, disk: int, partition: Partition, device: str, name: str) -> None:
        """Refuse a partition that the appliance's kernel sees elsewhere than we do.

        Windows, its state and BitLocker were looked for at our offset; what is mounted is what
        that kernel calls ``device``. It reads the table once, so one look is enough.
        """
        if (disk, partition) in self._same_place:
            return
        try:
            size = int(self._handle.blockdev_getsize64(device))
            same = size == partition.size and self._handle.pread_device(
                device, SECTOR, 0
            ) == self.read(disk, partition.start, SECTOR)
        except RuntimeError:
            # No such device, or one that is too small to be read.
            same = False
        if same:
            same = self._listed(disk).get(partition.number, (partition.start, partition.size)) == (
                partition.start,
                partition.size,
            )
        if not same:
            raise GuestRefusedError(
                f"The partition {name} is ambiguous: this program finds it at byte "
                f"{partition.start} with {partition.size} bytes, the appliance elsewhere.",
                "Have the partition table mended (overlapping or doubly numbered partitions), "
                "or try --engine userspace.",
            )
        self._same_place.add((disk, partition))

    def _listed(self, disk: int) -> dict[int, tuple[int, int]]:
        """Return start and size of a disk's partitions by number, as parted sees them.

        Nothing when parted takes the table for damaged, as it does for a backup GPT that is not
        at the disk's end; Linux and Windows go on then.
        """
        if disk not in self._tables:
            try:
                listed = self._handle.part_list(self._devices[disk])
            except RuntimeError:
                listed = []
            self._tables[disk] = {
                int(part["part_num"]): (int(part["part_start"]), int(part["part_size"]))
                for part in listed
            }
        return self._tables[disk]


class GuestfsFilesystem:
    """A mounted volume, see GuestFilesystem.

    ``place`` is where in the appliance it is mounted, which every path begins with in there;
    ``secured`` tells that files have security descriptors.
    """

    def __init__(self, handle: Any, place: str, *, secured: bool) -> None:
        self._handle = handle
        self._place = place
        self._secured = secured
        #: Directories that are known to be some, by their path in real case.
        self._directories: set[str] = {place}
        #: What was asked for and found, until a name comes or goes.
        self._resolved: dict[str, str | None] = {}
        self._listed: dict[str, dict[str, str]] = {}

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""
        found = self._found(path)
        return None if found is None else found.removeprefix(self._place) or "/"

    def _found(self, path: str) -> str | None:
        """Return the path in the appliance, or None when there is no such thing."""
        if path not in self._resolved:
            self._resolved[path] = self._looked_up(path)
        return self._resolved[path]

    def _looked_up(self, path: str) -> str | None:
        found = self._place
        for part in path.split("/"):
            if not part:
                continue
            if found not in self._directories and stat.S_ISREG(self._mode(found) or 0):
                return None
            self._require_directory(found)
            name = self._names(found).get(part) or self._names(found).get(part.casefold())
            if name is None:
                return None
            found = f"{found}/{name}"
        return found

    def _names(self, directory: str) -> dict[str, str]:
        """Return the names in a directory by themselves and by themselves folded."""
        # case_sensitive_path would read each directory on the way anew for every path.
        if directory not in self._listed:
            with _failing(f"list {directory.removeprefix(self._place) or '/'}"):
                names = self._handle.ls(directory)
            folded = {name.casefold(): name for name in reversed(names)}
            self._listed[directory] = {**folded, **{name: name for name in names}}
        return self._listed[directory]

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name."""
        return self.resolve(path) is not None

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name."""
        directory = self._existing(path)
        self._require_directory(directory)
        with _failing(f"list {path}"):
            kinds = {
                entry["name"]: entry["ftyp"]
                for entry in self._handle.readdir(directory)
                if entry["name"] not in (".", "..")
            }
            names = sorted(kinds)
            found = self._handle.lstatnslist(directory, names)
        return tuple(
            DirectoryEntry(
                name,
                stat.S_ISDIR(status["st_mode"]),
                max(status["st_size"], 0) if stat.S_ISREG(status["st_mode"]) else 0,
            )
            for name, status in zip(names, found, strict=True)
        )

    def read(self, path: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's content."""
        existing, size = self._file(path)
        if size > limit:
            raise too_large(path, limit, size)
        # Not by download or read_file: without KVM each takes 0.1 s however small the file is.
        parts: list[bytes] = []
        left = size
        with _failing(f"read {path}"):
            while left > 0:
                part = bytes(self._handle.pread(existing, min(left, _MESSAGE_LIMIT), size - left))
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        existing, _ = self._file(path)
        with _failing(f"read {path}"):
            return bytes(self._handle.pread(existing, min(size, _MESSAGE_LIMIT), offset))

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place."""
        target = self._target(path)
        if self._mode(target) is not None:
            self._file(path)
        else:
            self._forget_names()
            if self._secured:
                self._create(target, f"write {path}", data)
                return
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
        self._forget_names()
        action = f"create the directory {path}"
        if self._secured and self._mode(target) is None:
            self._create(target, action, None)
            return
        with _failing(action):
            self._handle.mkdir(target)

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory."""
        existing = self._existing(path)
        is_directory = stat.S_ISDIR(self._mode(existing) or 0)
        self._forget_names()
        with _failing(f"delete {path}"):
            if is_directory:
                self._directories.discard(existing)
                self._handle.rmdir(existing)
            else:
                self._handle.rm(existing)

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""
        with _failing("read the free space"):
            status = self._handle.statvfs(self._place)
        return int(status["bavail"]) * int(status["bsize"])

    def _create(self, target: str, action: str, data: bytes | None) -> None:
        """Create a file, or with ``data`` None a directory, with the rights that it inherits."""
        parent, _, name = target.rpartition("/")
        with _failing(action):
            inherited = bytes(self._handle.getxattr(parent, DESCRIPTOR_ATTRIBUTE))
        descriptor = inherited_descriptor(inherited, is_directory=data is None)
        with tempfile.NamedTemporaryFile(prefix="offline-mig-", suffix=".tar") as local:
            write_archive(local, name, data, descriptor)
            local.flush()
            with _failing(action):
                self._handle.tar_in(local.name, parent, xattrs=True)
        with _failing(f"set the access rights of {target.removeprefix(self._place)}"):
            if bytes(self._handle.getxattr(target, DESCRIPTOR_ATTRIBUTE)) != descriptor:
                raise RuntimeError("the appliance's tar does not set them")

    def _forget_names(self) -> None:
        self._resolved.clear()
        self._listed.clear()

    def _existing(self, path: str) -> str:
        found = self._found(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _target(self, path: str) -> str:
        found = self._found(path)
        if found is not None:
            return found
        parent, _, name = path.rpartition("/")
        directory = self._found(parent or "/")
        if directory is None:
            raise FileNotFoundError(parent)
        self._require_directory(directory)
        return f"{directory}/{name}"

    def _file(self, path: str) -> tuple[str, int]:
        """Return the real path and the size of a plain file."""
        existing = self._existing(path)
        with _failing(f"look at {path}"):
            status = self._handle.lstatns(existing)
        if not stat.S_ISREG(status["st_mode"]):
            raise not_plain(path, self._what(existing, status["st_mode"]))
        return existing, int(status["st_size"])

    def _require_directory(self, path: str) -> None:
        if path in self._directories:
            return
        mode = self._mode(path)
        shown = path.removeprefix(self._place)
        if mode is None:
            raise FileNotFoundError(shown)
        if not stat.S_ISDIR(mode):
            raise not_plain(shown, self._what(path, mode))
        self._directories.add(path)

    def _mode(self, path: str) -> int | None:
        """Return the st_mode of what is there itself, no link followed; None for nothing."""
        parent, _, name = path.rpartition("/")
        with _failing(f"look at {path.removeprefix(self._place)}"):
            (status,) = self._handle.lstatnslist(parent or "/", [name])
        # lstatnslist marks what it cannot look at so.
        return None if status["st_ino"] == -1 else int(status["st_mode"])

    def _what(self, path: str, mode: int) -> str:
        if stat.S_ISREG(mode):
            return "it is a file and no directory"
        if stat.S_ISDIR(mode):
            return "it is a directory and no file"
        if not stat.S_ISLNK(mode):
            return "it is a pipe, socket or device (of Interix), and no file"
        with _failing(f"look at {path}"):
            target = str(self._handle.readlink(path))
        # What ntfs-3g shows for reparse points that it has no plugin for.
        if target.startswith("unsupported reparse"):
            return "it is compressed by Windows (CompactOS) or its content is kept elsewhere"
        return "it is a link, which is not followed"


@contextmanager
def _failing(action: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ToolFailedError(
            f"libguestfs could not {action}: {_first_line(error)}",
            "Nothing was published. Run with LIBGUESTFS_DEBUG=1 to see what happened.",
        ) from error


def _require_writable(handle: Any, place: str, volume: str) -> None:
    # ntfs-3g falls back to read-only on a volume that it holds unsafe, without an error.
    try:
        handle.touch(f"{place}{_WRITE_PROBE}")
        handle.rm(f"{place}{_WRITE_PROBE}")
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
