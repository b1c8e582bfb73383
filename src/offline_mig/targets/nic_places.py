r"""Where each target plugs in VirtIO network cards, as Windows will see it.

Windows makes the name of a device of its place (``windows/device_instance.py``), and of that the
card's connection with its addresses. libvirt and QEMU are told a place; KubeVirt is too
(``pciAddress``); Proxmox VE has one of its own for each ``netN``. The machines are those of QEMU
5.2 and later, whose root bus is ``ACPI\PNP0A03\0`` (i440fx) or ``ACPI\PNP0A08\0`` (q35).
"""

from __future__ import annotations

from offline_mig.targets.devices import MachineType
from offline_mig.targets.options import TargetKind
from offline_mig.windows.device_instance import PciBridge, PciIdentity, PciPlace, PlacedDevice

#: The first slot: what Proxmox VE gives net0 (PVE::QemuServer::PCI, 18 to 23 are net0 to net5).
#: Behind it there is nothing that libvirt or QEMU place by themselves before all others are full.
FIRST_SLOT = 0x12
#: Cards with a place: in slot 0x1b q35 has its sound.
PLACES = 9
_PROXMOX_PLACES = 6
_ETHERNET = 0x020000
_PCI_BRIDGE = 0x060400
#: virtio-net as QEMU makes it, transitional and of VirtIO 1.0 (virtio 1.2, 4.1.2 "PCI Device
#: Discovery"; QEMU, docs/specs/pci-ids.rst).
_TRANSITIONAL = PciIdentity(0x1AF4, 0x1000, 0x1AF4, 0x0001, 0, _ETHERNET)
_MODERN = PciIdentity(0x1AF4, 0x1041, 0x1AF4, 0x1100, 1, _ETHERNET)
#: QEMU's pcie-root-port, as seen in a Windows guest: VEN_1B36&DEV_000C&SUBSYS_00001B36&REV_00.
_ROOT_PORT = PciIdentity(0x1B36, 0x000C, 0x1B36, 0, 0, _PCI_BRIDGE)
#: The two bridges of Proxmox VE's q35 (pve-q35-4.0.cfg): i82801b11-bridge in slot 30, behind it a
#: pci-bridge in slot 1, which is pci.0.
_PROXMOX_BRIDGES = (
    PciBridge(PciIdentity(0x8086, 0x244E, 0, 0, 0x92, _PCI_BRIDGE), 0x1E),
    PciBridge(PciIdentity(0x1B36, 0x0001, 0, 0, 0, _PCI_BRIDGE), 1),
)
_ROOT = {MachineType.PC: "ACPI\\PNP0A03\\0", MachineType.Q35: "ACPI\\PNP0A08\\0"}


def nic_place(
    kind: TargetKind, machine_type: MachineType, index: int, *, transitional: bool
) -> PlacedDevice | None:
    """Return the place of the machine's VirtIO card ``index``, None where it is not known.

    ``transitional`` says that q35's VirtIO devices are to show their legacy ids, which they do
    behind bridges that each hypervisor chooses for itself.
    """
    slot = FIRST_SLOT + index
    root = _ROOT[machine_type]
    if index >= (_PROXMOX_PLACES if kind is TargetKind.PROXMOX else PLACES):
        return None
    if machine_type is MachineType.PC:
        if kind is TargetKind.KUBEVIRT:
            return None  # It puts transitional devices on a q35 instead.
        return PlacedDevice(_TRANSITIONAL, PciPlace(root, slot))
    if kind is TargetKind.PROXMOX:
        # Always a conventional bus, on which QEMU's devices are transitional.
        return PlacedDevice(_TRANSITIONAL, PciPlace(root, slot, bridges=_PROXMOX_BRIDGES))
    if transitional:
        return None
    if kind is TargetKind.KUBEVIRT:
        return PlacedDevice(_MODERN, PciPlace(root, slot))
    return PlacedDevice(_MODERN, PciPlace(root, 0, bridges=(PciBridge(_ROOT_PORT, slot),)))
