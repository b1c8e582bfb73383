"""A libvirt domain as somebody defined it: what its system disk hangs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from offline_mig.errors import SourceUnreadableError

#: Bytes. Domains have some kilobytes.
_MAX_SIZE = 4 * 1024 * 1024
_REMEDY = "Give the output of 'virsh dumpxml NAME'."


@dataclass(frozen=True, slots=True)
class DefinedDomain:
    """What a domain says of the way to its system disk.

    ``disk_bus`` is libvirt's name of the bus (virtio, scsi, ide, sata, ...), ``controller_model``
    the model of a SCSI controller, "" where none is given. ``modern`` says that VirtIO devices of
    the disk show modern ids only. ``source`` is the disk's image, None where it is no file.
    """

    name: str
    disk_bus: str
    controller_model: str
    modern: bool
    uefi: bool
    secure_boot: bool
    source: Path | None


def read_domain(path: Path) -> DefinedDomain:
    """Read a domain. Raises SourceUnreadableError for what is no domain with a disk."""
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise SourceUnreadableError(f"{path} is too large for a libvirt domain.", _REMEDY)
        text = path.read_bytes()
    except OSError as error:
        raise SourceUnreadableError(
            f"The domain {path} cannot be read: {error.strerror or error}.", _REMEDY
        ) from error
    domain = _parse(path, text)
    devices = domain.find("devices")
    disks = [] if devices is None else _hard_disks(devices)
    if devices is None or not disks:
        raise SourceUnreadableError(f"The domain {path} has no hard disk.", _REMEDY)
    disk = min(disks, key=_boot_order)
    target = disk.find("target")
    bus = "" if target is None else target.get("bus", "")
    controller = _controller(devices, disk) if bus == "scsi" else None
    system = domain.find("os")
    source = disk.find("source")
    file = None if source is None else source.get("file")
    return DefinedDomain(
        name=domain.findtext("name", ""),
        disk_bus=bus,
        controller_model="" if controller is None else controller.get("model", ""),
        modern=_is_modern(domain, devices, disk if controller is None else controller),
        uefi=system is not None and _is_uefi(system),
        secure_boot=system is not None and _has_secure_boot(system),
        source=Path(file) if file else None,
    )


def _parse(path: Path, text: bytes) -> Element:
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root: Element = ElementTree.fromstring(text)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SourceUnreadableError(f"{path} is no sound XML: {error}.", _REMEDY) from error
    # What is kept of a running domain is wrapped (domstatus).
    domain = root if root.tag == "domain" else root.find("domain")
    if domain is None:
        raise SourceUnreadableError(
            f"{path} is no libvirt domain: its first element is <{root.tag}>.", _REMEDY
        )
    return domain


def _hard_disks(devices: Element) -> list[Element]:
    return [disk for disk in devices.findall("disk") if disk.get("device", "disk") == "disk"]


def _boot_order(disk: Element) -> int:
    boot = disk.find("boot")
    order = "" if boot is None else boot.get("order", "")
    # Those without an order come after all that have one; min() keeps the first of them.
    return int(order) if order.isdecimal() and len(order) < 6 else 1 << 20


def _controller(devices: Element, disk: Element) -> Element | None:
    address = disk.find("address")
    index = "0" if address is None else address.get("controller", "0")
    for controller in devices.findall("controller"):
        if controller.get("type") == "scsi" and controller.get("index", "0") == index:
            return controller
    return None


def _is_modern(domain: Element, devices: Element, device: Element) -> bool:
    """Tell whether a VirtIO device shows modern ids only.

    QEMU's are transitional on a conventional PCI bus and modern on a PCI Express port. Without an
    address libvirt puts them on a port where the machine has any (q35).
    """
    model = device.get("model", "")
    if model.startswith("virtio-"):
        if model.endswith("-non-transitional"):
            return True
        if model.endswith("-transitional"):
            return False
    address = device.find("address")
    if address is not None and address.get("type") == "pci":
        bus = _number(address.get("bus", "0"))
        for controller in devices.findall("controller"):
            if controller.get("type") == "pci" and _number(controller.get("index", "")) == bus:
                # On the root complex itself (pcie-root) QEMU makes an integrated endpoint, which
                # is no PCI Express device to virtio: transitional.
                return controller.get("model", "") in (
                    "pcie-root-port",
                    "pcie-switch-downstream-port",
                )
    kind = domain.find("os/type")
    return "q35" in ("" if kind is None else kind.get("machine", ""))


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _is_uefi(system: Element) -> bool:
    if system.get("firmware") == "efi":
        return True
    loader = system.find("loader")
    return loader is not None and loader.get("type") == "pflash"


def _has_secure_boot(system: Element) -> bool:
    loader = system.find("loader")
    if loader is not None and loader.get("secure") == "yes":
        return True
    return any(
        feature.get("name") == "secure-boot" and feature.get("enabled") == "yes"
        for feature in system.findall("firmware/feature")
    )
