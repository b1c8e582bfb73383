"""Why a volume is not mounted, in the same words whatever engine finds it."""

from __future__ import annotations

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.partition_table import Partition

#: An EFI system partition has no drive letter until it is given one.
_CHECK_FAT = (
    "Have Windows check it (chkdsk /f; an EFI system partition gets a letter by "
    "'mountvol S: /S'), shut it down completely, and try again."
)


def volume_name(disk: int, partition: Partition) -> str:
    """Return "disk 1 partition 2" as ``1:2``, both counted from 1 (partition 0: whole disk)."""
    return f"{disk + 1}:{partition.number}"


def unmountable(volume: str, detail: str) -> GuestRefusedError:
    """Return the error for an NTFS volume that ntfs-3g does not take at all."""
    return GuestRefusedError(
        f"The NTFS volume {volume} cannot be mounted: {detail}",
        "Have Windows check it (chkdsk /f) and shut it down completely, then try again.",
    )


def unknown(volume: str, kind: str) -> GuestRefusedError:
    """Return the error for a volume of another kind than those that are mounted."""
    return GuestRefusedError(
        f"The volume {volume} cannot be mounted: its first sector is that of neither NTFS nor FAT "
        f"({kind}).",
        "Choose another partition; decrypt it in the guest (manage-bde -off) if it is encrypted.",
    )


def fat_unmountable(volume: str, detail: str) -> GuestRefusedError:
    """Return the error for a FAT volume that makes no sense."""
    return GuestRefusedError(
        f"The FAT volume {volume} cannot be mounted: {detail}",
        _CHECK_FAT,
    )


def fat_read_only(volume: str, reason: str) -> GuestRefusedError:
    """Return the error for a FAT volume that must not be written."""
    return GuestRefusedError(
        f"The FAT volume {volume} can only be mounted read-only: {reason}.",
        _CHECK_FAT,
    )


def read_only(volume: str) -> GuestRefusedError:
    """Return the error for an NTFS volume that ntfs-3g takes, but not to be written."""
    return GuestRefusedError(
        f"The NTFS volume {volume} can only be mounted read-only: Windows left it in an "
        "unsafe state (hibernation, fast startup or an unclean shutdown).",
        "Start the guest where it still runs, turn off hibernation (powercfg /h off), shut "
        "it down completely, and try again.",
    )


def ntfs_damaged(volume: str) -> GuestRefusedError:
    """Return the error for an NTFS volume whose state cannot be found out."""
    return GuestRefusedError(
        f"The NTFS volume {volume} is damaged: its $Volume record cannot be read.",
        "Have Windows check it (chkdsk /f) where the guest still runs, then try again.",
    )


def ntfs_dirty(volume: str) -> GuestRefusedError:
    """Return the error for an NTFS volume that Windows has marked to be checked."""
    return GuestRefusedError(
        f"The NTFS volume {volume} is marked dirty: Windows wants to check it.",
        "Start the guest where it still runs, let chkdsk finish, shut it down completely, "
        "and try again.",
    )


def ntfs_open(volume: str) -> GuestRefusedError:
    """Return the error for an NTFS volume whose journal is not empty."""
    return GuestRefusedError(
        f"The NTFS volume {volume} was not closed properly: changes of Windows wait in "
        "its journal.",
        "Start the guest where it still runs, shut it down completely, and try again. A "
        "snapshot of a running guest is in this state too.",
    )
