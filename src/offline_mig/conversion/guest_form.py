"""The form of what is found in a guest in JSON, which schemas publish."""

from __future__ import annotations

from typing import TypedDict

from offline_mig.guest.partition_table import PartitionTable
from offline_mig.surgery.facts import DrivenController
from offline_mig.windows.control_set import ControlSets
from offline_mig.windows.critical_devices import CriticalDevice
from offline_mig.windows.hibernation import Hibernation
from offline_mig.windows.network_interfaces import NetworkInterface
from offline_mig.windows.services import BootService
from offline_mig.windows.version import Architecture


class WindowsForm(TypedDict):
    """Which Windows; ``release`` is its virtio-win name, such as w10 or 2k8R2."""

    major: int
    minor: int
    build: int
    architecture: Architecture
    server: bool
    service_pack: int
    product_name: str
    edition: str
    release: str


class GuestFactsForm(TypedDict):
    """What was found on a guest's system volume; ``free_space`` is in bytes."""

    windows: WindowsForm
    system_partition: str
    windows_folder: str
    system_root: str | None
    control_sets: ControlSets
    driver_database: bool
    realtime_is_universal: bool
    hibernation: Hibernation | None
    boot_controllers: list[DrivenController]
    boot_services: list[BootService]
    critical_devices: list[CriticalDevice]
    network: list[NetworkInterface]
    free_space: int


class GuestForm(GuestFactsForm):
    """What was found in a guest, the partition tables of its disks included."""

    partition_tables: list[PartitionTable]
