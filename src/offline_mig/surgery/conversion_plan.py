"""The whole plan of a conversion, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from offline_mig.errors import NoDriverError
from offline_mig.surgery.boot_driver import boot_imports, plan_boot_driver
from offline_mig.surgery.changes import Change, WriteFile
from offline_mig.surgery.driver_install import PlacedDriver, plan_stored_driver
from offline_mig.surgery.driver_store import map_change
from offline_mig.surgery.emulated_storage import (
    CabinetFile,
    missing_ide_files,
    plan_emulated_storage,
    usable_ide_services,
)
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.hibernation import plan_discard
from offline_mig.surgery.hive_replay import replay_blocks
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.plug_and_play import plan_plug_and_play
from offline_mig.surgery.shared_parts import share_parts
from offline_mig.surgery.stored_package import allocate


@dataclass(frozen=True, slots=True)
class DriverSet:
    """The drivers for one guest: those that it boots from, and those that plug and play finds.

    Without any to boot from it is a Windows 2000, which boots from emulated IDE disks.
    """

    boot: tuple[PlacedDriver, ...]
    others: tuple[PlacedDriver, ...] = ()


def missing_files(facts: GuestFacts, drivers: DriverSet) -> frozenset[str]:
    """Return the files of Windows itself that the plan needs and the guest lacks."""
    imports = {name for driver in drivers.boot for name in boot_imports(driver.package)}
    return missing_ide_files(facts) | frozenset(imports - facts.driver_files)


def plan_conversion(
    facts: GuestFacts, drivers: DriverSet, cabinet_files: Mapping[str, CabinetFile]
) -> Plan:
    """Return everything to be done to a copy of the guest so that it boots from VirtIO.

    Raises NoDriverError like ``plan_drivers``, which has what the arguments are.
    """
    plan = plan_drivers(facts, drivers, cabinet_files)
    blocks = (*replay_blocks(facts.replays), *plan.blocks)
    notes = plan.notes
    if facts.hibernation is not None:
        # A guest with a session gets here only when it was asked to give that up.
        block, note = plan_discard(facts.hibernation, in_place=False)
        blocks = (block, *blocks)
        notes = (note, *notes)
    return Plan(blocks, notes)


def plan_drivers(
    facts: GuestFacts, drivers: DriverSet, cabinet_files: Mapping[str, CabinetFile]
) -> Plan:
    """Return what has a guest boot from VirtIO whose hives are as Windows left them, or replayed.

    ``cabinet_files`` are what could be found of ``missing_files``. Raises NoDriverError when a
    boot driver could not be loaded for want of a file.
    """
    blocks: list[PlanBlock] = []
    imports = _import_files(facts, drivers.boot, cabinet_files)
    if imports:
        blocks.append(PlanBlock("Files that the boot drivers need", imports))
    if facts.has_driver_database:
        allocation = allocate(
            facts,
            [driver.package for driver in drivers.boot],
            [driver.package for driver in drivers.others],
        )
        first = len(drivers.boot)
        boot = zip(drivers.boot, allocation.packages[:first], strict=True)
        others = zip(drivers.others, allocation.packages[first:], strict=True)
        packages = [plan_boot_driver(facts, driver, stored) for driver, stored in boot]
        packages += [plan_stored_driver(facts, driver, stored) for driver, stored in others]
        blocks += share_parts(packages)
        blocks.append(PlanBlock("Numbers in the driver store", (map_change(allocation),)))
        by_path: tuple[PlacedDriver, ...] = ()
    else:
        blocks += [plan_boot_driver(facts, driver, None) for driver in drivers.boot]
        # Without a driver store Windows wants to find the INF of the boot driver as well.
        by_path = (*drivers.boot, *drivers.others)
    if not drivers.boot:
        _require_ide(facts, cabinet_files)
    fall_back, notes = plan_emulated_storage(facts, cabinet_files)
    blocks.append(fall_back)
    if by_path:
        blocks.append(plan_plug_and_play(facts, by_path))
    return Plan(tuple(block for block in blocks if block.changes), notes)


def _require_ide(facts: GuestFacts, cabinet_files: Mapping[str, CabinetFile]) -> None:
    """Raise NoDriverError if a guest that boots from nothing but IDE has no driver for that."""
    usable = usable_ide_services(facts, cabinet_files.keys())
    # The channels, and the controller: Intel's of i440fx, which also calls itself a plain one.
    if "atapi" not in usable or usable.isdisjoint(("intelide", "pciide")):
        raise NoDriverError(
            f"This {facts.version.product_name} can boot from IDE disks only, and has no driver "
            f"for them: {', '.join(sorted(missing_ide_files(facts) - cabinet_files.keys()))} is "
            f"neither in {facts.drivers_directory} nor in "
            f"{', '.join(facts.cabinets) or 'a driver cabinet (none was found)'}.",
            f"Copy the files into {facts.drivers_directory} from the Windows CD.",
        )


def _import_files(
    facts: GuestFacts,
    drivers: Sequence[PlacedDriver],
    cabinet_files: Mapping[str, CabinetFile],
) -> tuple[Change, ...]:
    changes: dict[str, Change] = {}
    for driver in drivers:
        for name in sorted(boot_imports(driver.package) - facts.driver_files):
            found = cabinet_files.get(name)
            if found is None:
                raise NoDriverError(
                    f"{driver.name} from {driver.location} cannot be loaded: it needs {name}, "
                    f"which {facts.drivers_directory} and the driver cabinets of this "
                    f"{facts.version.product_name} lack.",
                    f"Copy {name} into {facts.drivers_directory} from the Windows CD, or choose "
                    "a driver build for this Windows with --drivers.",
                )
            changes[name] = WriteFile(
                f"{facts.drivers_directory}/{name}",
                found.content,
                found.cabinet,
                f"{driver.name} imports it",
            )
    return tuple(changes.values())
