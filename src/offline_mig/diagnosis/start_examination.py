"""Reading what a machine's firmware finds: partition tables, boot sectors, boot configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from offline_mig.diagnosis.start_facts import StartedVolume, StartFacts, wanted_loader
from offline_mig.errors import GuestRefusedError, ToolFailedError
from offline_mig.guest.boot_sector import BOOT_CODE_SIZE, BootLoader, read_boot_sector
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import GPT_ESP, Partition, PartitionTable, TableKind
from offline_mig.machine import Firmware
from offline_mig.surgery.hive_files import load_hive
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.windows.bcd import BootStore, read_boot_store
from offline_mig.windows.boot_files import BootVolumeRole, boot_files
from offline_mig.windows.boot_ini import MAX_SIZE, parse_boot_ini
from offline_mig.windows.hive import HiveName
from offline_mig.windows.version import WindowsVersion

#: An EFI system partition of an MBR disk (UEFI specification, 5.2.2).
_MBR_ESP = "0xef"


def examine_start(
    disks: GuestDisks,
    layout: DiskLayout,
    volume: SystemVolume,
    files: GuestFilesystem,
    windows: WindowsVersion,
    firmware: Firmware,
    scratch: Path,
) -> StartFacts:
    """Return what the firmware finds when it starts from the disk with Windows on it.

    ``files`` is the mounted system ``volume``; the one that is started from is mounted besides, if
    it is another one. The boot configuration is copied into the folder ``scratch``.
    """
    uefi = firmware is Firmware.UEFI
    place = _started(layout.tables[volume.disk], volume.disk, uefi=uefi)
    loaders: dict[int, BootLoader] = {}
    if place is None and not uefi:
        loaders = _loaders(disks, layout, volume, files)
        place = _startable(layout, volume, loaders, windows)
    wanted = boot_files(windows, uefi=uefi)
    return StartFacts(
        firmware=firmware,
        first_disk=volume.disk,
        tables=layout.tables,
        sizes=tuple(disks.size(disk) for disk in range(len(layout.tables))),
        windows=PlacedPartition(volume.disk, volume.partition),
        directory=volume.root,
        windows_files=frozenset(
            file.path
            for file in wanted
            if file.role is BootVolumeRole.WINDOWS and files.exists(f"{volume.root}/{file.path}")
        ),
        started=None
        if place is None
        else _examine_started(disks, place, volume, files, windows, scratch, uefi=uefi),
        loaders=loaders,
    )


def _loaders(
    disks: GuestDisks, layout: DiskLayout, volume: SystemVolume, files: GuestFilesystem
) -> dict[int, BootLoader]:
    """Return what the boot code of the primary partitions loads, by their numbers.

    The file has to be there: every volume that Windows formatted has code that looks for it.
    """
    disk = volume.disk
    record = layout.tables[disk].mbr
    found: dict[int, BootLoader] = {}
    for partition in record.partitions if record is not None else ():
        sector = read_boot_sector(disks.read(disk, partition.start, BOOT_CODE_SIZE))
        if sector is None or sector.loader not in (BootLoader.NTLDR, BootLoader.BOOTMGR):
            continue
        try:
            with _mounted(disks, PlacedPartition(disk, partition), volume, files) as started:
                if started.exists(f"/{sector.loader}"):
                    found[partition.number] = sector.loader
        except (GuestRefusedError, ToolFailedError):
            continue
    return found


def _startable(
    layout: DiskLayout,
    volume: SystemVolume,
    loaders: Mapping[int, BootLoader],
    windows: WindowsVersion,
) -> PlacedPartition | None:
    """Return the one partition that would start this Windows if it were the active one."""
    fitting = [number for number, loader in loaders.items() if loader is wanted_loader(windows)]
    partitions = layout.tables[volume.disk].partitions
    chosen = [partition for partition in partitions if fitting == [partition.number]]
    return PlacedPartition(volume.disk, chosen[0]) if chosen else None


def _started(table: PartitionTable, disk: int, *, uefi: bool) -> PlacedPartition | None:
    """Return the partition that the firmware goes on with."""
    chosen: Partition | None = None
    if uefi:
        kinds = (GPT_ESP, _MBR_ESP)
        chosen = next((entry for entry in table.partitions if entry.type in kinds), None)
    elif table.kind is TableKind.NONE:
        chosen = table.partitions[0] if table.partitions else None
    elif table.mbr is not None and (active := table.mbr.starts) is not None:
        chosen = next((p for p in table.partitions if p.start == active.start), None)
    return None if chosen is None else PlacedPartition(disk, chosen)


def _examine_started(
    disks: GuestDisks,
    place: PlacedPartition,
    volume: SystemVolume,
    files: GuestFilesystem,
    windows: WindowsVersion,
    scratch: Path,
    *,
    uefi: bool,
) -> StartedVolume:
    sector = read_boot_sector(disks.read(place.disk, place.partition.start, BOOT_CODE_SIZE))
    try:
        with _mounted(disks, place, volume, files) as started:
            store, problem = _boot_store(started, scratch, uefi=uefi)
            boot_ini = None
            if started.exists("/boot.ini"):
                boot_ini = parse_boot_ini(started.read_part("/boot.ini", 0, MAX_SIZE))
            return StartedVolume(
                place,
                sector,
                files=frozenset(
                    file.path
                    for file in boot_files(windows, uefi=uefi)
                    if file.role is BootVolumeRole.STARTED and started.exists(f"/{file.path}")
                ),
                boot_ini=boot_ini,
                store=store,
                store_problem=problem,
            )
    except (GuestRefusedError, ToolFailedError) as error:
        return StartedVolume(place, sector, problem=error.message)


@contextmanager
def _mounted(
    disks: GuestDisks, place: PlacedPartition, volume: SystemVolume, files: GuestFilesystem
) -> Iterator[GuestFilesystem]:
    if place == PlacedPartition(volume.disk, volume.partition):
        yield files
        return
    with disks.mount(place.disk, place.partition, writable=False) as started:
        yield started


def boot_store_path(*, uefi: bool) -> str:
    """Return where the boot configuration lies on the volume that is started from."""
    return "/EFI/Microsoft/Boot/BCD" if uefi else "/Boot/BCD"


def _boot_store(
    started: GuestFilesystem, scratch: Path, *, uefi: bool
) -> tuple[BootStore | None, str]:
    path = started.resolve(boot_store_path(uefi=uefi))
    if path is None:
        return None, ""
    try:
        hive, _ = load_hive(started, path, HiveName.BCD, scratch)
        hive.require_readable()
        return read_boot_store(hive), ""
    except GuestRefusedError as error:
        return None, error.message
