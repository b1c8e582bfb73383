"""What a machine's firmware finds on the disks: gathered once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from offline_mig.diagnosis.boot_facts import NT6
from offline_mig.guest.boot_sector import BootLoader, BootSector
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import PartitionTable
from offline_mig.machine import Firmware
from offline_mig.windows.bcd import BootStore
from offline_mig.windows.boot_ini import BootIni
from offline_mig.windows.version import WindowsVersion


def wanted_loader(windows: WindowsVersion) -> BootLoader:
    """Return what the boot code for a Windows has to load."""
    return BootLoader.NTLDR if windows.nt < NT6 else BootLoader.BOOTMGR


@dataclass(frozen=True)
class StartedVolume:
    """The volume that the firmware goes on with: the active partition, or the ESP.

    Where no single partition is active it is the one that would start this Windows if it were.

    ``files`` are the paths of those boot files that are there, as ``boot_files`` writes them.
    ``boot_ini`` and ``store`` are what is in them, None when there is none; ``store_problem`` says
    why a store cannot be read, ``problem`` why the volume cannot.
    """

    place: PlacedPartition
    boot_sector: BootSector | None = None
    files: frozenset[str] = frozenset()
    boot_ini: BootIni | None = None
    store: BootStore | None = None
    store_problem: str = ""
    problem: str = ""


@dataclass(frozen=True)
class StartFacts:
    """The way from the firmware to the loader.

    ``first_disk`` is the disk that the firmware starts from, ``tables`` and ``sizes`` (in bytes)
    are those of all disks. ``windows`` is where Windows is and ``directory`` its directory
    (``/WINDOWS``), ``windows_files`` those of its boot files that are there. ``started`` is None
    when there is no volume to go on with. ``loaders`` are, where no single partition is active,
    what the boot code of the first disk's primary partitions loads and finds there, by their
    numbers.
    """

    firmware: Firmware
    first_disk: int
    tables: tuple[PartitionTable, ...]
    sizes: tuple[int, ...]
    windows: PlacedPartition
    directory: str
    windows_files: frozenset[str]
    started: StartedVolume | None = None
    loaders: Mapping[int, BootLoader] = field(default_factory=dict)

    @property
    def table(self) -> PartitionTable:
        """The partition table of the disk that the firmware starts from."""
        return self.tables[self.first_disk]

    @property
    def bios_order(self) -> tuple[int, ...]:
        """The disks in the order in which a BIOS counts them, the one that it starts from first."""
        others = (disk for disk in range(len(self.tables)) if disk != self.first_disk)
        return (self.first_disk, *others)
