"""What a conversion does to XP, 7 and 10: planned from facts, applied, read back, undone.

The hives are edited by hivex for real and read by hivexget; only the volume is in memory.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.errors import GuestRefusedError, NoDriverError, VerificationError
from offline_mig.surgery.changes import OpenGuest, WriteFile
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue

XP = GuestSpec(GuestKind.XP)
WINDOWS_7 = GuestSpec(GuestKind.WINDOWS_7)
WINDOWS_10 = GuestSpec(GuestKind.WINDOWS_10)
REAL = {
    RealHives.XP: GuestSpec(GuestKind.XP, Variant(real_hives=RealHives.XP)),
    RealHives.WINDOWS_7: GuestSpec(GuestKind.WINDOWS_7, Variant(real_hives=RealHives.WINDOWS_7)),
    RealHives.WINDOWS_10: GuestSpec(GuestKind.WINDOWS_10, Variant(real_hives=RealHives.WINDOWS_10)),
}
ALL = [
    pytest.param(XP, id="xp"),
    pytest.param(WINDOWS_7, id="w7"),
    pytest.param(WINDOWS_10, id="w10"),
    *(pytest.param(spec, id=f"real-{kind}", marks=pytest.mark.data) for kind, spec in REAL.items()),
]


@dataclass
class Bench:
    """A guest on the bench: its volume, its facts, and the whole plan for it."""

    volume: MemoryVolume
    facts: GuestFacts
    plan: Plan
    scratch: Path

    @property
    def pending(self) -> Plan:
        return self.plan.pending(OpenGuest(self.volume, self.hives()))

    def hives(self) -> dict[HiveName, Hive]:
        opened = {}
        for name, path in self.facts.hive_files.items():
            local = self.scratch / f"read-{name}"
            local.write_bytes(self.volume.read(path))
            opened[name] = Hive(local, name)
        return opened

    def contents(self) -> dict[str, dict[str, RegistryValue]]:
        """Every key of both hives with its values."""
        return {
            f"{name}\\{key}": dict(values)
            for name, hive in self.hives().items()
            for key, values in hive.walk()
        }

    def get(self, key: str, name: str | None = None) -> str:
        """Ask hivexget, an independent reader, for what the SYSTEM hive on the volume holds."""
        local = self.scratch / "for-hivexget"
        local.write_bytes(self.volume.read(self.facts.hive_files[HiveName.SYSTEM]))
        command = ["hivexget", local, "\\" + key, *([] if name is None else [name])]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def bench(spec: GuestSpec, drivers: Path, scratch: Path, *, free: int = 1024**3) -> Bench:
    chosen = spec.variant.real_hives
    if chosen is not None and real_hives.data_folder() is None:
        pytest.skip("no shared data")
    volume = MemoryVolume(
        system_volume(spec, real_hives.hives(chosen) if chosen is not None else None), free
    )
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, scratch)
    drivers_chosen = choose_drivers(
        open_sources([drivers]), facts.version, allow_unsigned=True
    ).drivers
    found, _ = take_from_cabinets(volume, facts, missing_files(facts, drivers_chosen))
    return Bench(volume, facts, plan_conversion(facts, drivers_chosen, found), scratch)


@pytest.mark.parametrize("spec", ALL)
def test_applied_verified_idempotent_and_undone(
    spec: GuestSpec, drivers_dir: Path, tmp_path: Path
) -> None:
    guest = bench(spec, drivers_dir, tmp_path)
    files_before, contents_before = guest.volume.files, guest.contents()
    directories_before = guest.volume.directories
    pending = guest.pending
    assert len(pending)
    with pytest.raises(VerificationError):
        verify_plan(guest.plan, guest.volume, guest.facts.hive_files, tmp_path)

    journal = apply_plan(pending, guest.volume, guest.facts.hive_files, tmp_path)

    verify_plan(guest.plan, guest.volume, guest.facts.hive_files, tmp_path)
    assert len(guest.pending) == 0, "a second run must find nothing to do"
    # Whatever the plan does not name is as it was, key by key and file by file.
    touched = {
        f"{change.hive}\\{change.key}".casefold()
        for change in pending
        if not isinstance(change, WriteFile)
    }
    parents = {key[: i or None] for key in touched for i in range(len(key)) if key[i] == "\\"}
    after = guest.contents()
    for key, values in contents_before.items():
        if key.casefold() not in touched and not any(
            key.casefold().startswith(f"{t}\\") for t in touched
        ):
            assert after[key] == values, key
    for key in after.keys() - contents_before.keys():
        assert key.casefold() in touched | parents, key
    written = {change.path.casefold() for change in pending if isinstance(change, WriteFile)}
    written |= {path.casefold() for path in guest.facts.hive_files.values()}
    for path, content in guest.volume.files.items():
        if path.casefold() not in written:
            assert files_before[path] == content

    undo(journal, guest.volume, files_before, guest.facts)
    assert guest.contents() == contents_before
    assert guest.volume.files == files_before
    assert guest.volume.directories == directories_before


@pytest.fixture
def converted(request: pytest.FixtureRequest, drivers_dir: Path, tmp_path: Path) -> Bench:
    guest = bench(request.param, drivers_dir, tmp_path)
    apply_plan(guest.pending, guest.volume, guest.facts.hive_files, tmp_path)
    return guest


@pytest.mark.parametrize("converted", [XP], indirect=True)
@pytest.mark.parametrize("control_set", ["ControlSet001", "ControlSet002"])
def test_xp_boots_from_virtio_and_from_ide(converted: Bench, control_set: str) -> None:
    service = rf"{control_set}\Services\viostor"
    assert converted.get(service, "Start") == "0"
    assert converted.get(service, "Type") == "1"
    assert converted.get(service, "Group") == "SCSI miniport"
    assert converted.get(service, "ImagePath") == r"system32\drivers\viostor.sys"
    assert converted.get(rf"{service}\Parameters", "BusType") == "1"
    assert converted.get(rf"{service}\Parameters\PnpInterface", "5") == "1"
    database = rf"{control_set}\Control\CriticalDeviceDatabase"
    for device in (
        "pci#ven_1af4&dev_1001&subsys_00021af4&rev_00",
        "pci#ven_1af4&dev_1001",
        "pci#ven_1af4&dev_1042&subsys_11001af4&rev_01",
    ):
        assert converted.get(rf"{database}\{device}", "Service") == "viostor"
        assert "4D36E97B-" in converted.get(rf"{database}\{device}", "ClassGUID")
    for device, driver in (
        ("primary_ide_channel", "atapi"),
        ("*pnp0600", "atapi"),
        ("gendisk", "disk"),
        ("pci#cc_0101", "pciide"),
        ("pci#ven_8086&dev_7010", "intelide"),
        ("pci#ven_1106&dev_0571", "pciide"),
    ):
        assert converted.get(rf"{database}\{device}", "Service") == driver
    for name, tag in (("atapi", "25"), ("intelide", "4"), ("pciide", "3")):
        assert converted.get(rf"{control_set}\Services\{name}", "Start") == "0"
        assert converted.get(rf"{control_set}\Services\{name}", "Tag") == tag
    for name in ("viostor", "atapi", "intelide", "pciide", "pciidex", "scsiport"):
        path = f"/WINDOWS/system32/drivers/{name}.sys"
        assert converted.volume.read(path)[:2] == b"MZ", path


@pytest.mark.parametrize("converted", [XP], indirect=True)
def test_xp_takes_the_newest_ide_files(converted: Bench) -> None:
    origins = {
        change.path.rpartition("/")[2]: change.origin
        for change in converted.plan
        if isinstance(change, WriteFile) and "cab" in change.origin
    }
    assert origins.keys() == {"atapi.sys", "intelide.sys", "pciide.sys", "pciidex.sys"}
    assert any("sp3.cab" in origin for origin in origins.values())
    assert any("driver.cab" in origin for origin in origins.values())


@pytest.mark.parametrize("converted", [WINDOWS_7], indirect=True)
def test_windows_7_knows_both_buses_and_ahci(converted: Bench) -> None:
    services = r"ControlSet001\Services"
    for name, bus in (("viostor", "1"), ("vioscsi", "10")):
        assert converted.get(rf"{services}\{name}", "Start") == "0"
        assert converted.get(rf"{services}\{name}\Parameters", "BusType") == bus
    database = r"ControlSet001\Control\CriticalDeviceDatabase"
    for device, driver in (
        ("pci#ven_1af4&dev_1042&subsys_11001af4&rev_01", "viostor"),
        ("pci#ven_1af4&dev_1001", "viostor"),
        ("pci#ven_1af4&dev_1048&subsys_11001af4&rev_01", "vioscsi"),
        ("pci#ven_1af4&dev_1004", "vioscsi"),
    ):
        assert converted.get(rf"{database}\{device}", "Service") == driver
    for name in ("atapi", "intelide", "pciide", "msahci"):
        assert converted.get(rf"{services}\{name}", "Start") == "0"


@pytest.mark.parametrize("converted", [WINDOWS_10], indirect=True)
def test_windows_10_has_a_complete_package(converted: Bench) -> None:
    database = "DriverDatabase"
    inf = converted.get(rf"{database}\DeviceIds\PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01")
    oem = inf.split('"')[1]
    assert oem.startswith("oem")
    assert "01,ff,00,00" in inf
    assert "02,ff,00,00" in converted.get(rf"{database}\DeviceIds\PCI\VEN_1AF4&DEV_1042")
    label = converted.get(rf"{database}\DriverInfFiles\{oem}", "Active")
    record = rf"{database}\DriverPackages\{label}"
    assert converted.get(record, "@") == oem
    assert converted.get(record, "InfName") == "viostor.inf"
    assert converted.get(rf"{record}\Configurations\scsi_inst", "Service") == "viostor"
    descriptor = rf"{record}\Descriptors\PCI\VEN_1AF4&DEV_1001"
    assert converted.get(descriptor, "Configuration") == "scsi_inst"
    token = converted.get(descriptor, "Description").strip("%")
    assert "VirtIO" in converted.get(rf"{record}\Strings", token)
    repository = f"/Windows/System32/DriverStore/FileRepository/{label}"
    assert {e.name for e in converted.volume.list_directory(repository)} == {
        "viostor.inf",
        "viostor.cat",
        "viostor.sys",
    }
    assert converted.volume.read(f"/Windows/INF/{oem}") == converted.volume.read(
        f"{repository}/viostor.inf"
    )
    assert converted.get(r"ControlSet001\Services\viostor", "Start") == "0"
    assert "CriticalDeviceDatabase" not in converted.get(r"ControlSet001\Control")


@pytest.mark.parametrize("converted", [WINDOWS_10], indirect=True)
def test_windows_10_loses_the_start_overrides(converted: Bench) -> None:
    for name in ("storahci", "atapi", "intelide", "pciide", "viostor", "vioscsi"):
        key = rf"ControlSet001\Services\{name}"
        assert "StartOverride" not in converted.get(key)
        assert converted.get(key, "Start") == "0"


def test_two_packages_never_share_an_oem_number(drivers_dir: Path, tmp_path: Path) -> None:
    guest = bench(WINDOWS_10, drivers_dir, tmp_path)
    numbers_before = set(guest.hives()[HiveName.SYSTEM].subkeys(r"DriverDatabase\DriverInfFiles"))
    apply_plan(guest.pending, guest.volume, guest.facts.hive_files, tmp_path)
    system = guest.hives()[HiveName.SYSTEM]
    new = set(system.subkeys(r"DriverDatabase\DriverInfFiles")) - numbers_before
    later = guest.hives()[HiveName.DRIVERS].subkeys(r"DriverDatabase\DriverInfFiles")
    assert len(new) == 5
    assert len(later) == 3, "a network and a display driver beside the one that was there"
    assert new.isdisjoint(later)
    new |= set(later)
    mapped = system.value("DriverDatabase", "OemInfMap")
    assert mapped is not None
    for name in new:
        number = int(name.removeprefix("oem").removesuffix(".inf"))
        assert mapped.data[number // 8] & (0x80 >> number % 8)


def test_registration_goes_into_every_control_set_that_select_names(
    drivers_dir: Path, tmp_path: Path
) -> None:
    spec = GuestSpec(GuestKind.XP, Variant(current_control_set=2))
    guest = bench(spec, drivers_dir, tmp_path)
    assert guest.facts.control_sets.current == "ControlSet002"
    apply_plan(guest.pending, guest.volume, guest.facts.hive_files, tmp_path)
    for control_set in guest.facts.control_sets.bootable:
        assert guest.get(rf"{control_set}\Services\viostor", "Start") == "0"


def test_stale_critical_devices_are_mended(drivers_dir: Path, tmp_path: Path) -> None:
    """The best match wins, right or wrong: a wrong full id would shadow a right short one."""
    guest = bench(XP, drivers_dir, tmp_path)
    key = (
        r"ControlSet001\Control\CriticalDeviceDatabase"
        r"\PCI#VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00&CC_0100"
    )
    path = guest.facts.hive_files[HiveName.SYSTEM]
    local = tmp_path / "stale"
    local.write_bytes(guest.volume.read(path))
    hive = Hive(local, HiveName.SYSTEM, writable=True)
    hive.set_value(key, "Service", RegistryValue.sz("absent"))
    hive.set_value(key, "ClassGUID", RegistryValue.sz("{0}"))
    hive.commit(local)
    guest.volume.write(path, local.read_bytes())
    mended = MemoryVolume(guest.volume.files)
    facts = examine(mended, "/WINDOWS", tmp_path)
    drivers = choose_drivers(
        open_sources([drivers_dir]), facts.version, allow_unsigned=True
    ).drivers
    plan = plan_conversion(
        facts, drivers, take_from_cabinets(mended, facts, missing_files(facts, drivers))[0]
    )
    apply_plan(plan, mended, facts.hive_files, tmp_path)
    local.write_bytes(mended.read(path))
    value = Hive(local, HiveName.SYSTEM).value(key, "Service")
    assert value == RegistryValue.sz("viostor")


def test_without_cabinets_the_missing_files_are_named(drivers_dir: Path, tmp_path: Path) -> None:
    spec = GuestSpec(GuestKind.XP, Variant(driver_cabinets=False))
    guest = bench(spec, drivers_dir, tmp_path)
    for name in ("atapi.sys", "intelide.sys", "pciide.sys", "pciidex.sys"):
        assert any(name in note for note in guest.plan.notes), name
    apply_plan(guest.pending, guest.volume, guest.facts.hive_files, tmp_path)
    # Virtio is not affected; no IDE service points to a file that is not there.
    assert guest.get(r"ControlSet001\Services\viostor", "Start") == "0"
    services = guest.get(r"ControlSet001\Control\CriticalDeviceDatabase")
    assert services is not None
    system = guest.hives()[HiveName.SYSTEM]
    for device in system.subkeys(r"ControlSet001\Control\CriticalDeviceDatabase"):
        value = system.value(rf"ControlSet001\Control\CriticalDeviceDatabase\{device}", "Service")
        assert value is None or value.as_text() not in ("atapi", "intelide", "pciide")


def test_boot_driver_whose_import_is_missing_is_refused(drivers_dir: Path, tmp_path: Path) -> None:
    files = system_volume(GuestSpec(GuestKind.XP, Variant(driver_cabinets=False)))
    volume = MemoryVolume(
        {path: data for path, data in files.items() if not path.endswith("/scsiport.sys")}
    )
    facts = examine(volume, "/WINDOWS", tmp_path)
    drivers = choose_drivers(
        open_sources([drivers_dir]), facts.version, allow_unsigned=True
    ).drivers
    with pytest.raises(NoDriverError, match=r"viostor.*needs scsiport\.sys"):
        plan_conversion(facts, drivers, {})


def test_full_volume_is_refused_before_anything_is_written(
    drivers_dir: Path, tmp_path: Path
) -> None:
    guest = bench(XP, drivers_dir, tmp_path, free=1024 * 1024)
    before = guest.volume.files
    with pytest.raises(GuestRefusedError, match="1 MiB free"):
        apply_plan(guest.plan, guest.volume, guest.facts.hive_files, tmp_path)
    assert guest.volume.files == before


def test_unsigned_boot_driver_is_refused_on_amd64(tmp_path: Path) -> None:
    from fixtures.virtio_win import write_tree

    unsigned = write_tree(tmp_path / "drivers", signed=False)
    volume = MemoryVolume(system_volume(WINDOWS_10))
    facts = examine(volume, "/Windows", tmp_path)
    media = open_sources([unsigned])
    with pytest.raises(NoDriverError, match="it is not signed: it has no catalogue") as refusal:
        choose_drivers(media, facts.version, allow_unsigned=False)
    assert "--allow-unsigned" in refusal.value.remedy
    let_through = choose_drivers(media, facts.version, allow_unsigned=True)
    assert any(
        note.startswith("viostor (") and "let through by --allow-unsigned" in note
        for note in let_through.notes
    )
