"""Whether a volume may be written, asked of its own bytes: nothing is mounted for it."""

from __future__ import annotations

from collections.abc import Callable

from offline_mig.guest import refusal
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.fat_check import UnsafeFatError, check_volume
from offline_mig.guest.fat_layout import FatDamagedError
from offline_mig.guest.ntfs import NtfsState, VolumeKind, read_state, volume_kind
from offline_mig.guest.partition_table import SECTOR, Partition

Reader = Callable[[int, int], bytes]


def require_writable(disks: GuestDisks, disk: int, partition: Partition) -> None:
    """Raise GuestRefusedError for a volume that must not be written.

    NTFS that is dirty, damaged, or whose journal is open; FAT that is dirty or damaged; and what
    is neither. A session in hiberfil.sys is not looked for: there is one on a system volume only.
    """
    read = reader_of(disks, disk, partition)
    name = refusal.volume_name(disk, partition)
    kind = volume_kind(read(0, SECTOR))
    if kind is VolumeKind.NTFS:
        require_closed(read_state(read), name)
    elif kind is VolumeKind.FAT:
        require_sound_fat(read, partition.size, name, writable=True)
    else:
        raise refusal.unknown(name, kind)


def reader_of(disks: GuestDisks, disk: int, partition: Partition) -> Reader:
    """Return what reads bytes of a volume, fewer at its end."""

    def read(offset: int, size: int) -> bytes:
        size = max(0, min(size, partition.size - offset))
        return disks.read(disk, partition.start + offset, size)

    return read


def require_closed(state: NtfsState, volume: str) -> None:
    """Raise GuestRefusedError for an NTFS volume that Windows did not close properly."""
    if not state.readable:
        raise refusal.ntfs_damaged(volume)
    if state.dirty:
        raise refusal.ntfs_dirty(volume)
    if state.journal_open:
        raise refusal.ntfs_open(volume)


def require_sound_fat(read: Reader, size: int, volume: str, *, writable: bool) -> None:
    """Raise GuestRefusedError for a damaged FAT volume and, if ``writable``, for a dirty one."""
    try:
        check_volume(read, size, writable=writable)
    except UnsafeFatError as error:
        raise refusal.fat_read_only(volume, str(error)) from error
    except FatDamagedError as error:
        raise refusal.fat_unmountable(volume, str(error.strerror)) from error
