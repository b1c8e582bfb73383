"""A libvirt domain as somebody defined it: what its system disk hangs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Elements are only looked at here; defusedxml has parsed them.
from xml.etree.ElementTree import Element

from offline_mig.sources.libvirt_xml import (
    hard_disks,
    has_secure_boot,
    read_domain_element,
    starts_by_uefi,
)


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
    domain = read_domain_element(path)
    disk = min(hard_disks(path, domain), key=_boot_order)
    target = disk.find("target")
    bus = "" if target is None else target.get("bus", "")
    controller = _controller(domain, disk) if bus == "scsi" else None
    source = disk.find("source")
    file = None if source is None else source.get("file")
    return DefinedDomain(
        name=domain.findtext("name", ""),
        disk_bus=bus,
        controller_model="" if controller is None else controller.get("model", ""),
        modern=_is_modern(domain, disk if controller is None else controller),
        uefi=starts_by_uefi(domain),
        secure_boot=has_secure_boot(domain),
        source=Path(file) if file else None,
    )


def _boot_order(disk: Element) -> int:
    boot = disk.find("boot")
    order = "" if boot is None else boot.get("order", "")
    # Those without an order come after all that have one; min() keeps the first of them.
    return int(order) if order.isdecimal() and len(order) < 6 else 1 << 20


def _controller(domain: Element, disk: Element) -> Element | None:
    address = disk.find("address")
    index = "0" if address is None else address.get("controller", "0")
    for controller in domain.findall("devices/controller"):
        if controller.get("type") == "scsi" and controller.get("index", "0") == index:
            return controller
    return None


def _is_modern(domain: Element, device: Element) -> bool:
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
        for controller in domain.findall("devices/controller"):
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
