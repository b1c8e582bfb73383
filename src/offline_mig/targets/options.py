"""What the user chooses about a target machine, and what the guest is ready for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from offline_mig.targets.devices import DiskBus, Graphics, MachineType


class TargetKind(StrEnum):
    """What a machine is written down for."""

    LIBVIRT = "libvirt"
    PROXMOX = "proxmox"
    KUBEVIRT = "kubevirt"
    QEMU = "qemu"


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What the user may choose; the defaults suit most.

    ``machine_type`` None lets the Windows version decide. ``bridge`` goes before ``network``.
    ``resolution`` is the largest wanted screen in pixels, width before height.
    """

    machine_type: MachineType | None = None
    disk_bus: DiskBus = DiskBus.VIRTIO
    network: str = "default"
    bridge: str | None = None
    graphics: Graphics = Graphics.SPICE
    resolution: tuple[int, int] = (1920, 1080)


@dataclass(frozen=True, slots=True)
class DriversInPlace:
    """Which drivers the guest has when it first starts; by default all of them.

    ``block`` is viostor, ``scsi`` vioscsi, ``network`` netkvm, ``serial`` vioser, ``video`` QXL.
    ``modern`` is whether they know the ids of VirtIO 1.0 devices, 1AF4:1041 and up; drivers of
    NT 5 are taken to know none, whatever it says.
    """

    block: bool = True
    scsi: bool = True
    network: bool = True
    balloon: bool = True
    serial: bool = True
    rng: bool = True
    video: bool = True
    modern: bool = True
