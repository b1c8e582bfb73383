"""The made guests boot from what they are made of: disk, boot configuration and registry agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.catalogue import WINDOWS_7, WINDOWS_10, XP
from fixtures.disk import DiskPlan, plan_disk
from fixtures.disk_layout import MIB, SYSTEM_VOLUME_OFFSET
from fixtures.guest_spec import GuestSpec
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import PartitionTable, read_partition_table
from offline_mig.windows.bcd import boot_manager, default_application, read_boot_store
from offline_mig.windows.bcd_device import candidates
from offline_mig.windows.boot_ini import arc_path_of, boot_ini_faults, parse_boot_ini
from offline_mig.windows.hive import Hive
from offline_mig.windows.mounted_devices import (
    letter_conflicts,
    letters_of,
    read_mounted_devices,
)


def table_of(plan: DiskPlan) -> PartitionTable:
    first = bytearray(1024 * 1024)
    for offset, content in plan.raw.items():
        if offset + len(content) <= len(first):
            first[offset : offset + len(content)] = content
    return read_partition_table(lambda at, size: bytes(first[at : at + size]), plan.size)


def file_of(plan: DiskPlan, path: str) -> bytes:
    found = [v.files[p] for v in plan.volumes for p in v.files if p.lower() == path.lower()]
    assert len(found) == 1, path
    return found[0]


def hive_of(plan: DiskPlan, path: str, folder: Path) -> Hive:
    local = folder / path.rpartition("/")[2]
    local.write_bytes(file_of(plan, path))
    return Hive(local, local.name)


@pytest.mark.parametrize(
    ("spec", "store"),
    [(WINDOWS_7, "Boot/BCD"), (WINDOWS_10, "EFI/Microsoft/Boot/BCD")],
    ids=["w7", "w10"],
)
def test_boot_configuration_names_the_partitions(
    spec: GuestSpec, store: str, tmp_path: Path
) -> None:
    plan = plan_disk(spec)
    tables = (table_of(plan),)
    configuration = read_boot_store(hive_of(plan, store, tmp_path))
    manager, loader = boot_manager(configuration), default_application(configuration)
    assert manager is not None
    assert manager.device is not None
    assert loader is not None
    assert loader.os_device is not None
    (started,) = candidates(manager.device, tables, None)
    (windows,) = candidates(loader.os_device, tables, None)
    assert started.partition.start == MIB
    assert windows.partition.start == SYSTEM_VOLUME_OFFSET[spec.kind]
    root = loader.system_root.strip("\\")
    assert file_of(plan, loader.path.replace("\\", "/").strip("/"))
    assert file_of(plan, f"{root}/System32/config/SYSTEM")


def test_boot_ini_names_the_partition() -> None:
    plan = plan_disk(XP)
    table = table_of(plan)
    (partition,) = table.partitions
    place = PlacedPartition(0, partition)
    ini = parse_boot_ini(file_of(plan, "boot.ini"))
    assert boot_ini_faults(ini, (table,), place, r"\WINDOWS") == ()
    assert ini.starting is not None
    assert ini.starting.arc == arc_path_of((table,), place, r"\WINDOWS")
    assert table.mbr is not None
    assert table.mbr.starts == partition


@pytest.mark.parametrize("spec", [XP, WINDOWS_7, WINDOWS_10], ids=lambda spec: spec.kind.value)
def test_windows_is_drive_c(spec: GuestSpec, tmp_path: Path) -> None:
    plan = plan_disk(spec)
    table = table_of(plan)
    root = "WINDOWS" if spec is XP else "Windows"
    mounted = read_mounted_devices(hive_of(plan, f"{root}/System32/config/SYSTEM", tmp_path))
    letters = {
        p.start: letters_of(mounted, (table,), PlacedPartition(0, p)) for p in table.partitions
    }
    assert letters.pop(SYSTEM_VOLUME_OFFSET[spec.kind]) == ("C",)
    assert set(letters.values()) <= {()}
    assert letter_conflicts(mounted, (table,)) == ()
