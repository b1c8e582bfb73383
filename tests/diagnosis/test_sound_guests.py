"""Guests with nothing wrong: no finding, in any Windows, on any controller that they can boot from.

Looked at as a converted guest is, but in memory: the way through the drivers, and the guest's own
services. What firmware and loader find is looked at on whole images.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.guest_spec import GuestKind, GuestSpec, RealHives
from fixtures.memory_volume import MemoryVolume
from fixtures.real_hives import hives
from fixtures.virtio_win import EVERY_RELEASE, write_tree
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
from surgery.test_every_windows import ALL, Row, examined

NT6, WINDOWS_8 = (6, 0), (6, 2)
#: Real hives come without the files of their Windows; those that the boot needs are put there.
IN_BOX = {
    RealHives.XP: (GuestKind.XP, BootBus.IDE),
    RealHives.WINDOWS_7: (GuestKind.WINDOWS_7, BootBus.IDE),
    RealHives.WINDOWS_10: (GuestKind.WINDOWS_10, BootBus.SATA),
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


@pytest.mark.parametrize(("name", "row"), ALL)
def test_converted(made: tuple[DriverMedia, ...], tmp_path: Path, name: str, row: Row) -> None:
    volume, facts = examined(name, row, tmp_path)
    assert kinds.NO_DRIVER_RECORD in found_on(BootBus.VIRTIO, volume, facts)
    converted = convert(volume, facts, made, tmp_path)
    buses = [BootBus.VIRTIO, BootBus.IDE]
    if row.version >= NT6:
        buses += [BootBus.VIRTIO_SCSI, BootBus.SATA]
    for bus in buses:
        assert found_on(bus, volume, converted) <= allowed(converted), bus
    # Behind a PCI bridge or on i440fx VirtIO devices show their legacy ids.
    for bus in buses:
        assert found_on(bus, volume, converted, MachineType.PC) <= allowed(converted), bus


@pytest.mark.data
@pytest.mark.parametrize("which", list(IN_BOX))
def test_real_hives(
    shared_data: Path, made: tuple[DriverMedia, ...], tmp_path: Path, which: RealHives
) -> None:
    kind, own_bus = IN_BOX[which]
    volume = MemoryVolume(system_volume(GuestSpec(kind), hives(which)))
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, tmp_path)
    assert found_on(BootBus.VIRTIO, volume, facts) & {
        kinds.NO_DRIVER_RECORD,
        kinds.DRIVER_MISSING,
    }
    print(which, own_bus, {b: [k.id for k in found_on(b, volume, facts)] for b in BootBus})
    converted = convert(volume, facts, made, tmp_path)
    print(which, own_bus, {b: [k.id for k in found_on(b, volume, converted)] for b in BootBus})
    assert found_on(BootBus.VIRTIO, volume, converted) <= allowed(converted)
