"""Every Windows from XP to Server 2025: which drivers it gets, and that the plan for it holds.

Once with a made driver tree that has a folder for every release, as an ISO has, and once with the
published packages of the shared data, which have gaps that other releases' packages fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.published_drivers import write_published_tree
from fixtures.virtio_win import EVERY_RELEASE, write_tree
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import ChosenDrivers, choose_drivers, open_sources
from offline_mig.drivers.media import DriverMedia
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

X86, AMD64 = Architecture.X86, Architecture.AMD64
DATABASE = r"ControlSet001\Control\CriticalDeviceDatabase"
#: BusType of the drivers' Parameters: BusTypeScsi (1) and BusTypeSas (0x0A) of ntddstor.h.
BUS_TYPES = {"viostor": 1, "vioscsi": 0x0A}
#: The legacy device of each driver, in its shortest form.
DEVICES = {"viostor": "VEN_1AF4&DEV_1001", "vioscsi": "VEN_1AF4&DEV_1004"}

V185, V217, V285 = "virtio-win-0.1.185", "virtio-win-0.1.217-w10", "virtio-win-0.1.285-w11"
BUILD_240 = "virtio-win-build-240"


@dataclass(frozen=True)
class Row:
    """A Windows, and where its packages come from.

    ``made`` is its folder in the made tree; ``published`` are those of viostor, vioscsi and
    netkvm among the published packages, "" where there is none for it.
    """

    product: str
    nt: str
    build: int
    architecture: Architecture
    made: str
    published: tuple[str, str, str]

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.nt.split("."))

    @property
    def is_server(self) -> bool:
        return "Server" in self.product

    @property
    def kind(self) -> GuestKind:
        """The made guest whose hives have the layout of this Windows."""
        if self.version < (6, 0):
            return GuestKind.XP
        return GuestKind.WINDOWS_7 if self.version < (6, 2) else GuestKind.WINDOWS_10


def every(source: str, place: str, *, scsi: bool = True) -> tuple[str, str, str]:
    """All three drivers out of the same folder of each."""
    return (
        f"{source}/viostor/{place}",
        f"{source}/vioscsi/{place}" if scsi else "",
        f"{source}/NetKVM/{place}",
    )


#: Build 240 for Windows 8 is signed for tests only: 8 and 8.1 get what is for 7.
WIN8 = every(V185, "w7/amd64")
SERVER_2012 = every(V185, "2k8R2/amd64")
WIN8_X86 = every(V185, "w7/x86")
#: Nothing is for Windows 10 on x86, where no signature is asked for.
W10_X86 = (f"{BUILD_240}/Win8/x86",) * 3
W10 = every(V217, "w10/amd64")
W11 = (f"{V285}/viostor/w11/amd64", f"{V217}/vioscsi/w11/amd64", f"{V217}/NetKVM/w11/amd64")

ROWS = {
    "xp-x86": Row(
        "Microsoft Windows XP", "5.1", 2600, X86, "xp/x86", every(V185, "xp/x86", scsi=False)
    ),
    "xp-amd64": Row(
        "Microsoft Windows XP", "5.2", 3790, AMD64, "xp/amd64", every(V185, "xp/amd64", scsi=False)
    ),
    "2k3-x86": Row(
        "Windows Server 2003", "5.2", 3790, X86, "2k3/x86", every(V185, "2k3/x86", scsi=False)
    ),
    "2k3-amd64": Row(
        "Windows Server 2003", "5.2", 3790, AMD64, "2k3/amd64", every(V185, "2k3/amd64", scsi=False)
    ),
    "vista-x86": Row("Windows Vista", "6.0", 6002, X86, "2k8/x86", every(V185, "2k8/x86")),
    "2k8-amd64": Row(
        "Windows Server 2008", "6.0", 6002, AMD64, "2k8/amd64", every(V185, "2k8/amd64")
    ),
    "w7-x86": Row("Windows 7", "6.1", 7601, X86, "w7/x86", every(V185, "w7/x86")),
    "w7-amd64": Row("Windows 7", "6.1", 7601, AMD64, "w7/amd64", every(V185, "w7/amd64")),
    "2k8R2": Row(
        "Windows Server 2008 R2", "6.1", 7601, AMD64, "2k8R2/amd64", every(V185, "2k8R2/amd64")
    ),
    "w8-x86": Row("Windows 8", "6.2", 9200, X86, "w8/x86", WIN8_X86),
    "w8-amd64": Row("Windows 8", "6.2", 9200, AMD64, "w8/amd64", WIN8),
    "2k12": Row("Windows Server 2012", "6.2", 9200, AMD64, "2k12/amd64", SERVER_2012),
    "w8.1": Row("Windows 8.1", "6.3", 9600, AMD64, "w8.1/amd64", WIN8),
    "2k12R2": Row("Windows Server 2012 R2", "6.3", 9600, AMD64, "2k12R2/amd64", SERVER_2012),
    "w10-x86": Row("Windows 10 Pro", "10.0", 19045, X86, "w10/x86", W10_X86),
    "w10-amd64": Row("Windows 10 Pro", "10.0", 19045, AMD64, "w10/amd64", W10),
    # Windows 11 calls itself 10 in this value.
    "w11": Row("Windows 10 Pro", "10.0", 22631, AMD64, "w11/amd64", W11),
    "2k16": Row("Windows Server 2016", "10.0", 14393, AMD64, "2k16/amd64", W10),
    "2k19": Row("Windows Server 2019", "10.0", 17763, AMD64, "2k19/amd64", W10),
    "2k22": Row(
        "Windows Server 2022", "10.0", 20348, AMD64, "2k22/amd64", every(V217, "2k22/amd64")
    ),
    "2k25": Row("Windows Server 2025", "10.0", 26100, AMD64, "2k25/amd64", W11),
}
ALL = [pytest.param(name, row, id=name) for name, row in ROWS.items()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DriverMedia, ...]:
    return open_sources([write_tree(tmp_path_factory.mktemp("made") / "virtio-win", EVERY_RELEASE)])


@pytest.fixture(scope="module")
def published(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DriverMedia, ...]:
    folder = tmp_path_factory.mktemp("published") / "drivers"
    return open_sources([write_published_tree(shared_data / "drivers", folder)])


@pytest.mark.parametrize(("name", "row"), ALL)
def test_with_a_folder_for_every_release(
    made: tuple[DriverMedia, ...], tmp_path: Path, name: str, row: Row
) -> None:
    scsi = row.version >= (6, 0)  # virtio-win has no vioscsi for XP and 2003.
    volume, facts = examined(name, row, tmp_path)
    chosen = choose_drivers(made, facts.version, allow_unsigned=True)
    assert places(chosen) == tuple(
        f"{driver}/{row.made}" if scsi or driver != "vioscsi" else ""
        for driver in ("viostor", "vioscsi", "NetKVM")
    )
    converts(volume, facts, chosen, tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "row"), ALL)
def test_with_the_published_packages(
    published: tuple[DriverMedia, ...], tmp_path: Path, name: str, row: Row
) -> None:
    volume, facts = examined(name, row, tmp_path)
    chosen = choose_drivers(published, facts.version, allow_unsigned=True)
    assert places(chosen) == row.published
    converts(volume, facts, chosen, tmp_path)


def examined(name: str, row: Row, scratch: Path) -> tuple[MemoryVolume, GuestFacts]:
    """Make a guest of the row's Windows and look at it."""
    files = dict(_files(row.kind, row.architecture))
    with edited(files, HiveName.SOFTWARE, scratch) as hive:
        key = r"Microsoft\Windows NT\CurrentVersion"
        # Windows 10 and later keep 6.3 here, and the truth in two values that 8.1 has not.
        number = "6.3" if row.version >= (10, 0) else row.nt
        hive.set_value(key, "CurrentVersion", RegistryValue.sz(number))
        for value in ("CurrentBuild", "CurrentBuildNumber"):
            hive.set_value(key, value, RegistryValue.sz(str(row.build)))
        hive.set_value(key, "ProductName", RegistryValue.sz(row.product))
        if row.version < (10, 0):
            hive.delete_value(key, "CurrentMajorVersionNumber")
            hive.delete_value(key, "CurrentMinorVersionNumber")
    with edited(files, HiveName.SYSTEM, scratch) as hive:
        for control_set in hive.subkeys(""):
            if control_set.startswith("ControlSet0"):
                key = rf"{control_set}\Control\ProductOptions"
                kind = "ServerNT" if row.is_server else "WinNT"
                hive.set_value(key, "ProductType", RegistryValue.sz(kind))
    volume = MemoryVolume(files)
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, scratch)
    assert facts.version.release == name.split("-")[0]
    return volume, facts


@cache
def _files(kind: GuestKind, architecture: Architecture) -> dict[str, bytes]:
    return system_volume(GuestSpec(kind, Variant(architecture=architecture)))


def places(chosen: ChosenDrivers) -> tuple[str, ...]:
    """Return the folders that viostor, vioscsi and netkvm were taken from."""
    locations = {choice.driver: choice.location for choice in chosen.considered}
    return tuple(
        locations[driver].partition(": ")[2].rpartition("/")[0]
        for driver in ("viostor", "vioscsi", "netkvm")
    )


def converts(volume: MemoryVolume, facts: GuestFacts, chosen: ChosenDrivers, scratch: Path) -> None:
    """Apply the plan, and read back what makes the guest boot."""
    drivers = chosen.drivers
    found, _ = take_from_cabinets(volume, facts, missing_files(facts, drivers))
    plan = plan_conversion(facts, drivers, found)
    apply_plan(plan, volume, facts.hive_files, scratch)
    verify_plan(plan, volume, facts.hive_files, scratch)
    hives = {}
    for name, path in facts.hive_files.items():
        local = scratch / f"converted-{name}"
        local.write_bytes(volume.read(path))
        hives[name] = Hive(local, name)
    # A second run sees its own packages, owners and folders, and finds nothing to do.
    again = examine(volume, facts.root, scratch)
    found, _ = take_from_cabinets(volume, again, missing_files(again, drivers))
    repeated = plan_conversion(again, drivers, found)
    assert list(repeated.pending(OpenGuest(volume, hives))) == []

    system = hives[HiveName.SYSTEM]
    assert facts.has_driver_database == (facts.version.nt >= (6, 2))
    assert [driver.name for driver in drivers.boot] == [
        name for name in BUS_TYPES if name == "viostor" or chosen.in_place.scsi
    ]
    for driver in drivers.boot:
        key = rf"ControlSet001\Services\{driver.name}"
        assert number(system, key, "Start") == 0
        assert number(system, rf"{key}\Parameters", "BusType") == BUS_TYPES[driver.name]
        image = text(system, key, "ImagePath").removeprefix("\\SystemRoot\\").replace("\\", "/")
        binary = volume.read(f"{facts.root}/{image}")
        assert binary == driver.package.files[f"{driver.name}.sys"]
        device = DEVICES[driver.name]
        critical = rf"{DATABASE}\pci#{device.lower()}"
        if not facts.has_driver_database:
            assert text(system, critical, "Service") == driver.name
            assert not system.has_key("DriverDatabase")
            continue
        assert not system.has_key(critical)
        (inf,) = system.values(rf"DriverDatabase\DeviceIds\PCI\{device}")
        label = text(system, rf"DriverDatabase\DriverInfFiles\{inf}", "Active")
        record = rf"DriverDatabase\DriverPackages\{label}"
        assert text(system, record, "InfName") == f"{driver.name}.inf"
        section = text(system, rf"{record}\Descriptors\PCI\{device}", "Configuration")
        assert text(system, rf"{record}\Configurations\{section}", "Service") == driver.name
        assert f"_{facts.version.architecture}_" in label


def text(system: Hive, key: str, name: str) -> str:
    value = system.value(key, name)
    assert value is not None, key
    return value.as_text() or ""


def number(system: Hive, key: str, name: str) -> int | None:
    value = system.value(key, name)
    assert value is not None, key
    return value.as_int()
