"""What edited hives and the image that they are in were before, for an undo."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.ntfs import serial_number
from offline_mig.machine import DiskFormat
from offline_mig.surgery.stored_journal import EditedHive, EditedImage, edited_hive
from offline_mig.surgery.system_volume import SystemVolume
from offline_mig.windows.hive import MAX_HIVE_SIZE, HiveName


def hive_contents(
    files: GuestFilesystem, hive_files: Mapping[HiveName, str], names: Collection[HiveName]
) -> dict[HiveName, bytes]:
    """Return the hives that are about to be edited as they are."""
    return {name: files.read(hive_files[name], limit=MAX_HIVE_SIZE) for name in sorted(names)}


def edited_hives(
    files: GuestFilesystem, hive_files: Mapping[HiveName, str], old: Mapping[HiveName, bytes]
) -> dict[HiveName, EditedHive]:
    """Return what brings ``old`` back out of the hives as they are by now."""
    return {
        name: edited_hive(path, content, files.read(path, limit=MAX_HIVE_SIZE))
        for name, content in old.items()
        if (path := hive_files[name])
    }


def edited_image(
    disks: GuestDisks, volume: SystemVolume, path: Path, image_format: DiskFormat
) -> EditedImage:
    """Return by what the image with the system volume is known again, at ``path`` by then."""
    return EditedImage(
        path=str(path),
        format=image_format,
        virtual_size=disks.size(volume.disk),
        choice=volume.choice,
        volume_start=volume.partition.start,
        volume_size=volume.partition.size,
        volume_serial=serial_number(disks.read(volume.disk, volume.partition.start, 512)),
    )
