r"""The CriticalDeviceDatabase: which service drives a device found while Windows boots.

Windows 2000 to 7 look a boot device up in ``Control\CriticalDeviceDatabase`` by its hardware and
compatible ids, with ``#`` for the backslash. The best match wins, right or wrong. Windows 8 and
later use the DriverDatabase instead.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Class hdc, IDE ATA/ATAPI controllers (Microsoft, "System-defined device setup classes").
CLASS_HDC = "{4D36E96A-E325-11CE-BFC1-08002BE10318}"
#: Class DiskDrive.
CLASS_DISK = "{4D36E967-E325-11CE-BFC1-08002BE10318}"

KEY = r"Control\CriticalDeviceDatabase"


@dataclass(frozen=True, slots=True)
class CriticalDevice:
    """One entry: the key's name and its two values."""

    device: str
    service: str
    class_guid: str


def key_name(hardware_id: str) -> str:
    r"""Return the key name for a hardware id: ``PCI\VEN_1AF4`` becomes ``pci#ven_1af4``."""
    return hardware_id.replace("\\", "#").lower()


def _ide(service: str, *devices: str) -> tuple[CriticalDevice, ...]:
    return tuple(CriticalDevice(device, service, CLASS_HDC) for device in devices)


#: All entries of Microsoft's KB 314082 ("You receive a Stop 0x0000007B error after you move the
#: Windows XP system disk to another computer"), which cover every IDE controller that Windows XP
#: knows: the channels, the disk, and the chips by PCI id. QEMU's PIIX3 is 8086:7010.
KB_314082 = (
    *_ide("atapi", "primary_ide_channel", "secondary_ide_channel", "*pnp0600", "*azt0502"),
    CriticalDevice("gendisk", "disk", CLASS_DISK),
    *_ide(
        "pciide",
        "pci#cc_0101",
        "pci#ven_0e11&dev_ae33",
        "pci#ven_1039&dev_0601",
        "pci#ven_1039&dev_5513",
        "pci#ven_1042&dev_1000",
        "pci#ven_105a&dev_4d33",
        "pci#ven_1095&dev_0640",
        "pci#ven_1095&dev_0646",
        "pci#ven_1095&dev_0646&rev_05",
        "pci#ven_1095&dev_0646&rev_07",
        "pci#ven_1095&dev_0648",
        "pci#ven_1095&dev_0649",
        "pci#ven_1097&dev_0038",
        "pci#ven_10ad&dev_0001",
        "pci#ven_10ad&dev_0150",
        "pci#ven_10b9&dev_5215",
        "pci#ven_10b9&dev_5219",
        "pci#ven_10b9&dev_5229",
        "pci#ven_1106&dev_0571",
    ),
    *_ide(
        "intelide",
        "pci#ven_8086&dev_1222",
        "pci#ven_8086&dev_1230",
        "pci#ven_8086&dev_2411",
        "pci#ven_8086&dev_2421",
        "pci#ven_8086&dev_7010",
        "pci#ven_8086&dev_7111",
        "pci#ven_8086&dev_7199",
    ),
)

#: The entries that the in-box mshdc.inf of Windows Vista and 7 makes for the controllers that
#: QEMU emulates: PIIX3 and PIIX4 IDE, any other IDE, and AHCI (class code 01 06 01).
NT6_EMULATED = (
    *_ide("atapi", "primary_ide_channel", "secondary_ide_channel"),
    *_ide("pciide", "pci#cc_0101"),
    *_ide("intelide", "pci#ven_8086&dev_7010", "pci#ven_8086&dev_7111"),
    *_ide("msahci", "pci#cc_010601"),
)
