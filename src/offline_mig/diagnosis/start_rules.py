r"""From the firmware to the loader: what keeps a machine from getting so far.

Microsoft, "Boot and UEFI" and "Windows XP Professional resource kit: troubleshooting startup"; the
UEFI specification for its part.
"""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import NT6
from offline_mig.diagnosis.finding import Confidence, Finding
from offline_mig.diagnosis.start_facts import StartedVolume, StartFacts, wanted_loader
from offline_mig.guest.boot_sector import BootLoader, right_geometry
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import TableKind
from offline_mig.guest.partition_types import type_name
from offline_mig.machine import Firmware
from offline_mig.windows.bcd import BootApplication, default_application
from offline_mig.windows.bcd_device import candidates
from offline_mig.windows.boot_files import BootVolumeRole, Need, boot_files
from offline_mig.windows.boot_ini import boot_ini_faults
from offline_mig.windows.version import WindowsVersion

#: What UEFI firmware starts that has no boot entry.
FALLBACK_FOLDER = "EFI/BOOT/"


def start_findings(start: StartFacts, windows: WindowsVersion) -> Iterator[Finding]:
    """Yield what is broken on the way from the firmware to the loader of ``windows``."""
    if start.firmware is Firmware.UEFI:
        yield from _uefi_findings(start, windows)
    else:
        yield from _bios_findings(start, windows)
    yield from _file_findings(start, windows)
    if start.started is not None and not start.started.problem:
        yield from _configuration_findings(start, start.started, windows)


def takes_unsigned(start: StartFacts) -> bool:
    """Tell whether the boot configuration has Windows load drivers without any signature."""
    loader = _starting(start)
    return loader is not None and loader.no_integrity_checks


def takes_test_signed(start: StartFacts) -> bool:
    """Tell whether the boot configuration has Windows load drivers with anybody's signature."""
    loader = _starting(start)
    return loader is not None and loader.test_signing


def _starting(start: StartFacts) -> BootApplication | None:
    store = start.started.store if start.started is not None else None
    return default_application(store) if store is not None else None


def _uefi_findings(start: StartFacts, windows: WindowsVersion) -> Iterator[Finding]:
    # Windows boots from an EFI partition of an MBR disk as well, which few firmwares look for.
    if windows.nt < NT6 or (start.table.kind is TableKind.MBR and start.started is None):
        what = "this Windows knows no UEFI" if windows.nt < NT6 else "it is an MBR disk"
        yield Finding(
            kinds.FIRMWARE_MISMATCH,
            f"The machine starts by UEFI, and {what}.",
            (f"disk {start.first_disk + 1}: partition table {start.table.kind.upper()}",),
        )
        return
    if start.started is None or start.started.problem:
        problem = start.started.problem if start.started else "there is none"
        yield Finding(
            kinds.NO_ESP,
            f"No EFI system partition of disk {start.first_disk + 1} can be used: {problem}.",
            (f"disk {start.first_disk + 1}: {_partitions(start)}",),
        )


def _bios_findings(start: StartFacts, windows: WindowsVersion) -> Iterator[Finding]:
    disk = f"disk {start.first_disk + 1}"
    table = start.table
    if table.kind is TableKind.GPT:
        yield Finding(
            kinds.FIRMWARE_MISMATCH,
            "The machine starts by a BIOS, and the disk has a GPT.",
            (f"{disk}: {_partitions(start)}",),
        )
        return
    if table.kind is TableKind.MBR:
        if table.mbr is None or not table.mbr.has_code:
            yield Finding(
                kinds.NO_BOOT_CODE,
                f"There is no code in the first sector of {disk}.",
                (f"{disk}, sector 0: {'no 55 AA' if table.mbr is None else 'bytes 0-439 are 0'}",),
            )
        if table.mbr is not None and table.mbr.starts is None:
            active = ", ".join(map(str, table.mbr.active)) or "none"
            yield Finding(
                kinds.NO_ACTIVE_PARTITION,
                f"The partition table of {disk} names no single partition to start from.",
                (f"{disk}: active partitions: {active}",),
            )
    if start.started is not None:
        yield from _boot_sector_findings(start, start.started, windows)


def _boot_sector_findings(
    start: StartFacts, started: StartedVolume, windows: WindowsVersion
) -> Iterator[Finding]:
    name = f"{started.place.disk + 1}:{started.place.partition.number}"
    sector = started.boot_sector
    wanted = wanted_loader(windows)
    if sector is None or not sector.marked or sector.loader in (BootLoader.NONE, BootLoader.OTHER):
        yield Finding(
            kinds.BOOT_SECTOR,
            f"The active partition {name} has no boot sector of Windows.",
            (f"partition {name}, sector 0: {_sector_in_words(started)}",),
        )
        return
    if sector.loader is not wanted and wanted not in started.files:
        yield Finding(
            kinds.BOOT_SECTOR,
            f"The boot sector of partition {name} loads {sector.loader}, and this Windows is "
            f"started by {wanted}.",
            (f"partition {name}, sector 0: code that loads {sector.loader}",),
            Confidence.MEDIUM,
        )
    right = right_geometry(started.place.partition.start, start.sizes[started.place.disk])
    if right is None:
        return
    found = sector.geometry
    if found.hidden_sectors != right.hidden_sectors:
        yield Finding(
            kinds.HIDDEN_SECTORS,
            f"The boot sector of partition {name} says that the volume begins at sector "
            f"{found.hidden_sectors}; it begins at {right.hidden_sectors}.",
            (f"partition {name}, sector 0: hidden sectors = {found.hidden_sectors}",),
            Confidence.MEDIUM,
        )
    elif windows.nt < NT6 and found != right:
        yield Finding(
            kinds.BOOT_GEOMETRY,
            f"The boot sector of partition {name} counts {found.heads} heads and "
            f"{found.sectors_per_track} sectors per track; the BIOS counts {right.heads} and "
            f"{right.sectors_per_track}.",
            (f"partition {name}, sector 0: heads = {found.heads}",),
            Confidence.LOW,
        )


def _sector_in_words(started: StartedVolume) -> str:
    sector = started.boot_sector
    if sector is None:
        return "neither NTFS nor FAT"
    return f"{sector.kind.upper()}, code for {sector.loader}" + (
        "" if sector.marked else ", no 55 AA"
    )


def _file_findings(start: StartFacts, windows: WindowsVersion) -> Iterator[Finding]:
    for file in boot_files(windows, uefi=start.firmware is Firmware.UEFI):
        if file.role is BootVolumeRole.WINDOWS:
            if file.path not in start.windows_files:
                path = f"{start.directory}/{file.path}"
                yield Finding(
                    kinds.NO_KERNEL,
                    f"The guest has no {path}: {file.purpose}.",
                    (f"{path}: no such file",),
                    name=path,
                )
            continue
        started = start.started
        if started is None or started.problem or file.path in started.files:
            continue
        fallback = file.path.startswith(FALLBACK_FOLDER)
        if file.need is Need.OPTIONAL and not fallback:
            continue
        if file.path.endswith("BCD"):
            kind = kinds.NO_CONFIGURATION
        else:
            kind = kinds.NO_EFI_FALLBACK if fallback else kinds.NO_LOADER
        place = f"{started.place.disk + 1}:{started.place.partition.number}"
        yield Finding(
            kind,
            f"Partition {place} has no {file.path}: {file.purpose}.",
            (f"partition {place}, /{file.path}: no such file",),
            Confidence.MEDIUM if fallback else Confidence.HIGH,
            name=file.path,
        )


def _configuration_findings(
    start: StartFacts, started: StartedVolume, windows: WindowsVersion
) -> Iterator[Finding]:
    if windows.nt < NT6:
        yield from _boot_ini_findings(start, started)
        return
    if started.store_problem:
        yield Finding(
            kinds.NO_CONFIGURATION,
            f"The boot configuration cannot be read: {started.store_problem}",
            ("BCD",),
        )
    if started.store is None:
        return
    loader = default_application(started.store)
    if loader is None:
        yield Finding(
            kinds.NO_CONFIGURATION,
            "The boot configuration names no Windows as the default one.",
            ("BCD: {9dea862c-5cdd-4e70-acc1-f32b344d4795}, element 23000003",),
            Confidence.MEDIUM,
        )
        return
    yield from _store_findings(start, started, loader)


def _boot_ini_findings(start: StartFacts, started: StartedVolume) -> Iterator[Finding]:
    if started.boot_ini is None:
        return  # NTLDR then takes \WINDOWS of the first partition; that is not often wrong.
    tables = [start.tables[disk] for disk in start.bios_order]
    windows = PlacedPartition(start.bios_order.index(start.windows.disk), start.windows.partition)
    directory = start.directory.replace("/", "\\")
    entry = started.boot_ini.starting
    for fault in boot_ini_faults(started.boot_ini, tables, windows, directory):
        yield Finding(
            kinds.CONFIGURATION_TARGET,
            f"In boot.ini, {fault.value}.",
            (f"boot.ini: default={entry.path if entry else ''}",),
            Confidence.MEDIUM,
            name=fault.name,
        )


def _store_findings(
    start: StartFacts, started: StartedVolume, loader: BootApplication
) -> Iterator[Finding]:
    evidence = f"BCD: {loader.id} ({loader.description or 'no description'})"
    devices = {"device": loader.device, "osdevice": loader.os_device}
    if loader.device == loader.os_device:
        devices = {"device and osdevice": loader.device}
    for name, device in devices.items():
        places = () if device is None else candidates(device, start.tables, started.place)
        if start.windows in places:
            continue
        said = "missing" if device is None else f"{device}"
        yield Finding(
            kinds.CONFIGURATION_TARGET,
            "The boot configuration does not lead to the volume with Windows.",
            (evidence, f"{name}: {said}"),
            Confidence.MEDIUM,
            key=loader.id,
            name=name,
        )
    root = loader.system_root.replace("\\", "/").rstrip("/")
    if root and root.casefold() != start.directory.casefold():
        yield Finding(
            kinds.CONFIGURATION_TARGET,
            f"The boot configuration starts the Windows in {loader.system_root}, and this one is "
            f"in {start.directory}.",
            (evidence, f"systemroot = {loader.system_root}"),
            Confidence.MEDIUM,
            key=loader.id,
            name="systemroot",
        )
    wanted = ".efi" if start.firmware is Firmware.UEFI else ".exe"
    if loader.path and not loader.path.casefold().endswith(wanted):
        yield Finding(
            kinds.FIRMWARE_MISMATCH,
            f"The boot configuration starts {loader.path}, which is for the other firmware.",
            (evidence, f"path = {loader.path}"),
            key=loader.id,
            name="path",
        )


def _partitions(start: StartFacts) -> str:
    kinds_of = ", ".join(type_name(partition.type) for partition in start.table.partitions)
    return f"{start.table.kind.upper()} with {kinds_of or 'no partitions'}"
