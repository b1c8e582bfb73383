"""Repair in the registry: what was made to stop starts again by the model, and twice does nothing.

The cases are the rows of the experiments that stopped.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnosis.test_nt5_experiments import ROWS, SCSI, SLOT, STOPS, Edit, outcome
from fixtures.hives import Values
from fixtures.memory_volume import MemoryVolume
from fixtures.nt5_machine import DRIVERS, ENUM, VIOSTOR, control_set, nt5_facts
from fixtures.nt5_machine import files as driver_files
from fixtures.registry_parts import dword, service, sz
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus, boot_controller
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.repair_plan import needs_package, plan_repair
from offline_mig.diagnosis.verdict import Outcome
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.plan import Plan
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue

CONTROLLER = boot_controller(BootBus.VIRTIO, modern=False, nt=(5, 2), instance=SLOT)


def repair(facts: BootFacts) -> Plan:
    findings = tuple(disk_path_findings(facts, CONTROLLER))
    assert not needs_package(facts, CONTROLLER)
    return plan_repair(facts, CONTROLLER, findings, None, {})


def opened(facts: BootFacts) -> OpenGuest:
    assert isinstance(facts.system, Hive)
    return OpenGuest(MemoryVolume({}), {HiveName.SYSTEM: facts.system})


#: There the driver itself is missing, which takes its package.
WITHOUT_DRIVER = ("untouched", "no service")
STOPPED = [row for row in ROWS if row.values[1] is STOPS and row.id not in WITHOUT_DRIVER]


@pytest.mark.parametrize("row", [pytest.param(row.values[0], id=row.id) for row in STOPPED])
@pytest.mark.parametrize("sets", [(1,), (1, 2)], ids=["one set", "two sets"])
def test_it_starts_again(row: Edit, sets: tuple[int, ...]) -> None:
    keys = control_set()
    row(keys)
    broken = dict.fromkeys(sets, keys)
    with nt5_facts(broken, last_known_good=sets[-1]) as facts:
        plan = repair(facts)
        guest = opened(facts)
        for change in plan:
            assert not change.is_done(guest)
            change.apply(guest)
        found, findings = outcome(facts)
        assert (found, findings) == (Outcome.BOOTS, set())
        for change in plan:
            assert change.is_done(guest)
        assert not len(repair(facts))


def test_a_sound_guest_is_left_alone() -> None:
    with nt5_facts({1: control_set()}) as facts:
        assert not len(repair(facts))


def test_what_only_a_package_mends() -> None:
    keys: dict[str, Values] = control_set()
    for key in [key for key in keys if key.startswith(VIOSTOR)]:
        del keys[key]
    with nt5_facts({1: keys}) as facts:
        assert needs_package(facts, CONTROLLER)
    with nt5_facts({1: control_set()}, driver_files={}) as facts:
        assert needs_package(facts, CONTROLLER)


def test_the_stop_stays_on_the_screen() -> None:
    keys = control_set()
    keys[VIOSTOR] = {**keys[VIOSTOR], "Start": dword(3)}
    with nt5_facts({1: keys}) as facts:
        titles = {block.title: block.changes for block in repair(facts).blocks}
    (change,) = titles["Should it stop once more"]
    assert (change.key, change.name) == (r"ControlSet001\Control\CrashControl", "AutoReboot")


def test_a_filter_that_works_stays() -> None:
    keys = control_set()
    key = "Control\\Class\\{4D36E967-E325-11CE-BFC1-08002BE10318}"
    keys[key] = {"UpperFilters": replace(keys[key]["UpperFilters"])}
    keys[key]["UpperFilters"] = type(keys[key]["UpperFilters"]).multi_sz(["partmgr", "xenfilt"])
    with nt5_facts({1: keys}) as facts:
        for change in repair(facts):
            change.apply(opened(facts))
        value = facts.system.value(f"ControlSet001\\{key}", "UpperFilters")
        assert value is not None
        assert value.as_texts() == ("partmgr",)
        assert outcome(facts) == (Outcome.BOOTS, set())


def test_a_disabled_partmgr_is_no_filter_to_be_taken_out() -> None:
    """Without it Windows sees no partition, so it must come back and not go from the list."""
    keys = control_set()
    keys["Services\\partmgr"] = {**keys["Services\\partmgr"], "Start": dword(4)}
    with nt5_facts({1: keys}) as facts:
        assert outcome(facts) == (STOPS, {kinds.CORE_DRIVER})
        for change in repair(facts):
            change.apply(opened(facts))
        key = "ControlSet001\\Control\\Class\\{4D36E967-E325-11CE-BFC1-08002BE10318}"
        value = facts.system.value(key, "UpperFilters")
        assert value is not None
        assert value.as_texts() == ("partmgr",)
        assert outcome(facts) == (Outcome.BOOTS, set())


DISK_CLASS = "Control\\Class\\{4D36E967-E325-11CE-BFC1-08002BE10318}"


def with_filter(**values: RegistryValue) -> dict[str, Values]:
    keys = control_set()
    keys[DISK_CLASS] = {"UpperFilters": RegistryValue.multi_sz(["partmgr", "shadow"])}
    keys["Services\\shadow"] = {**service(None, start=0), **values}
    return keys


def test_a_filter_that_is_loaded_too_late_is_loaded_at_boot() -> None:
    files = {**driver_files(), "system32/drivers/shadow.sys": driver_files()[f"{DRIVERS}/disk.sys"]}
    with nt5_facts({1: with_filter()}, driver_files=files) as facts:
        assert outcome(facts) == (Outcome.BOOTS, set())
    with nt5_facts({1: with_filter(Start=dword(3))}, driver_files=files) as facts:
        assert outcome(facts) == (STOPS, {kinds.FILTER_MISSING})
        for change in repair(facts):
            change.apply(opened(facts))
        assert facts.number(r"ControlSet001\Services\shadow", "Start") == 0
        value = facts.system.value(f"ControlSet001\\{DISK_CLASS}", "UpperFilters")
        assert value is not None
        assert value.as_texts() == ("partmgr", "shadow")
        assert outcome(facts) == (Outcome.BOOTS, set())


@pytest.mark.parametrize("broken", [1, 2])
@pytest.mark.parametrize("what", ["filter", "core driver", "disabled device"])
def test_what_is_wrong_in_one_of_two_control_sets_is_mended_there(what: str, broken: int) -> None:
    keys = control_set()
    if what == "filter":
        keys[DISK_CLASS] = {"UpperFilters": RegistryValue.multi_sz(["partmgr", "gone"])}
    elif what == "core driver":
        keys["Services\\partmgr"] = {**keys["Services\\partmgr"], "Start": dword(3)}
    else:
        met = {"Service": sz("viostor"), "ClassGUID": sz(SCSI), "ConfigFlags": dword(1)}
        keys[f"{ENUM}\\{SLOT}"] = met
    sound = control_set()
    if what == "disabled device":
        sound[f"{ENUM}\\{SLOT}"] = {**keys[f"{ENUM}\\{SLOT}"], "ConfigFlags": dword(0)}
    sets = {number: keys if number == broken else sound for number in (1, 2)}
    with nt5_facts(sets, default=2) as facts:
        assert outcome(facts) == (STOPS, {kinds.CONTROL_SET})
        for change in repair(facts):
            change.apply(opened(facts))
        assert outcome(facts) == (Outcome.BOOTS, set())
        assert facts.system.has_key(rf"ControlSet00{broken}\Services\partmgr")
        if what == "disabled device":
            assert facts.number(rf"ControlSet00{broken}\{ENUM}\{SLOT}", "ConfigFlags") == 0
