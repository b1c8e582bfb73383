r"""The disk controllers that a virtual machine boots from, as Windows' bus drivers name them.

PCI device ids are in the order in which Windows tries them (Microsoft, "Identifiers for PCI
devices"): hardware ids from the most exact one, then compatible ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BootBus(StrEnum):
    """What the system disk hangs on."""

    VIRTIO = "virtio"
    VIRTIO_SCSI = "virtio-scsi"
    IDE = "ide"
    SATA = "sata"
    NVME = "nvme"


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCI function by its hexadecimal numbers, upper case; ``class_code`` has six digits."""

    vendor: str
    device: str
    subsystem: str
    revision: str
    class_code: str

    @property
    def enum_key(self) -> str:
        """The key that Windows makes for such devices below Enum."""
        return (
            rf"PCI\VEN_{self.vendor}&DEV_{self.device}&SUBSYS_{self.subsystem}&REV_{self.revision}"
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids of the device, the most exact one first."""
        card = rf"PCI\VEN_{self.vendor}&DEV_{self.device}"
        vendor = rf"PCI\VEN_{self.vendor}"
        wide, narrow = self.class_code, self.class_code[:4]
        return (
            self.enum_key,
            f"{card}&SUBSYS_{self.subsystem}",
            f"{card}&CC_{wide}",
            f"{card}&CC_{narrow}",
            f"{card}&REV_{self.revision}",
            card,
            f"{vendor}&CC_{wide}",
            f"{vendor}&CC_{narrow}",
            vendor,
            rf"PCI\CC_{wide}",
            rf"PCI\CC_{narrow}",
        )


@dataclass(frozen=True, slots=True)
class BootDevice:
    """A device on the way to the system disk.

    ``enum_key`` is the key below Enum that holds its instances, "" where its name cannot be
    known; ``ids`` are what it is looked up by, the most exact one first. ``driver`` is the service
    that should drive it. ``instance`` is the name of its own key below ``enum_key``, which stands
    for its slot; None where that is not known.
    """

    name: str
    enum_key: str
    ids: tuple[str, ...]
    driver: str
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class BootController:
    """The controller of the system disk in a machine to come, and what hangs on it.

    ``devices`` are met in this order; the first is the controller itself.
    """

    bus: BootBus
    devices: tuple[BootDevice, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.devices[0].name


#: QEMU's own subsystem id for devices that have none of their own (PCI_SUBVENDOR_ID_REDHAT_QUMRANET
#: and PCI_SUBDEVICE_ID_QEMU in QEMU's include/hw/pci/pci.h).
_QEMU = "11001AF4"
#: Class codes are those of QEMU's hw/virtio/virtio-pci.c, hw/ide/piix.c, hw/ide/ich.c and
#: hw/nvme/ctrl.c; the virtio ids are those of the VIRTIO specification 1.x, section 4.1.2.
_VIRTIO_BLOCK = PciDevice("1AF4", "1001", "00021AF4", "00", "010000")
_VIRTIO_BLOCK_MODERN = PciDevice("1AF4", "1042", _QEMU, "01", "010000")
_VIRTIO_SCSI = PciDevice("1AF4", "1004", "00081AF4", "00", "010000")
_VIRTIO_SCSI_MODERN = PciDevice("1AF4", "1048", _QEMU, "01", "010000")
_PIIX3_IDE = PciDevice("8086", "7010", _QEMU, "00", "010180")
_ICH9_AHCI = PciDevice("8086", "2922", _QEMU, "02", "010601")
_QEMU_NVME = PciDevice("1B36", "0010", _QEMU, "02", "010802")

#: The primary channel of an IDE controller, by the ids of mshdc.inf (Windows XP to 10).
_IDE_CHANNEL = BootDevice(
    "IDE channel",
    r"PCIIDE\IDEChannel",
    ("Primary_IDE_Channel", "Internal_IDE_Channel", "*PNP0600"),
    "atapi",
)
#: Any disk, by the last of its ids (disk.inf).
_DISK = BootDevice("disk", "", ("GenDisk",), "disk")


def boot_controller(
    bus: BootBus, *, modern: bool, nt: tuple[int, int], instance: str | None = None
) -> BootController:
    """Return QEMU's controller for a bus, with what hangs on it.

    ``modern`` says that VirtIO devices sit behind a PCI Express port and show no legacy ids.
    ``nt`` is the version of Windows, which decides the name of the driver for AHCI.
    """
    match bus:
        case BootBus.VIRTIO:
            pci, name, driver = _VIRTIO_BLOCK, "virtio-blk controller", "viostor"
            pci = _VIRTIO_BLOCK_MODERN if modern else pci
        case BootBus.VIRTIO_SCSI:
            pci, name, driver = _VIRTIO_SCSI, "virtio-scsi controller", "vioscsi"
            pci = _VIRTIO_SCSI_MODERN if modern else pci
        case BootBus.IDE:
            pci, name, driver = _PIIX3_IDE, "IDE controller (PIIX3)", "intelide"
        case BootBus.SATA:
            pci, name, driver = _ICH9_AHCI, "AHCI controller (ICH9)", "storahci"
            driver = "msahci" if nt < (6, 2) else driver
        case BootBus.NVME:
            pci, name, driver = _QEMU_NVME, "NVMe controller", "stornvme"
    controller = BootDevice(name, pci.enum_key, pci.ids, driver, instance)
    between = (_IDE_CHANNEL,) if bus is BootBus.IDE else ()
    return BootController(bus, (controller, *between, _DISK))
