r"""Device instance paths of PCI devices: what Windows will call a device that it has not seen yet.

A path is ``PCI\<device id>\<instance id>``. The device id comes from the configuration space
(Microsoft, "Identifiers for PCI devices"). A device with a serial number has that for an instance
id; one without gets an id made of its parent and its place, ``<level>&<hash>&<count>&<place>``, all
in hexadecimal, where

- the level is the number of devices from the root of the tree to this one (3 for what lies on the
  first PCI bus),
- the hash is one of the parent's own path in capitals,
- the count is that of earlier parents with this hash and level, which the value
  ``NextParentID.<hash>.<level>`` of the key Enum has; the parent keeps all three as its
  ParentIdPrefix,
- the place has two digits for each device from this one up to the root bus, slot * 8 + function.

Microsoft documents none of that. It holds for every PCI device in real hives of Windows XP, 7 and
10 (``tests/windows/test_device_instance.py``), and paths that QEMU's users posted agree:
``3&267A616A&0&90`` for slot 18 of i440fx (its root is ``ACPI\PNP0A03\0`` since QEMU 5.2, and was
``ACPI\PNP0A03\1``, ``3&13C0B0C5``, before), ``3&11583659`` for q35.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.windows.hive import RegistryView

#: Levels above what lies on the root bus: the tree's root, ACPI, and the bus itself.
_ROOT_BUS_LEVEL = 3


@dataclass(frozen=True, slots=True)
class PciIdentity:
    """What a device says of itself in its configuration space; ``class_code`` has 24 bits."""

    vendor: int
    device: int
    subsystem_vendor: int
    subsystem: int
    revision: int
    class_code: int

    @property
    def device_id(self) -> str:
        """The name of the device's key below Enum\\PCI."""
        subsystem = f"{self.subsystem:04X}{self.subsystem_vendor:04X}"
        return f"{self._card}&SUBSYS_{subsystem}&REV_{self.revision:02X}"

    @property
    def hardware_ids(self) -> tuple[str, ...]:
        """HardwareID as the PCI bus driver makes it, the most exact one first."""
        subsystem = f"{self.subsystem:04X}{self.subsystem_vendor:04X}"
        return (
            f"PCI\\{self.device_id}",
            f"PCI\\{self._card}&SUBSYS_{subsystem}",
            f"PCI\\{self._card}&CC_{self.class_code:06X}",
            f"PCI\\{self._card}&CC_{self.class_code >> 8:04X}",
        )

    @property
    def compatible_ids(self) -> tuple[str, ...]:
        """CompatibleIDs as the PCI bus driver makes it."""
        maker = f"PCI\\VEN_{self.vendor:04X}"
        kind, kind_and_interface = f"{self.class_code >> 8:04X}", f"{self.class_code:06X}"
        return (
            f"PCI\\{self._card}&REV_{self.revision:02X}",
            f"PCI\\{self._card}",
            f"{maker}&CC_{kind_and_interface}",
            f"{maker}&CC_{kind}",
            maker,
            f"PCI\\CC_{kind_and_interface}",
            f"PCI\\CC_{kind}",
        )

    @property
    def _card(self) -> str:
        return f"VEN_{self.vendor:04X}&DEV_{self.device:04X}"


@dataclass(frozen=True, slots=True)
class PciBridge:
    """A bridge or port, and its place on the bus above it."""

    identity: PciIdentity
    slot: int
    function: int = 0


@dataclass(frozen=True, slots=True)
class PciPlace:
    r"""Where a device lies: the path of its root bus, and the bridges from there, outermost first.

    ``root`` is the device instance path of the bus, such as ``ACPI\PNP0A08\0``.
    """

    root: str
    slot: int
    function: int = 0
    bridges: tuple[PciBridge, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """A device in its place, as it presents itself there."""

    identity: PciIdentity
    place: PciPlace


def path_hash(instance_path: str) -> int:
    """Return the hash of a parent's path that the instance ids of its children have."""
    number = 0
    for character in instance_path.upper():
        number = (37 * number + ord(character)) & 0xFFFFFFFF
    number = 314159269 * number & 0xFFFFFFFF
    # The absolute value of what is taken for a signed number.
    if number & 0x80000000:
        number = 0x100000000 - number
    return number % 1000000007


def pci_instance_path(system: RegistryView, control_set: str, device: PlacedDevice) -> str:
    """Return the path of a device without a serial number, in the letters that Windows uses."""
    place = device.place
    parent, places = place.root, ""
    level = _ROOT_BUS_LEVEL
    for bridge in place.bridges:
        places = f"{bridge.slot << 3 | bridge.function:02X}{places}"
        prefix = _parent_id_prefix(system, control_set, parent, level)
        parent = f"PCI\\{bridge.identity.device_id}\\{prefix}&{places}"
        level += 1
    places = f"{place.slot << 3 | place.function:02X}{places}"
    prefix = _parent_id_prefix(system, control_set, parent, level)
    return f"PCI\\{device.identity.device_id}\\{prefix}&{places}"


def _parent_id_prefix(system: RegistryView, control_set: str, parent: str, level: int) -> str:
    """Return what the ids of a parent's children begin with, whether it was seen before or not."""
    enum = rf"{control_set}\Enum"
    given = system.value(rf"{enum}\{parent}", "ParentIdPrefix")
    text = given.as_text() if given else None
    if text:
        return text
    number = path_hash(parent)
    following = system.value(enum, f"NextParentID.{number:x}.{level:x}")
    count = following.as_int() if following else None
    return f"{level:x}&{number:x}&{count or 0:x}"
