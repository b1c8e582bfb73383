"""More INF files as they were published, in one table written by hand; see test_real_infs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.inf_texts import AMD64, X86, windows
from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.drivers.package import read_package
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

pytestmark = pytest.mark.data

R = RegistryValue
SCSI = ("SCSIAdapter", "{4d36e97b-e325-11ce-bfc1-08002be10318}")
SYSTEM = ("System", "{4d36e97d-e325-11ce-bfc1-08002be10318}")
DISPLAY = ("Display", "{4d36e968-e325-11ce-bfc1-08002be10318}")
HID = ("HIDClass", "{745a17a0-74d3-11d0-b6fe-00a0c90f57da}")

V185, V217 = "virtio-win-0.1.185", "virtio-win-0.1.217-w10"
WIN8 = "virtio-win-build-240/Win8"
#: A key, a value's name (None: the key alone) and the value.
Line = tuple[str, str | None, RegistryValue | None]

SIGNALLED = "Interrupt Management\\MessageSignaledInterruptProperties"
AFFINITY = "Interrupt Management\\Affinity Policy"
DISK_LOG: tuple[Line, ...] = (
    ("", "EventMessageFile", R.expand_sz("%SystemRoot%\\System32\\IoLogMsg.dll")),
    ("", "TypesSupported", R.dword(7)),
)


def msi(limit: int) -> tuple[Line, ...]:
    return (
        ("Interrupt Management", None, None),
        (SIGNALLED, None, None),
        (SIGNALLED, "MSISupported", R.dword(1)),
        (SIGNALLED, "MessageNumberLimit", R.dword(limit)),
    )


def affinity(**policy: int) -> tuple[Line, ...]:
    return ((AFFINITY, None, None), *((AFFINITY, name, R.dword(n)) for name, n in policy.items()))


def bus(kind: int) -> tuple[Line, ...]:
    return (
        ("Parameters\\PnpInterface", "5", R.dword(1)),
        ("Parameters", "BusType", R.dword(kind)),
    )


def coinstallers(*names: str) -> tuple[Line, ...]:
    return (("", "CoInstallers32", R.multi_sz(names)),)


def virtio(legacy: str, modern: str) -> tuple[tuple[str, ...], ...]:
    """Return the ids of a device: with subsystem and revision, then without."""
    start = "PCI\\VEN_1AF4&DEV_"
    return (
        (f"{start}{legacy}1AF4&REV_00", start + legacy.partition("&")[0]),
        (f"{start}{modern}&SUBSYS_11001AF4&REV_01", start + modern),
    )


@dataclass(frozen=True)
class Expected:
    """What an INF says. ``service`` is name, display name, start, error control and group."""

    path: str
    release: str
    architecture: Architecture
    device_class: tuple[str, str]
    version: tuple[int, int, int, int]
    decorations: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    services: tuple[tuple[str, str, int, int, str], ...]
    #: Name and directory of what the devices bring, co-installers apart.
    files: tuple[tuple[str, str], ...]
    coinstaller_files: tuple[str, ...] = ()
    service_values: tuple[Line, ...] = ()
    event_log: tuple[Line, ...] = ()
    hardware: tuple[Line, ...] = ()
    software: tuple[Line, ...] = ()
    settings: tuple[Line, ...] = ()
    coinstaller: tuple[Line, ...] = ()
    framework: str = ""


BALLOON_IDS = virtio("1002&SUBSYS_0005", "1045")
DRIVERS, SYSTEM32 = r"system32\drivers", "system32"
OLD_FRAMEWORK, NEW_FRAMEWORK = "WdfCoInstaller01009.dll", "WdfCoInstaller01011.dll"

TABLE = (
    Expected(
        f"{V185}/vioserial/2k3/x86/vioser.inf", "2k3", X86, SYSTEM, (52, 81, 104, 17600),
        ("NTx86.5.2",), virtio("1003&SUBSYS_0003", "1043"),
        (("VirtioSerial", "VirtIO Serial Service", 3, 1, ""),),
        (("vioser.sys", DRIVERS),), (OLD_FRAMEWORK,), hardware=msi(2),
        coinstaller=coinstallers(f"{OLD_FRAMEWORK},WdfCoInstaller"), framework="1.9",
    ),
    Expected(
        f"{V185}/pvpanic/2k8/x86/pvpanic.inf", "2k8", X86, SYSTEM, (60, 81, 104, 17600),
        ("NTx86.6.0",), (("ACPI\\QEMU0001",),),
        (("PVPanic", "QEMU PVPanic Service", 3, 1, "Extended Base"),),
        (("pvpanic.sys", DRIVERS),), (OLD_FRAMEWORK,),
        coinstaller=coinstallers(f"{OLD_FRAMEWORK},WdfCoInstaller"), framework="1.9",
    ),
    Expected(
        f"{V185}/viorng/w7/amd64/viorng.inf", "w7", AMD64, SYSTEM, (61, 81, 104, 17600),
        ("NTamd64.6.1",), virtio("1005&SUBSYS_0004", "1044"),
        (("VirtRng", "VirtIO RNG Service", 3, 1, "Extended Base"),),
        (("viorng.sys", DRIVERS), ("viorngum.dll", SYSTEM32)),
        (OLD_FRAMEWORK, "viorngci.dll"), hardware=msi(1),
        coinstaller=coinstallers(
            "viorngci.dll,VirtRngCoInstaller", f"{OLD_FRAMEWORK},WdfCoInstaller"
        ),
        framework="1.9",
    ),
    Expected(
        f"{V185}/vioinput/w7/amd64/vioinput.inf", "w7", AMD64, HID, (61, 81, 104, 17600),
        ("NTamd64.6.1",),
        (
            ("PCI\\VEN_1AF4&DEV_1052&SUBSYS_11001AF4&REV_01", "PCI\\VEN_1AF4&DEV_1052"),
            ("VIOINPUT\\REV_01",),
        ),
        (("VirtioInput", "VirtIO Input Service", 3, 1, ""), ("viohidkmdf", "", 3, 1, "")),
        (("vioinput.sys", DRIVERS), ("viohidkmdf.sys", DRIVERS)), (OLD_FRAMEWORK,),
        hardware=msi(2), coinstaller=coinstallers(f"{OLD_FRAMEWORK},WdfCoInstaller"),
        framework="1.9",
    ),
    Expected(
        f"{V185}/viostor/2k3/amd64/viostor.inf", "2k3", AMD64, SCSI, (52, 81, 104, 17600),
        ("NTamd64.5.2",), virtio("1001&SUBSYS_0002", "1042"),
        (("viostor", "", 0, 1, "SCSI miniport"),), (("viostor.sys", DRIVERS),),
        service_values=bus(1), event_log=DISK_LOG,
    ),
    Expected(
        f"{V185}/Balloon/2k8/amd64/balloon.inf", "2k8", AMD64, SYSTEM, (60, 81, 104, 17600),
        ("NTamd64.6.0",), BALLOON_IDS, (("BALLOON", "VirtIO Balloon Service", 3, 1, ""),),
        (("balloon.sys", DRIVERS),), (OLD_FRAMEWORK,),
        event_log=(
            (
                "",
                "EventMessageFile",
                R.expand_sz(
                    "%SystemRoot%\\System32\\IoLogMsg.dll;"
                    "%SystemRoot%\\System32\\drivers\\balloon.sys"
                ),
            ),
            ("", "TypesSupported", R.dword(7)),
        ),
        coinstaller=coinstallers(f"{OLD_FRAMEWORK},WdfCoInstaller"), framework="1.9",
    ),
    Expected(
        f"{V217}/vioscsi/2k22/amd64/vioscsi.inf", "2k22", AMD64, SCSI, (100, 90, 104, 21700),
        ("NTamd64.6.3",), virtio("1004&SUBSYS_0008", "1048"),
        (("vioscsi", "Red Hat VirtIO SCSI pass-through Service", 0, 1, "SCSI miniport"),),
        (("vioscsi.sys", DRIVERS),), service_values=bus(10), event_log=DISK_LOG,
        hardware=msi(256) + affinity(DevicePolicy=5, DevicePriority=3),
    ),
    Expected(
        f"{WIN8}/amd64/viostor.inf", "w8", AMD64, SCSI, (62, 93, 104, 24000),
        ("NTamd64.6.2",), virtio("1001&SUBSYS_0002", "1042"),
        (("viostor", "", 0, 1, "SCSI miniport"),), (("viostor.sys", DRIVERS),),
        service_values=bus(1), event_log=DISK_LOG,
        hardware=msi(257) + affinity(DevicePolicy=5, GroupPolicy=1),
    ),
    Expected(
        f"{WIN8}/x86/pvpanic-pci.inf", "w8", X86, SYSTEM, (62, 93, 104, 24000),
        ("NTx86.6.2",), (("PCI\\VEN_1B36&DEV_0011&SUBSYS_11001AF4&REV_01",),),
        (("PVPanic", "QEMU PVPanic PCI Driver Service", 3, 1, "Extended Base"),),
        (("pvpanic.sys", DRIVERS),), (NEW_FRAMEWORK,),
        coinstaller=coinstallers(f"{NEW_FRAMEWORK},WdfCoInstaller"), framework="1.11",
    ),
    Expected(
        f"{WIN8}/amd64/fwcfg.inf", "w8", AMD64, SYSTEM, (62, 93, 104, 24000),
        ("NTamd64.6.2",), (("ACPI\\QEMU0002",),),
        (("FwCfg", "QEMU FwCfg Service", 3, 1, ""),), (("fwcfg.sys", DRIVERS),),
        (NEW_FRAMEWORK,),
        coinstaller=coinstallers(f"{NEW_FRAMEWORK},WdfCoInstaller"), framework="1.11",
    ),
    Expected(
        "qxl-xddm-0.1.24/2k8R2/amd64/qxl.inf", "2k8R2", AMD64, DISPLAY, (6, 1, 0, 10024),
        ("NTAMD64",), (("PCI\\VEN_1b36&DEV_0100&SUBSYS_11001af4",),),
        (("qxl", "", 3, 0, "Video"),), (("qxl.sys", DRIVERS), ("qxldd.dll", SYSTEM32)),
        settings=(
            ("", "InstalledDisplayDrivers", R.multi_sz(["qxldd"])),
            ("", "VgaCompatible", R.dword(0)),
            ("", "DefaultSettings.BitsPerPel", R.dword(32)),
            ("", "DefaultSettings.XResolution", R.dword(800)),
            ("", "DefaultSettings.YResolution", R.dword(600)),
            ("", "Acceleration.Level", R.dword(0)),
        ),
    ),
    Expected(
        "qxl-wddm-dod-0.21/w8/x86/qxldod.inf", "w8", X86, DISPLAY, (10, 0, 0, 21000),
        ("NTx86.6.2",), (("PCI\\VEN_1B36&DEV_0100&SUBSYS_11001AF4",),),
        (("QxlDod", "", 3, 0, ""),), (("qxldod.sys", DRIVERS),), event_log=DISK_LOG,
        software=(("", "VgaCompatible", R.dword(0)),),
    ),
)  # fmt: skip


def lines(entries: tuple[InfRegistryValue, ...]) -> tuple[Line, ...]:
    assert all(entry.root == "HKR" for entry in entries)
    return tuple((entry.subkey, entry.name, entry.value) for entry in entries)


@pytest.mark.parametrize("expected", TABLE, ids=lambda expected: str(expected.path))
def test_published_inf(expected: Expected, shared_data: Path) -> None:
    file = shared_data / "drivers" / expected.path
    version = windows(expected.release, expected.architecture)
    package = read_package(file.name, file.read_bytes(), version)
    assert (package.class_name, package.class_guid.lower()) == expected.device_class
    assert package.driver_version == expected.version
    assert package.decorations == expected.decorations
    assert (
        tuple((model.hardware_id, *model.compatible_ids) for model in package.models)
        == expected.ids
    )
    services = package.services
    assert (
        tuple(
            (s.name, s.display_name, s.start_type, s.error_control, s.load_order_group)
            for s in services
        )
        == expected.services
    )
    assert all(s.service_type == 1 and s.is_function_driver for s in services)
    assert {s.binary.below_windows for s in services} == {
        f"{place}\\{name}" for name, place in expected.files if name.endswith(".sys")
    }
    install = package.install_for(package.models[0])
    copied = [file for each in package.installs for file in each.copy_files]
    assert [file.path.below_windows for file in copied] == [
        f"{place}\\{name}" for name, place in expected.files
    ]
    assert all(file.source == file.target for file in copied)
    assert [file.path.below_windows for file in install.coinstaller_files] == [
        f"system32\\{name}" for name in expected.coinstaller_files
    ]
    log = services[0].event_log
    assert lines(services[0].registry) == expected.service_values
    assert lines(log.registry if log else ()) == expected.event_log
    assert lines(install.hardware_registry) == expected.hardware
    assert lines(install.software_registry) == expected.software
    assert lines(install.software_settings) == expected.settings
    assert lines(install.coinstaller_registry) == expected.coinstaller
    assert install.kmdf_library_version == expected.framework
