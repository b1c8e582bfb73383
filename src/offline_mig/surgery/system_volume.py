"""Which volume holds Windows, and whether it is in a state to be edited."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from offline_mig.errors import GuestRefusedError, OfflineMigError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.ntfs import VolumeKind, read_state, volume_kind
from offline_mig.guest.partition_table import Partition, PartitionTable, read_partition_table
from offline_mig.guest.refusal import volume_name
from offline_mig.guest.volume_state import reader_of, require_closed
from offline_mig.surgery.hibernation import named_session, read_hiberfil
from offline_mig.windows.hibernation import Hibernation, judge_hibernation, read_memory_image

#: What an upgrade leaves of the Windows before it: Windows.old, Windows.old.000.
_LEFT_BEHIND = "windows.old"


class LockedVolumeError(GuestRefusedError):
    """The only volume that may hold Windows is encrypted."""


@dataclass(frozen=True, slots=True)
class SystemVolume:
    """The volume with Windows on it.

    ``root`` is the Windows directory in its real case, ``hibernation`` the session that waits in
    hiberfil.sys as its header alone tells it, ``notes`` what the user should know of other volumes.
    """

    disk: int
    partition: Partition
    root: str
    hibernation: Hibernation | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call the volume in messages and to give as --system-partition."""
        return volume_name(self.disk, self.partition)

    @property
    def choice(self) -> str:
        """What to give as --system-partition when it is one of several Windows on its volume."""
        return f"{self.name}{self.root}"


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """The partition tables of all disks, in the order of the disks."""

    tables: tuple[PartitionTable, ...]

    @property
    def uefi(self) -> bool:
        """Whether a disk has an EFI system partition."""
        return any(table.has_esp for table in self.tables)


def read_layout(disks: GuestDisks, count: int) -> DiskLayout:
    """Return the partition tables of the first ``count`` disks."""
    return DiskLayout(
        tuple(
            read_partition_table(partial(disks.read, disk), disks.size(disk))
            for disk in range(count)
        )
    )


def find_system_volume(
    disks: GuestDisks, layout: DiskLayout, wanted: str | None = None
) -> SystemVolume:
    """Return the one volume with Windows on it, or the ``wanted`` one of several.

    Volumes are mounted read-only to look. Raises GuestRefusedError for everything that must not
    be edited: no Windows, several, BitLocker, dynamic disks.
    """
    found: list[SystemVolume] = []
    locked: list[str] = []
    failed: list[OfflineMigError] = []
    ntfs = 0
    for number, table in enumerate(layout.tables):
        for partition in table.partitions:
            if partition.dynamic:
                # What looks like a plain volume may be half of a mirror or a part of a span.
                continue
            kind = volume_kind(disks.read(number, partition.start, 512))
            if kind is VolumeKind.BITLOCKER:
                locked.append(volume_name(number, partition))
            if kind is not VolumeKind.NTFS:
                continue
            ntfs += 1
            try:
                with disks.mount(number, partition, writable=False) as volume:
                    roots = _windows_roots(volume)
                    image = read_memory_image(read_hiberfil(volume)) if roots else None
            except (GuestRefusedError, ToolFailedError) as error:
                # Another volume than that of Windows may be as damaged as it likes.
                failed.append(error)
                continue
            session = None if image is None else judge_hibernation(image)
            found += [SystemVolume(number, partition, root, session) for root in roots]
    cut_off = _cut_off(disks, layout)
    if cut_off and not found and not locked:
        raise GuestRefusedError(
            f"No Windows was found. {cut_off[0]}", "Copy the image again from where it came from."
        )
    if failed and not found:
        raise failed[0]
    notes = (*cut_off, *(f"{error.message} It was passed over." for error in failed))
    if wanted is not None:
        return replace(_pick(found, wanted), notes=notes)
    if len(found) > 1:
        raise _several(found)
    if found:
        return replace(found[0], notes=notes)
    if locked:
        raise LockedVolumeError(
            f"The volume {', '.join(locked)} is encrypted with BitLocker, and no other volume "
            "holds Windows.",
            "Start the guest where it still runs, turn BitLocker off (manage-bde -off C:), wait "
            "until it is decrypted, shut it down, and try again.",
        )
    if any(table.dynamic for table in layout.tables):
        raise GuestRefusedError(
            "The guest's system disk is a dynamic disk (LDM), whose volumes cannot be opened.",
            "Convert it to a basic disk in the guest first, or image its volumes onto one.",
        )
    raise GuestRefusedError(
        f"No Windows was found: {sum(len(t.partitions) for t in layout.tables)} partitions on "
        f"{len(layout.tables)} disk(s), {ntfs} of them NTFS, none with "
        "Windows\\System32\\config.",
        "Check that all disks of the machine are given and that this is a Windows guest.",
    )


def _cut_off(disks: GuestDisks, layout: DiskLayout) -> tuple[str, ...]:
    """Return a sentence for each partition that ends behind its disk."""
    return tuple(
        f"The partition {volume_name(number, partition)} ends at byte "
        f"{partition.start + partition.size}, but the disk has {disks.size(number)}: the image is "
        "cut off, or its partition table is wrong."
        for number, table in enumerate(layout.tables)
        for partition in table.outside
    )


def require_clean(
    disks: GuestDisks, volume: SystemVolume, *, discard_hibernation: bool = False
) -> None:
    """Refuse a system volume that is hibernated or that Windows did not close properly.

    With ``discard_hibernation`` a session in hiberfil.sys is none of the reasons; what else
    Windows keeps open for it is. Raises GuestRefusedError.
    """
    state = read_state(reader_of(disks, volume.disk, volume.partition))
    if not state.readable:
        raise refusal.ntfs_damaged(volume.name)
    if volume.hibernation is not None and not discard_hibernation:
        image = volume.hibernation.image
        raise GuestRefusedError(
            f"{named_session(volume.hibernation)}: hiberfil.sys on volume {volume.name} holds its "
            f"session ({image.signature!r}, {image.state}).",
            "Start the guest where it still runs, run 'powercfg /h off' as administrator, shut "
            "it down with 'shutdown /s /t 0', and try again; or have its session given up: "
            "convert and repair take --discard-hibernation.",
        )
    if volume.hibernation is not None and state.journal_open:
        raise GuestRefusedError(
            f"{named_session(volume.hibernation)}, and its session cannot be given up: the NTFS "
            f"volume {volume.name} was left open with it, and changes of Windows wait in its "
            "journal, which only Windows can put in their place.",
            "Start the guest where it still runs, run 'powercfg /h off' as administrator, shut "
            "it down with 'shutdown /s /t 0', and try again.",
        )
    require_closed(state, volume.name)


def _several(found: list[SystemVolume]) -> GuestRefusedError:
    places = [volume.name for volume in found]
    names = ", ".join(f"{volume.name} ({volume.root})" for volume in found)
    first = found[0].choice if places.count(found[0].name) > 1 else found[0].name
    return GuestRefusedError(
        f"The guest holds several Windows installations: {names}.",
        "Choose one with --system-partition DISK:PARTITION, or with DISK:PARTITION/DIRECTORY "
        f"where a volume holds several, for example --system-partition {first}.",
    )


def _windows_roots(volume: GuestFilesystem) -> list[str]:
    r"""Return all Windows directories: \WINDOWS, \WINNT, or what Setup or its user named them."""
    return [
        f"/{entry.name}"
        for entry in volume.list_directory("/")
        if entry.is_directory
        and not entry.name.casefold().startswith(_LEFT_BEHIND)
        and volume.exists(f"/{entry.name}/System32/config/SYSTEM")
    ]


def _pick(found: list[SystemVolume], wanted: str) -> SystemVolume:
    chosen = [
        volume
        for volume in found
        if volume.name == wanted or volume.choice.casefold() == wanted.casefold().rstrip("/")
    ]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise _several(chosen)
    names = ", ".join(volume.name for volume in found) or "none"
    raise GuestRefusedError(
        f"There is no Windows on partition {wanted}; volumes with Windows: {names}.",
        "Give --system-partition as DISK:PARTITION, both counted from 1.",
    )
