r"""The boot model against boots that were seen.

Each row is one boot of an NT 5.2 like kernel (it reads Select, Services, the
CriticalDeviceDatabase, Enum and class filters as Windows XP and 2003 do) from virtio-blk with the
genuine viostor.sys, after one change to its hives or files. The model must say the same, or the
row says why Windows differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.hives import Values
from fixtures.nt5_machine import (
    CDD,
    DRIVERS,
    ENUM,
    FULL_ID,
    VIOSTOR,
    control_set,
    files,
    nt5_facts,
    viostor_entry,
)
from fixtures.registry_parts import DeviceClass, dword, expand_sz, multi_sz, sz
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_bus import BootBus, boot_controller
from offline_mig.diagnosis.boot_facts import BootFacts, DriverFile
from offline_mig.diagnosis.disk_path import disk_path_findings
from offline_mig.diagnosis.finding import FindingKind
from offline_mig.diagnosis.verdict import Outcome, judge
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

Keys = dict[str, Values]
Edit = Callable[[Keys], None]

SCSI = DeviceClass.SCSI_ADAPTER.value
DISK = DeviceClass.DISK_DRIVE.value
SLOT = "3&61aaa01&0&38"
BARE = f"{CDD}\\pci#ven_1af4&dev_1001"


def outcome(
    facts: BootFacts, *, bus: BootBus = BootBus.VIRTIO, modern: bool = False, slot: str = SLOT
) -> tuple[Outcome, set[FindingKind]]:
    controller = boot_controller(bus, modern=modern, nt=facts.version.nt, instance=slot)
    verdict = judge(disk_path_findings(facts, controller))
    return verdict.outcome, {finding.kind for finding in verdict.findings}


def record(identity: str, entry: Values | None = None) -> Edit:
    """Put the one entry for the device under another id."""

    def edit(keys: Keys) -> None:
        del keys[FULL_ID]
        keys[f"{CDD}\\{identity}"] = viostor_entry() if entry is None else entry

    return edit


def entry(**values: RegistryValue | None) -> Edit:
    """Change values of the entry; None takes one away."""
    return changed(FULL_ID, **values)


def changed(key: str, **values: RegistryValue | None) -> Edit:
    def edit(keys: Keys) -> None:
        kept = {**keys.get(key, {}), **values}
        keys[key] = {name: value for name, value in kept.items() if value is not None}

    return edit


def without(*paths: str) -> Edit:
    def edit(keys: Keys) -> None:
        for path in paths:
            for key in [key for key in keys if key == path or key.startswith(f"{path}\\")]:
                del keys[key]

    return edit


def both(*edits: Edit) -> Edit:
    def edit(keys: Keys) -> None:
        for one in edits:
            one(keys)

    return edit


def instance(**values: RegistryValue) -> Edit:
    return changed(f"{ENUM}\\{SLOT}", **values)


def renamed_service(keys: Keys) -> None:
    for key in [key for key in keys if key.startswith(VIOSTOR)]:
        keys[key.replace("viostor", "virtioblk")] = keys.pop(key)
    keys[FULL_ID] = {**keys[FULL_ID], "Service": sz("virtioblk")}
    keys["Services\\virtioblk"] = {
        **keys["Services\\virtioblk"],
        "ImagePath": expand_sz("system32\\drivers\\viostor.sys"),
    }


def upper_case(keys: Keys) -> None:
    keys[FULL_ID.upper()] = keys.pop(FULL_ID)


def service_in_capitals(keys: Keys) -> None:
    for key in [key for key in keys if key.startswith(VIOSTOR)]:
        keys[key.replace("viostor", "VIOSTOR")] = keys.pop(key)


def unterminated(value: RegistryValue) -> RegistryValue:
    return RegistryValue(value.type, value.data[:-2])


NOTHING: Edit = both()
IMAGE = "system32\\drivers\\viostor.sys"
BOOTS, STOPS = Outcome.BOOTS, Outcome.STOPS

ROWS = [
    pytest.param(NOTHING, BOOTS, None, id="the whole injection"),
    pytest.param(without(FULL_ID, VIOSTOR), STOPS, kinds.NO_DRIVER_RECORD, id="untouched"),
    # Forms of the id: hardware and compatible ids alike.
    pytest.param(record("pci#ven_1af4&dev_1001&subsys_00021af4"), BOOTS, None, id="subsys"),
    pytest.param(record("pci#ven_1af4&dev_1001&rev_00"), BOOTS, None, id="rev"),
    pytest.param(record("pci#ven_1af4&dev_1001"), BOOTS, None, id="ven dev"),
    pytest.param(upper_case, BOOTS, None, id="upper case"),
    pytest.param(record("pci#ven_1af4&dev_1001&cc_0100"), BOOTS, None, id="ven dev cc"),
    pytest.param(record("pci#cc_0100"), BOOTS, None, id="cc alone"),
    pytest.param(record("pci#ven_1af4"), BOOTS, None, id="ven alone"),
    *(
        pytest.param(record(identity), STOPS, kinds.NO_DRIVER_RECORD, id=name)
        for name, identity in {
            "SUBSYS_00000000": "pci#ven_1af4&dev_1001&subsys_00000000",
            "rev_01": "pci#ven_1af4&dev_1001&rev_01",
            "dev_1042 on a 1001 device": "pci#ven_1af4&dev_1042",
            "dev_1000": "pci#ven_1af4&dev_1000",
        }.items()
    ),
    pytest.param(
        both(entry(Service=sz("gone")), lambda keys: keys.update({BARE: viostor_entry()})),
        STOPS,
        kinds.WRONG_DRIVER_RECORD,
        id="the best match names a missing service",
    ),
    pytest.param(
        lambda keys: keys.update({BARE: {"Service": sz("other"), "ClassGUID": sz(SCSI)}}),
        BOOTS,
        None,
        id="a lesser match names something else",
    ),
    pytest.param(without(FULL_ID), STOPS, kinds.NO_DRIVER_RECORD, id="no entry at all"),
    pytest.param(entry(ClassGUID=None), STOPS, kinds.RECORD_INCOMPLETE, id="no ClassGUID"),
    pytest.param(entry(Service=None), STOPS, kinds.RECORD_INCOMPLETE, id="no Service"),
    pytest.param(
        entry(Service=sz("viostr")), STOPS, kinds.WRONG_DRIVER_RECORD, id="Service misspelt"
    ),
    pytest.param(entry(ClassGUID=sz(DISK)), BOOTS, None, id="ClassGUID of another class"),
    pytest.param(entry(ClassGUID=sz(SCSI.strip("{}"))), BOOTS, None, id="without braces"),
    pytest.param(entry(Service=expand_sz("viostor")), BOOTS, None, id="Service as EXPAND_SZ"),
    pytest.param(
        entry(Service=unterminated(sz("viostor"))),
        STOPS,
        kinds.UNTERMINATED,
        id="Service without terminator",
    ),
    pytest.param(
        changed(VIOSTOR, ImagePath=unterminated(expand_sz(IMAGE))),
        STOPS,
        kinds.UNTERMINATED,
        id="ImagePath without terminator",
    ),
    pytest.param(without(VIOSTOR), STOPS, kinds.NO_SERVICE, id="no service"),
    *(
        pytest.param(changed(VIOSTOR, Start=start), STOPS, kinds.NOT_BOOT_START, id=name)
        for name, start in {
            "Start 1": dword(1),
            "Start 3": dword(3),
            "Start 4": dword(4),
            "no Start": None,
            "Start as text": sz("0"),
        }.items()
    ),
    pytest.param(changed(VIOSTOR, Type=None), STOPS, kinds.SERVICE_TYPE, id="no Type"),
    pytest.param(changed(VIOSTOR, ErrorControl=None), BOOTS, None, id="no ErrorControl"),
    pytest.param(changed(VIOSTOR, Tag=dword(33)), BOOTS, None, id="a Tag"),
    pytest.param(changed(VIOSTOR, ImagePath=None), BOOTS, None, id="no ImagePath"),
    pytest.param(changed(VIOSTOR, Group=None), BOOTS, None, id="no Group"),
    *(
        pytest.param(changed(VIOSTOR, Group=sz(group)), BOOTS, None, id=f"Group {group}")
        for group in ("Base", "System Bus Extender", "TDI")
    ),
    # The kernel of the experiments stopped: its loader walks the groups and loads nothing that is
    # in none of them. Windows sorts the whole list by groups and keeps the rest at its end.
    pytest.param(
        changed(VIOSTOR, Group=sz("Fancy")), BOOTS, kinds.DRIVER_GROUP, id="an unknown Group"
    ),
    pytest.param(changed(VIOSTOR, ImagePath=sz(IMAGE)), BOOTS, None, id="ImagePath as SZ"),
    *(
        pytest.param(
            changed(VIOSTOR, ImagePath=expand_sz(root + IMAGE)), STOPS, kinds.IMAGE_PATH, id=root
        )
        for root in ("\\SystemRoot\\", "%SystemRoot%\\", "C:\\WINDOWS\\")
    ),
    pytest.param(service_in_capitals, BOOTS, None, id="service in capitals"),
    # The kernel of the experiments stopped: it takes the driver's name from its file. Windows
    # takes the file from ImagePath and the name from the key.
    pytest.param(renamed_service, BOOTS, None, id="service renamed, file the same"),
    pytest.param(
        without(f"{VIOSTOR}\\Parameters\\PnpInterface"), BOOTS, None, id="no PnpInterface"
    ),
    pytest.param(changed(f"{VIOSTOR}\\Parameters", BusType=None), BOOTS, None, id="no BusType"),
    pytest.param(without(f"{VIOSTOR}\\Parameters"), BOOTS, None, id="no Parameters"),
    pytest.param(
        without(f"{VIOSTOR}\\Parameters\\PnpInterface", FULL_ID),
        BOOTS,
        kinds.LEGACY_DETECTION,
        id="no PnpInterface and no entry",
    ),
    pytest.param(
        changed(f"{VIOSTOR}\\StartOverride", **{"0": dword(3)}), BOOTS, None, id="StartOverride"
    ),
    *(
        pytest.param(
            changed(f"Control\\Class\\{guid}", **{name: multi_sz(["xenfilt"])}),
            STOPS,
            kinds.FILTER_MISSING,
            id=f"{name} of {what}",
        )
        for what, guid in {"SCSIAdapter": SCSI, "DiskDrive": DISK}.items()
        for name in ("UpperFilters", "LowerFilters")
    ),
    pytest.param(instance(), BOOTS, None, id="an empty instance"),
    pytest.param(
        instance(ClassGUID=sz(SCSI)),
        STOPS,
        kinds.DEVICE_WITHOUT_DRIVER,
        id="an instance with ClassGUID and no Service",
    ),
    pytest.param(
        instance(ClassGUID=sz(SCSI), Service=sz("gone")),
        STOPS,
        kinds.WRONG_DRIVER_RECORD,
        id="an instance with a wrong Service",
    ),
    pytest.param(
        both(without(FULL_ID), instance(ClassGUID=sz(SCSI), Service=sz("viostor"))),
        BOOTS,
        None,
        id="an instance, complete, and no entry",
    ),
    # The kernel of the experiments booted with bit 0 set (disabled); Windows heeds it.
    pytest.param(
        instance(ClassGUID=sz(SCSI), Service=sz("viostor"), ConfigFlags=dword(1)),
        STOPS,
        kinds.DEVICE_DISABLED,
        id="an instance, disabled",
    ),
    *(
        pytest.param(
            instance(ClassGUID=sz(SCSI), Service=sz("viostor"), ConfigFlags=dword(flags)),
            BOOTS,
            None,
            id=f"an instance with ConfigFlags {flags:#x}",
        )
        for flags in (0x20, 0x40)
    ),
    pytest.param(
        instance(ClassGUID=sz(SCSI), Service=sz("viostor"), UpperFilters=multi_sz(["gone"])),
        STOPS,
        kinds.FILTER_MISSING,
        id="UpperFilters of the instance",
    ),
]


@pytest.mark.parametrize(("edit", "expected", "kind"), ROWS)
def test_one_change(edit: Edit, expected: Outcome, kind: FindingKind | None) -> None:
    keys = control_set()
    edit(keys)
    with nt5_facts({1: keys}) as facts:
        found, findings = outcome(facts)
    assert found is expected
    assert findings == (set() if kind is None else {kind})


@pytest.mark.parametrize("error_control", [1, 3])
@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (None, kinds.DRIVER_MISSING),
        (DriverFile("/reactos/x", architecture=Architecture.AMD64), kinds.DRIVER_ARCHITECTURE),
        (DriverFile("/reactos/x"), kinds.DRIVER_ARCHITECTURE),
    ],
    ids=["missing", "for amd64", "no driver"],
)
def test_file(file: DriverFile | None, kind: FindingKind, error_control: int) -> None:
    keys = control_set()
    changed(VIOSTOR, ErrorControl=dword(error_control))(keys)
    known = files()
    del known[f"{DRIVERS}/viostor.sys"]
    if file is not None:
        known[f"{DRIVERS}/viostor.sys"] = file
    with nt5_facts({1: keys}, driver_files=known) as facts:
        assert outcome(facts) == (STOPS, {kind})


def test_missing_scsiport() -> None:
    known = files()
    del known[f"{DRIVERS}/scsiport.sys"]
    with nt5_facts({1: control_set()}, driver_files=known) as facts:
        assert outcome(facts) == (STOPS, {kinds.DRIVER_IMPORTS})


def test_later_windows_heed_start_override() -> None:
    keys = control_set()
    changed(f"{VIOSTOR}\\StartOverride", **{"0": dword(3)})(keys)
    keys["Services\\volmgr"] = keys["Services\\ftdisk"]
    known = files()
    known[f"{DRIVERS}/volmgr.sys"] = known[f"{DRIVERS}/ftdisk.sys"]
    with nt5_facts({1: keys}, driver_files=known, version=(6, 1)) as facts:
        assert outcome(facts) == (STOPS, {kinds.START_OVERRIDE})


def bare_set() -> Keys:
    keys = control_set()
    without(FULL_ID, VIOSTOR)(keys)
    return keys


@pytest.mark.parametrize(("current", "default"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("injected", [1, 2])
def test_one_of_two_control_sets(current: int, default: int, injected: int) -> None:
    sets = {number: control_set() if number == injected else bare_set() for number in (1, 2)}
    with nt5_facts(sets, current=current, default=default) as facts:
        assert outcome(facts) == (STOPS, {kinds.CONTROL_SET})


@pytest.mark.parametrize(
    ("injected", "expected"), [(1, BOOTS), (2, STOPS)], ids=["the one in use", "the other one"]
)
def test_control_set_in_use(injected: int, expected: Outcome) -> None:
    """LastKnownGood alone does not count."""
    sets = {number: control_set() if number == injected else bare_set() for number in (1, 2)}
    with nt5_facts(sets, last_known_good=2) as facts:
        assert outcome(facts)[0] is expected


LEGACY_BUILD = (51, 64, 104, 4800)
MODERN_BUILD = (51, 74, 104, 13000)


@pytest.mark.parametrize(
    ("identity", "version", "expected"),
    [
        ("dev_1042", MODERN_BUILD, (BOOTS, set())),
        ("dev_1042", LEGACY_BUILD, (STOPS, {kinds.MODERN_DEVICE})),
        ("dev_1001", MODERN_BUILD, (STOPS, {kinds.NO_DRIVER_RECORD})),
    ],
    ids=["both know it", "the driver does not", "the database does not"],
)
def test_modern_device(
    identity: str, version: tuple[int, ...], expected: tuple[Outcome, set[FindingKind]]
) -> None:
    keys = control_set()
    record(f"pci#ven_1af4&{identity}")(keys)
    with nt5_facts({1: keys}, driver_files=files(version=version)) as facts:
        assert outcome(facts, modern=True) == expected


def complete_instance(keys: Keys) -> None:
    instance(ClassGUID=sz(SCSI), Service=sz("viostor"))(keys)


@pytest.mark.parametrize(
    ("edit", "slot", "expected"),
    [
        (complete_instance, SLOT, BOOTS),
        (complete_instance, "3&61aaa01&0&40", BOOTS),
        (both(complete_instance, without(FULL_ID)), "3&61aaa01&0&40", STOPS),
    ],
    ids=["second boot", "another slot", "another slot without entry"],
)
def test_second_boot(edit: Edit, slot: str, expected: Outcome) -> None:
    keys = control_set()
    edit(keys)
    with nt5_facts({1: keys}) as facts:
        assert outcome(facts, slot=slot)[0] is expected


def with_ide(keys: Keys) -> None:
    hdc = DeviceClass.HDC.value
    for name in ("intelide", "atapi"):
        keys[f"Services\\{name}"] = {"Type": dword(1), "Start": dword(0), "Group": sz("TDI")}
    keys[f"{CDD}\\pci#ven_8086&dev_7010"] = {"Service": sz("intelide"), "ClassGUID": sz(hdc)}
    keys[f"{CDD}\\primary_ide_channel"] = {"Service": sz("atapi"), "ClassGUID": sz(hdc)}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (without(FULL_ID, VIOSTOR), BOOTS),
        (NOTHING, BOOTS),
        # The filter bites only where the class is used.
        (changed(f"Control\\Class\\{SCSI}", UpperFilters=multi_sz(["gone"])), BOOTS),
        (changed(f"Control\\Class\\{DISK}", LowerFilters=multi_sz(["gone"])), STOPS),
    ],
    ids=["untouched", "injected", "SCSI filter", "disk filter"],
)
@pytest.mark.parametrize("viostor", [True, False], ids=["viostor there", "viostor deleted"])
def test_on_ide(edit: Edit, expected: Outcome, viostor: bool) -> None:
    keys = control_set()
    with_ide(keys)
    edit(keys)
    known = files()
    for name in ("intelide", "atapi"):
        known[f"{DRIVERS}/{name}.sys"] = replace(known[f"{DRIVERS}/disk.sys"])
    if not viostor:
        del known[f"{DRIVERS}/viostor.sys"]
    with nt5_facts({1: keys}, driver_files=known) as facts:
        assert outcome(facts, bus=BootBus.IDE)[0] is expected
