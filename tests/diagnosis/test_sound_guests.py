"""Guests with nothing wrong: no finding, in any Windows, on any controller that they can boot from.

Looked at as a converted guest is, but in memory: the way through the drivers, and the guest's own
services. What firmware and loader find is looked at on whole images.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.pe import minimal_pe
from fixtures.real_hives import hives
from fixtures.virtio_win import EVERY_RELEASE, MACHINES, write_tree
from fixtures.windows_tree import system_volume
from offline_mig.conversion.boot_question import BootQuestion, controller_of
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus
from offline_mig.diagnosis.boot_drivers import with_drivers
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.finding import FindingKind
from offline_mig.diagnosis.state_rules import guest_findings
from offline_mig.drivers.media import DriverMedia
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan
from offline_mig.targets.devices import MachineType
from offline_mig.windows.version import Architecture
from surgery.test_every_windows import ALL, Row, examined

NT6 = (6, 0)
#: What real guests boot from as they are, by what their hives say. The XP was set up on another
#: IDE controller than QEMU's, which ends in 0x7B; 7 has msahci on demand, and no driver for NVMe.
OWN: dict[RealHives, dict[BootBus, set[FindingKind]]] = {
    RealHives.XP: {BootBus.IDE: {kinds.NO_DRIVER_RECORD, kinds.PROCESSOR_DRIVER}},
    RealHives.WINDOWS_7: {
        BootBus.IDE: set(),
        BootBus.SATA: {kinds.NOT_BOOT_START},
        BootBus.NVME: {kinds.NO_DRIVER_RECORD},
    },
    RealHives.WINDOWS_10: {BootBus.IDE: set(), BootBus.SATA: set(), BootBus.NVME: set()},
}
#: The made guests that lend them their files.
FILES = {
    RealHives.XP: GuestKind.XP,
    RealHives.WINDOWS_7: GuestKind.WINDOWS_7,
    RealHives.WINDOWS_10: GuestKind.WINDOWS_10,
}
ARCHITECTURES = {
    RealHives.XP: Architecture.X86,
    RealHives.WINDOWS_7: Architecture.X86,
    RealHives.WINDOWS_10: Architecture.AMD64,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DriverMedia, ...]:
    return open_sources([write_tree(tmp_path_factory.mktemp("made") / "virtio-win", EVERY_RELEASE)])


def convert(
    volume: MemoryVolume, facts: GuestFacts, media: tuple[DriverMedia, ...], scratch: Path
) -> GuestFacts:
    drivers = choose_drivers(media, facts.version, allow_unsigned=True).drivers
    found, _ = take_from_cabinets(volume, facts, missing_files(facts, drivers))
    plan = plan_conversion(facts, drivers, found)
    apply_plan(plan, volume, facts.hive_files, scratch)
    return examine(volume, facts.root, scratch)


def found_on(
    bus: BootBus, volume: MemoryVolume, facts: GuestFacts, machine: MachineType | None = None
) -> set[FindingKind]:
    controller = controller_of(BootQuestion(bus, machine_type=machine), facts.version)
    boot = with_drivers(facts, controller, volume, trusted=True)
    findings = [*disk_path_findings(boot, controller), *guest_findings(boot)]
    return {finding.kind for finding in findings}


def allowed(facts: GuestFacts) -> set[FindingKind]:
    """Return what may be told of a converted guest: that the processor may be another one."""
    return {kinds.PROCESSOR_DRIVER} if facts.version.nt < NT6 else set()


def converted_buses(facts: GuestFacts) -> tuple[BootBus, ...]:
    """Return what a converted guest boots from."""
    if facts.version.nt < NT6:
        return (BootBus.VIRTIO, BootBus.IDE)
    return (BootBus.VIRTIO, BootBus.IDE, BootBus.VIRTIO_SCSI, BootBus.SATA)


@pytest.mark.parametrize(("name", "row"), ALL)
def test_converted(made: tuple[DriverMedia, ...], tmp_path: Path, name: str, row: Row) -> None:
    volume, facts = examined(name, row, tmp_path)
    assert kinds.NO_DRIVER_RECORD in found_on(BootBus.VIRTIO, volume, facts)
    converted = convert(volume, facts, made, tmp_path)
    for bus in converted_buses(facts):
        assert found_on(bus, volume, converted) <= allowed(converted), bus
        # On i440fx VirtIO devices show their legacy ids.
        assert found_on(bus, volume, converted, MachineType.PC) <= allowed(converted), bus


def real_guest(which: RealHives, scratch: Path) -> MemoryVolume:
    """Return a real registry on a volume with the files of all its boot-start drivers."""
    spec = GuestSpec(FILES[which], Variant(architecture=ARCHITECTURES[which]))
    volume = MemoryVolume(system_volume(spec, hives(which)))
    root = volume.resolve("/windows")
    assert root is not None
    system = examine(volume, root, scratch).system
    image = minimal_pe(MACHINES[spec.architecture])
    for service in system.subkeys(r"ControlSet001\Services"):
        key = rf"ControlSet001\Services\{service}"
        start, path = system.value(key, "Start"), system.value(key, "ImagePath")
        if start is None or start.as_int() != 0:
            continue
        text = (path.as_text() if path else None) or rf"System32\drivers\{service}.sys"
        below = re.sub(r"(?i)^\\systemroot\\", "", text).replace("\\", "/")
        if "/" in below and not volume.exists(f"{root}/{below}"):
            make_folders(volume, f"{root}/{below}".rpartition("/")[0])
            volume.write(f"{root}/{below}", image)
    return volume


def make_folders(volume: MemoryVolume, folder: str) -> None:
    if not volume.exists(folder):
        make_folders(volume, folder.rpartition("/")[0])
        volume.make_directory(folder)


@pytest.mark.data
@pytest.mark.parametrize("which", list(OWN))
def test_real_hives(
    shared_data: Path, made: tuple[DriverMedia, ...], tmp_path: Path, which: RealHives
) -> None:
    volume = real_guest(which, tmp_path)
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, tmp_path)
    assert kinds.NO_DRIVER_RECORD in found_on(BootBus.VIRTIO, volume, facts)
    for bus, found in OWN[which].items():
        assert found_on(bus, volume, facts) == found, bus
    converted = convert(volume, facts, made, tmp_path)
    for bus in converted_buses(facts):
        assert found_on(bus, volume, converted) <= allowed(converted), bus
