"""VMware Tools taken out by the command: in a conversion, and in place with an undo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import Case, Converted, offline_mig, require_engine
from fixtures.guest_files import files_of
from fixtures.guests import GuestKind, GuestSpec
from fixtures.result import SystemVolume, hivexget, reglookup, system_volume
from offline_mig.machine import DiskFormat

pytestmark = pytest.mark.conversion

WINDOWS_10 = GuestSpec(GuestKind.WINDOWS_10)
_SERVICES = {"vgauthservice", "vm3dservice", "vmci", "vmhgfs", "vmmouse", "vmtools", "vsock"}


def services(volume: SystemVolume) -> set[str]:
    found = reglookup(volume.hive("/Windows/System32/config/SYSTEM"))
    parts = (path.lower().split("/") for path in found)
    return {part[3] for part in parts if part[2:3] == ["services"] and len(part) == 4}


def test_converted_guest_has_none(converted: Callable[[Case], Converted]) -> None:
    done = converted(Case(WINDOWS_10))
    assert not services(done.volume) & _SERVICES
    system = done.volume.hive("/Windows/System32/config/SYSTEM")
    order = hivexget(system, r"ControlSet001\Control\NetworkProvider\Order", "ProviderOrder")
    assert order == "RDPNP,LanmanWorkstation,webclient"
    assert "VMware" not in done.volume.names("/Program Files")
    drivers = {name.lower() for name in done.volume.names("/Windows/System32/drivers")}
    assert not drivers & {"vmci.sys", "vsock.sys", "vmhgfs.sys"}
    assert "pvscsi.sys" in drivers
    (told,) = done.report["guest_tools"]
    assert told["name"] == "VMware Tools"
    assert {name.lower() for name in told["deleted_services"]} >= _SERVICES
    (block,) = (b for b in done.report["plan"] if b["title"] == "VMware Tools")
    assert len(block["changes"]) == told["changes"]
    # The source has them still, so the report need not.
    deleted = [e for e in done.report["journal"] if e["change"] == "delete-files"]
    assert deleted
    assert all(entry["before"] == {"kept": False} for entry in deleted)
    assert done.report["boot"]["verdict"] == "boots"


def test_kept_when_asked_for(
    converted: Callable[[Case], Converted], drivers_iso: Path, tmp_path: Path
) -> None:
    done = converted(Case(WINDOWS_10))
    planned = offline_mig(
        "convert", done.guest.vmx, "--drivers", drivers_iso, "--allow-unsigned", "-o", tmp_path,
        "--dry-run", "--json", "--keep-vmware-tools", "--engine", "userspace",
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    record = json.loads(planned.stdout)
    assert record["guest_tools"] == []
    kinds = {change["change"] for block in record["wanted"] for change in block["changes"]}
    assert not kinds & {"delete-files", "delete-value"}


def test_taken_out_in_place_and_brought_back(
    base_image: Callable[[GuestSpec], Path], tmp_path: Path
) -> None:
    require_engine("userspace")
    image = tmp_path / "guest.qcow2"
    source = base_image(WINDOWS_10)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, image], check=True)
    before = files_of(image, DiskFormat.QCOW2)
    repaired = offline_mig(
        "repair", image, "--bus", "sata", "--remove-vmware-tools", "--json",
        "--engine", "userspace",
    )  # fmt: skip
    assert repaired.returncode == 0, repaired.stderr
    record = json.loads(repaired.stdout)
    assert record["after"]["verdict"] == "boots"
    assert [b["title"] for b in record["plan"]][-1] == "VMware Tools"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert not services(system_volume(image, "qcow2", scratch)) & _SERVICES
    between = files_of(image, DiskFormat.QCOW2)
    assert "/Program Files/VMware" not in between
    assert "/Program Files/VMware" in before
    undone = offline_mig(
        "undo", image, "--journal", record["journal"], "--json", "--engine", "userspace"
    )
    assert undone.returncode == 0, undone.stderr
    assert json.loads(undone.stdout)["left_alone"] == []
    assert files_of(image, DiskFormat.QCOW2) == before
