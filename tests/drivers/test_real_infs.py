"""INF files as they were published: each is read, and what it says is compared by hand."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from fixtures.inf_texts import AMD64, X86, windows
from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.drivers.copyfiles import CopyFile
from offline_mig.drivers.directories import DirId, InfPath
from offline_mig.drivers.inf import parse_inf
from offline_mig.drivers.install import InstallSection, ServiceInstall
from offline_mig.drivers.layout import place_of
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

pytestmark = pytest.mark.data

R = RegistryValue
SCSI_CLASS = "{4D36E97B-E325-11CE-BFC1-08002BE10318}"
SYSTEM_CLASS = "{4d36e97d-e325-11ce-bfc1-08002be10318}"
KEY_ONLY = 0x10
DWORD = 0x10001

V185 = "virtio-win-0.1.185"
V217 = "virtio-win-0.1.217-w10"
V285 = "virtio-win-0.1.285-w11"


@pytest.fixture(scope="module")
def drivers(shared_data: Path) -> Path:
    return shared_data / "drivers"


def read(
    drivers: Path, path: str, release: str, architecture: Architecture = AMD64
) -> tuple[DriverPackage, InstallSection, ServiceInstall]:
    """Return a package with the install section and the driver of its first device."""
    file = drivers / path
    package = read_package(file.name, file.read_bytes(), windows(release, architecture))
    install = package.install_for(package.models[0])
    assert install.function_driver is not None
    return package, install, install.function_driver


def ids(package: DriverPackage) -> list[tuple[str, ...]]:
    return [(model.hardware_id, *model.compatible_ids) for model in package.models]


def values(entries: tuple[InfRegistryValue, ...]) -> list[tuple[str, str | None, object]]:
    return [(entry.subkey, entry.name, entry.value) for entry in entries]


def msi(limit: int, **policy: int) -> list[tuple[str, str | None, object]]:
    """Return the hardware key of an MSI-X driver of virtio-win."""
    signalled = "Interrupt Management\\MessageSignaledInterruptProperties"
    affinity = "Interrupt Management\\Affinity Policy"
    return [
        ("Interrupt Management", None, None),
        (signalled, None, None),
        (signalled, "MSISupported", R.dword(1)),
        (signalled, "MessageNumberLimit", R.dword(limit)),
        (affinity, None, None),
        *((affinity, name, R.dword(number)) for name, number in policy.items()),
    ]


IO_LOG = [
    ("", "EventMessageFile", R.expand_sz("%SystemRoot%\\System32\\IoLogMsg.dll")),
    ("", "TypesSupported", R.dword(7)),
]


def test_every_inf_installs_on_the_windows_that_its_directory_names(drivers: Path) -> None:
    files = sorted(drivers.rglob("*.inf"))
    assert len(files) >= 100
    for file in files:
        place = place_of(file.relative_to(drivers).as_posix())
        assert place.release is not None
        assert place.architecture is not None
        target = windows(place.release, place.architecture)
        package = read_package(file.name, file.read_bytes(), target)
        assert package.models, file
        assert "%" not in package.provider + "".join(m.description for m in package.models)
        assert (file.parent / package.catalog_name.lower()).exists() or "285" in str(file)
        for model in package.models:
            install = package.install_for(model)
            assert model.hardware_id
            for service in install.services:
                assert service.service_type in (1, 16)
                copied = {copy.path for copy in install.copy_files}
                assert service.binary in copied, file


def test_no_inf_installs_on_another_processor(drivers: Path) -> None:
    for file in drivers.rglob("*.inf"):
        place = place_of(file.relative_to(drivers).as_posix())
        if (
            place.architecture is AMD64
            and "qxl-xddm" not in str(file)
            and "qxl/xp" not in str(file)
        ):
            package = read_package(file.name, file.read_bytes(), windows("w10", X86))
            if file.name != "vioprot.inf":  # The one INF for both.
                assert package.models == (), file


def test_no_text_is_lost(drivers: Path) -> None:
    """All lines that a simple count finds are in the sections."""
    for file in drivers.rglob("*.inf"):
        data = file.read_bytes()
        inf = parse_inf(data, file.name)
        text = data.decode("latin-1").replace("\r\n", "\n")
        plain = [line.strip() for line in text.split("\n")]
        written = sum(bool(line) and line[0] not in ";[" for line in plain)
        continued = sum(line.endswith("\\") for line in plain if line[:1] != ";")
        assert sum(map(len, inf.sections.values())) == written - continued, file


def test_viostor_xp(drivers: Path) -> None:
    package, install, service = read(drivers, f"{V185}/viostor/xp/x86/viostor.inf", "xp", X86)
    assert package.driver_date == datetime.date(2017, 1, 15)
    assert package.driver_version == (51, 74, 104, 13000)
    assert (package.class_name, package.class_guid) == ("SCSIAdapter", SCSI_CLASS)
    assert package.provider == "Red Hat, Inc."
    assert package.decorations == ("NTx86.5.1",)
    assert ids(package) == [
        ("PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00",),
        ("PCI\\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01",),
    ]
    model = package.models[0]
    assert model.description == "Red Hat VirtIO SCSI controller"
    assert model.description_token == "%RHELScsi.DeviceDesc%"
    assert model.manufacturer_token == "%RHEL%"
    assert model.install_section == model.effective_section == "rhelscsi_inst"
    assert service == ServiceInstall(
        name="viostor",
        flags=2,
        display_name="",
        description="",
        service_type=1,
        start_type=0,
        error_control=1,
        binary=InfPath(DirId.DRIVERS, "viostor.sys"),
        load_order_group="SCSI miniport",
        dependencies=(),
        start_name="",
        security="",
        registry=(
            InfRegistryValue("HKR", "Parameters\\PnpInterface", "5", R.dword(1), flags=DWORD),
            InfRegistryValue("HKR", "Parameters", "BusType", R.dword(1), flags=DWORD),
        ),
        event_log=service.event_log,
    )
    assert service.event_log is not None
    assert (service.event_log.log, service.event_log.source) == ("System", "viostor")
    assert values(service.event_log.registry) == IO_LOG
    assert install.hardware_registry == install.software_registry == ()
    assert install.copy_files == (CopyFile("viostor.sys", "viostor.sys", 12, flags=2),)
    assert package.source_paths == ("viostor.sys", "viostor.cat")
    assert package.strings == {
        "rhelscsi.devicedesc": "Red Hat VirtIO SCSI controller",
        "rhel": "Red Hat, Inc.",
    }


@pytest.mark.parametrize(
    ("path", "release", "version", "decoration"),
    [
        (f"{V185}/viostor/w7/amd64/viostor.inf", "w7", (61, 81, 104, 17600), "NTamd64.6.1"),
        (f"{V217}/viostor/w10/amd64/viostor.inf", "w10", (100, 90, 104, 21700), "NTamd64.6.3"),
    ],
)
def test_viostor_with_msi(
    drivers: Path, path: str, release: str, version: tuple[int, ...], decoration: str
) -> None:
    package, install, service = read(drivers, path, release)
    assert package.driver_version == version
    assert package.decorations == (decoration,)
    assert ids(package) == [
        ("PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00", "PCI\\VEN_1AF4&DEV_1001"),
        ("PCI\\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01", "PCI\\VEN_1AF4&DEV_1042"),
    ]
    assert package.models[0].description_token == "%VioStorScsi.DeviceDesc%"
    assert package.models[0].install_section == "scsi_inst"
    assert (service.name, service.start_type, service.load_order_group) == (
        "viostor",
        0,
        "SCSI miniport",
    )
    assert values(service.registry) == [
        ("Parameters\\PnpInterface", "5", R.dword(1)),
        ("Parameters", "BusType", R.dword(1)),
    ]
    assert values(install.hardware_registry) == msi(256, DevicePolicy=5)
    assert [entry.flags for entry in install.hardware_registry].count(KEY_ONLY) == 3


def test_viostor_w11_stays_in_the_driver_store(drivers: Path) -> None:
    path = f"{V285}/viostor/w11/amd64/viostor.inf"
    package, install, service = read(drivers, path, "w11")
    assert package.driver_version == (100, 101, 104, 28500)
    assert package.driver_date == datetime.date(2025, 7, 9)
    assert package.decorations == ("NTamd64.10.0...16299",)
    assert service.binary == InfPath(DirId.DRIVER_STORE, "viostor.sys")
    assert service.binary.below_windows is None
    assert install.copy_files == (CopyFile("viostor.sys", "viostor.sys", 13, flags=2),)
    assert values(service.registry) == [
        ("Parameters\\PnpInterface", "5", R.dword(1)),
        ("Parameters", "BusType", R.dword(1)),
        ("Parameters", "DmaRemappingCompatible", R.dword(0)),
    ]
    assert values(install.hardware_registry) == msi(257, DevicePolicy=5, GroupPolicy=1)
    data = (drivers / path).read_bytes()
    assert read_package("viostor.inf", data, windows("2k16")).models == ()
    assert len(read_package("viostor.inf", data, windows("2k25")).models) == 2


@pytest.mark.parametrize(
    ("path", "release"),
    [
        (f"{V185}/vioscsi/w7/amd64/vioscsi.inf", "w7"),
        (f"{V217}/vioscsi/w10/amd64/vioscsi.inf", "w10"),
    ],
)
def test_vioscsi(drivers: Path, path: str, release: str) -> None:
    package, install, service = read(drivers, path, release)
    assert ids(package) == [
        ("PCI\\VEN_1AF4&DEV_1004&SUBSYS_00081AF4&REV_00", "PCI\\VEN_1AF4&DEV_1004"),
        ("PCI\\VEN_1AF4&DEV_1048&SUBSYS_11001AF4&REV_01", "PCI\\VEN_1AF4&DEV_1048"),
    ]
    assert service.display_name == "Red Hat VirtIO SCSI pass-through Service"
    assert (service.start_type, service.load_order_group) == (0, "SCSI miniport")
    assert values(service.registry) == [
        ("Parameters\\PnpInterface", "5", R.dword(1)),
        ("Parameters", "BusType", R.dword(0x0A)),
    ]
    assert values(install.hardware_registry) == msi(256, DevicePolicy=5, DevicePriority=3)
    assert set(package.strings) == {"virtioscsi.devicedesc", "virtioscsi.svcdesc", "vendor"}


def test_netkvm_xp(drivers: Path) -> None:
    package, install, service = read(drivers, f"{V185}/NetKVM/xp/x86/netkvm.inf", "xp", X86)
    assert package.class_name == "Net"
    assert package.models[0].description == "Red Hat VirtIO Ethernet Adapter"
    assert ids(package)[0] == (
        "PCI\\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00",
        "PCI\\VEN_1AF4&DEV_1000",
    )
    assert (service.name, service.start_type, service.load_order_group) == ("netkvm", 3, "NDIS")
    assert service.display_name == "Red Hat VirtIO Ethernet Adapter Service"
    assert values(service.registry) == [("", "TextModeFlags", R.dword(1))]
    assert install.hardware_registry == ()
    assert dict(install.directives) == {
        "Characteristics": "0x84",
        "BusType": "5",
        "*IfType": "6",
        "*MediaType": "0",
        "*PhysicalMediaType": "0",
    }
    software = values(install.software_registry)
    assert software[:4] == [
        ("", "BusNumber", R.sz("0")),
        ("Ndi", "Service", R.sz("netkvm")),
        ("Ndi\\Interfaces", "UpperRange", R.sz("ndis5")),
        ("Ndi\\Interfaces", "LowerRange", R.sz("ethernet")),
    ]
    assert ("Ndi\\Params\\ConnectRate\\enum", "10", R.sz("10M")) in software
    assert ("Ndi\\Params\\Indirect\\enum", "2", R.sz("Enabled*")) in software
    assert ("Ndi\\params\\MTU", "max", R.sz("65500")) in software
    assert ("Ndi\\Params\\IPPacketsCheck\\enum", "3", R.sz("Rx & Tx Enabled")) in software
    assert len(software) == 162  # as grep counts the lines of both sections


def test_netkvm_w10(drivers: Path) -> None:
    package, install, service = read(drivers, f"{V217}/NetKVM/w10/amd64/netkvm.inf", "w10")
    assert package.models[0].install_section == "kvmnet6.ndi"
    assert service.binary == InfPath(12, "netkvm.sys")
    signalled = "Interrupt Management\\MessageSignaledInterruptProperties"
    assert values(install.hardware_registry) == [
        (signalled, "MSISupported", R.dword(1)),
        (signalled, "MessageNumberLimit", R.dword(2048)),
        ("Interrupt Management\\Affinity Policy", "DevicePolicy", R.dword(0)),
        ("Interrupt Management\\Affinity Policy", "DevicePriority", R.dword(2)),
    ]
    software = values(install.software_registry)
    assert ("Ndi", "Service", R.sz("netkvm")) in software
    assert ("Ndi\\params\\*JumboPacket", "default", R.sz("1514")) in software
    assert ("Characteristics", "0x84") in install.directives


def test_balloon_xp(drivers: Path) -> None:
    package, install, service = read(drivers, f"{V185}/Balloon/xp/x86/balloon.inf", "xp", X86)
    assert package.catalog_name == "Balloon.cat"
    assert package.class_guid == SYSTEM_CLASS
    model = package.models[0]
    assert (model.install_section, model.effective_section) == (
        "BALLOON_Device",
        "BALLOON_Device.NT",
    )
    assert (service.name, service.start_type) == ("BALLOON", 3)
    assert service.event_log is not None
    # A semicolon inside of quotes.
    assert service.event_log.registry[0].value == R.expand_sz(
        "%SystemRoot%\\System32\\IoLogMsg.dll;%SystemRoot%\\System32\\drivers\\balloon.sys"
    )
    assert install.copy_files == (CopyFile("balloon.sys", "balloon.sys", 12),)
    assert install.coinstaller_files == (
        CopyFile("WdfCoInstaller01009.dll", "WdfCoInstaller01009.dll", 11),
    )
    assert values(install.coinstaller_registry) == [
        ("", "CoInstallers32", R.multi_sz(["WdfCoInstaller01009.dll,WdfCoInstaller"]))
    ]
    assert install.kmdf_library_version == "1.9"


def test_vioser_w10(drivers: Path) -> None:
    package, install, service = read(drivers, f"{V217}/vioserial/w10/amd64/vioser.inf", "w10")
    assert service.name == "VirtioSerial"
    assert service.binary == InfPath(12, "vioser.sys")
    assert package.models[0].effective_section == "VirtioSerial_Device.NT"
    assert values(install.hardware_registry)[-1][2] == R.dword(2)
    assert install.coinstaller_registry == install.coinstaller_files == ()
    assert install.kmdf_library_version == "1.15"


def test_qxl_xp(drivers: Path) -> None:
    path = "qxl-xddm-0.1.24/xp/x86/qxl.inf"
    package, install, service = read(drivers, path, "xp", X86)
    assert package.signature == "$CHICAGO$"
    assert package.driver_version == (5, 1, 0, 10018)
    assert package.decorations == ("NTx86", "NTamd64", "NTx86.6.0", "NTamd64.6.0")
    (model,) = package.models
    assert (model.description, model.description_token) == ("Red Hat QXL GPU", "%RHAT% %QXL%")
    assert model.hardware_id == "PCI\\VEN_1b36&DEV_0100&SUBSYS_11001af4"
    assert (service.error_control, service.load_order_group) == (0, "Video")
    assert install.copy_files == (
        CopyFile("qxl.sys", "qxl.sys", 12),
        CopyFile("qxldd.dll", "qxldd.dll", 11),
    )
    assert values(install.software_settings) == [
        ("", "InstalledDisplayDrivers", R.multi_sz(["qxldd"])),
        ("", "VgaCompatible", R.dword(0)),
        ("", "DefaultSettings.BitsPerPel", R.dword(32)),
        ("", "DefaultSettings.XResolution", R.dword(800)),
        ("", "DefaultSettings.YResolution", R.dword(600)),
        ("", "Acceleration.Level", R.dword(0)),
    ]
    vista, install, _ = read(drivers, path, "vista", X86)
    assert vista.models[0].install_section == "qxl_vista"
    assert install.directives == (("FeatureScore", "FC"),)


def test_qxldod_w10(drivers: Path) -> None:
    path = "qxl-wddm-dod-0.21/w10/amd64/qxldod.inf"
    package, install, service = read(drivers, path, "w11")
    assert package.driver_version == (10, 0, 0, 21000)
    assert package.decorations == ("NTamd64.6.2",)
    assert (service.name, service.error_control) == ("QxlDod", 0)
    assert install.includes == ("msdv.inf",)
    assert install.needs_elsewhere == ()
    assert install.directives == (("FeatureScore", "F9"),)
    assert values(install.software_registry) == [("", "VgaCompatible", R.dword(0))]


def test_viorng_appends_to_the_providers(drivers: Path) -> None:
    path = "virtio-win-build-240/Win8/amd64/viorng.inf"
    package, install, service = read(drivers, path, "w8")
    assert service.name == "VirtRng"
    providers = install.software_registry[-1]
    assert (providers.root, providers.name, providers.append) == ("HKLM", "Providers", True)
    assert providers.value == R.multi_sz(["QEMU VirtIO RNG Provider"])
    assert install.software_registry[0].subkey.endswith("\\QEMU VirtIO RNG Provider\\UM")
    assert [file.source for file in install.copy_files] == ["viorng.sys", "viorngum.dll"]
    assert package.source_paths[2] == "WdfCoInstaller01011.dll"


def test_viofs_goes_on_after_its_continuation(drivers: Path) -> None:
    _, install, _ = read(drivers, "virtio-win-build-240/Win8/x86/viofs.inf", "w8", X86)
    assert values(install.coinstaller_registry) == [
        ("", "CoInstallers32", R.multi_sz(["WdfCoInstaller01011.dll,WdfCoInstaller"]))
    ]
