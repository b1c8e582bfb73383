"""Why a volume is not mounted, in the same words whatever engine finds it."""

from __future__ import annotations

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.partition_table import Partition


def volume_name(disk: int, partition: Partition) -> str:
    """Return "disk 1 partition 2" as ``1:2``, both counted from 1 (partition 0: whole disk)."""
    return f"{disk + 1}:{partition.number}"


def unmountable(volume: str, detail: str) -> GuestRefusedError:
    """Return the error for an NTFS volume that ntfs-3g does not take at all."""
    return GuestRefusedError(
        f"The NTFS volume {volume} cannot be mounted: {detail}",
        "Have Windows check it (chkdsk /f) and shut it down completely, then try again.",
    )


def read_only(volume: str) -> GuestRefusedError:
    """Return the error for an NTFS volume that ntfs-3g takes, but not to be written."""
    return GuestRefusedError(
        f"The NTFS volume {volume} can only be mounted read-only: Windows left it in an "
        "unsafe state (hibernation, fast startup or an unclean shutdown).",
        "Start the guest where it still runs, turn off hibernation (powercfg /h off), shut "
        "it down completely, and try again.",
    )
