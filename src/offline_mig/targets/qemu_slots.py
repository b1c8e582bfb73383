"""Where QEMU's VirtIO devices are plugged in, which decides what ids they show.

On a conventional PCI bus they are transitional, on a PCI Express port modern only.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.targets.devices import MachineType

#: Devices that i440fx's own bus takes beside the chipset, the video card and what is emulated.
_CHIPSET_SLOTS = 16
#: A PCI bus has 32 slots; the first one of a bridge is its hot-plug controller's.
_BRIDGE_SLOTS = 31
#: Functions of a PCI device, each of which can be a PCI Express port.
_FUNCTIONS = 8
#: The first slot of q35 behind the host bridge (0) and the video card (1).
_FIRST_SLOT = 2


@dataclass(frozen=True, slots=True)
class VirtioSlots:
    """The bridges and ports, as values of ``-device`` in their order, and a bus for each device."""

    controllers: tuple[str, ...]
    buses: tuple[str, ...]


def virtio_slots(machine_type: MachineType, count: int, *, transitional: bool) -> VirtioSlots:
    """Return places for ``count`` VirtIO devices; libvirt would choose ones of the same kind."""
    if machine_type is MachineType.Q35:
        return _bridges_on_ports(count) if transitional else _ports(count)
    own = min(count, _CHIPSET_SLOTS)
    bridges = range(1, 1 + -(-(count - own) // _BRIDGE_SLOTS))
    return VirtioSlots(
        tuple(f"pci-bridge,id=bridge{number},chassis_nr={number}" for number in bridges),
        (("pci.0",) * own + _bridge_buses(len(bridges)))[:count],
    )


def _ports(count: int) -> VirtioSlots:
    """Return a PCI Express port for each device, eight of them in a slot."""
    controllers = []
    for index in range(count):
        slot, function = divmod(index, _FUNCTIONS)
        controllers.append(
            f"pcie-root-port,id=port{index + 1},chassis={index + 1},bus=pcie.0,"
            f"addr=0x{_FIRST_SLOT + slot:x}.0x{function:x}"
            f"{',multifunction=on' if function == 0 else ''}"
        )
    return VirtioSlots(tuple(controllers), tuple(f"port{index + 1}" for index in range(count)))


def _bridges_on_ports(count: int) -> VirtioSlots:
    number = -(-count // _BRIDGE_SLOTS)
    ports = _ports(number)
    bridges = (f"pcie-pci-bridge,id=bridge{i},bus=port{i}" for i in range(1, number + 1))
    return VirtioSlots((*ports.controllers, *bridges), _bridge_buses(number)[:count])


def _bridge_buses(number: int) -> tuple[str, ...]:
    return tuple(f"bridge{i}" for i in range(1, number + 1) for _ in range(_BRIDGE_SLOTS))
