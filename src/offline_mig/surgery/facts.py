"""What is known of a guest before anything is planned: gathered once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.surgery.hibernation import read_hiberfil
from offline_mig.surgery.hive_files import HiveReplay, load_hive, replay_note
from offline_mig.windows.control_set import ControlSets, read_control_sets
from offline_mig.windows.digits import small_number
from offline_mig.windows.hibernation import (
    Hibernation,
    judge_hibernation,
    read_memory_image,
    read_power_settings,
)
from offline_mig.windows.hive import WINDOWS_HIVES, Hive, HiveName, RegistryView
from offline_mig.windows.identity import read_version
from offline_mig.windows.pe import pe_architecture
from offline_mig.windows.version import Architecture, WindowsVersion

#: Enough of a PE file for its headers.
_PE_HEAD = 4096


class NoKernelError(GuestRefusedError):
    """A Windows directory without a kernel."""


@dataclass(frozen=True, slots=True)
class DrivenController:
    """A storage controller that the guest knows and that its boot-start ``service`` drives."""

    service: str
    device: str
    description: str


@dataclass(frozen=True)
class GuestFacts:
    """A guest, as far as planning needs to know it.

    ``root`` is the Windows directory (``/WINDOWS``), ``hive_files`` where the hives lie,
    ``driver_files`` the lower-case names in system32\\drivers, ``inf_files`` those in inf.
    ``drivers`` is the hive of packages that Windows 8 and later have, ``cabinets`` are the driver
    cabinets of Windows 2000 to 2003, the newest service pack first. ``replays`` are the hives that
    were dirty, with what was replayed into them before they were read. ``hibernation`` is the
    session that waits in hiberfil.sys, None when none does.
    """

    version: WindowsVersion
    root: str
    system: RegistryView
    software: RegistryView
    drivers: RegistryView | None
    hive_files: Mapping[HiveName, str]
    control_sets: ControlSets
    has_driver_database: bool
    realtime_is_universal: bool
    boot_controllers: tuple[DrivenController, ...]
    driver_files: frozenset[str]
    inf_files: frozenset[str]
    cabinets: tuple[str, ...] = ()
    free_space: int = 0
    notes: tuple[str, ...] = ()
    replays: Mapping[HiveName, HiveReplay] = field(default_factory=dict)
    hibernation: Hibernation | None = None

    def view(self, hive: HiveName) -> RegistryView:
        """Return a hive that is there. Raises KeyError for one that is not."""
        views = {
            HiveName.SYSTEM: self.system,
            HiveName.SOFTWARE: self.software,
            HiveName.DRIVERS: self.drivers,
        }
        view = views[hive]
        if view is None:
            raise KeyError(hive)
        return view

    @property
    def drivers_directory(self) -> str:
        """The directory of kernel drivers."""
        return f"{self.root}/System32/drivers"


def examine(volume: GuestFilesystem, root: str, scratch: Path) -> GuestFacts:
    """Read everything that planning needs from a mounted system volume.

    The hives are copied into the folder ``scratch`` and read whole. Raises GuestRefusedError.
    """
    hive_files: dict[HiveName, str] = {}
    hives: dict[HiveName, Hive] = {}
    replays: dict[HiveName, HiveReplay] = {}
    for name in WINDOWS_HIVES:
        path = volume.resolve(f"{root}/System32/config/{name}")
        if path is None and name is HiveName.DRIVERS:
            continue  # Windows 7 and older.
        if path is None:
            raise GuestRefusedError(
                f"The guest's Windows directory {root} has no hive System32\\config\\{name}.",
                "The installation is incomplete; restore the hive from a backup.",
            )
        hives[name], replay = load_hive(volume, path, name, scratch)
        hives[name].require_readable()
        if replay is not None:
            replays[name] = replay
        hive_files[name] = path
    system, software = hives[HiveName.SYSTEM], hives[HiveName.SOFTWARE]
    control_sets = read_control_sets(system)
    architecture, notes = _architecture(volume, root, system, control_sets.current)
    version = read_version(software, system, control_sets.current, architecture)
    return GuestFacts(
        version=version,
        root=root,
        system=system,
        software=software,
        drivers=hives.get(HiveName.DRIVERS),
        hive_files=hive_files,
        control_sets=control_sets,
        has_driver_database=system.has_key("DriverDatabase"),
        realtime_is_universal=_realtime_is_universal(system, control_sets.current),
        boot_controllers=find_boot_controllers(system, control_sets.current),
        driver_files=_names(volume, f"{root}/System32/drivers"),
        inf_files=_names(volume, f"{root}/inf"),
        cabinets=_cabinets(volume, root) if version.nt < (6, 0) else (),
        free_space=volume.free_space(),
        notes=(*(replay_note(name, replay) for name, replay in replays.items()), *notes),
        replays=replays,
        hibernation=_hibernation(volume, system, control_sets.current, version.nt),
    )


def _hibernation(
    volume: GuestFilesystem, system: RegistryView, control_set: str, nt: tuple[int, int]
) -> Hibernation | None:
    image = read_memory_image(read_hiberfil(volume))
    if image is None:
        return None
    return judge_hibernation(image, read_power_settings(system, control_set, nt))


def find_boot_controllers(system: RegistryView, control_set: str) -> tuple[DrivenController, ...]:
    """Return the controllers in Enum\\PCI that a boot-start service drives.

    Class SCSIAdapter {4D36E97B-...} and hdc {4D36E96A-...} (Microsoft, "System-defined device
    setup classes") are the storage controllers.
    """
    found: list[DrivenController] = []
    bus = rf"{control_set}\Enum\PCI"
    for device in system.subkeys(bus):
        for instance in system.subkeys(rf"{bus}\{device}"):
            values = {
                name.casefold(): value.as_text()
                for name, value in system.values(rf"{bus}\{device}\{instance}").items()
            }
            group = (values.get("classguid") or "").casefold()
            if not group.startswith(("{4d36e97b-", "{4d36e96a-")):
                continue
            service = values.get("service")
            if not service:
                continue
            start = system.value(rf"{control_set}\Services\{service}", "Start")
            if start is None or start.as_int() != 0:
                continue
            description = (values.get("devicedesc") or service).rsplit(";", 1)[-1]
            controller = DrivenController(service, device, description)
            if controller not in found:
                found.append(controller)
    return tuple(found)


def _architecture(
    volume: GuestFilesystem, root: str, system: RegistryView, control_set: str
) -> tuple[Architecture | None, tuple[str, ...]]:
    """Return what the kernel is built for, and notes about how that was found out."""
    kernel = f"{root}/System32/ntoskrnl.exe"
    if not volume.exists(kernel):
        raise NoKernelError(
            f"The guest has no kernel: {kernel} is missing.",
            "The installation is incomplete; restore the file.",
        )
    try:
        return pe_architecture(volume.read_part(kernel, 0, _PE_HEAD)), ()
    except UnreadableFileError as error:
        # CompactOS compresses it, but never the hives, which are written to all the time.
        value = system.value(
            rf"{control_set}\Control\Session Manager\Environment", "PROCESSOR_ARCHITECTURE"
        )
        named = (value.as_text() or "").casefold() if value else ""
        for architecture in Architecture:
            if architecture.casefold() == named:
                note = (
                    f"The kernel {kernel} cannot be read, so the registry is believed that this "
                    f"is a Windows for {architecture}: {error.message}"
                )
                return architecture, (note,)
        raise GuestRefusedError(
            f"The guest's kernel {kernel} cannot be read, perhaps since Windows is compressed "
            f"(CompactOS), and the registry names no processor: {error.message}",
            "Start the guest where it still runs, run 'compact.exe /CompactOS:never', shut it "
            "down completely, and try again.",
        ) from error


def _realtime_is_universal(system: RegistryView, control_set: str) -> bool:
    # Microsoft leaves it undocumented; a DWORD or QWORD of 1 makes Windows keep UTC in the RTC.
    key = rf"{control_set}\Control\TimeZoneInformation"
    value = system.value(key, "RealTimeIsUniversal")
    return bool(value and value.as_int())


def _names(volume: GuestFilesystem, directory: str) -> frozenset[str]:
    if not volume.exists(directory):
        return frozenset()
    return frozenset(entry.name.lower() for entry in volume.list_directory(directory))


def _cabinets(volume: GuestFilesystem, root: str) -> tuple[str, ...]:
    """Return the driver cabinets, the newest service pack first and driver.cab last."""
    cache = f"{root}/Driver Cache"
    found: list[tuple[int, str]] = []
    for architecture in ("i386", "amd64"):
        directory = f"{cache}/{architecture}"
        if not volume.exists(directory):
            continue
        for entry in volume.list_directory(directory):
            name = entry.name.lower()
            if name == "driver.cab":
                found.append((0, f"{directory}/{entry.name}"))
            elif name.startswith("sp") and name.endswith(".cab"):
                pack = small_number(name[2:-4])
                if pack is None:
                    continue
                found.append((pack, f"{directory}/{entry.name}"))
    return tuple(path for _, path in sorted(found, reverse=True))
