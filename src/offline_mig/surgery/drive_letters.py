r"""What becomes of drive letters on the new machine, and of the files that go by them.

Letters belong to volumes by the signature of their disk and their place on it, or by GUID, and
none of these is touched: so every volume keeps its letter, whatever controller it hangs on. A
CD-ROM drive is a new one on a new machine, and takes the first letter that is free. It takes none
of a disk that is online when letters are given out: Windows does that when the drivers that it
boots from have found their disks (IOCTL_MOUNTMGR_AUTO_DL_ASSIGNMENTS of mountmgr.h), which all
disks of the machine hang on. Disks that stay offline would lose theirs: ``first_boot_settings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offline_mig.guest.partition_table import PartitionTable
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.mounted_devices import (
    ConflictKind,
    MountedDevice,
    letter_conflicts,
    partition_of,
    read_mounted_devices,
)
from offline_mig.windows.page_files import dump_letters, page_file_letters


def letter_notes(facts: GuestFacts, tables: Sequence[PartitionTable]) -> tuple[str, ...]:
    """Return what the user should know of letters; ``tables`` are those of all disks."""
    mounted = read_mounted_devices(facts.system)
    return (*_conflicts(mounted, tables), *_files(facts, mounted, tables))


def _conflicts(mounted: Sequence[MountedDevice], tables: Sequence[PartitionTable]) -> Iterator[str]:
    for conflict in letter_conflicts(mounted, tables):
        if conflict.kind is ConflictKind.ABSENT:
            yield (
                f"The letter {conflict.letter}: belongs to {conflict.id}, which is on none of the "
                "disks that are converted; Windows keeps it for that disk."
            )
        if conflict.kind is ConflictKind.AMBIGUOUS:
            yield (
                f"The letter {conflict.letter}: belongs to {conflict.id}, which several disks have "
                "alike: Windows gives all but one of them a new signature, and they get letters "
                "anew."
            )


def _files(
    facts: GuestFacts, mounted: Sequence[MountedDevice], tables: Sequence[PartitionTable]
) -> Iterator[str]:
    known = {device.letter for device in mounted}
    for what, letters in (
        ("The page file", page_file_letters(facts.system, facts.control_sets.default)),
        ("The file for memory dumps", dump_letters(facts.system, facts.control_sets.default)),
    ):
        for letter in letters:
            # Without an entry Windows gives the letter out anew, as that of its own volume.
            if letter in known and partition_of(mounted, tables, letter) is None:
                yield (
                    f"{what} on {letter}: has no disk among those that are converted: Windows "
                    "starts without it. Convert that disk as well, or choose another place in the "
                    "guest (System, Advanced)."
                )
