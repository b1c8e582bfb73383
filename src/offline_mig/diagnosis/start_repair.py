r"""What mends the way from the firmware to the loader, where it is clear what is right.

Boot code is not written: it is Microsoft's, and none is at hand. What can be mended is what the
code that is there goes by: the active partition, the geometry, the path or device that the boot
configuration names, and the file that UEFI firmware looks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import NT6
from offline_mig.diagnosis.finding import Finding, FindingKind
from offline_mig.diagnosis.start_facts import StartedVolume, StartFacts, wanted_loader
from offline_mig.diagnosis.start_rules import FALLBACK_FOLDER
from offline_mig.guest.boot_sector import right_geometry, with_geometry
from offline_mig.guest.joined_volumes import boot_sector_of, first_sector_of, on_partition
from offline_mig.guest.partition_identity import PartitionIdentity, PlacedPartition, identity_of
from offline_mig.surgery.changes import Change, SetValue, WriteFile
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.bcd import (
    BOOT_MANAGER,
    BootStore,
    boot_manager,
    default_application,
    device_edits,
)
from offline_mig.windows.bcd_device import candidates, disk_partition
from offline_mig.windows.boot_files import boot_files
from offline_mig.windows.boot_ini import MAX_SIZE, Encoding, arc_path_of, with_default_path
from offline_mig.windows.hive import HiveName
from offline_mig.windows.version import WindowsVersion

_BOOT_MANAGER_FILE = "EFI/Microsoft/Boot/bootmgfw.efi"
#: Where the status of the first of four entries stands in a master boot record.
_FIRST_STATUS, _ENTRY_SIZE, _ACTIVE = 446, 16, 0x80
_GEOMETRY = (kinds.HIDDEN_SECTORS, kinds.BOOT_GEOMETRY)


def needed_contents(start: StartFacts, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the files and sectors whose contents mending takes, as JoinedVolumes names them."""
    found = {finding.kind for finding in findings}
    needed = []
    if kinds.NO_ACTIVE_PARTITION in found:
        needed.append(first_sector_of(start.first_disk))
    if start.started is not None:
        place = (start.started.place.disk, start.started.place.partition)
        if found.intersection(_GEOMETRY):
            needed.append(boot_sector_of(*place))
        if kinds.NO_EFI_FALLBACK in found and _BOOT_MANAGER_FILE in start.started.files:
            needed.append(on_partition(*place, f"/{_BOOT_MANAGER_FILE}"))
    return tuple(needed)


def plan_start_repair(
    start: StartFacts,
    windows: WindowsVersion,
    findings: Iterable[Finding],
    contents: Mapping[str, bytes],
) -> tuple[PlanBlock, ...]:
    """Return what clears the findings about the start; ``contents`` are what is needed for it."""
    found = {finding.kind for finding in findings}
    changes: list[Change] = []
    if kinds.NO_ACTIVE_PARTITION in found:
        changes += _active_partition(start, windows, contents)
    if start.started is not None:
        started = start.started
        if found.intersection(_GEOMETRY):
            changes += _geometry(start, started, found, contents)
        if kinds.NO_EFI_FALLBACK in found:
            changes += _fallback(started, windows, contents)
        if kinds.CONFIGURATION_TARGET in found and windows.nt < NT6:
            changes += _boot_ini(start, started)
        if kinds.CONFIGURATION_TARGET in found and started.store is not None:
            changes += _boot_store(start, started, started.store)
    return (PlanBlock("The way from the firmware to Windows", tuple(changes)),) if changes else ()


def _active_partition(
    start: StartFacts, windows: WindowsVersion, contents: Mapping[str, bytes]
) -> Iterator[Change]:
    """Mark the one partition whose boot code is for this Windows."""
    name = first_sector_of(start.first_disk)
    wanted = wanted_loader(windows)
    fitting = [number for number, loader in start.loaders.items() if loader is wanted]
    record = start.table.mbr
    if len(fitting) != 1 or record is None or name not in contents:
        return
    sector = bytearray(contents[name])
    for number in range(1, 5):
        status = _ACTIVE if number == fitting[0] else 0
        sector[_FIRST_STATUS + (number - 1) * _ENTRY_SIZE] = status
    yield WriteFile(
        name,
        bytes(sector),
        "the sector itself",
        f"partition {fitting[0]} is the only one with boot code for this Windows",
    )


def _geometry(
    start: StartFacts,
    started: StartedVolume,
    found: Iterable[FindingKind],
    contents: Mapping[str, bytes],
) -> Iterator[Change]:
    place = started.place
    right = right_geometry(place.partition.start, start.sizes[place.disk])
    name = boot_sector_of(place.disk, place.partition)
    if right is None or name not in contents:
        return
    reason = next(kind.title for kind in _GEOMETRY if kind in found)
    yield WriteFile(name, with_geometry(contents[name], right), "the sector itself", reason)


def _fallback(
    started: StartedVolume, windows: WindowsVersion, contents: Mapping[str, bytes]
) -> Iterator[Change]:
    place = (started.place.disk, started.place.partition)
    content = contents.get(on_partition(*place, f"/{_BOOT_MANAGER_FILE}"))
    path = next(
        file.path
        for file in boot_files(windows, uefi=True)
        if file.path.startswith(FALLBACK_FOLDER)
    )
    if content is not None:
        yield WriteFile(
            on_partition(*place, f"/{path}"),
            content,
            f"/{_BOOT_MANAGER_FILE}",
            "the file that firmware starts which knows of no Windows yet",
        )


def _boot_ini(start: StartFacts, started: StartedVolume) -> Iterator[Change]:
    ini = started.boot_ini
    order = start.bios_order
    tables = [start.tables[disk] for disk in order]
    place = PlacedPartition(order.index(start.windows.disk), start.windows.partition)
    arc = arc_path_of(tables, place, start.directory.replace("/", "\\"))
    if ini is not None and len(ini.content) >= MAX_SIZE:
        return  # There may be more of it, which would be lost.
    if ini is None or arc is None or ini.encoding is Encoding.UTF16 or ini.starting is None:
        return
    yield WriteFile(
        on_partition(started.place.disk, started.place.partition, "/boot.ini"),
        with_default_path(ini, arc),
        "boot.ini itself",
        f"the Windows in {start.directory} is on {arc}",
    )


def _boot_store(start: StartFacts, started: StartedVolume, store: BootStore) -> Iterator[Change]:
    """Let the store name the volumes by what they are now.

    Sound where what it names is on no disk and each name stands for one volume only: the one with
    Windows, or the one that was started from.
    """
    moved: dict[PartitionIdentity, PartitionIdentity] = {}
    loader, manager = default_application(store), boot_manager(store)
    wanted = [(manager.device, started.place)] if manager is not None else []
    if loader is not None:
        wanted += [(loader.device, start.windows), (loader.os_device, start.windows)]
    for device, place in wanted:
        old = disk_partition(device) if device is not None else None
        new = identity_of(start.tables[place.disk], place.partition)
        if old is None or new is None or device is None:
            continue
        if candidates(device, start.tables, started.place):
            continue
        if moved.setdefault(old, new) != new:
            return  # One name for two volumes: Windows and its boot manager were on one.
    for edit in device_edits(store, moved):
        if edit.value is not None:
            what = "boot manager" if edit.object_id == BOOT_MANAGER else edit.object_id
            yield SetValue(
                HiveName.BCD,
                edit.key,
                "Element",
                edit.value,
                f"{what}: the volume that it names is none of the disk's; this is where it is now",
            )
