"""What was found in a guest, as plain data."""

from __future__ import annotations

from offline_mig.conversion.guest_form import GuestFactsForm, GuestForm, WindowsForm
from offline_mig.conversion.plain_data import plain
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.system_volume import DiskLayout, SystemVolume
from offline_mig.windows.network_interfaces import read_network
from offline_mig.windows.services import read_boot_services, read_critical_devices
from offline_mig.windows.version import WindowsVersion


def guest_record(facts: GuestFacts, volume: SystemVolume, layout: DiskLayout) -> GuestForm:
    """Return what was found in the guest as plain data."""
    return {**guest_facts_record(facts, volume), "partition_tables": plain(layout.tables)}


def guest_facts_record(facts: GuestFacts, volume: SystemVolume) -> GuestFactsForm:
    """Return what was found on the guest's system volume as plain data."""
    system, control_set = facts.system, facts.control_sets.current
    system_root = facts.software.value(r"Microsoft\Windows NT\CurrentVersion", "SystemRoot")
    return {
        "windows": windows_record(facts.version),
        "system_partition": volume.choice,
        "windows_folder": facts.root,
        "system_root": system_root.as_text() if system_root else None,
        "control_sets": plain(facts.control_sets),
        "driver_database": facts.has_driver_database,
        "realtime_is_universal": facts.realtime_is_universal,
        "hibernation": plain(facts.hibernation),
        "boot_controllers": plain(facts.boot_controllers),
        "boot_services": plain(read_boot_services(system, control_set)),
        "critical_devices": plain(read_critical_devices(system, control_set)),
        "network": plain(read_network(system, control_set).interfaces),
        "free_space": facts.free_space,
    }


def windows_record(windows: WindowsVersion) -> WindowsForm:
    """Return which Windows it is as plain data."""
    record: WindowsForm = plain(windows)
    record["release"] = windows.release
    return record
