"""Guest tools taken out of XP, 7 and 10: nothing of them is left, and all of it comes back.

The hives are edited by hivex for real and read by reglookup and hivexget; only the volume is in
memory. The real hives are of guests that had VMware Tools installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.result import hivexget, reglookup
from fixtures.undone import undo
from fixtures.vmware_traces import (
    BRIDGE,
    MOUSE,
    OTHER_CODE,
    PACKED_CODE,
    PS2_MOUSE,
    SVGA,
    VMCI,
    traced_guest,
)
from fixtures.windows_tree import system_volume
from offline_mig.conversion.examination import readable_hives
from offline_mig.conversion.tools_choice import plan_tools_removal
from offline_mig.guest.filesystem import UnreadableFileError
from offline_mig.surgery.changes import DeleteFiles, DeleteKey, OpenGuest, SetValue
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import Journal, apply_plan, verify_plan
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.tools_removal import ToolsRemoval, without_superseded
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.installed_products import packed_code, unpacked_code
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.services import read_boot_services

XP = GuestSpec(GuestKind.XP)
WINDOWS_7 = GuestSpec(GuestKind.WINDOWS_7)
WINDOWS_10 = GuestSpec(GuestKind.WINDOWS_10)
REAL_7 = GuestSpec(GuestKind.WINDOWS_7, Variant(real_hives=RealHives.WINDOWS_7))
REAL_10 = GuestSpec(GuestKind.WINDOWS_10, Variant(real_hives=RealHives.WINDOWS_10))
MADE = [pytest.param(XP, id="xp"), pytest.param(WINDOWS_7, id="w7")]
MADE.append(pytest.param(WINDOWS_10, id="w10"))
ALL = [
    *MADE,
    pytest.param(REAL_7, id="real-w7", marks=pytest.mark.data),
    pytest.param(REAL_10, id="real-w10", marks=pytest.mark.data),
]
SET = "ControlSet001"
#: The class of VBoxCredProv.dll (VirtualBox, VBoxCredentialProvider.h).
_VBOX_LOGON = "{275D3BCC-22BB-4948-A7F6-3A3054EBA92B}"
#: What tells of VMware in a line of reglookup: whose it is, or what it runs.
_OF_TOOLS = re.compile(
    r"vmware|vmci|vmhgfs|hgfs\b|vmmouse|vm3d|vsock|vmxnet|vmx_|vmtools|vgauth|vmmemctl|vmrawdsk"
    r"|vmvss|vmgina|vmupgrade|vmstats|vmperf",
    re.IGNORECASE,
)
#: What may tell of it and stays: the machine's own names, disks, controllers of disks, network
#: cards, a mouse that has been one of VMware's, and what Windows notes down for itself.
_STAYING = re.compile(
    r"/Enum/(SCSI|IDE|PCI/VEN_104B)|pvscsi|vmscsi|VMware%20SCSI|/Control/Network|/HardwareConfig"
    r"|/MountedDevices|AppCompatCache|/bam/|/DeviceClasses/.*(CdRom|Disk)|/WBEM/|McAfee"
    r"|/Class/\{4d36e97b|/Class/\{4d36e972|/Enum/PCI/VEN_(15AD&DEV_07B0|1022)|DeviceContainers"
    r"|/Enum/ACPI/PNP0F13|/Class/\{4d36e96f|HardwareInformation|ThinPrint"
    r"|/Services/vmxnet|vmxnet3.inf|oem1.inf|IVmVssRequestor|Common Files\\VMware\\,"
    r"|Programs\\VMware\\,|/PCI/VEN_15AD&DEV_07[BC]0|CommonDatapoints|DriverFiles",
    re.IGNORECASE,
)


@dataclass
class Bench:
    """A guest on the bench, whose tools are taken out by ``operate``."""

    volume: MemoryVolume
    scratch: Path

    def __post_init__(self) -> None:
        self.before = dict(self.volume.files)
        self.directories = set(self.volume.directories)
        self.facts: GuestFacts = self.examined("before")
        self.removals: tuple[ToolsRemoval, ...] = ()
        self.journal = Journal()

    def examined(self, name: str) -> GuestFacts:
        folder = self.scratch / name
        folder.mkdir()
        root = self.volume.resolve("/windows")
        assert root is not None
        return examine(self.volume, root, folder)

    def operate(self, others: tuple[PlanBlock, ...] = ()) -> ToolsRemoval:
        """Take the tools out; returns what became of the last ones, VMware's."""
        self.removals = plan_tools_removal(self.volume, self.facts, others)
        plan = Plan(tuple(removal.block for removal in self.removals))
        pending = plan.pending(OpenGuest(self.volume, readable_hives(self.facts)))
        work = self.scratch / "work"
        work.mkdir()
        self.journal = apply_plan(pending, self.volume, self.facts.hive_files, work)
        verify_plan(plan, self.volume, self.facts.hive_files, work)
        return self.removals[-1]

    def hive(self, name: HiveName = HiveName.SYSTEM) -> Path:
        local = self.scratch / f"for-reading-{name}"
        local.write_bytes(self.volume.read(self.facts.hive_files[name]))
        return local

    def key_is_there(self, key: str, hive: HiveName = HiveName.SYSTEM) -> bool:
        path = "/" + key.replace("\\", "/").replace(",", "%2C").lower()
        return any(found.lower() == path for found in reglookup(self.hive(hive)))

    def change_hives(self, change: Callable[[Hive], None], name: HiveName) -> None:
        """Have the guest differ from the made one."""
        local = self.scratch / "changed"
        local.write_bytes(self.volume.read(self.facts.hive_files[name]))
        hive = Hive(local, name, writable=True)
        change(hive)
        hive.commit(local)
        self.volume.write(self.facts.hive_files[name], local.read_bytes())
        self.before = dict(self.volume.files)
        self.facts = self.examined(f"changed-{len(list(self.scratch.iterdir()))}")


Make = Callable[[GuestSpec], Bench]


def guest_of(spec: GuestSpec, scratch: Path) -> Bench:
    chosen = spec.variant.real_hives
    if chosen is None:
        return Bench(MemoryVolume(traced_guest(spec)), scratch)
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    return Bench(MemoryVolume(system_volume(spec, real_hives.hives(chosen))), scratch)


@pytest.fixture
def bench(tmp_path: Path) -> Make:
    return lambda spec: guest_of(spec, tmp_path)


@pytest.fixture(scope="module", params=ALL)
def operated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A guest whose tools have been taken out; tests leave it as it is."""
    guest = guest_of(request.param, tmp_path_factory.mktemp("operated"))
    guest.operate()
    return guest


def test_nothing_is_left_but_what_stays_on_purpose(operated: Bench, tmp_path: Path) -> None:
    guest = operated
    before = 0
    for name, path in guest.facts.hive_files.items():
        (tmp_path / name).write_bytes(guest.before[path])
        before += len(traces(tmp_path / name))
    assert before > 30
    for name in guest.facts.hive_files:
        assert traces(guest.hive(name)) == []
    for path in guest.volume.files:
        if _OF_TOOLS.search(path):
            assert re.search(r"pvscsi|vmxnet|vmscsi", path, re.IGNORECASE), path
    assert not any("vmware" in path.lower() for path in guest.volume.directories)


def traces(hive: Path) -> list[str]:
    """Return the lines of a hive that tell of VMware Tools.

    What a text has behind its end is what was there before, and nobody reads it.
    """
    lines = (f"{path}, {value.split('%00')[0]}" for path, value in reglookup(hive).items())
    # By far the most lines have none of these, which are found sooner.
    words = ("vm", "vsock", "hgfs", "vgauth")
    likely = (line for line in lines if any(word in line.lower() for word in words))
    return [line for line in likely if _OF_TOOLS.search(line) and not _STAYING.search(line)]


def test_undo_brings_back_every_key_and_file(operated: Bench) -> None:
    guest = operated
    volume = deepcopy(guest.volume)
    assert volume.files != guest.before
    undo(guest.journal, volume, guest.before, guest.facts)
    assert volume.files == guest.before
    assert volume.directories == guest.directories


def test_what_the_source_boots_from_stays_as_it_is(operated: Bench) -> None:
    """The way back: the disk controllers of the source, their drivers and files."""
    guest = operated
    services = {service.name for service in read_boot_services(guest.facts.system, SET)}
    after = guest.examined("after")
    assert after.boot_controllers == guest.facts.boot_controllers
    gone = services - {service.name for service in read_boot_services(after.system, SET)}
    assert gone <= {"vmci", "vsock"}
    names = {"pvscsi.sys", "vmscsi.sys", "symmpi.sys", "lsi_sas.sys", "stornvme.sys", "disk.sys"}
    assert after.driver_files & names == guest.facts.driver_files & names


def test_second_run_finds_nothing(operated: Bench) -> None:
    facts = operated.examined("again")
    removals = plan_tools_removal(operated.volume, facts, ())
    plan = Plan(tuple(removal.block for removal in removals))
    assert len(plan.pending(OpenGuest(operated.volume, readable_hives(facts)))) == 0


def test_devices_of_vmware_that_windows_drives_stay(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    guest.operate()
    for instance in (VMCI, SVGA, MOUSE):
        assert not guest.key_is_there(rf"{SET}\Enum\{instance}")
    assert guest.key_is_there(rf"{SET}\Enum\{BRIDGE}")
    filters = hivexget(guest.hive(), rf"{SET}\Enum\{PS2_MOUSE}", "UpperFilters")
    assert filters == "other"


def test_mouse_to_come_is_not_filtered(bench: Make) -> None:
    """Windows 7 takes the filters of a PS/2 mouse that it meets anew from here."""
    guest = bench(WINDOWS_7)
    key = rf"{SET}\Control\CriticalDeviceDatabase\*PNP0F03"
    assert hivexget(guest.hive(), key, "UpperFilters") == "VMMouse"
    guest.operate()
    assert "UpperFilters" not in hivexget(guest.hive(), key)
    assert hivexget(guest.hive(), key, "Service") == "i8042prt"


def test_winsock_entries_move_up(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    guest.operate()
    catalogue = rf"{SET}\Services\WinSock2\Parameters\Protocol_Catalog9"
    hive = guest.hive()
    assert hivexget(hive, catalogue, "Num_Catalog_Entries") == "3"
    names = [
        hivexget(hive, rf"{catalogue}\Catalog_Entries\{number:012}", "ProtocolName")
        for number in (1, 2, 3)
    ]
    assert names == ["TCP", "UDP", "RAW"]
    assert not guest.key_is_there(rf"{catalogue}\Catalog_Entries\000000000004")


def test_layered_winsock_is_left(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    catalogue = rf"{SET}\Services\WinSock2\Parameters\Protocol_Catalog9"
    entry = rf"{catalogue}\Catalog_Entries\000000000005"

    def layer(hive: Hive) -> None:
        value = hive.value(entry, "PackedCatalogItem")
        assert value is not None
        chain = (2).to_bytes(4, "little") + (1005).to_bytes(4, "little")
        chain += (1002).to_bytes(4, "little")
        data = value.data[:300] + chain + value.data[312:]
        hive.set_value(entry, "PackedCatalogItem", RegistryValue.binary(data))

    guest.change_hives(layer, HiveName.SYSTEM)
    removal = guest.operate()
    assert hivexget(guest.hive(), catalogue, "Num_Catalog_Entries") == "5"
    assert guest.volume.exists("/Windows/System32/vsocklib.dll")
    assert any("layered" in note for note in removal.notes)


def test_part_of_another_program_stays(bench: Make) -> None:
    guest = bench(WINDOWS_7)
    assert packed_code(unpacked_code(PACKED_CODE)) == PACKED_CODE
    guest.operate()
    machine = r"Microsoft\Windows\CurrentVersion\Installer\UserData\S-1-5-18"
    software = guest.hive(HiveName.SOFTWARE)
    shared = rf"{machine}\Components\22222222222222222222222222222222"
    assert PACKED_CODE not in hivexget(software, shared)
    assert OTHER_CODE in hivexget(software, shared)
    assert not guest.key_is_there(
        rf"{machine}\Components\11111111111111111111111111111111", HiveName.SOFTWARE
    )
    assert guest.key_is_there(rf"{machine}\Products\{OTHER_CODE}", HiveName.SOFTWARE)
    assert guest.volume.exists("/Windows/Installer/4d5e6f.msi")
    assert not guest.volume.exists("/Windows/Installer/1a2b3c.msi")


def test_logon_of_xp_is_its_own_again(bench: Make) -> None:
    guest = bench(XP)
    guest.operate()
    software = guest.hive(HiveName.SOFTWARE)
    winlogon = r"Microsoft\Windows NT\CurrentVersion\Winlogon"
    assert "GinaDLL" not in hivexget(software, winlogon)
    assert hivexget(software, winlogon, "Shell") == "Explorer.exe"
    assert guest.key_is_there(rf"{winlogon}\Notify\crypt32chain", HiveName.SOFTWARE)
    # XP would take it for a mouse that it meets anew, and ask for its files.
    assert not guest.volume.exists("/WINDOWS/inf/oem7.inf")
    assert guest.volume.exists("/WINDOWS/inf/oem1.inf")


@pytest.mark.parametrize(("spec", "service"), [(XP, "vmxnet"), (WINDOWS_10, "vmxnet3ndis6")])
def test_driver_of_a_network_card_goes_with_it(spec: GuestSpec, service: str, bench: Make) -> None:
    guest = bench(spec)
    (device,) = (
        rf"PCI\{name}"
        for name in guest.facts.system.subkeys(rf"{SET}\Enum\PCI")
        if re.search("DEV_07B0|DEV_2000", name)
    )
    removal = plan_tools_removal(guest.volume, guest.facts, ())[-1]
    assert removal.disabled == (service,)
    with_card = tuple(
        DeleteKey(HiveName.SYSTEM, rf"{name}\Enum\{device}", "another part")
        for name in guest.facts.control_sets.bootable
    )
    removal = guest.operate((PlanBlock("Network", with_card),))
    assert service in removal.deleted
    assert removal.disabled == ()
    assert not guest.key_is_there(rf"{SET}\Services\{service}")


def test_disabled_driver_keeps_its_file_and_package(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    removal = guest.operate()
    assert removal.disabled == ("vmxnet3ndis6",)
    assert hivexget(guest.hive(), rf"{SET}\Services\vmxnet3ndis6", "Start") == "4"
    assert guest.volume.exists("/Windows/System32/drivers/vmxnet3.sys")
    assert any("vmxnet3ndis6 could only be disabled" in note for note in removal.notes)


def test_package_of_a_new_card_comes_where_one_of_vmware_was(bench: Make) -> None:
    """The class of network cards has only VMware's package; the new one's is written beside it."""
    guest = bench(WINDOWS_10)
    key = r"DriverDatabase\DeviceIds\{4d36e972-e325-11ce-bfc1-08002be10318}"
    new = SetValue(HiveName.DRIVERS, key, "oem9.inf", RegistryValue(RegistryType.NONE, b""), "new")
    card = tuple(
        DeleteKey(HiveName.SYSTEM, rf"{SET}\Enum\PCI\{name}", "another part")
        for name in guest.facts.system.subkeys(rf"{SET}\Enum\PCI")
        if "DEV_07B0" in name
    )
    others = (PlanBlock("Network", card), PlanBlock("Package", (new,)))
    assert guest.facts.view(HiveName.DRIVERS).values(key).keys() == {"oem1.inf"}
    guest.operate(others)
    assert without_superseded(others, guest.removals)[-1].changes == (new,)
    assert guest.examined("after").view(HiveName.DRIVERS).has_key(key)
    assert not guest.examined("again").view(HiveName.DRIVERS).values(key)


def test_driver_that_windows_brought_stays(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    key = rf"{SET}\Services\vmci"
    value = RegistryValue.multi_sz(["Windows", "MSI"])
    guest.change_hives(
        lambda hive: void(hive.set_value(key, "vwdk.installers", value)), HiveName.SYSTEM
    )
    removal = guest.operate()
    assert removal.kept == {"vmci": "Windows itself brought it"}
    assert guest.key_is_there(key)
    assert guest.key_is_there(rf"{SET}\Enum\{VMCI}")
    assert guest.volume.exists("/Windows/System32/drivers/vmci.sys")
    assert guest.volume.exists(
        "/Windows/System32/DriverStore/FileRepository/vmci.inf_amd64_5e38a278d114b813"
    )


def test_workstation_in_the_guest_keeps_what_it_shares(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    image = RegistryValue.expand_sz(r"system32\drivers\vmx86.sys")
    guest.change_hives(
        lambda hive: void(hive.set_value(rf"{SET}\Services\vmx86", "ImagePath", image)),
        HiveName.SYSTEM,
    )
    add_package(guest, "vmnetadapter.inf")
    guest.operate()
    assert_package_is_there(guest, "vmnetadapter.inf")
    for name in ("vmci", "vsock", "vmx86"):
        assert guest.key_is_there(rf"{SET}\Services\{name}")
    assert guest.volume.exists("/Windows/System32/vsocklib.dll")
    assert not guest.key_is_there(rf"{SET}\Services\VMTools")


def test_service_that_only_has_the_name_stays(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    key = rf"{SET}\Services\vsock"
    image = RegistryValue.expand_sz(r"System32\drivers\viosock.sys")
    guest.change_hives(lambda hive: void(hive.set_value(key, "ImagePath", image)), HiveName.SYSTEM)
    guest.operate()
    assert guest.key_is_there(key)


def test_other_products_of_vmware_stay(bench: Make) -> None:
    guest = bench(WINDOWS_10)
    guest.volume.make_directory("/Program Files/VMware/VMware Horizon Agent")
    guest.volume.write("/Program Files/VMware/VMware Horizon Agent/agent.exe", b"agent")
    guest.change_hives(
        lambda hive: void(hive.create_key(r"VMware, Inc.\VMware VDM")), HiveName.SOFTWARE
    )
    add_package(guest, "vmwvaudio.inf")
    guest.operate()
    assert_package_is_there(guest, "vmwvaudio.inf")
    assert guest.volume.exists("/Program Files/VMware/VMware Horizon Agent/agent.exe")
    assert not guest.volume.exists("/Program Files/VMware/VMware Tools")
    assert guest.key_is_there(r"VMware, Inc.\VMware VDM", HiveName.SOFTWARE)
    assert not guest.key_is_there(r"VMware, Inc.\VMware Tools", HiveName.SOFTWARE)


def add_package(guest: Bench, inf: str, provider: str = "VMware, Inc.") -> None:
    """Put a package of another product into the driver store, as oem77.inf."""
    label = f"{inf}_amd64_0123456789abcdef"

    def add(hive: Hive) -> None:
        package = rf"DriverDatabase\DriverPackages\{label}"
        hive.set_value(package, "", RegistryValue.sz("oem77.inf"))
        hive.set_value(package, "InfName", RegistryValue.sz(inf))
        hive.set_value(package, "Provider", RegistryValue.sz(provider))
        record = RegistryValue.multi_sz([label])
        hive.set_value(r"DriverDatabase\DriverInfFiles\oem77.inf", "", record)

    store = f"/Windows/System32/DriverStore/FileRepository/{label}"
    for name in (f"{store}/{inf}", "/Windows/INF/oem77.inf"):
        folder = name.rpartition("/")[0]
        if not guest.volume.exists(folder):
            guest.volume.make_directory(folder)
        guest.volume.write(name, b"inf")
    guest.change_hives(add, HiveName.DRIVERS)


def assert_package_is_there(guest: Bench, inf: str) -> None:
    label = f"{inf}_amd64_0123456789abcdef"
    package = rf"DriverDatabase\DriverPackages\{label}"
    assert hivexget(guest.hive(HiveName.DRIVERS), package, "InfName") == inf
    assert guest.key_is_there(r"DriverDatabase\DriverInfFiles\oem77.inf", HiveName.DRIVERS)
    assert guest.volume.exists(f"/Windows/System32/DriverStore/FileRepository/{label}/{inf}")
    assert guest.volume.exists("/Windows/INF/oem77.inf")


def test_sound_of_another_product_stays_on_xp(bench: Make) -> None:
    """XP has no names of packages; a device that runs on another driver tells whose an INF is."""
    guest = bench(XP)
    media = "{4D36E96C-E325-11CE-BFC1-08002BE10318}"
    driver = rf"{SET}\Control\Class\{media}\0000"
    sound = rf"{SET}\Enum\ROOT\MEDIA\0000"
    texts = {
        (driver, "InfPath"): "oem77.inf",
        (driver, "ProviderName"): "VMware, Inc.",
        (sound, "Service"): "vmwvaudio",
        (sound, "ClassGUID"): media,
        (sound, "Driver"): rf"{media}\0000",
    }

    def install(hive: Hive) -> None:
        for (key, name), text in texts.items():
            hive.set_value(key, name, RegistryValue.sz(text))

    guest.volume.write("/WINDOWS/inf/oem77.inf", b"sound")
    guest.change_hives(install, HiveName.SYSTEM)
    guest.operate()
    assert guest.volume.exists("/WINDOWS/inf/oem77.inf")
    assert guest.key_is_there(sound)
    assert not guest.volume.exists("/WINDOWS/inf/oem7.inf")


def test_network_driver_of_oracle_is_no_sign_of_additions(tmp_path: Path) -> None:
    guest = without_tools(tmp_path)
    add_package(guest, "netkvm.inf", "Oracle Corporation")
    add_package(guest, "vmwvaudio.inf")
    assert plan_tools_removal(guest.volume, guest.facts, ()) == ()


def test_guest_without_tools_is_left_alone(tmp_path: Path) -> None:
    guest = without_tools(tmp_path)
    assert plan_tools_removal(guest.volume, guest.facts, ()) == ()


def without_tools(tmp_path: Path) -> Bench:
    """Return a guest with no more of VMware than two packages, which setup brought."""
    spec = GuestSpec(GuestKind.WINDOWS_10, Variant(vmware_tools=False))
    guest = Bench(MemoryVolume(system_volume(spec)), tmp_path)

    def remove(hive: Hive) -> None:
        for control_set in guest.facts.control_sets.bootable:
            hive.delete_key(rf"{control_set}\Services\vmxnet3ndis6")

    guest.change_hives(remove, HiveName.SYSTEM)
    return guest


@pytest.mark.parametrize(
    "service", ["VMwareCAFCommAmqpListener", "VMwareCAFManagementAgentHost", "CBLauncher"]
)
def test_program_that_only_has_the_name_stays(service: str, bench: Make) -> None:
    guest = bench(WINDOWS_10)
    names = {service: r"C:\Other\agent.exe"}
    guest.change_hives(lambda hive: services_of(hive, names), HiveName.SYSTEM)
    guest.operate()
    assert guest.key_is_there(rf"{SET}\Services\{service}")


def test_software_that_needs_a_disabled_service_is_named(bench: Make) -> None:
    guest = bench(WINDOWS_10)

    def install(hive: Hive) -> None:
        services_of(hive, {"BackupAgent": r"C:\Backup\agent.exe"})
        key = rf"{SET}\Services\BackupAgent"
        hive.set_value(key, "DependOnService", RegistryValue.multi_sz(["RpcSs", "VMTools"]))

    guest.change_hives(install, HiveName.SYSTEM)
    removal = guest.operate()
    assert "VMTools" in removal.disabled
    (note,) = (note for note in removal.notes if "BackupAgent" in note)
    assert "vmtools" in note
    assert "will not start" in note


def test_file_that_could_not_come_back_is_found_out_on_planning(bench: Make) -> None:
    """Whoever keeps what is deleted has to read it; a link or an encrypted file cannot be kept."""
    path = "/Program Files/VMware/VMware Tools/vmtoolsd.exe"
    guest = bench(WINDOWS_10)
    odd = MemoryVolume(guest.volume.files, odd=(path,))
    removal = plan_tools_removal(odd, guest.facts, ())[-1]
    deletions = [change for change in removal.block.changes if isinstance(change, DeleteFiles)]
    hives = readable_hives(guest.facts)
    for deletion in deletions:
        deletion.require_keepable(OpenGuest(guest.volume, hives))
    with pytest.raises(UnreadableFileError, match="vmtoolsd"):
        for deletion in deletions:
            deletion.require_keepable(OpenGuest(odd, hives))


def services_of(hive: Hive, names: dict[str, str], start: int = 3) -> None:
    for name, image in names.items():
        key = rf"{SET}\Services\{name}"
        hive.set_value(key, "ImagePath", RegistryValue.expand_sz(image))
        hive.set_value(key, "Start", RegistryValue.dword(start))


def without_vmware(tmp_path: Path) -> Bench:
    spec = GuestSpec(GuestKind.WINDOWS_7, Variant(vmware_tools=False))
    return Bench(MemoryVolume(system_volume(spec)), tmp_path)


def test_virtualbox_additions_go(tmp_path: Path) -> None:
    guest = without_vmware(tmp_path)
    drivers = guest.facts.drivers_directory
    names = {name: rf"system32\drivers\{name}.sys" for name in ("VBoxGuest", "VBoxMouse", "VBoxSF")}
    folder = "/Program Files/Oracle/VirtualBox Guest Additions"
    guest.volume.create(("/Program Files", "/Program Files/Oracle", folder), {})
    guest.volume.write(f"{folder}/VBoxTray.exe", b"tray")
    guest.volume.write(f"{drivers}/VBoxMouse.sys", b"mouse")
    guest.volume.write("/Windows/System32/VBoxMRXNP.dll", b"provider")

    def install(hive: Hive) -> None:
        services_of(hive, names)
        mouse = rf"{SET}\Control\Class\{{4D36E96F-E325-11CE-BFC1-08002BE10318}}"
        filters = RegistryValue.multi_sz(["VBoxMouse", "mouclass"])
        hive.set_value(mouse, "UpperFilters", filters)
        order = RegistryValue.sz("RDPNP,VBoxSF,LanmanWorkstation")
        hive.set_value(rf"{SET}\Control\NetworkProvider\Order", "ProviderOrder", order)

    guest.change_hives(install, HiveName.SYSTEM)
    uninstall = r"Microsoft\Windows\CurrentVersion\Uninstall\Oracle VM VirtualBox Guest Additions"
    logon = r"Microsoft\Windows\CurrentVersion\Authentication\Credential Providers"
    others = "{60B78E88-EAD8-445C-9CFD-0B87F74EA6CD}"
    libraries = {_VBOX_LOGON: "VBoxCredProv.dll", others: "credprovs.dll"}

    def register(hive: Hive) -> None:
        shown = RegistryValue.sz("Oracle VM VirtualBox Guest Additions")
        hive.set_value(uninstall, "DisplayName", shown)
        for guid, library in libraries.items():
            server = rf"Classes\CLSID\{guid}\InprocServer32"
            hive.set_value(server, "", RegistryValue.sz(library))
            for parent in (logon, logon.replace("Providers", "Provider Filters")):
                hive.set_value(rf"{parent}\{guid.lower()}", "", RegistryValue.sz("logon"))

    guest.change_hives(register, HiveName.SOFTWARE)
    removal = guest.operate()
    assert removal.name == "VirtualBox Guest Additions"
    assert removal.deleted == ("VBoxGuest", "VBoxMouse", "VBoxSF")
    mouse = rf"{SET}\Control\Class\{{4D36E96F-E325-11CE-BFC1-08002BE10318}}"
    assert hivexget(guest.hive(), mouse, "UpperFilters") == "mouclass"
    order = hivexget(guest.hive(), rf"{SET}\Control\NetworkProvider\Order", "ProviderOrder")
    assert order == "RDPNP,LanmanWorkstation"
    assert not guest.key_is_there(uninstall, HiveName.SOFTWARE)
    for parent in (logon, logon.replace("Providers", "Provider Filters")):
        assert not guest.key_is_there(rf"{parent}\{_VBOX_LOGON}", HiveName.SOFTWARE)
        assert guest.key_is_there(rf"{parent}\{others}", HiveName.SOFTWARE)
    assert not any("vbox" in path.lower() for path in guest.volume.files)


@pytest.mark.parametrize(
    ("tools", "filter_name", "guid", "list_name"),
    [
        ("Xen PV drivers", "xenfilt", "{4D36E96A-E325-11CE-BFC1-08002BE10318}", "UpperFilters"),
        ("Parallels Tools", "prl_strg", "{4D36E967-E325-11CE-BFC1-08002BE10318}", "LowerFilters"),
    ],
)
def test_filters_that_break_the_boot_go_first(
    tools: str, filter_name: str, guid: str, list_name: str, tmp_path: Path
) -> None:
    guest = without_vmware(tmp_path)
    key = rf"{SET}\Control\Class\{guid}"

    def install(hive: Hive) -> None:
        services_of(hive, {filter_name: rf"system32\drivers\{filter_name}.sys"}, start=0)
        hive.set_value(key, list_name, RegistryValue.multi_sz([filter_name]))

    guest.change_hives(install, HiveName.SYSTEM)
    removal = guest.operate()
    assert (removal.name, removal.disabled) == (tools, (filter_name,))
    assert getattr(removal.block.changes[0], "name", "") == list_name
    assert list_name not in hivexget(guest.hive(), key)
    assert hivexget(guest.hive(), rf"{SET}\Services\{filter_name}", "Start") == "4"
    assert any("remove the rest in the guest" in note for note in removal.notes)


def void(_result: object) -> None:
    """Take a result that nobody needs."""
