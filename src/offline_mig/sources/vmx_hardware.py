"""The machine that a VMX file describes, as far as a conversion carries it over.

Defaults are those of VMware as libvirt's src/vmx/vmx.c has them: 32 MiB of memory, one virtual
CPU, and no device unless its ``present`` is TRUE, nor a disk whose controller is not present.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.machine import MOST_MEMORY, MOST_VCPUS, Bus, Drive, Firmware, Nic
from offline_mig.sources.display_name import display_name
from offline_mig.sources.vmx import VmxValues

DEFAULT_MEMORY = 32
#: VMware's sound card where virtualDev does not say which.
_DEFAULT_SOUND = "es1371"
#: vmxnet with this value of ``features`` is the second generation of the card.
_VMXNET2_FEATURES = "15"

_DEVICE = re.compile(r"(ide|scsi|sata|nvme)(\d{1,3}):(\d{1,3})\.present")
_NIC = re.compile(r"ethernet(\d{1,3})\.present")
_FLOPPY = re.compile(r"floppy(\d{1,2})\.present")
_PASSTHROUGH = re.compile(r"pcipassthru\d{1,3}\.present")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_CD_TYPES = {"cdrom-image", "atapi-cdrom", "cdrom-raw", "cdrom"}
_DISK_TYPES = {"scsi-harddisk", "ata-harddisk", "sata-harddisk", "nvme-harddisk", "disk"}
#: A disk whose descriptor points at a device; the descriptor is judged when it is opened.
_MAPPED_TYPES = {"rawdisk", "scsi-passthru-rdm", "scsi-nonpassthru-rdm"}
#: What stands for an empty drive, and for "whatever drive the host has".
_NO_MEDIUM = {"emptybackingstring", "auto detect", ""}
#: Devices that are named in a note when they are there, by the start of their key.
_NOT_CARRIED = (
    (re.compile(r"serial\d{1,2}\.present"), "serial port"),
    (re.compile(r"parallel\d{1,2}\.present"), "parallel port"),
    (re.compile(r"sharedfolder\d{1,3}\.present"), "shared folder"),
)


@dataclass(frozen=True, slots=True)
class VmxDisk:
    """A hard disk of a VMX file. ``file_name`` is as it stands there.

    ``redo`` is the file with the changes of a disk that can take them back (undoable, append).
    """

    key: str
    bus: Bus
    controller: int
    unit: int
    file_name: str
    controller_model: str | None = None
    redo: str | None = None


@dataclass(frozen=True, slots=True)
class VmxHardware:
    """What a VMX file describes; the fields are those of Machine.

    ``suspended_state`` is the file with the memory of a suspended machine. ``encrypted`` means
    that VMware encrypted the VMX file, so that nothing else of it can be read.
    """

    name: str | None
    disks: tuple[VmxDisk, ...]
    memory: int = DEFAULT_MEMORY
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
    suspended_state: str | None = None
    encrypted: bool = False
    notes: tuple[str, ...] = ()


def read_hardware(vmx: VmxValues) -> VmxHardware:
    """Interpret the values of a VMX file. Raises SourceUnreadableError for nonsense in them."""
    notes = list(vmx.notes)
    disks, drives = _storage(vmx, notes)
    memory = vmx.number("memsize", MOST_MEMORY)
    if not memory:
        memory = DEFAULT_MEMORY
        notes.append(f"The VMX file states no memory; VMware's default, {memory} MiB, was taken.")
    vcpus = vmx.number("numvcpus", MOST_VCPUS) or 1
    firmware = _firmware(vmx, notes)
    _note_what_is_left_out(vmx, notes)
    return VmxHardware(
        name=display_name(vmx.text("displayName")),
        disks=disks,
        memory=memory,
        vcpus=vcpus,
        cores_per_socket=_cores_per_socket(vmx, vcpus, notes),
        firmware=firmware,
        secure_boot=firmware is Firmware.UEFI and vmx.flag("uefi.secureBoot.enabled"),
        tpm=_has_tpm(vmx),
        uuid=_uuid(vmx, notes),
        guest_os=vmx.text("guestOS"),
        nics=tuple(_nics(vmx, notes)),
        drives=drives,
        sound=_sound(vmx),
        suspended_state=vmx.text("checkpoint.vmState"),
        encrypted=any(key.startswith("encryption.") for key in vmx.values),
        notes=tuple(notes),
    )


def _firmware(vmx: VmxValues, notes: list[str]) -> Firmware:
    word = (vmx.text("firmware") or "bios").lower()
    if word == "efi":
        return Firmware.UEFI
    if word != "bios":
        notes.append(f'The VMX file states the unknown firmware "{word}"; BIOS was assumed.')
    return Firmware.BIOS


def _cores_per_socket(vmx: VmxValues, vcpus: int, notes: list[str]) -> int | None:
    cores = vmx.number("cpuid.coresPerSocket", MOST_VCPUS)
    if not cores:
        return None
    if vcpus % cores:
        notes.append(
            f"{vcpus} virtual CPUs cannot be divided into sockets of {cores} cores; the division "
            "was left out."
        )
        return None
    return cores


def _uuid(vmx: VmxValues, notes: list[str]) -> str | None:
    """Return uuid.bios in canonical form, in the byte order in which the file has it."""
    value = vmx.text("uuid.bios")
    if value is None:
        return None
    digits = re.sub(r"[\s-]", "", value).lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        notes.append(f'The VMX file has an invalid uuid.bios, "{value}"; it was left out.')
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _sound(vmx: VmxValues) -> str | None:
    if not vmx.flag("sound.present"):
        return None
    return (vmx.text("sound.virtualDev") or _DEFAULT_SOUND).lower()


def _indexes(vmx: VmxValues, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """Yield the key before ``.present`` and the number in it, for devices that are present."""
    found = {
        int(match[1]): key.removesuffix(".present")
        for key in vmx.values
        if (match := pattern.fullmatch(key)) and vmx.flag(key)
    }
    for number in sorted(found):
        yield found[number], number


def _storage(vmx: VmxValues, notes: list[str]) -> tuple[tuple[VmxDisk, ...], tuple[Drive, ...]]:
    disks: list[VmxDisk] = []
    drives: list[Drive] = []
    matches = (_DEVICE.fullmatch(key) for key in vmx.values)
    places = sorted((list(Bus).index(Bus(m[1])), int(m[2]), int(m[3]), m[0]) for m in matches if m)
    for bus_order, controller, unit, present in places:
        bus = list(Bus)[bus_order]
        key = present.removesuffix(".present")
        adapter = key.partition(":")[0]
        file_name = vmx.text(f"{key}.fileName")
        if not vmx.flag(present):
            continue
        if bus is not Bus.IDE and not vmx.flag(f"{adapter}.present"):
            notes.append(
                f"{key} hangs on the controller {adapter}, which is not present; it was left out."
            )
            continue
        device_type = (vmx.text(f"{key}.deviceType") or "").lower()
        if _is_cd(device_type, file_name):
            drives.append(Drive(bus, controller, unit, _medium(vmx, key, file_name)))
        elif device_type and device_type not in _DISK_TYPES | _MAPPED_TYPES:
            notes.append(f'{key} is of type "{device_type}"; it was left out.')
        elif file_name is None:
            notes.append(f"{key} is a disk without a file; it was left out.")
        else:
            model = vmx.text(f"{adapter}.virtualDev")
            forgets = "nonpersistent" in (vmx.text(f"{key}.mode") or "").lower()
            redo = None if forgets else vmx.text(f"{key}.redo")
            model = model and model.lower()
            disks.append(VmxDisk(key, bus, controller, unit, file_name, model, redo))
            if forgets:
                notes.append(
                    f"{key} forgets its changes at power-off under VMware (nonpersistent); it "
                    "becomes an ordinary disk."
                )
    for key, number in _indexes(vmx, _FLOPPY):
        drives.append(Drive(Bus.FLOPPY, 0, number, _medium(vmx, key, vmx.text(f"{key}.fileName"))))
    return tuple(disks), tuple(drives)


def _is_cd(device_type: str, file_name: str | None) -> bool:
    if device_type:
        return device_type in _CD_TYPES
    # Workstation writes no deviceType for a hard disk; a CD-ROM drive has one, but files that
    # were edited by hand may lack it.
    name = (file_name or "").lower()
    return name.endswith(".iso") or name == "auto detect"


def _medium(vmx: VmxValues, key: str, file_name: str | None) -> str | None:
    if vmx.flag(f"{key}.clientDevice") or file_name is None:
        return None
    return None if file_name.lower() in _NO_MEDIUM else file_name


def _nics(vmx: VmxValues, notes: list[str]) -> Iterator[Nic]:
    for key, number in _indexes(vmx, _NIC):
        model = vmx.text(f"{key}.virtualDev")
        model = model and model.lower()
        if model == "vmxnet" and vmx.text(f"{key}.features") == _VMXNET2_FEATURES:
            model = "vmxnet2"
        attachment = vmx.text(f"{key}.connectionType")
        yield Nic(
            index=number,
            model=model,
            mac=_mac(vmx, key, notes),
            attachment=attachment and attachment.lower(),
            network=vmx.text(f"{key}.networkName")
            or vmx.text(f"{key}.vnet")
            or vmx.text(f"{key}.dvs.portgroupId"),
            pci_slot=_pci_slot(vmx, key),
            connected=(vmx.text(f"{key}.startConnected") or "").lower() != "false",
        )


def _pci_slot(vmx: VmxValues, key: str) -> int | None:
    """Return pciSlotNumber; -1 and 0 stand for none yet."""
    text = vmx.text(f"{key}.pciSlotNumber") or ""
    return int(text) if re.fullmatch("[1-9][0-9]{0,5}", text) else None


def _mac(vmx: VmxValues, key: str, notes: list[str]) -> str | None:
    static = vmx.text(f"{key}.address")
    generated = vmx.text(f"{key}.generatedAddress")
    is_static = (vmx.text(f"{key}.addressType") or "").lower() == "static"
    address = (static or generated) if is_static else (generated or static)
    if address is None:
        notes.append(
            f"{key} has no MAC address yet; the guest will take it for a new network card."
        )
        return None
    mac = address.lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        notes.append(f'{key} has an invalid MAC address, "{address}"; it was left out.')
        return None
    return mac


def _has_tpm(vmx: VmxValues) -> bool:
    """Tell whether there is a virtual TPM.

    Workstation and Fusion keep one in software where ``managedvm.autoAddVTPM`` is "software",
    which needs no encrypted machine; ``vtpm.present`` is what all products write.
    """
    added = (vmx.text("managedvm.autoAddVTPM") or "").lower()
    return vmx.flag("vtpm.present") or added == "software"


def _note_what_is_left_out(vmx: VmxValues, notes: list[str]) -> None:
    for pattern, words in _NOT_CARRIED:
        count = sum(1 for key in vmx.values if pattern.fullmatch(key) and vmx.flag(key))
        if count:
            notes.append(
                f"The machine has {count} {words}{'s' if count > 1 else ''}, not carried over."
            )
    if any(_PASSTHROUGH.fullmatch(key) and vmx.flag(key) for key in vmx.values):
        notes.append(
            "The machine uses PCI devices of its host directly; they are not carried over."
        )
    if _has_tpm(vmx):
        notes.append(
            "The machine has a virtual TPM, whose content cannot be carried over: BitLocker will "
            "ask for its recovery key, and Windows Hello has to be set up again."
        )
