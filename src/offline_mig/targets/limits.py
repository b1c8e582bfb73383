"""What a target cannot give a machine, or gives otherwise than it was planned."""

from __future__ import annotations

import re
from collections.abc import Iterator

from offline_mig.errors import NoDriverError, OutputRefusedError
from offline_mig.machine import Firmware
from offline_mig.targets.devices import (
    DEFAULT_NETWORK,
    DiskBus,
    Graphics,
    MachineType,
    SoundModel,
    VideoModel,
)
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.identity import dns_label
from offline_mig.targets.options import TargetKind
from offline_mig.targets.processors import HOST_MODEL, HOST_PASSTHROUGH

#: Drives that Proxmox VE has numbers for, by bus (qm.conf(5): virtio0 to 15, scsi0 to 30, ide0
#: to 3).
PROXMOX_DRIVES = {DiskBus.VIRTIO: 16, DiskBus.VIRTIO_SCSI: 31, DiskBus.IDE: 4}
#: sata0 to sata5.
PROXMOX_SATA_DRIVES = 6
_NT6 = (6, 0)
_DEFINITION = re.compile(r"(?:[a-z0-9]+(?:-+[a-z0-9]+)*/)?[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


def has_modern_ids(target: TargetMachine, kind: TargetKind) -> bool:
    """Tell whether VirtIO devices show the ids of VirtIO 1.0 only, 1AF4:1041 and up.

    Proxmox VE puts them behind conventional PCI bridges on q35 too, where QEMU makes them
    transitional. KubeVirt runs what was planned for i440fx on q35, and is told to do the same.
    """
    planned = target.machine_type is MachineType.Q35 and not target.transitional
    return planned and kind is not TargetKind.PROXMOX


def target_limits(target: TargetMachine, kind: TargetKind) -> tuple[str, ...]:
    """Return sentences for the user on how the target departs from the planned machine.

    Raises NoDriverError for a Windows that has no driver for any disk of the target, and
    OutputRefusedError for more disks than the target takes.
    """
    limits = {
        TargetKind.LIBVIRT: _libvirt,
        TargetKind.PROXMOX: _proxmox,
        TargetKind.KUBEVIRT: _kubevirt,
        TargetKind.QEMU: _qemu,
    }
    return tuple(limits[kind](target))


def _libvirt(target: TargetMachine) -> Iterator[str]:
    if target.tpm:
        yield (
            "The libvirt domain has a TPM, for which the host needs swtpm (Debian, Ubuntu: with "
            "swtpm-tools); it does not start without."
        )


def _proxmox(target: TargetMachine) -> Iterator[str]:
    limit = PROXMOX_DRIVES[target.disk_bus]
    if len(target.disks) > limit:
        raise OutputRefusedError(
            f"The machine has {len(target.disks)} disks; Proxmox VE takes {limit} on the bus "
            f"{target.disk_bus}.",
            f"Choose the disk bus {DiskBus.VIRTIO_SCSI}, which takes "
            f"{PROXMOX_DRIVES[DiskBus.VIRTIO_SCSI]}, or leave data disks out.",
        )
    name = dns_label(target.name)
    if name != target.name:
        yield f'Proxmox VE takes host names only: the machine is called "{name}" there.'
    if target.processor not in (HOST_MODEL, HOST_PASSTHROUGH):
        yield (
            f'Proxmox VE has models of its own: if it does not know "{target.processor}", '
            "'pvesh get /nodes/localhost/capabilities/qemu/cpu' lists those that it does."
        )
    if any(nic.bridge is None for nic in target.nics):
        yield (
            "Proxmox VE has no libvirt networks: network cards that are not on a bridge are on "
            "vmbr0, unless BRIDGE or --network bridge=NAME names another."
        )
    if has_modern_ids(target, TargetKind.LIBVIRT):
        yield (
            "Proxmox VE puts VirtIO devices behind conventional PCI bridges, where they are "
            "transitional: they show the ids that drivers before VirtIO 1.0 know."
        )
    if len(target.cdroms) > PROXMOX_SATA_DRIVES:
        yield f"Only {PROXMOX_SATA_DRIVES} of the CD-ROM drives fit into Proxmox VE."
    if target.serial:
        yield (
            "The guest agent is switched off in Proxmox VE, which would wait for it at every "
            "shutdown: when it runs in the guest, 'qm set ID --agent 1'."
        )
    if target.firmware is Firmware.UEFI:
        yield (
            "The .conf for Proxmox VE names no disk for the firmware's variables"
            f"{', no keys for Secure Boot' if target.secure_boot else ''}"
            f"{' and no TPM' if target.tpm else ''}: they are volumes, which the .sh makes."
        )


def _kubevirt(target: TargetMachine) -> Iterator[str]:
    if target.disk_bus is DiskBus.IDE:
        raise NoDriverError(
            "KubeVirt has no IDE disks, and Windows 2000 has no driver for any that it has.",
            "Choose another target, such as --target libvirt.",
        )
    name = dns_label(target.name)
    if name != target.name:
        yield f'Kubernetes takes names of the DNS only: the machine is called "{name}" there.'
    if target.machine_type is MachineType.PC:
        yield (
            "KubeVirt runs the machine type q35 only, and the machine was written down as one with "
            "transitional VirtIO devices."
        )
        if target.windows.nt < _NT6:
            yield (
                "This Windows may stop with 0x000000A5 on q35. Where the QEMU in KubeVirt's "
                "virt-launcher still has i440fx, an administrator can allow it: add 'pc*' to "
                "spec.configuration.architectureConfiguration.amd64.emulatedMachines of the "
                "KubeVirt resource, then set spec.template.spec.domain.machine.type to 'pc'."
            )
    if target.local_time:
        yield (
            "KubeVirt's clock keeps UTC and this Windows expects local time: replace 'utc: {}' "
            "under clock by the guest's 'timezone:', such as Europe/Berlin, or set "
            "RealTimeIsUniversal in the guest."
        )
    if target.video.model is VideoModel.VIRTIO:
        yield "KubeVirt gives a machine a virtio-gpu where its feature gate VideoConfig is on."
    if target.graphics is Graphics.SPICE:
        yield "KubeVirt has VNC and no SPICE, and no QXL card."
    if target.cdroms:
        yield "KubeVirt was given no CD-ROM drive: it takes one with a medium only."
    if target.sound is SoundModel.ICH6:
        yield "The sound card is ich9 on KubeVirt, which has no ich6."
    yield from _kubevirt_network(target)
    yield from _connected_after_all(target, "KubeVirt")
    if target.tpm:
        yield (
            "The TPM keeps its state on a volume of the cluster's: KubeVirt wants a storage class "
            "for that (vmStateStorageClass, or the default one)."
        )


def _connected_after_all(target: TargetMachine, where: str) -> Iterator[str]:
    if not all(nic.connected for nic in target.nics):
        yield (
            f"{where} connects all network cards: disable those in the guest that are not "
            "connected in the source, or leave them out."
        )


def _kubevirt_network(target: TargetMachine) -> Iterator[str]:
    networks = kubevirt_networks(target)
    if None in networks:
        yield (
            "The first network card is on the network of the pods, behind address translation: a "
            "fixed IP address in the guest must give way to DHCP."
        )
    named = list(dict.fromkeys(f'"{network}"' for network in networks if network is not None))
    if named:
        yield (
            f"KubeVirt looks for the NetworkAttachmentDefinition {', '.join(named)} in the "
            "machine's namespace."
        )


def kubevirt_networks(target: TargetMachine) -> tuple[str | None, ...]:
    """Return where each network card goes on KubeVirt: a NetworkAttachmentDefinition's name.

    None is the network of the pods, which one card only can be on: the first, unless something
    else than the default network was chosen for it.
    """
    return tuple(
        None
        if index == 0 and nic.attachment == DEFAULT_NETWORK
        else _definition(nic.attachment.name)
        for index, nic in enumerate(target.nics)
    )


def _definition(name: str) -> str:
    """Return a name as it is where it can be that of a NetworkAttachmentDefinition.

    It may have a namespace before it, and dots (Kubernetes, "DNS subdomain names").
    """
    return name if _DEFINITION.fullmatch(name) else dns_label(name)


def _qemu(target: TargetMachine) -> Iterator[str]:
    yield from _connected_after_all(target, "The script for QEMU")
    if any(nic.bridge is None for nic in target.nics):
        yield (
            "The script for QEMU puts network cards that are not on a bridge behind QEMU's own "
            "address translation, which needs no rights; NET1 and so on name another way."
        )
    if target.tpm:
        yield "The script for QEMU starts an empty TPM 2.0 where swtpm is installed, else none."
