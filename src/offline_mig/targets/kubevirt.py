"""The target machine for KubeVirt: a VirtualMachine, and a DataVolume for each of its disks.

The fields are those of KubeVirt's API (kubevirt.io/v1) and of its Containerized Data Importer
(cdi.kubevirt.io/v1beta1).
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from offline_mig.errors import OutputRefusedError
from offline_mig.machine import Firmware
from offline_mig.targets.devices import DiskBus, DiskDevice, NicDevice, SoundModel, VideoModel
from offline_mig.targets.hardware import SPINLOCK_RETRIES, TargetMachine
from offline_mig.targets.identity import dns_label
from offline_mig.targets.limits import has_modern_ids, kubevirt_networks
from offline_mig.targets.options import TargetKind

#: The disk buses by KubeVirt's names; it has no IDE.
_BUSES = {DiskBus.VIRTIO: "virtio", DiskBus.VIRTIO_SCSI: "scsi"}
#: Where KubeVirt's name of an enlightenment is not libvirt's.
_HYPERV_NAMES = {"stimer": "synictimer"}
#: The other models that are planned are not among those that KubeVirt takes.
_SOUND = {SoundModel.AC97: "ac97", SoundModel.ICH6: "ich9", SoundModel.ICH9: "ich9"}
#: Seconds that Windows is given to shut down before it is switched off: the hour of KubeVirt's own
#: templates for Windows, since it may be installing updates.
_SHUTDOWN_SECONDS = 3600
#: What YAML 1.1 takes for no character, or for the end of a comment.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def kubevirt_yaml(target: TargetMachine) -> str:
    """Return the documents that ``kubectl apply`` takes, with what to do about them as comments.

    The disks come from an upload; a comment tells how they can come from a web server instead.
    Raises OutputRefusedError for a path that a comment cannot hold.
    """
    # Loading it takes 0.01 s, which conversions for other targets do without.
    import yaml

    documents = [*(_data_volume(target, disk) for disk in _disks(target)), _machine(target)]
    text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    return "".join(f"# {line}".rstrip() + "\n" for line in _comments(target)) + "---\n" + text


def kubevirt_commands(target: TargetMachine, document: str) -> tuple[str, ...]:
    """Return the commands that bring a machine up whose documents are in the file ``document``."""
    uploads = (
        f"virtctl image-upload dv {name} --no-create --image-path={shlex.quote(str(disk.path))}"
        for name, disk in _disks(target)
    )
    return (
        f"kubectl apply -f {shlex.quote(document)}",
        *uploads,
        f"virtctl start {dns_label(target.name)}",
    )


def _comments(target: TargetMachine) -> tuple[str, ...]:
    name = dns_label(target.name)
    for disk in target.disks:
        if _UNWRITABLE.search(str(disk.path)):
            raise OutputRefusedError(
                f"{str(disk.path)!r} has characters that no comment can hold.",
                "Choose an output path without control characters and in valid UTF-8.",
            )
    return (
        f"{target.name}, converted by offline-mig, for KubeVirt. To bring it up:",
        "",
        *(f"  {command}" for command in kubevirt_commands(target, f"{name}.kubevirt.yaml")),
        "",
        "Disks from a web server instead of an upload: replace 'upload: {}' of a DataVolume by",
        "",
        "  http:",
        "    url: https://SERVER/DISK",
        "",
    )


def _disks(target: TargetMachine) -> tuple[tuple[str, DiskDevice], ...]:
    """Return the disks by the names of their DataVolumes."""
    # The number must survive when the name is cut.
    stem = dns_label(target.name)[:50].strip("-")
    return tuple(
        (f"{stem}-disk{number}", disk) for number, disk in enumerate(target.disks, start=1)
    )


def _data_volume(target: TargetMachine, volume: tuple[str, DiskDevice]) -> dict[str, Any]:
    name, disk = volume
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {
            "name": name,
            # Or a storage that waits for the machine's node would hold up the upload.
            "annotations": {"cdi.kubevirt.io/storage.bind.immediate.requested": "true"},
            "labels": {"app": dns_label(target.name)},
        },
        "spec": {
            "source": {"upload": {}},
            # "storage" rather than "pvc": the importer itself adds what a file system takes.
            "storage": {"resources": {"requests": {"storage": str(disk.size)}}},
        },
    }


def _machine(target: TargetMachine) -> dict[str, Any]:
    name = dns_label(target.name)
    networks = kubevirt_networks(target)
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            # Nothing starts before the disks are there.
            "runStrategy": "Halted",
            "template": {
                "metadata": {"labels": {"app": name, "kubevirt.io/domain": name}},
                "spec": {
                    "terminationGracePeriodSeconds": _SHUTDOWN_SECONDS,
                    "architecture": "amd64",
                    "domain": {
                        "machine": {"type": "q35"},
                        "cpu": {
                            "model": target.processor,
                            "sockets": target.processors.sockets,
                            "cores": target.processors.cores,
                            "threads": 1,
                        },
                        "memory": {"guest": f"{target.memory}Mi"},
                        "firmware": _firmware(target),
                        "features": _features(target),
                        "clock": _clock(target),
                        "devices": _devices(target),
                    },
                    "networks": [
                        {"name": f"net{index}"}
                        | ({"pod": {}} if name is None else {"multus": {"networkName": name}})
                        for index, name in enumerate(networks)
                    ],
                    "volumes": [
                        {"name": f"disk{number}", "dataVolume": {"name": name}}
                        for number, (name, _) in enumerate(_disks(target), start=1)
                    ],
                },
            },
        },
    }


def _firmware(target: TargetMachine) -> dict[str, Any]:
    firmware: dict[str, Any] = {}
    if target.uuid is not None:
        firmware["uuid"] = target.uuid
    uefi = target.firmware is Firmware.UEFI
    # Left out, Secure Boot would be on.
    firmware["bootloader"] = {"efi": {"secureBoot": target.secure_boot}} if uefi else {"bios": {}}
    return firmware


def _features(target: TargetMachine) -> dict[str, Any]:
    features: dict[str, Any] = {"acpi": {}, "apic": {}}
    if target.enlightenments:
        hyperv: dict[str, Any] = {_HYPERV_NAMES.get(n, n): {} for n in target.enlightenments}
        hyperv["spinlocks"] = {"spinlocks": SPINLOCK_RETRIES}
        features["hyperv"] = hyperv
    if target.secure_boot:
        features["smm"] = {"enabled": True}
    return features


def _clock(target: TargetMachine) -> dict[str, Any]:
    names = {"hypervclock": "hyperv"}
    timers: dict[str, dict[str, Any]] = {}
    for timer in target.timers:
        entry = timers.setdefault(names.get(timer.name, timer.name), {})
        if timer.tick_policy is not None:
            entry["tickPolicy"] = timer.tick_policy
        if timer.present is not None:
            entry["present"] = timer.present
    return {"utc": {}, "timer": timers}


def _devices(target: TargetMachine) -> dict[str, Any]:
    devices: dict[str, Any] = {
        "useVirtioTransitional": not has_modern_ids(target, TargetKind.KUBEVIRT),
        "autoattachMemBalloon": target.balloon,
        "disks": [_disk(target, disk, number) for number, disk in enumerate(target.disks, start=1)],
        "interfaces": [_interface(target, nic, index) for index, nic in enumerate(target.nics)],
        "inputs": [{"name": "tablet", "type": "tablet", "bus": "usb"}],
    }
    if not target.nics:
        # Left out, KubeVirt would add one.
        devices["autoattachPodInterface"] = False
    if target.rng:
        devices["rng"] = {}
    if target.video.model is VideoModel.VIRTIO:
        devices["video"] = {"type": "virtio"}
    if target.sound is not None:
        devices["sound"] = {"name": "sound", "model": _SOUND[target.sound]}
    if target.tpm:
        # Not persistent it would forget BitLocker's keys whenever the machine is switched off.
        devices["tpm"] = {"persistent": True}
    return devices


def _disk(target: TargetMachine, disk: DiskDevice, number: int) -> dict[str, Any]:
    return {
        "name": f"disk{number}",
        "disk": {"bus": _BUSES[target.disk_bus]},
        "bootOrder": disk.boot_order,
        "serial": disk.serial,
    }


def _interface(target: TargetMachine, nic: NicDevice, index: int) -> dict[str, Any]:
    on_pods = kubevirt_networks(target)[index] is None
    entry: dict[str, Any] = {
        "name": f"net{index}",
        "model": str(nic.model),
        "masquerade" if on_pods else "bridge": {},
    }
    if nic.mac is not None:
        entry["macAddress"] = nic.mac
    if nic.slot is not None:
        entry["pciAddress"] = f"0000:00:{nic.slot:02x}.0"
    return entry
