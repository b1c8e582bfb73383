"""What is written for a package in the driver store, beside what Windows has there itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives
from fixtures.memory_volume import MemoryVolume
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.drivers.package import DriverPackage
from offline_mig.drivers.signer import SignerClass, Signing
from offline_mig.surgery.changes import SetValue, WriteFile
from offline_mig.surgery.conversion_plan import plan_conversion
from offline_mig.surgery.driver_record import signer_values
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.shared_parts import share_parts
from offline_mig.surgery.stored_package import allocate
from offline_mig.windows.driver_database import version_value
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture

PACKAGES = r"DriverDatabase\DriverPackages"
INFS = r"DriverDatabase\DriverInfFiles"
#: A package of VMware's in the made hive, and a file that viostor brings.
PVSCSI = rf"{PACKAGES}\pvscsi.inf_amd64_9e7bfe6e33172952"
LOCKDOWN = r"Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles"
VIOSTOR_SYS = rf"{LOCKDOWN}\%SystemRoot%/system32/drivers/viostor.sys"
Edit = Callable[[Hive], None]


@dataclass(frozen=True)
class Planned:
    """The plan for a Windows 10 whose hives were edited."""

    facts: GuestFacts
    packages: tuple[DriverPackage, ...]
    plan: Plan

    def value(self, key: str, name: str, hive: HiveName = HiveName.SYSTEM) -> RegistryValue | None:
        for change in self.plan:
            if isinstance(change, SetValue) and (change.hive, change.key, change.name) == (
                hive,
                key,
                name,
            ):
                return change.value
        return None

    def record(self, service: str = "viostor") -> dict[str, RegistryValue]:
        """The values of a package's own key."""
        return {
            change.name: change.value
            for change in self.plan
            if isinstance(change, SetValue)
            and change.key.startswith(rf"{PACKAGES}\{service}.inf")
            and change.key.count("\\") == PACKAGES.count("\\") + 1
        }


def planned(
    drivers: Path,
    scratch: Path,
    *,
    system: Edit | None = None,
    software: Edit | None = None,
    real: RealHives | None = None,
) -> Planned:
    files = system_volume(
        GuestSpec(GuestKind.WINDOWS_10), real_hives.hives(real) if real is not None else None
    )
    for name, edit in ((HiveName.SYSTEM, system), (HiveName.SOFTWARE, software)):
        if edit is not None:
            with edited(files, name, scratch) as hive:
                edit(hive)
    facts = examine(MemoryVolume(files), "/Windows", scratch)
    chosen = choose_drivers(open_sources([drivers]), facts.version, allow_unsigned=True).drivers
    plan = plan_conversion(facts, chosen, {})
    return Planned(facts, tuple(driver.package for driver in chosen.boot), plan)


def text(value: RegistryValue | None) -> str | None:
    assert value is not None
    return value.as_text()


def texts(value: RegistryValue | None) -> tuple[str, ...]:
    assert value is not None
    assert value.type == RegistryType.MULTI_SZ
    return value.as_texts()


# --- the record of a package ---


@pytest.mark.data
@pytest.mark.usefixtures("shared_data")
def test_record_has_what_windows_gives_to_its_own_packages(
    drivers_dir: Path, tmp_path: Path
) -> None:
    """The names and types are those of the packages that an installed Windows 10 imported."""
    guest = planned(drivers_dir, tmp_path, real=RealHives.WINDOWS_10)
    system = guest.facts.system
    imported = [
        values
        for label in system.subkeys(PACKAGES)
        if (text((values := system.values(rf"{PACKAGES}\{label}"))[""]) or "").startswith("oem")
    ]
    assert len(imported) == 5
    ours = guest.record()
    for theirs in imported:
        # The made drivers are unsigned, so there is nobody to name.
        assert ours.keys() == theirs.keys() - {"SignerName"}
        for name, value in ours.items():
            assert value.type == theirs[name].type, name
            if name in ("ImportDate", "Version", "StatusFlags"):
                assert len(value.data) == len(theirs[name].data), name


@pytest.mark.data
@pytest.mark.usefixtures("shared_data")
def test_status_flags_tell_of_included_infs(drivers_dir: Path, tmp_path: Path) -> None:
    """Of all packages of the real hive, those with bit 0x100 include another INF."""
    guest = planned(drivers_dir, tmp_path, real=RealHives.WINDOWS_10)
    assert guest.record()["StatusFlags"] == RegistryValue.dword(0x12)
    system, seen = guest.facts.system, set()
    for label in system.subkeys(PACKAGES):
        flags = system.value(rf"{PACKAGES}\{label}", "StatusFlags")
        number = (flags.as_int() if flags else None) or 0
        sections = system.subkeys(rf"{PACKAGES}\{label}\Configurations")
        keys = [rf"{PACKAGES}\{label}\Configurations\{section}" for section in sections]
        if keys and number:
            including = any(system.value(key, "IncludedInfs") for key in keys)
            assert bool(number & 0x100) == including, label
            seen.add(including)
    assert seen == {True, False}


def test_dates_and_sizes_as_this_windows_has_them(drivers_dir: Path, tmp_path: Path) -> None:
    plain = planned(drivers_dir, tmp_path)
    assert plain.record().keys().isdisjoint({"ImportDate", "FileSize"})

    def of_2004(hive: Hive) -> None:
        hive.set_value(PVSCSI, "ImportDate", RegistryValue.binary(bytes(8)))

    def of_11(hive: Hive) -> None:
        of_2004(hive)
        hive.set_value(PVSCSI, "FileSize", RegistryValue(RegistryType.QWORD, bytes(8)))

    record = planned(drivers_dir, tmp_path, system=of_2004).record()
    assert "FileSize" not in record
    assert record.keys() - {"ImportDate"} == plain.record().keys()
    guest = planned(drivers_dir, tmp_path, system=of_11)
    record, package = guest.record(), guest.packages[0]
    assert record["FileSize"].as_int() == sum(map(len, package.files.values()))
    # 23 February 2022, the day in the driver's INF, by an independent reckoning of FILETIME.
    assert package.driver_date == date(2022, 2, 23)
    days = (date(2022, 2, 23) - date(1601, 1, 1)).days
    assert record["ImportDate"] == RegistryValue.binary(
        (days * 86400 * 10_000_000).to_bytes(8, "little")
    )


def test_dates_of_inbox_packages_say_nothing(drivers_dir: Path, tmp_path: Path) -> None:
    def inbox(hive: Hive) -> None:
        label = next(name for name in hive.subkeys(PACKAGES) if name.startswith("lsi_sas"))
        hive.set_value(rf"{PACKAGES}\{label}", "ImportDate", RegistryValue.binary(bytes(8)))

    assert "ImportDate" not in planned(drivers_dir, tmp_path, system=inbox).record()


def test_path_of_the_guests_own_windows(drivers_dir: Path, tmp_path: Path) -> None:
    def on_d(hive: Hive) -> None:
        key = r"Microsoft\Windows NT\CurrentVersion"
        hive.set_value(key, "SystemRoot", RegistryValue.sz("D:\\WINNT"))

    def unknown(hive: Hive) -> None:
        hive.delete_value(r"Microsoft\Windows NT\CurrentVersion", "SystemRoot")

    for edit, path in ((on_d, r"D:\WINNT\INF"), (unknown, r"C:\Windows\INF")):
        record = planned(drivers_dir, tmp_path, software=edit).record()
        assert text(record["OemPath"]) == path


def test_version_holds_the_date_where_the_record_takes_it_from(drivers_dir: Path) -> None:
    guid = "{4D36E97B-E325-11CE-BFC1-08002BE10318}"
    data = version_value(Architecture.AMD64, guid, date(1601, 1, 2), (1, 2, 3, 4)).data
    assert int.from_bytes(data[24:32], "little") == 86400 * 10_000_000


# --- numbers ---


def label_of(guest: Planned) -> str:
    return allocate(guest.facts, guest.packages).packages[0].label


@pytest.mark.parametrize(
    "name",
    ["viostor.inf", "oem.inf", "oem².inf", "oem-1.inf", "oem1x.inf", "oem99999999.inf", ""],
)
def test_a_record_without_a_usable_number_gets_a_new_one(
    drivers_dir: Path, tmp_path: Path, name: str
) -> None:
    label = label_of(planned(drivers_dir, tmp_path))

    def odd(hive: Hive) -> None:
        hive.set_value(rf"{PACKAGES}\{label}", "", RegistryValue.sz(name))

    guest = planned(drivers_dir, tmp_path, system=odd)
    stored = allocate(guest.facts, guest.packages).packages
    assert [package.oem_inf for package in stored] == ["oem3.inf", "oem4.inf"]


def test_a_package_keeps_its_number(drivers_dir: Path, tmp_path: Path) -> None:
    label = label_of(planned(drivers_dir, tmp_path))

    def present(hive: Hive) -> None:
        hive.set_value(rf"{PACKAGES}\{label}", "", RegistryValue.sz("OEM17.INF"))

    guest = planned(drivers_dir, tmp_path, system=present)
    assert allocate(guest.facts, guest.packages).packages[0].oem_inf == "oem17.inf"


def test_a_number_that_is_another_packages_is_not_taken(drivers_dir: Path, tmp_path: Path) -> None:
    label = label_of(planned(drivers_dir, tmp_path))

    def taken(hive: Hive) -> None:
        hive.set_value(rf"{PACKAGES}\{label}", "", RegistryValue.sz("oem2.inf"))

    guest = planned(drivers_dir, tmp_path, system=taken)
    assert texts(guest.facts.system.value(rf"{INFS}\oem2.inf", "")) == (PVSCSI.split("\\")[-1],)
    assert allocate(guest.facts, guest.packages).packages[0].oem_inf == "oem3.inf"
    assert not any(
        change.path.lower().endswith("inf/oem2.inf")
        for change in guest.plan
        if isinstance(change, WriteFile)
    )


# --- owners ---


def test_owners_of_service_and_file_are_kept(drivers_dir: Path, tmp_path: Path) -> None:
    service = r"ControlSet001\Services\viostor"

    def owned(key: str, owners: tuple[str, ...]) -> Edit:
        def edit(hive: Hive) -> None:
            hive.set_value(key, "Owners", RegistryValue.multi_sz(owners))

        return edit

    for before, after in (
        ((), ("oem3.inf",)),
        (("oem9.inf",), ("oem9.inf", "oem3.inf")),
        (("oem9.inf", "OEM3.INF"), ("oem9.inf", "OEM3.INF")),
    ):
        guest = planned(
            drivers_dir,
            tmp_path,
            system=owned(service, before),
            software=owned(VIOSTOR_SYS, before),
        )
        assert texts(guest.value(service, "Owners")) == after
        assert texts(guest.value(VIOSTOR_SYS, "Owners", HiveName.SOFTWARE)) == after


def test_what_several_packages_bring_has_all_of_them_as_owners(
    drivers_dir: Path, tmp_path: Path
) -> None:
    """pvpanic and pvpanic-pci share a service, and co-installers are everybody's."""
    first, second = RegistryValue.multi_sz(["oem3.inf"]), RegistryValue.multi_sz(["OEM4.inf"])
    both = RegistryValue.multi_sz(["oem3.inf", "OEM4.inf"])
    key, file = r"ControlSet001\Services\pvpanic", "/Windows/System32/WdfCoInstaller01011.dll"

    def block(owners: RegistryValue, name: str, content: bytes) -> PlanBlock:
        values = {"Owners": owners, "DisplayName": RegistryValue.sz(name)}
        return PlanBlock(
            name,
            (
                *(SetValue(HiveName.SYSTEM, key, n, v, "") for n, v in values.items()),
                WriteFile(file, content, "", ""),
            ),
        )

    one, two = share_parts([block(first, "one", b"1"), block(second, "two", b"2")])
    assert [c.value for c in one.changes if isinstance(c, SetValue)] == [
        both,
        RegistryValue.sz("one"),
    ]
    assert two.changes == ()


@pytest.mark.parametrize(
    ("signing", "name", "score"),
    [
        (Signing(SignerClass.MICROSOFT, "Microsoft"), "Microsoft", 0x0D000005),
        (Signing(SignerClass.MICROSOFT, "Microsoft", attested=True), "Microsoft", 0x0D000004),
        (Signing(SignerClass.VENDOR, "Red Hat, Inc."), "Red Hat, Inc.", 0x0F000000),
        (Signing(SignerClass.SELF_SIGNED, "Red Hat Inc."), None, 0x80000000),
        (Signing(SignerClass.UNSIGNED), None, 0x80000000),
    ],
)
def test_signer_by_which_windows_ranks(signing: Signing, name: str | None, score: int) -> None:
    values = signer_values(signing)
    assert values["SignerScore"] == RegistryValue.dword(score)
    assert (values["SignerName"].as_text() if name else values.get("SignerName")) == name


def test_a_display_driver_waits_in_the_drivers_hive(drivers_dir: Path, tmp_path: Path) -> None:
    """It is listed there with its FeatureScore, and neither configured nor installed."""
    guest = planned(drivers_dir, tmp_path)
    assert guest.facts.version.nt >= (6, 2)
    changes = [
        change
        for block in guest.plan.blocks
        if "qxldod" in block.title
        for change in block.changes
        if isinstance(change, SetValue)
    ]
    assert {change.hive for change in changes} == {HiveName.DRIVERS}
    assert not any("Configurations" in change.key for change in changes)
    device = next(c for c in changes if "VEN_1B36&DEV_0100" in c.key)
    assert device.value == RegistryValue.binary(bytes.fromhex("01f90000"))


def test_without_a_drivers_hive_all_packages_go_into_system(
    drivers_dir: Path, tmp_path: Path
) -> None:
    files = system_volume(GuestSpec(GuestKind.WINDOWS_10))
    del files["Windows/System32/config/DRIVERS"]
    facts = examine(MemoryVolume(files), "/Windows", tmp_path)
    chosen = choose_drivers(open_sources([drivers_dir]), facts.version, allow_unsigned=True).drivers
    packages = [driver.package for driver in chosen.others]
    stored = allocate(facts, [], packages).packages
    assert len(stored) == len(packages)
    assert all(package.hive is HiveName.SYSTEM for package in stored)
