"""The machine that a libvirt domain describes, as far as a conversion carries it over.

Source: https://libvirt.org/formatdomain.html; units of memory are those of its "Memory
Allocation".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

# Elements are only looked at here; defusedxml has parsed them.
from xml.etree.ElementTree import Element

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import Bus, DiskFormat, Drive, Firmware, Nic
from offline_mig.sources.display_name import display_name
from offline_mig.sources.file_access import shown
from offline_mig.sources.libvirt_xml import has_secure_boot, starts_by_uefi

_UNITS = {
    "b": 1,
    "bytes": 1,
    "kb": 1000,
    "k": 1024,
    "kib": 1024,
    "mb": 1000**2,
    "m": 1024**2,
    "mib": 1024**2,
    "gb": 1000**3,
    "g": 1024**3,
    "gib": 1024**3,
    "tb": 1000**4,
    "t": 1024**4,
    "tib": 1024**4,
}
_MIB = 1024**2
_BUSES = {
    "ide": Bus.IDE,
    "scsi": Bus.SCSI,
    "sata": Bus.SATA,
    "nvme": Bus.NVME,
    "fdc": Bus.FLOPPY,
    "virtio": Bus.VIRTIO,
    "xen": Bus.XEN,
    "usb": Bus.USB,
}
#: What a disk hangs on by the start of its name, where no bus is stated.
_PREFIXES = {"hd": Bus.IDE, "sd": Bus.SCSI, "vd": Bus.VIRTIO, "xvd": Bus.XEN, "fd": Bus.FLOPPY}
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """A hard disk of a domain: ``file`` as it stands there, ``format`` None where none is stated.

    ``target`` is the name of the device, such as vda.
    """

    target: str
    bus: Bus
    controller: int
    unit: int
    file: str
    format: DiskFormat | None
    controller_model: str | None = None


@dataclass(frozen=True, slots=True)
class LibvirtHardware:
    """What a domain describes; the fields are those of Machine."""

    name: str | None
    disks: tuple[DomainDisk, ...]
    memory: int
    vcpus: int
    cores_per_socket: int | None
    firmware: Firmware
    secure_boot: bool
    tpm: bool
    uuid: str | None
    guest_os: str | None
    nics: tuple[Nic, ...]
    drives: tuple[Drive, ...]
    sound: str | None


def read_hardware(domain: Element) -> LibvirtHardware:
    """Interpret a domain. Raises SourceUnreadableError for what cannot be understood in it."""
    vcpus = _vcpus(domain)
    sound = domain.find("devices/sound")
    return LibvirtHardware(
        name=display_name(domain.findtext("name")),
        disks=tuple(_disks(domain)),
        memory=_memory(domain),
        vcpus=vcpus,
        cores_per_socket=_cores_per_socket(domain, vcpus),
        firmware=Firmware.UEFI if starts_by_uefi(domain) else Firmware.BIOS,
        secure_boot=has_secure_boot(domain),
        tpm=domain.find("devices/tpm") is not None,
        uuid=_uuid(domain.findtext("uuid")),
        guest_os=_guest_os(domain),
        nics=tuple(_nics(domain)),
        drives=tuple(_drives(domain)),
        sound=None if sound is None else sound.get("model"),
    )


def _vcpus(domain: Element) -> int:
    """Return how many processors there are at the start; more may be added to some domains."""
    element = domain.find("vcpu")
    if element is None:
        return 1
    return max(_whole_number(element.get("current", element.text), "<vcpu>"), 1)


def _memory(domain: Element) -> int:
    """Return the memory in MiB."""
    element = domain.find("memory")
    if element is None:
        raise SourceUnreadableError(
            "The domain states no memory.", "Give the output of 'virsh dumpxml NAME'."
        )
    unit = element.get("unit", "KiB").lower()
    if unit not in _UNITS:
        raise _not_understood(unit, "a unit of memory")
    return max(_whole_number(element.text, "<memory>") * _UNITS[unit] // _MIB, 1)


def _cores_per_socket(domain: Element, vcpus: int) -> int | None:
    topology = domain.find("cpu/topology")
    if topology is None:
        return None
    sockets = _whole_number(topology.get("sockets", "1"), "sockets")
    # A domain that can be given more processors states the topology of all.
    return vcpus // sockets if sockets and vcpus % sockets == 0 else None


def _disks(domain: Element) -> Iterator[DomainDisk]:
    for disk in domain.findall("devices/disk"):
        kind = disk.get("device", "disk")
        if kind not in {"disk", "lun"}:
            continue
        target = _target(disk)
        source = disk.find("source")
        file = None if source is None else source.get("file")
        if kind == "lun" or disk.get("type", "file") != "file" or not file:
            raise SourceUnreadableError(
                f"The disk {shown(target)} of the domain is no file but of the type "
                f'"{shown(disk.get("type", "file"))}", which is not read.',
                "Copy its content to an image with 'qemu-img convert', and name that in a copy of "
                "the domain.",
            )
        if disk.find("encryption") is not None or disk.find("source/encryption") is not None:
            raise SourceUnreadableError(
                f"The disk {shown(target)} of the domain is encrypted.",
                "Decrypt it first with 'qemu-img convert' and its secret.",
            )
        bus, controller, unit = _place(disk, target)
        yield DomainDisk(
            target,
            bus,
            controller,
            unit,
            file,
            _format(disk, target),
            _controller_model(domain, controller) if bus is Bus.SCSI else None,
        )


def _drives(domain: Element) -> Iterator[Drive]:
    for disk in domain.findall("devices/disk"):
        if disk.get("device", "disk") not in {"cdrom", "floppy"}:
            continue
        source = disk.find("source")
        medium = None if source is None else source.get("file")
        yield Drive(*_place(disk, _target(disk)), medium)


def _target(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _place(disk: Element, target: str) -> tuple[Bus, int, int]:
    """Return bus, controller and unit, by the address or else by the name of the device."""
    element = disk.find("target")
    word = None if element is None else element.get("bus")
    prefix = next((prefix for prefix in _PREFIXES if target.startswith(prefix)), "")
    bus = _BUSES.get(word) if word else _PREFIXES.get(prefix)
    if bus is None:
        raise _not_understood(word or target, "a bus of a disk")
    address = disk.find("address")
    if address is not None and address.get("type") == "drive":
        # libvirt counts the IDE channel as "bus", SCSI adapters as "controller".
        controller = address.get("bus" if bus is Bus.IDE else "controller", "0")
        unit = address.get("unit", "0")
        return bus, _whole_number(controller, "an address"), _whole_number(unit, "an address")
    number = _device_number(target)
    return (bus, number // 2, number % 2) if bus is Bus.IDE else (bus, 0, number)


def _device_number(target: str) -> int:
    """Return what a device's last letters count to: 0 for vda, 26 for vdaa."""
    letters = re.search(r"(?:hd|xvd|sd|vd|fd|ub)([a-z]{1,3})$", target)
    number = 0
    for letter in letters[1] if letters else "a":
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _format(disk: Element, target: str) -> DiskFormat | None:
    driver = disk.find("driver")
    word = None if driver is None else driver.get("type")
    if word is None:
        return None
    try:
        return DiskFormat(word)
    except ValueError as error:
        raise SourceUnreadableError(
            f"The disk {shown(target)} of the domain has the format "
            f'"{shown(word)}"; read are {", ".join(DiskFormat)}.',
            "Convert it first: 'qemu-img convert -O qcow2'.",
        ) from error


def _controller_model(domain: Element, index: int) -> str | None:
    for controller in domain.findall("devices/controller"):
        if controller.get("type") == "scsi" and controller.get("index", "0") == str(index):
            return controller.get("model")
    return None


def _nics(domain: Element) -> Iterator[Nic]:
    for index, interface in enumerate(domain.findall("devices/interface")):
        mac, model, source = (interface.find(tag) for tag in ("mac", "model", "source"))
        address = "" if mac is None else mac.get("address", "").lower()
        attributes = {} if source is None else source.attrib
        network = next(
            (attributes[k] for k in ("network", "bridge", "dev") if k in attributes), None
        )
        link = interface.find("link")
        yield Nic(
            index=index,
            model=None if model is None else model.get("type"),
            mac=address if _MAC.fullmatch(address) else None,
            attachment=interface.get("type"),
            network=network,
            connected=link is None or link.get("state") != "down",
        )


def _guest_os(domain: Element) -> str | None:
    """Return what libosinfo calls the guest, such as http://microsoft.com/win/10."""
    for element in domain.iter():
        told = isinstance(element.tag, str) and element.tag.startswith("{http://libosinfo.org/")
        if told and (identifier := element.get("id")) is not None:
            return display_name(identifier)
    return None


def _uuid(text: str | None) -> str | None:
    try:
        return str(uuid.UUID((text or "").strip()))
    except ValueError:
        return None


def _whole_number(text: str | None, where: str) -> int:
    stripped = (text or "").strip()
    if not re.fullmatch(r"[0-9]{1,15}", stripped):
        raise _not_understood(stripped, f"the number of {where}")
    return int(stripped)


def _not_understood(word: str, what: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f'The domain has "{shown(word[:60])}" for {what}, which cannot be understood.',
        "Give the output of 'virsh dumpxml NAME'.",
    )
