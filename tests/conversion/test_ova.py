"""A guest in an OVA, converted by the command where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import GuestKind, GuestSpec
from fixtures.ovf import VMWARE_ITEMS, File, descriptor, write_ova
from fixtures.result import hivexget, system_volume, tree_state
from fixtures.source_images import qemu_img
from fixtures.vmware import VmdkKind, write_vmdk

XP = GuestSpec(GuestKind.XP)


pytestmark = pytest.mark.conversion


def packed(image: Path, folder: Path) -> Path:
    """Return an OVA with a guest's disk in it."""
    disk = write_vmdk(image, folder / "d.vmdk", VmdkKind.STREAM_OPTIMIZED)
    size = f'ovf:capacity="{image.stat().st_size}"'
    text = descriptor([File("disk1.vmdk", disk=size)], name="Old Box", items=VMWARE_ITEMS)
    ova, _ = write_ova(folder / "source", text, {"disk1.vmdk": disk})
    disk.unlink()
    return ova


def test_an_ova_is_converted_without_being_unpacked(
    tmp_path: Path, base_image: Callable[[GuestSpec], Path], drivers_iso: Path
) -> None:
    require_engine("userspace")
    image = base_image(XP)
    ova = packed(image, tmp_path)
    before = tree_state(ova.parent)
    run = offline_mig(
        "convert", ova, "--drivers", drivers_iso, "--allow-unsigned", "-o", tmp_path / "out",
        "--json", "--checksum", "--engine", "userspace",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert tree_state(ova.parent) == before
    printed = json.loads(run.stdout)
    report = printed["report"]
    assert [Path(file["path"]) for file in report["source"]["files"]] == [ova]
    (converted,) = printed["disks"]
    assert "backing-filename" not in json.loads(qemu_img("info", "--output=json", converted))
    assert 'address="00:50:56:01:02:03"' in Path(printed["domain"]).read_text()
    # The guest is whole, and changed as any other: its boot driver is there and registered.
    volume = system_volume(Path(converted), "qcow2", tmp_path)
    assert volume.cat("/WINDOWS/system32/drivers/viostor.sys")[:2] == b"MZ"
    system = volume.hive("/WINDOWS/system32/config/system")
    assert hivexget(system, r"ControlSet001\Services\viostor", "Start") == "0"


def test_an_ova_is_looked_at_and_its_disks_are_not_for_repair(
    tmp_path: Path, base_image: Callable[[GuestSpec], Path]
) -> None:
    require_engine("userspace")
    ova = packed(base_image(XP), tmp_path)
    seen = offline_mig("inspect", ova, "--engine", "userspace")
    assert seen.returncode == 0, seen.stderr
    assert "disk1.vmdk (streamOptimized, scsi0:0, lsisas1068)" in seen.stdout
    judged = offline_mig("doctor", ova, "--engine", "userspace", "--bus", "virtio")
    assert judged.returncode == 1, judged.stderr
    assert f"offline-mig repair {ova}" not in judged.stdout
    assert "offline-mig convert" in judged.stdout
