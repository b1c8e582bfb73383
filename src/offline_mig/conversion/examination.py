"""Looking at a guest: what machine it is and which Windows is in it. Nothing is changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.guest.engine import Engine, GuestDisks, OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.joined_volumes import JoinedVolumes
from offline_mig.guest.partition_table import TableKind
from offline_mig.images.edit_files import EditFiles
from offline_mig.machine import Firmware, Machine
from offline_mig.sources.machine_source import read_machine
from offline_mig.sources.options import SourceOptions
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.first_boot_log import FirstBootRecord, read_first_boot
from offline_mig.surgery.system_volume import (
    DiskLayout,
    SystemVolume,
    find_system_volume,
    read_layout,
    require_clean,
)
from offline_mig.windows.hive import Hive, HiveName


@dataclass(frozen=True)
class Examination:
    """A guest and what is in it. ``first_boot`` is what an earlier conversion left for it."""

    machine: Machine
    layout: DiskLayout
    volume: SystemVolume
    facts: GuestFacts
    first_boot: FirstBootRecord | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def locate_windows(
    engine: Engine,
    images: tuple[OpenedDisk, ...],
    *,
    writable: bool,
    system_partition: str | None,
    discard_hibernation: bool = False,
) -> Iterator[tuple[GuestDisks, DiskLayout, SystemVolume]]:
    """Open a guest's disks and find its Windows, which must be in a state to be edited.

    ``discard_hibernation`` lets through one whose session is to be given up.
    """
    with engine.open(images, writable=writable) as disks:
        layout = read_layout(disks, len(images))
        volume = find_system_volume(disks, layout, system_partition)
        require_clean(disks, volume, discard_hibernation=discard_hibernation)
        yield disks, layout, volume


@contextmanager
def examined_volume(
    disks: GuestDisks, volume: SystemVolume
) -> Iterator[tuple[GuestFilesystem, GuestFacts]]:
    """Mount the system volume read-only and gather its facts; hive copies go when it ends."""
    with (
        tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch,
        disks.mount(volume.disk, volume.partition, writable=False) as files,
    ):
        yield files, examine(files, volume.root, Path(scratch))


@contextmanager
def joined_volumes(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    *,
    writable: bool,
    discard_session: bool = False,
) -> Iterator[JoinedVolumes]:
    """Mount the system volume, and the others as they are named.

    ``discard_session`` gives up the session in the hiberfil.sys of the system volume.
    """
    place = (volume.disk, volume.partition)
    with (
        disks.mount(*place, writable=writable, discard_session=discard_session) as system,
        JoinedVolumes(system, disks, layout.tables, place, writable=writable) as joined,
    ):
        yield joined


def readable_hives(facts: GuestFacts) -> dict[HiveName, Hive]:
    """Return the hives that the facts were gathered from, as long as their volume is mounted."""
    hives = (facts.system, facts.software, facts.drivers)
    return {HiveName(hive.name): hive for hive in hives if isinstance(hive, Hive)}


def source_images(machine: Machine) -> tuple[OpenedDisk, ...]:
    """Return the machine's own disk images, to be opened read-only."""
    return tuple(
        OpenedDisk(disk.image.path, disk.image.format, disk.image.files, disk.image.window)
        for disk in machine.disks
    )


def with_found_firmware(machine: Machine, layout: DiskLayout) -> Machine:
    """Return the machine with the firmware that its disks need, where the source names none.

    A VMX that names no firmware means BIOS; a bare disk image leaves it open, and so may an OVF.
    """
    if machine.firmware_stated:
        if machine.firmware is Firmware.BIOS and _boots_by_uefi_only(layout):
            note = "The source says BIOS, but the disks are laid out for UEFI; BIOS is kept."
            return replace(machine, notes=(*machine.notes, note))
        return machine
    return replace(machine, firmware=found_firmware(layout))


def found_firmware(layout: DiskLayout) -> Firmware:
    """Return the firmware that disks are laid out for."""
    return Firmware.UEFI if _boots_by_uefi_only(layout) else Firmware.BIOS


def _boots_by_uefi_only(layout: DiskLayout) -> bool:
    # Windows itself boots from GPT by UEFI only.
    return layout.uefi and all(t.kind is not TableKind.MBR for t in layout.tables[:1])


@contextmanager
def opened_source(source: Path, options: SourceOptions) -> Iterator[Machine]:
    """Give the machine that the user named; what had to be unpacked goes when the block ends.

    Raises SourceUnreadableError, SourceUnsafeError, and OutputRefusedError where there is no
    space to unpack.
    """
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
        yield _read_source(source, options, Path(scratch))


def _read_source(source: Path, options: SourceOptions, scratch: Path) -> Machine:
    require_text_name(source)
    try:
        return read_machine(source, scratch=scratch, options=options)
    except SourceUnreadableError as error:
        if EditFiles(Path(os.path.realpath(source))).base_is_aside:
            raise SourceUnreadableError(
                f"An edit of {source} was interrupted while its changes were being written, and "
                "the image has not got its name back yet.",
                f"Run 'offline-mig recover {source}'.",
            ) from error
        raise


def require_text_name(source: Path) -> None:
    """Raise SourceUnreadableError for a name that is no text, which XML and JSON could not hold."""
    try:
        str(source).encode()
    except UnicodeEncodeError as error:
        raise SourceUnreadableError(
            f"The source's name is not valid UTF-8: {os.fsencode(source)!r}.",
            "Rename it, or give it by a symbolic link.",
        ) from error


def inspect_guest(
    source: Path,
    engine: Engine,
    system_partition: str | None = None,
    options: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
) -> Examination:
    """Return what there is to know about a guest; raises OfflineMigError."""
    with opened_source(source, options) as found:
        return examine_machine(found, engine, system_partition)


def examine_machine(
    found: Machine, engine: Engine, system_partition: str | None = None
) -> Examination:
    """Return what there is to know about a machine that was read; raises OfflineMigError."""
    with (
        locate_windows(
            engine, source_images(found), writable=False, system_partition=system_partition
        ) as (disks, layout, volume),
        examined_volume(disks, volume) as (files, facts),
    ):
        machine = with_found_firmware(found, layout)
        notes = (*disks.notes, *machine.notes, *volume.notes, *facts.notes)
        return Examination(machine, layout, volume, facts, read_first_boot(files, facts), notes)
