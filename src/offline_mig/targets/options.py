"""What the user chooses about a target machine, and what the guest is ready for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from offline_mig.targets.devices import (
    DEFAULT_NETWORK,
    Attachment,
    DiskBus,
    Graphics,
    MachineType,
    VideoModel,
)
from offline_mig.targets.processors import HOST_MODEL


class TargetKind(StrEnum):
    """What a machine is written down for."""

    LIBVIRT = "libvirt"
    PROXMOX = "proxmox"
    KUBEVIRT = "kubevirt"
    QEMU = "qemu"


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What the user may choose; the defaults suit most.

    ``machine_type`` None lets the Windows version decide, ``video`` None its drivers and the way to
    the screen, ``tpm`` None the source. ``processor`` is a model by its name, or one of the two
    ways to have the host's. ``networks`` are what the network cards are plugged into, in order,
    the last one for all that follow; ``network_map`` goes before it for cards on a network of the
    source. ``resolution`` is the largest wanted screen in pixels, width before height.
    """

    machine_type: MachineType | None = None
    disk_bus: DiskBus = DiskBus.VIRTIO
    processor: str = HOST_MODEL
    networks: tuple[Attachment, ...] = (DEFAULT_NETWORK,)
    network_map: tuple[tuple[str, Attachment], ...] = ()
    graphics: Graphics = Graphics.SPICE
    video: VideoModel | None = None
    tpm: bool | None = None
    resolution: tuple[int, int] = (1920, 1080)


@dataclass(frozen=True, slots=True)
class DriversInPlace:
    """Which drivers the guest has when it first starts; by default all of them.

    ``block`` is viostor, ``scsi`` vioscsi, ``network`` netkvm, ``serial`` vioser, ``video`` QXL,
    ``gpu`` viogpudo. ``modern`` is whether they know the ids of VirtIO 1.0 devices, 1AF4:1041 and
    up; drivers of NT 5 are taken to know none, whatever it says. ``secure_boot`` is whether Windows
    starts with those of its disks while the firmware insists on signatures.
    """

    block: bool = True
    scsi: bool = True
    network: bool = True
    balloon: bool = True
    serial: bool = True
    rng: bool = True
    video: bool = True
    gpu: bool = True
    modern: bool = True
    secure_boot: bool = True
