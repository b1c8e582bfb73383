"""Windows 2000, for which there is no VirtIO driver: it is made ready for emulated IDE disks."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.catalogue import WINDOWS_2000
from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guest_spec import GuestKind, GuestSpec, Variant
from fixtures.guests import build_guest
from fixtures.libvirt_oracles import validate
from fixtures.memory_volume import MemoryVolume
from fixtures.result import hivexget, system_volume
from fixtures.windows_tree import system_volume as windows_files
from offline_mig.conversion.driver_choice import choose_drivers
from offline_mig.errors import GuestRefusedError, NoDriverError
from offline_mig.surgery.conversion_plan import plan_conversion
from offline_mig.surgery.facts import examine
from offline_mig.windows.short_name import parse_short_name


@pytest.mark.conversion
def test_it_boots_from_ide_and_needs_no_drivers(
    tmp_path: Path, base_image: Callable[[GuestSpec], Path]
) -> None:
    require_engine("userspace")
    base_image(WINDOWS_2000)
    guest = build_guest(WINDOWS_2000.kind, tmp_path / "source", variant=WINDOWS_2000.variant)
    run = offline_mig("convert", guest.vmx, "-o", tmp_path / "out", "--json")
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)

    domain = Path(printed["domain"])
    validate(domain)
    devices = ET.parse(domain).getroot().find("devices")
    assert devices is not None
    assert next(
        (disk.get("device"), target.get("dev"), target.get("bus"))
        for disk in devices.iter("disk")
        for target in disk.iter("target")
    ) == ("disk", "hda", "ide")
    names = [target.get("dev") for disk in devices.iter("disk") for target in disk.iter("target")]
    assert len(set(names)) == len(names), "the CD-ROM drive shares the controller"
    assert "virtio" not in domain.read_text().replace("hypervisor", "")
    assert [model.get("type") for model in devices.iterfind("video/model")] == ["cirrus"]
    assert {model.get("type") for model in devices.iterfind("interface/model")} == {"rtl8139"}

    volume = system_volume(Path(printed["disks"][0]), "qcow2", tmp_path)
    system = volume.hive("/WINNT/system32/config/system")
    for service in ("atapi", "intelide", "pciide"):
        assert hivexget(system, rf"ControlSet001\Services\{service}", "Start") == "0"
    critical = r"ControlSet001\Control\CriticalDeviceDatabase"
    assert hivexget(system, rf"{critical}\pci#ven_8086&dev_7010", "Service") == "intelide"
    report = json.loads(Path(printed["report_file"]).read_text())
    assert any("no VirtIO drivers for Windows 2000" in note for note in report["notes"])


def test_without_any_ide_driver_it_is_refused(tmp_path: Path) -> None:
    """Such a guest would stop with 0x7B on IDE, the only bus that it could have."""
    spec = GuestSpec(GuestKind.XP, Variant(windows_2000=True, driver_cabinets=False))
    facts = examine(MemoryVolume(windows_files(spec)), "/WINNT", tmp_path)
    chosen = choose_drivers((), facts.version, allow_unsigned=False)
    with pytest.raises(NoDriverError, match=r"IDE disks only.*intelide\.sys"):
        plan_conversion(facts, chosen.drivers, {})


def test_match_says_why_there_is_nothing(drivers_dir: Path) -> None:
    run = offline_mig("drivers", "match", drivers_dir, "--windows", "2k-x86")
    assert run.returncode == 0
    assert "virtio-win begins with Windows XP" in run.stdout


def test_windows_on_arm_is_refused(drivers_dir: Path) -> None:
    with pytest.raises(GuestRefusedError, match="ARM64"):
        choose_drivers((), parse_short_name("w11-ARM64"), allow_unsigned=True)
    run = offline_mig("drivers", "match", drivers_dir, "--windows", "w11-arm64")
    assert run.returncode == 6
    assert "ARM64" in run.stderr
