"""The target machine for Proxmox VE: its configuration file, and the commands that make it.

The syntax is that of qm.conf(5) and qm(1). The commands are the better way: they copy the disks
into a storage of Proxmox VE's and make the volumes for the firmware's variables and the TPM, which
a file alone cannot.
"""

from __future__ import annotations

import re
import shlex
from urllib.parse import quote

from offline_mig.errors import OutputRefusedError
from offline_mig.machine import Firmware
from offline_mig.targets.devices import (
    DiskBus,
    DiskDevice,
    MachineType,
    NicDevice,
    SoundModel,
    VideoModel,
)
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.identity import dns_label
from offline_mig.targets.limits import PROXMOX_SATA_DRIVES
from offline_mig.targets.processors import HOST_MODEL, HOST_PASSTHROUGH
from offline_mig.targets.video import VideoCard

#: The bridge that Proxmox VE's installer makes.
DEFAULT_BRIDGE = "vmbr0"
#: qm.conf(5) on ostype: the Windows that each of them stands for, by its virtio-win name.
_OS_TYPES = {
    "2k": "w2k",
    "xp": "wxp",
    "2k3": "w2k3",
    "vista": "wvista",
    "2k8": "w2k8",
    "w7": "win7",
    "2k8R2": "win7",
    "w8": "win8",
    "w8.1": "win8",
    "2k12": "win8",
    "2k12R2": "win8",
    "w10": "win10",
    "2k16": "win10",
    "2k19": "win10",
    "w11": "win11",
    "2k22": "win11",
    "2k25": "win11",
}
#: Every host since 2010 has it, machines can move between hosts, and Windows 11 finds the
#: instructions that it stops without.
_PROCESSORS = {HOST_MODEL: "x86-64-v2-AES", HOST_PASSTHROUGH: "host"}
_BUSES = {DiskBus.VIRTIO: "virtio", DiskBus.VIRTIO_SCSI: "scsi", DiskBus.IDE: "ide"}
_CARDS = {
    VideoModel.QXL: "qxl",
    VideoModel.VIRTIO: "virtio",
    VideoModel.VGA: "std",
    VideoModel.CIRRUS: "cirrus",
}
_SOUND = {
    SoundModel.AC97: "AC97",
    SoundModel.ICH6: "intel-hda",
    SoundModel.ICH9: "ich9-intel-hda",
}
#: Bytes of a serial number (qm.conf(5)).
_SERIAL_LENGTH = 20
#: A comma ends a value and there is no way around it; lone surrogates are no UTF-8.
_UNWRITABLE = re.compile("[,\x00-\x1f\x7f\ud800-\udfff]")
_BRIDGE = re.compile(r"[-_.A-Za-z0-9]+")
#: What a comment of the file keeps as it is; the rest is percent-encoded, as Proxmox VE does it.
_COMMENT_SAFE = " !\"#$&'()*+,-./:;<=>?@[]^_`{|}~\\"


def proxmox_conf(target: TargetMachine) -> str:
    """Return the text of ``/etc/pve/qemu-server/ID.conf``, with the disks where they are.

    Raises OutputRefusedError for a path or a bridge that the file's syntax cannot hold.
    """
    comment = (
        f"{target.name}, converted by offline-mig. The .proxmox.sh beside this file makes the "
        "machine with disks in a storage of Proxmox VE; this file takes them where they are."
    )
    settings = _settings(target) | {"boot": _boot(target)}
    for drive, disk in _drives(target):
        _require_sound(str(disk.path))
        # Without its name a path with an equals sign would be taken for another property.
        settings[drive] = f"file={disk.path},format={disk.format}{_drive_options(disk)}"
    for index, nic in enumerate(target.nics):
        settings[f"net{index}"] = f"{_card(nic)},bridge={_bridge(nic) or DEFAULT_BRIDGE}"
    lines = [f"{key}: {value}" for key, value in sorted(settings.items())]
    return "\n".join((f"#{quote(comment, safe=_COMMENT_SAFE)}", *lines)) + "\n"


def proxmox_script(target: TargetMachine) -> str:
    """Return a POSIX shell script that makes the machine on a node of Proxmox VE.

    It looks for the disks in its own folder. Raises OutputRefusedError as proxmox_conf() does.
    """
    create = ['qm create "$VMID"']
    create += [f"--{key} {shlex.quote(value)}" for key, value in sorted(_settings(target).items())]
    for index, nic in enumerate(target.nics):
        bridge = _bridge(nic) or "$BRIDGE"
        create.append(f'--net{index} "{_card(nic)},bridge={bridge}"')
    return "\n".join((*_head(target), " \\\n    ".join(create), *_volumes(target))) + "\n"


def _head(target: TargetMachine) -> tuple[str, ...]:
    """Return the beginning of the script: what can be chosen, and what is needed."""
    lines = [
        "#!/bin/sh",
        f"# Makes the machine {dns_label(target.name)} on this node of Proxmox VE; run it as root.",
        "# The disks are looked for beside this script and copied. Environment variables:",
        "#   VMID     number of the new machine (the next free one)",
        "#   STORAGE  where its disks go (local-lvm)",
        f"#   BRIDGE   what its network cards are on ({DEFAULT_BRIDGE})",
        "#   DISK1    the first disk, DISK2 the second and so on",
        "set -eu",
        "",
        "fail() {",
        "    printf '%s\\n' \"$0: $1\" >&2",
        "    exit 1",
        "}",
        'command -v qm >/dev/null || fail "qm is missing: run this on a node of Proxmox VE."',
        'here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)',
        "STORAGE=${STORAGE:-local-lvm}",
        f"BRIDGE=${{BRIDGE:-{DEFAULT_BRIDGE}}}",
    ]
    for number, disk in enumerate(target.disks, start=1):
        _require_sound(disk.path.name)
        lines += [
            f'[ -n "${{DISK{number}-}}" ] || DISK{number}=$here/{shlex.quote(disk.path.name)}',
            (
                f'[ -r "$DISK{number}" ] || fail "$DISK{number} cannot be read: name it with '
                f'DISK{number}."'
            ),
            (
                f'case $DISK{number} in *,*) fail "$DISK{number} has a comma, which qm takes for '
                f'an end: move it." ;; esac'
            ),
        ]
    return (*lines, "VMID=${VMID:-$(pvesh get /cluster/nextid)}", "")


def _volumes(target: TargetMachine) -> tuple[str, ...]:
    """Return the commands that give the new machine its volumes."""
    lines = [
        (
            "trap '[ $? -eq 0 ] || echo \"The machine $VMID is not complete; remove it with: "
            "qm destroy $VMID\" >&2' EXIT"
        ),
    ]
    if target.firmware is Firmware.UEFI:
        # Microsoft's keys switch Secure Boot on, which refuses drivers that are not signed.
        keys = int(target.secure_boot)
        lines.append(f'qm set "$VMID" --efidisk0 "$STORAGE:1,efitype=4m,pre-enrolled-keys={keys}"')
    if target.tpm:
        lines.append('qm set "$VMID" --tpmstate0 "$STORAGE:1,version=v2.0"')
    for number, (drive, disk) in enumerate(_drives(target), start=1):
        source = f"$STORAGE:0,import-from=$DISK{number}{_drive_options(disk)}"
        lines.append(f'qm set "$VMID" --{drive} "{source}"')
    lines.append(f'qm set "$VMID" --boot {shlex.quote(_boot(target))}')
    lines.append('echo "Made. To start it: qm start $VMID"')
    return tuple(lines)


def _settings(target: TargetMachine) -> dict[str, str]:
    """Return what the file and the commands have in common, by the keys of qm.conf(5)."""
    settings = {
        "bios": "ovmf" if target.firmware is Firmware.UEFI else "seabios",
        "cores": str(target.processors.cores),
        "cpu": _PROCESSORS.get(target.processor, target.processor),
        "localtime": _flag(target.local_time),
        "machine": str(target.machine_type),
        "memory": str(target.memory),
        "name": dns_label(target.name),
        "numa": "0",
        "ostype": _OS_TYPES.get(target.windows.release, "other"),
        # Left out the controller would be an LSI one, which Windows has no driver for.
        "scsihw": "virtio-scsi-pci",
        "sockets": str(target.processors.sockets),
        "tablet": "1",
        "tdf": _flag(any(timer.tick_policy == "catchup" for timer in target.timers)),
        "vga": _screen(target.video),
        # A generation id is one more device that old Windows asks a driver for.
        "vmgenid": "0",
    }
    if target.uuid is not None:
        settings["smbios1"] = f"uuid={target.uuid}"
    if not target.balloon:
        settings["balloon"] = "0"
    if target.rng:
        settings["rng0"] = "source=/dev/urandom"
    if target.sound is not None:
        # With any other card Proxmox VE has no SPICE to send sound by.
        driver = "spice" if target.video.model is VideoModel.QXL else "none"
        settings["audio0"] = f"device={_SOUND[target.sound]},driver={driver}"
    for drive in _cdroms(target):
        settings[drive] = "none,media=cdrom"
    return settings


def _screen(card: VideoCard) -> str:
    name = _CARDS[card.model]
    # A virtio-gpu has no memory of its own; the setting would limit the guest's pictures.
    return name if card.model is VideoModel.VIRTIO else f"{name},memory={card.framebuffer // 1024}"


def _drives(target: TargetMachine) -> tuple[tuple[str, DiskDevice], ...]:
    """Return the disks by the keys of their places."""
    prefix = _BUSES[target.disk_bus]
    return tuple((f"{prefix}{index}", disk) for index, disk in enumerate(target.disks))


def _cdroms(target: TargetMachine) -> tuple[str, ...]:
    if target.machine_type is MachineType.Q35:
        count = min(len(target.cdroms), PROXMOX_SATA_DRIVES)
        return tuple(f"sata{index}" for index in range(count))
    first = len(target.disks) if target.disk_bus is DiskBus.IDE else 0
    return tuple(f"ide{first + index}" for index in range(len(target.cdroms)))


def _drive_options(disk: DiskDevice) -> str:
    return f",discard=on,serial={quote(disk.serial[:_SERIAL_LENGTH], safe='')}"


def _card(nic: NicDevice) -> str:
    card = str(nic.model) if nic.mac is None else f"{nic.model}={nic.mac.upper()}"
    return card if nic.connected else f"{card},link_down=1"


def _bridge(nic: NicDevice) -> str | None:
    if nic.bridge is not None and not _BRIDGE.fullmatch(nic.bridge):
        raise OutputRefusedError(
            f'"{nic.bridge}" is no name of a bridge that Proxmox VE takes.',
            "Choose one with --network that has letters, digits, '.', '-' and '_' only.",
        )
    return nic.bridge


def _boot(target: TargetMachine) -> str:
    ordered = sorted(_drives(target), key=lambda place: place[1].boot_order)
    return "order=" + ";".join(drive for drive, _ in ordered)


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _require_sound(path: str) -> None:
    if _UNWRITABLE.search(path):
        raise OutputRefusedError(
            f"{path!r} has a comma or characters that the configuration of Proxmox VE cannot hold.",
            "Choose an output path and a --name without commas and control characters and in "
            "valid UTF-8.",
        )
