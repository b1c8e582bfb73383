"""The virtual machine as such: what any source describes and any target writes down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: Larger numbers in a source are a mistake or mischief: MiB of memory, and virtual CPUs. vSphere
#: ends at 24 TiB and 960 processors.
MOST_MEMORY = 64 * 1024 * 1024
MOST_VCPUS = 4096


class Firmware(StrEnum):
    """How the machine starts."""

    BIOS = "bios"
    UEFI = "uefi"


class Bus(StrEnum):
    """The kind of controller that a disk or drive hangs on."""

    IDE = "ide"
    SCSI = "scsi"
    SATA = "sata"
    NVME = "nvme"
    FLOPPY = "floppy"
    VIRTIO = "virtio"
    XEN = "xen"
    USB = "usb"


class DiskFormat(StrEnum):
    """Image formats by the name that qemu-img gives them."""

    VMDK = "vmdk"
    QCOW2 = "qcow2"
    RAW = "raw"
    VDI = "vdi"
    VHD = "vpc"
    VHDX = "vhdx"


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a file that an image is; both in bytes, multiples of 512 as qemu wants it."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class DiskImage:
    """One disk image whose every file has been looked at and found to be where it belongs.

    ``files`` are all files that the image consists of (descriptor, extents, parents), the one to
    open first; ``kind`` is the VMDK createType, or the format's name. ``virtual_size`` is in bytes
    and None where only qemu-img can tell. ``window`` says where in ``path`` an image lies that is
    a member of an archive, and ``member`` what it is called there. ``temporary`` are those of
    ``files`` that were made for the time of this run: unpacked, or a descriptor that was lacking.
    """

    path: Path
    format: DiskFormat
    kind: str
    files: tuple[Path, ...]
    virtual_size: int | None = None
    window: Window | None = None
    member: str | None = None
    temporary: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """A hard disk of the machine. ``controller`` and ``unit`` count from 0, as in ``scsi0:1``."""

    image: DiskImage
    bus: Bus
    controller: int
    unit: int
    controller_model: str | None = None


@dataclass(frozen=True, slots=True)
class Drive:
    """A CD-ROM or floppy drive; its medium is not carried over."""

    bus: Bus
    controller: int
    unit: int
    medium: str | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card. ``mac`` is lower case with colons, None when the source fixes none.

    ``attachment`` is bridged, nat, hostonly, custom or the like, as the source says it;
    ``network`` the name of the virtual switch or port group. ``pci_slot`` is VMware's number of
    the card's PCI slot. A card that is not ``connected`` has its cable pulled at the start.
    """

    index: int
    model: str | None = None
    mac: str | None = None
    attachment: str | None = None
    network: str | None = None
    pci_slot: int | None = None
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Machine:
    """A powered-off machine.

    ``memory`` is in MiB. ``uuid`` is the canonical lower-case text form. ``guest_os`` is the
    source's own word for the guest (VMware's ``guestOS``), a hint and no more. ``firmware_stated``
    is False where the source leaves the firmware open: only the disks know then. ``tpm`` says that
    it had a virtual TPM, whose content stays behind. ``other_files``
    are files that were read beside ``source`` and the disks. ``notes`` are sentences for the user
    about what was assumed or left out while reading.
    """

    name: str
    source: Path
    disks: tuple[Disk, ...]
    memory: int = 2048
    vcpus: int = 1
    cores_per_socket: int | None = None
    firmware: Firmware = Firmware.BIOS
    secure_boot: bool = False
    tpm: bool = False
    uuid: str | None = None
    guest_os: str | None = None
    nics: tuple[Nic, ...] = ()
    drives: tuple[Drive, ...] = ()
    sound: str | None = None
    firmware_stated: bool = True
    other_files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the user's that were read, each once; none that were made for this run."""
        images = [disk.image for disk in self.disks]
        of_disks = [f for image in images for f in image.files if f not in image.temporary]
        source = [self.source] if self.source.is_file() else []
        return tuple(dict.fromkeys([*of_disks, *source, *self.other_files]))
