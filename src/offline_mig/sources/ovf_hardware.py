"""The machine that an OVF describes, as far as a conversion carries it over.

Numbers of resource types are those of CIM_ResourceAllocationSettingData.ResourceType (DMTF,
CIM schema 2.22 and later); subtypes are the words of VMware's and VirtualBox's exports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import MOST_MEMORY, MOST_VCPUS, Bus, Drive, Firmware, Nic
from offline_mig.sources.display_name import display_name
from offline_mig.sources.file_access import shown
from offline_mig.sources.ovf import OvfDisk, OvfEnvelope, OvfItem, OvfSystem
from offline_mig.sources.ovf_units import amount_bytes

_OTHER, _PROCESSOR, _MEMORY, _IDE, _SCSI, _ETHERNET = 1, 3, 4, 5, 6, 10
_FLOPPY, _CD, _DVD, _DISK, _OTHER_STORAGE = 14, 15, 16, 17, 20
_SERIAL, _PARALLEL, _LOGICAL_DISK, _SOUND = 21, 22, 31, 35
_DISKS = {_DISK, _LOGICAL_DISK}
_NOT_CARRIED = {_SERIAL: "serial port", _PARALLEL: "parallel port"}

_MIB = 1024 * 1024
#: What is taken where the OVF does not say: enough for any Windows to start.
DEFAULT_MEMORY = 2048
_MOST_UNITS = 1024

#: Words of OVF for a controller, and those of a VMX file, which are used everywhere else.
_CONTROLLER_MODELS = {
    "lsilogicsas": "lsisas1068",
    "virtualscsi": "pvscsi",
    "vmware.sata.ahci": "ahci",
    "vmware.nvme.controller": "nvme",
}
_NIC_MODELS = {"pcnet32": "vlance"}
_HOST_RESOURCE = re.compile(r"(?:ovf:)?/*(disk|file)/(.+)")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class PlacedDisk:
    """A hard disk and the place that it has on a controller."""

    disk: OvfDisk
    bus: Bus
    controller: int
    unit: int
    controller_model: str | None = None


@dataclass(frozen=True, slots=True)
class OvfHardware:
    """What an OVF describes; the fields are those of Machine.

    ``firmware`` is None where the OVF leaves it open.
    """

    name: str | None
    disks: tuple[PlacedDisk, ...]
    memory: int
    vcpus: int
    cores_per_socket: int | None
    firmware: Firmware | None
    secure_boot: bool
    tpm: bool
    uuid: str | None
    guest_os: str | None
    nics: tuple[Nic, ...]
    drives: tuple[Drive, ...]
    sound: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Controller:
    bus: Bus
    number: int
    model: str | None


def read_hardware(envelope: OvfEnvelope) -> OvfHardware:
    """Interpret the system of an envelope. Raises SourceUnreadableError for nonsense in it."""
    notes: list[str] = []
    system = envelope.system
    if system.hardware_sections > 1:
        notes.append(
            f"The OVF offers {system.hardware_sections} sets of hardware; the first was taken."
        )
    _refuse_encrypted(system)
    items = _chosen(system.items, envelope.configuration, notes)
    vcpus = _vcpus(items, notes)
    controllers = dict(_controllers(items))
    disks, drives = _storage(envelope, items, controllers, notes)
    _note_unused_disks(envelope, disks, notes)
    firmware = _firmware(system, notes)
    _note_what_is_left_out(system, items, notes)
    box = system.virtualbox
    return OvfHardware(
        name=display_name(system.name) or display_name(system.id),
        disks=disks,
        memory=_memory(items, notes),
        vcpus=vcpus,
        cores_per_socket=_cores_per_socket(items, vcpus, notes),
        firmware=firmware,
        secure_boot=firmware is Firmware.UEFI and _secure_boot(system),
        tpm=_has_tpm(system, items),
        uuid=box.uuid if box else None,
        guest_os=system.guest_os or (box.os_type if box else None),
        nics=tuple(_nics(system, items, notes)),
        drives=drives,
        sound=_sound(system, items),
        notes=tuple(notes),
    )


def _refuse_encrypted(system: OvfSystem) -> None:
    if system.virtualbox is not None and system.virtualbox.encrypted:
        raise SourceUnreadableError(
            "A disk of the OVF is encrypted by VirtualBox.",
            "Remove the encryption in the machine's settings, then export it again.",
        )


def _chosen(
    items: Sequence[OvfItem], configuration: str | None, notes: list[str]
) -> tuple[OvfItem, ...]:
    """Return the hardware of the default configuration.

    An item that is bound to configurations takes the place of the one with its number that is
    not (DSP0243, 9.8); minima and maxima are no hardware (8.4). Raises SourceUnreadableError for
    two with one number otherwise: which of them others hang on cannot be known.
    """
    chosen: dict[str, OvfItem] = {}
    plain = [item for item in items if item.bound in {None, "normal"}]
    unbound = [item for item in plain if not item.configurations]
    ours = [item for item in plain if configuration and configuration in item.configurations]
    for group in (unbound, ours):
        numbers = Counter(item.instance for item in group if item.instance)
        for number, count in numbers.items():
            if count > 1:
                raise SourceUnreadableError(
                    f"The OVF has {count} pieces of hardware with the InstanceID "
                    f'"{shown(number)[:40]}".',
                    "Give each a number of its own in a copy of the OVF, or export the machine "
                    "again.",
                )
    for order, item in enumerate(unbound + ours):
        # Items without a number are all different.
        chosen[item.instance or f"#{order}"] = item
    if configuration and any(item.configurations for item in plain):
        notes.append(
            "The OVF offers several configurations; its default, "
            f'"{shown(configuration)}", was taken.'
        )
    return tuple(chosen.values())


def _of_type(items: Sequence[OvfItem], *types: int) -> list[OvfItem]:
    return [item for item in items if item.resource_type in types]


def _memory(items: Sequence[OvfItem], notes: list[str]) -> int:
    """Return the memory in MiB."""
    for item in _of_type(items, _MEMORY):
        # OVF 0.9 leaves the unit out now and then and means MiB.
        amount = amount_bytes(item.quantity, item.units or "MegaBytes")
        if amount is None or not _MIB <= amount <= MOST_MEMORY * _MIB:
            raise SourceUnreadableError(
                f'The OVF states a memory of "{shown(item.quantity or "")[:40]}" '
                f'"{shown(item.units or "")[:40]}", which cannot be understood.',
                'Write a number and the unit "byte * 2^20" into a copy of the OVF.',
            )
        return amount // _MIB
    notes.append(f"The OVF states no memory; {DEFAULT_MEMORY} MiB were taken.")
    return DEFAULT_MEMORY


def _vcpus(items: Sequence[OvfItem], notes: list[str]) -> int:
    for item in _of_type(items, _PROCESSOR):
        count = _small_number(item.quantity, MOST_VCPUS)
        if not count:
            raise SourceUnreadableError(
                f'The OVF states "{shown(item.quantity or "")[:40]}" virtual CPUs, which cannot be '
                "understood.",
                "Write a whole number into a copy of the OVF.",
            )
        return count
    notes.append("The OVF states no number of virtual CPUs; one was taken.")
    return 1


def _cores_per_socket(items: Sequence[OvfItem], vcpus: int, notes: list[str]) -> int | None:
    for item in _of_type(items, _PROCESSOR):
        cores = _small_number(item.cores_per_socket, MOST_VCPUS)
        if cores and vcpus % cores == 0:
            return cores
        if cores:
            notes.append(
                f"{vcpus} virtual CPUs cannot be divided into sockets of {cores} cores; the "
                "division was left out."
            )
    return None


def _firmware(system: OvfSystem, notes: list[str]) -> Firmware | None:
    word = system.settings.get("firmware", "").lower()
    if word in {"efi", "uefi"}:
        return Firmware.UEFI
    if word == "bios":
        return Firmware.BIOS
    if word:
        notes.append(f'The OVF states the unknown firmware "{shown(word)[:40]}".')
    return system.virtualbox.firmware if system.virtualbox else None


def _secure_boot(system: OvfSystem) -> bool:
    keys = ("bootoptions.efisecurebootenabled", "uefi.secureboot.enabled")
    return any(system.settings.get(key, "").lower() in {"true", "1", "yes"} for key in keys)


def _controllers(items: Sequence[OvfItem]) -> Iterator[tuple[str, _Controller]]:
    """Yield the controllers of disks by the number of their items.

    They are counted by their addresses where these tell them apart, otherwise in order.
    """
    found: dict[Bus, list[OvfItem]] = {}
    for item in items:
        bus = _controller_bus(item)
        if bus is not None:
            found.setdefault(bus, []).append(item)
    for bus, ones in found.items():
        addresses = [_small_number(item.address, _MOST_UNITS) for item in ones]
        apart = None not in addresses and len(set(addresses)) == len(addresses)
        for order, (item, address) in enumerate(zip(ones, addresses, strict=True)):
            number = address if apart and address is not None else order
            model = _CONTROLLER_MODELS.get(item.subtype, item.subtype) or None
            # PIIX4 and the like are chips, which a VMX file does not name either.
            yield item.instance, _Controller(bus, number, model if bus is not Bus.IDE else None)


def _controller_bus(item: OvfItem) -> Bus | None:
    if item.resource_type == _IDE:
        return Bus.IDE
    if item.resource_type == _SCSI:
        return Bus.SCSI
    if item.resource_type in {_OTHER, _OTHER_STORAGE} and "nvme" in item.subtype:
        return Bus.NVME
    named = item.subtype or item.name.lower()
    if item.resource_type == _OTHER_STORAGE and re.search("ahci|sata", named):
        return Bus.SATA
    return None


def _storage(
    envelope: OvfEnvelope,
    items: Sequence[OvfItem],
    controllers: Mapping[str, _Controller],
    notes: list[str],
) -> tuple[tuple[PlacedDisk, ...], tuple[Drive, ...]]:
    disks: list[PlacedDisk] = []
    drives: list[Drive] = []
    taken: set[tuple[Bus, int, int]] = set()
    for item in _of_type(items, *_DISKS, _CD, _DVD, _FLOPPY):
        controller = controllers.get(item.parent or "")
        if item.resource_type == _FLOPPY:
            controller = _Controller(Bus.FLOPPY, 0, None)
        elif controller is None:
            if item.resource_type in _DISKS:
                notes.append(
                    f"The disk {shown(item.name or item.instance)} hangs on no controller that is "
                    "known; SATA was assumed."
                )
            controller = _Controller(Bus.SATA, 0, None)
        unit = _free_unit(controller, item, taken)
        if item.resource_type in _DISKS:
            disk = _disk_of(envelope, item)
            disks.append(
                PlacedDisk(disk, controller.bus, controller.number, unit, controller.model)
            )
        else:
            medium = _medium(envelope, item)
            drives.append(Drive(controller.bus, controller.number, unit, medium))
    order = list(Bus)
    disks.sort(key=lambda disk: (order.index(disk.bus), disk.controller, disk.unit))
    return tuple(disks), tuple(drives)


def _note_unused_disks(
    envelope: OvfEnvelope, disks: Sequence[PlacedDisk], notes: list[str]
) -> None:
    used = {placed.disk.id for placed in disks} | {placed.disk.file for placed in disks}
    parents = {disk.parent for disk in envelope.disks.values()}
    for disk in envelope.disks.values():
        file = envelope.files.get(disk.file or "")
        if file is not None and not {disk.id, disk.file} & used and disk.id not in parents:
            notes.append(
                f"The OVF lists the disk {shown(disk.id)}, {shown(file.href)}, but no machine has "
                "it; it was left out."
            )


def _free_unit(controller: _Controller, item: OvfItem, taken: set[tuple[Bus, int, int]]) -> int:
    """Return the item's place on its controller, the next free one where it has none."""
    place = (controller.bus, controller.number)
    unit = _small_number(item.address_on_parent, _MOST_UNITS)
    if unit is None or (*place, unit) in taken:
        unit = next(n for n in range(len(taken) + 1) if (*place, n) not in taken)
    taken.add((*place, unit))
    return unit


def _disk_of(envelope: OvfEnvelope, item: OvfItem) -> OvfDisk:
    """Return the disk of the envelope that an item names."""
    text = item.host_resource or ""
    match = _HOST_RESOURCE.fullmatch(text)
    kind, key = (match[1], match[2]) if match else ("disk", text)
    if kind == "disk" and key in envelope.disks:
        return envelope.disks[key]
    if key in envelope.files:  # a file without a Disk element
        return OvfDisk(key, key, None, 1)
    raise SourceUnreadableError(
        f'The OVF has a hard disk, {shown(item.name or item.instance)}, that names "{shown(text)}" '
        "as its content, which is not listed.",
        "Export the machine again, or give its disk image.",
    )


def _medium(envelope: OvfEnvelope, item: OvfItem) -> str | None:
    match = _HOST_RESOURCE.fullmatch(item.host_resource or "")
    if match is None or match[1] != "file" or match[2] not in envelope.files:
        return None
    return envelope.files[match[2]].href


def _nics(system: OvfSystem, items: Sequence[OvfItem], notes: list[str]) -> Iterator[Nic]:
    cards = _of_type(items, _ETHERNET)
    macs = system.virtualbox.macs if system.virtualbox else ()
    for index, item in enumerate(cards):
        mac = (item.address or "").lower().replace("-", ":")
        if re.fullmatch("[0-9a-f]{12}", mac):
            mac = ":".join(re.findall("..", mac))
        found = mac if _MAC.fullmatch(mac) else None
        if found is None and len(macs) == len(cards):
            found = macs[index]
        if found is None:
            notes.append(
                f"The OVF states no MAC address of network card {index + 1}; the guest will take "
                "it for a new one."
            )
        model = _NIC_MODELS.get(item.subtype, item.subtype) or None
        yield Nic(index, model, found, network=display_name(item.connection))


def _sound(system: OvfSystem, items: Sequence[OvfItem]) -> str | None:
    for item in items:
        if item.resource_type == _SOUND:
            return item.subtype or "sound"
        if item.resource_type == _OTHER and "soundcard" in item.subtype:
            return item.subtype.rpartition(".")[2]
    return system.virtualbox.sound if system.virtualbox else None


def _note_what_is_left_out(system: OvfSystem, items: Sequence[OvfItem], notes: list[str]) -> None:
    for number, words in _NOT_CARRIED.items():
        count = len(_of_type(items, number))
        if count:
            notes.append(
                f"The machine has {count} {words}{'s' if count > 1 else ''}, not carried over."
            )
    if _has_tpm(system, items):
        notes.append(
            "The machine has a virtual TPM, whose content cannot be carried over: BitLocker will "
            "ask for its recovery key, and Windows Hello has to be set up again."
        )


def _has_tpm(system: OvfSystem, items: Sequence[OvfItem]) -> bool:
    """Tell whether there is a virtual TPM, by VMware's item or VirtualBox's own part."""
    if system.virtualbox is not None and system.virtualbox.has_tpm:
        return True
    return any("vtpm" in item.subtype for item in _of_type(items, _OTHER))


def _small_number(text: str | None, most: int) -> int | None:
    if text is None or not re.fullmatch(r"[0-9]{1,6}", text):
        return None
    return int(text) if int(text) <= most else None
