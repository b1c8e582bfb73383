"""The libguestfs engine: a guest's disks inside an appliance, away from this host's kernel."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from offline_mig.errors import GuestRefusedError, HostNotReadyError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest.acceleration import find_acceleration, give_up_kvm, remember_told
from offline_mig.guest.appliance import device_name, emulated, launched, load_binding
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import (
    HIBERFIL,
)
from offline_mig.guest.guestfs_volume import GuestfsFilesystem, failing, first_line
from offline_mig.guest.launch_watch import ending_hung_kvm
from offline_mig.guest.ntfs import VolumeKind, volume_kind
from offline_mig.guest.partition_table import SECTOR, Partition
from offline_mig.guest.readable_volumes import ReadableVolumes
from offline_mig.guest.space_guard import ending_when_full
from offline_mig.guest.volume_state import reader_of, require_sound_fat
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat

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
        with ExitStack() as kept:
            whole = tuple(kept.enter_context(as_whole_file(disk)) for disk in disks)
            yield kept.enter_context(self._opened(whole, writable=writable))

    @contextmanager
    def _opened(self, disks: tuple[OpenedDisk, ...], *, writable: bool) -> Iterator[GuestfsDisks]:
        binding = load_binding()
        # The appliance takes 0.2 s to tell, and keeps others from opening the disks.
        sizes = [qemu_img.info(disk.path, disk.format).virtual_size for disk in disks]
        acceleration = find_acceleration()
        handle = None
        if acceleration.kvm:
            with ending_hung_kvm(LAUNCH_TIME_LIMIT) as hung:
                try:
                    handle = launched(binding, disks, writable=writable, kvm=True)
                except HostNotReadyError:
                    if not hung.is_set():
                        raise
            if handle is None:
                acceleration = give_up_kvm(LAUNCH_TIME_LIMIT)
        if handle is None:
            handle = emulated(binding, disks, writable=writable)
        notes: tuple[str, ...] = ()
        if not acceleration.kvm and acceleration.fresh:
            notes = (f"The appliance is emulated and so slower: {acceleration.reason}.",)
            remember_told(acceleration)
        try:
            with failing("say which process it is"):
                process = handle.get_pid()
            guard = ending_when_full(disks[0].path.parent, process) if writable else nullcontext()
            with guard:
                # What is still mounted for reading goes with the appliance.
                yield GuestfsDisks(handle, sizes, notes)
                with failing("shut the appliance down"):
                    # Without it the last writes may still be on their way.
                    handle.shutdown()
        finally:
            # What went wrong before must be heard, and not what then fails as well.
            with suppress(RuntimeError):
                handle.close()


@contextmanager
def as_whole_file(disk: OpenedDisk) -> Iterator[OpenedDisk]:
    """Give an image inside of an archive as one that libguestfs can be told of.

    It takes names of files only, and no offset; an empty overlay can name anything.
    """
    if disk.window is None:
        yield disk
        return
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
        overlay = Path(scratch) / "part.qcow2"
        qemu_img.create_overlay(overlay, disk.path, disk.format, disk.window)
        files = (disk.path, *disk.files)
        yield replace(disk, path=overlay, format=DiskFormat.QCOW2, files=files, window=None)


class GuestfsDisks:
    """The disks in a running appliance."""

    def __init__(self, handle: Any, sizes: Sequence[int], notes: tuple[str, ...]) -> None:
        self._handle = handle
        self._sizes = tuple(sizes)
        self._devices = [device_name(number) for number in range(len(sizes))]
        self._tables: dict[int, dict[int, tuple[int, int]]] = {}
        self._blocks: dict[tuple[int, int], bytes] = {}
        self._same_place: set[tuple[int, Partition]] = set()
        self._numbers = itertools.count()
        self._readable = ReadableVolumes(
            lambda disk, partition: _Reading(
                partial(self._read_only, disk, partition), self._unmount
            )
        )
        self.notes = notes

    def require_ntfs(self) -> None:
        """Raise HostNotReadyError when the appliance cannot mount NTFS."""
        with failing("list what it can do"):
            able = self._handle.feature_available(["ntfs3g"])
        if not able:
            raise HostNotReadyError(
                "The libguestfs appliance has no ntfs-3g and so cannot open Windows volumes.",
                "Install ntfs-3g (Debian, Ubuntu, Arch) or ntfs-3g with libguestfs-winsupport "
                "(Fedora, RHEL).",
            )

    def size(self, disk: int) -> int:
        """Return a disk's virtual size in bytes."""
        return self._sizes[disk]

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
            with failing("read the disk"):
                read = self._handle.pread_device(self._devices[disk], _BLOCK, number * _BLOCK)
            self._blocks[disk, number] = bytes(read)
        return self._blocks[disk, number]

    @contextmanager
    def mount(
        self, disk: int, partition: Partition, *, writable: bool, discard_session: bool = False
    ) -> Iterator[GuestfsFilesystem]:
        """Mount an NTFS or FAT volume; everything is written out when the block ends.

        What is only read stays mounted until the disk is written to: mounting takes an emulated
        appliance a third of a second.
        """
        if not writable:
            with self._readable.using(disk, partition) as readable:
                yield readable
            return
        self._readable.release(disk)
        option = "remove_hiberfile" if discard_session else ""
        place, secured = self._mounted(disk, partition, option, writable=True)
        try:
            if secured:
                _require_writable(self._handle, place, refusal.volume_name(disk, partition))
            files = GuestfsFilesystem(self._handle, place, secured=secured)
            if discard_session and files.exists(HIBERFIL):
                # ntfs-3g knows the signatures hibr and HIBR only.
                files.delete(HIBERFIL)
            yield files
        except BaseException:
            # What went wrong must be heard, and not what then fails as well.
            with suppress(RuntimeError):
                self._handle.umount(place)
            raise
        self._unmount(place)
        self._forget_blocks()

    def _read_only(self, disk: int, partition: Partition) -> tuple[str, GuestfsFilesystem]:
        place, secured = self._mounted(disk, partition, "")
        return place, GuestfsFilesystem(self._handle, place, secured=secured)

    def _mounted(
        self, disk: int, partition: Partition, option: str, *, writable: bool = False
    ) -> tuple[str, bool]:
        """Mount a volume, NTFS with one more ``option``; returns where, and whether it is NTFS."""
        name = refusal.volume_name(disk, partition)
        device = self._devices[disk]
        if partition.number:
            device = f"{device}{partition.number}"
            self._require_same_place(disk, partition, device, name)
        kind = volume_kind(self.read(disk, partition.start, SECTOR))
        if kind is VolumeKind.FAT:
            # Linux would mount a dirty or damaged one without a word.
            read = reader_of(self, disk, partition)
            require_sound_fat(read, partition.size, name, writable=writable)
            # Long names as libguestfs takes them.
            driver, options = "vfat", f"utf8,{'rw' if writable else 'ro'}"
            unmountable = refusal.fat_unmountable
        elif kind is VolumeKind.NTFS:
            # norecover: a journal that needs replaying is for Windows to replay.
            driver = "ntfs-3g"
            options = ",".join(filter(None, ("norecover" if writable else "ro", option)))
            unmountable = refusal.unmountable
        else:
            raise refusal.unknown(name, kind)
        # A place of its own, so that several volumes can be open side by side.
        place = f"/volume{next(self._numbers)}"
        try:
            self._handle.mkmountpoint(place)
            self._handle.mount_vfs(options, driver, device, place)
        except RuntimeError as error:
            raise unmountable(name, first_line(error)) from error
        return place, kind is VolumeKind.NTFS

    def _unmount(self, place: str) -> None:
        with failing("unmount the volume"):
            self._handle.umount(place)
            self._handle.rmmountpoint(place)

    def write(self, disk: int, offset: int, data: bytes) -> None:
        """Write whole sectors of a disk, past every volume."""
        self._readable.release(disk)
        with failing("write to the disk"):
            written = self._handle.pwrite_device(self._devices[disk], data, offset)
            if written != len(data):
                raise RuntimeError(f"{written} of {len(data)} bytes were written")
            self._forget_blocks()

    def _forget_blocks(self) -> None:
        # What is read after this comes from the disk, not from memory.
        self._handle.drop_caches(3)
        self._blocks.clear()

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


class _Reading(AbstractContextManager[GuestfsFilesystem]):
    """A volume that is mounted for reading only; it need not be unmounted before the end."""

    def __init__(
        self,
        mount: Callable[[], tuple[str, GuestfsFilesystem]],
        unmount: Callable[[str], None],
    ) -> None:
        self._mount = mount
        self._unmount = unmount
        self._place = ""

    def __enter__(self) -> GuestfsFilesystem:
        """Mount it."""
        self._place, files = self._mount()
        return files

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Unmount it; what went wrong before must be heard, and not what then fails as well."""
        with suppress(ToolFailedError) if kind else nullcontext():
            self._unmount(self._place)


def _require_writable(handle: Any, place: str, volume: str) -> None:
    # ntfs-3g falls back to read-only on a volume that it holds unsafe, without an error.
    try:
        handle.touch(f"{place}{_WRITE_PROBE}")
        handle.rm(f"{place}{_WRITE_PROBE}")
    except RuntimeError as error:
        raise refusal.read_only(volume) from error
