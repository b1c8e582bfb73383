"""A converted guest without VMware Tools, by the boot model: on VirtIO, and back where it was.

In memory. VMware's own controllers are met as the hives of such guests have them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.real_hives import data_folder, hives
from fixtures.vmware_traces import traced_guest
from fixtures.windows_tree import system_volume
from offline_mig.conversion.boot_question import BootQuestion, controller_of
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.conversion.tools_choice import plan_tools_removal
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import (
    BootBus,
    BootController,
    BootDevice,
    PciDevice,
    boot_controller,
)
from offline_mig.diagnosis.boot_drivers import with_drivers
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.finding import FindingKind
from offline_mig.diagnosis.state_rules import guest_findings
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan
from offline_mig.surgery.plan import Plan

_DISK = boot_controller(BootBus.VIRTIO_SCSI, modern=False, nt=(6, 1)).devices[-1]


def vmware_controller(name: str, pci: PciDevice, driver: str) -> BootController:
    """Return a controller of VMware's; what hangs on it is met as on any SCSI bus."""
    device = BootDevice(name, pci.enum_key, pci.ids, driver)
    return BootController(BootBus.VIRTIO_SCSI, (device, _DISK))


BUS_LOGIC = vmware_controller(
    "BusLogic", PciDevice("104B", "1040", "1040104B", "01", "010000"), "vmscsi"
)
LSI_SAS = vmware_controller(
    "LSI SAS 1068", PciDevice("1000", "0054", "197615AD", "01", "010700"), "LSI_SAS"
)
NVME = boot_controller(BootBus.NVME, modern=False, nt=(10, 0))

CASES = [
    pytest.param(GuestSpec(GuestKind.XP), BUS_LOGIC, id="xp"),
    pytest.param(GuestSpec(GuestKind.WINDOWS_7), LSI_SAS, id="w7"),
    pytest.param(GuestSpec(GuestKind.WINDOWS_10), LSI_SAS, id="w10"),
    pytest.param(
        GuestSpec(GuestKind.WINDOWS_10, Variant(real_hives=RealHives.WINDOWS_10)),
        NVME,
        id="real-w10",
        marks=pytest.mark.data,
    ),
]


def findings(
    volume: MemoryVolume, facts: GuestFacts, controller: BootController
) -> set[FindingKind]:
    boot = with_drivers(facts, controller, volume, trusted=True)
    found = [*disk_path_findings(boot, controller), *guest_findings(boot)]
    # That the processor may be another one is told of every XP.
    return {finding.kind for finding in found} - {kinds.PROCESSOR_DRIVER}


@pytest.mark.parametrize(("spec", "source"), CASES)
def test_boots_on_virtio_and_on_its_own_controller(
    spec: GuestSpec, source: BootController, drivers_dir: Path, tmp_path: Path
) -> None:
    chosen = spec.variant.real_hives
    if chosen is not None and data_folder() is None:
        pytest.skip("no shared data")
    volume = MemoryVolume(
        traced_guest(spec) if chosen is None else system_volume(spec, hives(chosen))
    )
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, tmp_path)
    # A made volume lacks the files of some drivers of real hives.
    before = findings(volume, facts, source)
    assert chosen is not None or before == set()

    drivers = choose_drivers(
        open_sources([drivers_dir]), facts.version, allow_unsigned=True
    ).drivers
    cabinets, _ = take_from_cabinets(volume, facts, missing_files(facts, drivers))
    plan = plan_conversion(facts, drivers, cabinets)
    removals = plan_tools_removal(volume, facts, plan.blocks)
    assert removals
    whole = Plan((*plan.blocks, *(removal.block for removal in removals)))
    apply_plan(whole, volume, facts.hive_files, tmp_path)

    after = examine(volume, root, tmp_path)
    virtio = controller_of(BootQuestion(BootBus.VIRTIO), after.version)
    assert findings(volume, after, virtio) <= before
    assert findings(volume, after, source) <= before
