"""The parts of a target machine, named as QEMU and libvirt name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from offline_mig.machine import Bus, DiskFormat


class MachineType(StrEnum):
    """The chipset, by the alias under which QEMU knows its newest version."""

    PC = "pc"
    """Intel 440FX of 1996: conventional PCI, IDE."""
    Q35 = "q35"
    """Intel Q35 of 2007: PCI Express, AHCI."""


class DiskBus(StrEnum):
    """How the disks are attached."""

    VIRTIO = "virtio"
    """One virtio-blk device for each disk; Windows drives it with viostor."""
    VIRTIO_SCSI = "virtio-scsi"
    """All disks behind a virtio-scsi controller; Windows drives it with vioscsi."""
    IDE = "ide"
    """The chipset's own IDE controller, emulated: for Windows 2000, which has no VirtIO driver."""


class NicModel(StrEnum):
    """Network cards: the paravirtual one, and those that some Windows brings a driver for."""

    VIRTIO = "virtio"
    RTL8139 = "rtl8139"
    E1000 = "e1000"
    E1000E = "e1000e"


class AttachmentKind(StrEnum):
    """What a network card can be on."""

    NETWORK = "network"
    """A virtual network of libvirt's, by its name."""
    BRIDGE = "bridge"
    """A bridge of the host."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a network card is plugged in."""

    kind: AttachmentKind
    name: str

    def __str__(self) -> str:
        return f'{self.kind} "{self.name}"'


#: What libvirt calls the network that it brings along.
DEFAULT_NETWORK = Attachment(AttachmentKind.NETWORK, "default")


class Graphics(StrEnum):
    """How the screen is reached from outside."""

    SPICE = "spice"
    """SPICE: clipboard, resizing, sound."""
    VNC = "vnc"
    """VNC, for hosts whose QEMU is built without SPICE."""


class VideoModel(StrEnum):
    """Video cards by libvirt's name for the model."""

    QXL = "qxl"
    """SPICE's own card, which Windows drives with qxl or qxldod."""
    VIRTIO = "virtio"
    """virtio-gpu, without 3D; Windows drives it with viogpudo."""
    VGA = "vga"
    """QEMU's standard VGA with the VESA extensions."""
    CIRRUS = "cirrus"
    """The Cirrus Logic GD5446 of 1996, which Windows 2000 and XP bring a driver for."""


class UsbController(StrEnum):
    """USB host controllers by libvirt's name for the model."""

    UHCI = "piix3-uhci"
    """USB 1.1."""
    EHCI = "ich9-ehci1"
    """USB 2.0, with its three UHCI companions for slower devices."""
    XHCI = "qemu-xhci"
    """USB 3.0."""


class SoundModel(StrEnum):
    """Sound cards by libvirt's name for the model."""

    AC97 = "ac97"
    ICH6 = "ich6"
    ICH9 = "ich9"


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """A converted disk image. ``path`` is absolute; ``format`` is what the file really is.

    ``size`` is what the guest sees of it, in bytes. ``boot`` marks the disk that Windows starts
    from; where no disk is marked, the first one is meant. Raises ValueError for a relative path,
    which would mean another file to every hypervisor.
    """

    path: Path
    format: DiskFormat
    size: int
    boot: bool = False

    def __post_init__(self) -> None:
        if not self.path.is_absolute():
            raise ValueError(f"The path of a disk must be absolute: {self.path}")


@dataclass(frozen=True, slots=True)
class DiskDevice:
    """A disk in its place. ``target`` is the device name (vda), ``boot_order`` counts from 1.

    ``size`` is in bytes. No other disk of the machine has its ``serial``.
    """

    path: Path
    format: DiskFormat
    size: int
    target: str
    boot_order: int
    serial: str


@dataclass(frozen=True, slots=True)
class CdromDrive:
    """An empty CD-ROM drive on the chipset's own controller, IDE or SATA."""

    target: str
    bus: Bus


@dataclass(frozen=True, slots=True)
class NicDevice:
    """A network card. ``mac`` is lower case with colons; None lets the hypervisor choose one.

    ``slot`` is the slot on the root bus that the card, or on q35 its port, has to have; None lets
    the hypervisor choose. A card that is not ``connected`` has its cable pulled.
    """

    model: NicModel
    attachment: Attachment
    mac: str | None = None
    slot: int | None = None
    connected: bool = True

    @property
    def bridge(self) -> str | None:
        """The host's bridge that it is on, None for a virtual network."""
        return self.attachment.name if self.attachment.kind is AttachmentKind.BRIDGE else None


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of the machine by libvirt's name; None leaves a property as it is by default.

    ``tick_policy`` says what becomes of ticks that the guest missed, ``present`` whether the
    machine has the timer at all.
    """

    name: str
    tick_policy: str | None = None
    present: bool | None = None
