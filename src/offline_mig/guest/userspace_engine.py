"""The userspace engine: a guest's disks without an appliance, in confined programs on this host.

qemu-storage-daemon reads the image formats and serves bytes over NBD (``storage_daemon``). For
each mounted volume a worker process (``volume_worker``) reads NTFS with libntfs-3g
(``ntfs_volume``) or FAT (``fat_volume``) out of those bytes and carries out what is asked of it
(``confined_volume``). Both run in sandboxes (``sandbox``); neither sees the other's data, the
network or the host's files. No kernel file-system driver, no FUSE, no mount, no loop device and no
privilege takes part; see docs/engines.md for why, and for how this compares with the appliance.
"""

from __future__ import annotations

import ctypes
import errno
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from offline_mig.errors import GuestRefusedError, HostNotReadyError, OfflineMigError
from offline_mig.guest import refusal
from offline_mig.guest.confined_volume import (
    Access,
    ConfinedVolume,
    VolumeToMount,
    library_missing,
    mounted_volume,
)
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.fat_layout import FatDamagedError, FatLayout
from offline_mig.guest.nbd import BlockDevice
from offline_mig.guest.ntfs import VolumeKind, cluster_size, volume_kind
from offline_mig.guest.ntfs_library import LIBRARY_NAMES
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.readable_volumes import ReadableVolumes
from offline_mig.guest.sandbox import is_host_root
from offline_mig.guest.space_guard import filled_up
from offline_mig.guest.storage_daemon import StorageDaemon, serving, storage_failed
from offline_mig.guest.syscall_filter import load_libseccomp
from offline_mig.machine import DiskFormat
from offline_mig.processes import require_program


class UserspaceEngine:
    """Opens disks with confined programs on this host, without an appliance.

    ``moment``, in seconds since 1970, is what files that are written are stamped with; the time of
    the clock by default.
    """

    name = "userspace"
    quick = True

    def __init__(self, moment: int | None = None) -> None:
        self._moment = moment

    @contextmanager
    def open(self, disks: tuple[OpenedDisk, ...], *, writable: bool) -> Iterator[UserspaceDisks]:
        """Open ``disks``; everything is closed and gone when the block ends.

        Raises HostNotReadyError, ToolFailedError.
        """
        with serving(disks, writable=writable) as daemon, ExitStack() as connections:
            devices = []
            for disk in range(len(disks)):
                export = daemon.open_disk(disk, writable=writable)
                connection, size = connections.enter_context(daemon.connection(export))
                devices.append(BlockDevice(connection.fileno(), size))
            opened = UserspaceDisks(daemon, devices, disks, self._moment)
            with opened.readable:
                yield opened
            if writable:
                _flush(devices, disks[0].path.parent)


class UserspaceDisks:
    """The disks that a storage daemon serves."""

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        daemon: StorageDaemon,
        devices: list[BlockDevice],
        disks: tuple[OpenedDisk, ...],
        moment: int | None,
    ) -> None:
        self._daemon = daemon
        self._devices = devices
        self._disks = disks
        self._moment = moment
        #: Starting a worker takes 0.03 s.
        self.readable = ReadableVolumes(partial(self._mounted, access=Access.READ_ONLY))

    def size(self, disk: int) -> int:
        """Return a disk's virtual size in bytes."""
        return self._devices[disk].size

    def read(self, disk: int, offset: int, size: int) -> bytes:
        """Return bytes of a disk, fewer at its end."""
        try:
            return self._devices[disk].read(offset, size)
        except OSError as error:
            raise storage_failed(error) from error

    @contextmanager
    def mount(
        self, disk: int, partition: Partition, *, writable: bool, discard_session: bool = False
    ) -> Iterator[ConfinedVolume]:
        """Open an NTFS or FAT volume; everything is written out when the block ends.

        What is only read stays open until the disk is written to.
        """
        if writable:
            self.readable.release(disk)
            access = Access.DISCARDING if discard_session else Access.WRITABLE
            mounted = self._mounted(disk, partition, access)
        else:
            mounted = self.readable.using(disk, partition)
        with mounted as files:
            yield files

    def write(self, disk: int, offset: int, data: bytes) -> None:
        """Write whole sectors of a disk, past every volume."""
        self.readable.release(disk)
        sectors = Partition(0, offset, len(data), "sectors")
        export = self._daemon.open_partition(disk, sectors, writable=True)
        with self._daemon.connection(export) as (connection, size):
            device = BlockDevice(connection.fileno(), size)
            try:
                device.write(0, data)
                device.flush()
                device.disconnect()
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise filled_up(self._disks[disk].path.parent) from error
                raise storage_failed(error) from error

    @contextmanager
    def _mounted(self, disk: int, partition: Partition, access: Access) -> Iterator[ConfinedVolume]:
        volume = self._volume(disk, partition)
        writable = access is not Access.READ_ONLY
        export = self._daemon.open_partition(disk, partition, writable=writable)
        with (
            self._daemon.connection(export) as (connection, size),
            mounted_volume(connection, size, volume, access, self._moment) as files,
        ):
            yield files

    def _volume(self, disk: int, partition: Partition) -> VolumeToMount:
        name = refusal.volume_name(disk, partition)
        boot = self.read(disk, partition.start, 512)
        kind = volume_kind(boot)
        if kind is VolumeKind.NTFS:
            cluster = cluster_size(boot)
        elif kind is VolumeKind.FAT:
            try:
                cluster = FatLayout(boot, partition.size).cluster
            except FatDamagedError as error:
                raise refusal.fat_unmountable(name, str(error.strerror)) from error
        else:
            raise refusal.unknown(name, kind)
        return VolumeToMount(name, kind, cluster, self._disks[disk].path.parent)


def userspace_problems() -> tuple[str, ...]:
    """Return what keeps this engine from working on this host, as sentences; none if it works.

    When everything is installed the engine is tried on an empty disk.
    """
    problems = []
    programs = ["bwrap", "qemu-storage-daemon", *(["setpriv"] if is_host_root() else [])]
    for program in programs:
        try:
            require_program(program)
        except HostNotReadyError as error:
            problems.append(_sentence(error))
    try:
        load_libseccomp()
    except HostNotReadyError as error:
        problems.append(_sentence(error))
    if not _has_ntfs_library():
        problems.append(_sentence(library_missing()))
    if problems:
        return tuple(problems)
    try:
        _try()
    except OfflineMigError as error:
        return (_sentence(error),)
    return ()


def _try() -> None:
    with tempfile.NamedTemporaryFile(prefix="offline-mig-") as image:
        # A boot sector, so that a worker is started; nothing behind it, so that it refuses.
        image.write((b"\xeb\x52\x90NTFS    " + b"\0\2\x08").ljust(1024 * 1024, b"\0"))
        image.flush()
        disk = OpenedDisk(Path(image.name), DiskFormat.RAW)
        volume = Partition(0, 0, 1024 * 1024, "volume")
        with UserspaceEngine().open((disk,), writable=False) as disks:
            try:
                with disks.mount(0, volume, writable=False):
                    pass
            except GuestRefusedError:
                return


def _has_ntfs_library() -> bool:
    for name in LIBRARY_NAMES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _flush(devices: list[BlockDevice], folder: Path) -> None:
    # What the daemon holds back is written now, so that a full disk is told as such.
    try:
        for device in devices:
            device.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise filled_up(folder) from error
        raise storage_failed(error) from error


def _sentence(error: OfflineMigError) -> str:
    return f"{error.message} {error.remedy}".strip()
