"""Boot-start services and critical devices, as real hives list them."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.services import read_boot_services, read_critical_devices


def hive(shared_data: Path, tmp_path: Path, name: str) -> Hive:
    path = tmp_path / "SYSTEM"
    packed = shared_data / "hives" / "system" / f"{name}.SYSTEM.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return Hive(path, HiveName.SYSTEM)


@pytest.mark.data
def test_windows_10_holds_lsi_sas_back(shared_data: Path, tmp_path: Path) -> None:
    system = hive(shared_data, tmp_path, "win10-2004-x64-vmware")
    services = {s.name.lower(): s for s in read_boot_services(system, "ControlSet001")}
    assert services["stornvme"].loaded_at_boot
    assert services["disk"].image_path.lower().endswith("disk.sys")
    assert services["lsi_sas"].start_override == 3
    assert not services["lsi_sas"].loaded_at_boot
    assert "vm3dmp" not in services
    assert read_critical_devices(system, "ControlSet001") == ()


@pytest.mark.data
def test_windows_7_knows_2548_critical_devices(shared_data: Path, tmp_path: Path) -> None:
    system = hive(shared_data, tmp_path, "win7-sp1-x86-vmware")
    devices = read_critical_devices(system, "ControlSet001")
    assert len(devices) == 2548
    by_name = {entry.device.lower(): entry for entry in devices}
    assert by_name["pci#cc_010601"].service == "msahci"
    services = {s.name.lower() for s in read_boot_services(system, "ControlSet001")}
    assert {"lsi_sas", "atapi", "disk"} <= services
    assert "msahci" not in services
