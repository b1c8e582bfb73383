r"""Boot configuration data (BCD): what the boot manager of Windows Vista and later starts.

A BCD store is a registry hive. Each object is a key ``Objects\{GUID}``, its kind is the value Type
of its subkey Description, and each of its elements is a key ``Elements\XXXXXXXX`` with one value,
Element. An element's number says how it is stored (Microsoft, "BcdElementType"): devices, numbers
(8 bytes) and booleans (1 byte) as REG_BINARY, texts and references as REG_SZ, lists as
REG_MULTI_SZ. Numbers of elements: Microsoft, "BcdLibraryElementTypes", "BcdBootMgrElementTypes"
and "BcdOSLoaderElementTypes"; kinds of objects and their GUIDs: Geoff Chappell, "BCD objects".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

from offline_mig.guest.partition_identity import PartitionIdentity
from offline_mig.windows.bcd_device import (
    Device,
    DeviceElement,
    decode_device,
    disk_partition,
    encode_device,
    on_partition,
)
from offline_mig.windows.hive import RegistryView
from offline_mig.windows.registry import RegistryType, RegistryValue

BOOT_MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
#: What all boot applications inherit from, and what the loaders of Windows do.
GLOBAL_SETTINGS = "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}"
LOADER_SETTINGS = "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}"

#: Elements of any application.
APPLICATION_DEVICE = 0x11000001
APPLICATION_PATH = 0x12000002
DESCRIPTION = 0x12000004
INHERIT = 0x14000006
RECOVERY_SEQUENCE = 0x14000008
RECOVERY_ENABLED = 0x16000009
GRAPHICS_MODE_DISABLED = 0x16000046
NO_INTEGRITY_CHECKS = 0x16000048
TEST_SIGNING = 0x16000049
#: Elements of the boot manager.
DISPLAY_ORDER = 0x24000001
BOOT_SEQUENCE = 0x24000002
DEFAULT_OBJECT = 0x23000003
TIMEOUT = 0x25000004
ATTEMPT_RESUME = 0x26000005
RESUME_OBJECT = 0x23000006
#: Elements of the loader of a Windows.
OS_DEVICE = 0x21000001
SYSTEM_ROOT = 0x22000002
ASSOCIATED_RESUME_OBJECT = 0x23000003
KERNEL_PATH = 0x22000011
HAL_PATH = 0x22000012
SAFE_BOOT = 0x25000080

#: Stores of Windows have some twenty objects with up to thirty elements.
_MAX_OBJECTS = 1024
_MAX_ELEMENTS = 512
_GUID = re.compile(r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}", re.ASCII)
_ELEMENT = re.compile(r"[0-9a-f]{8}", re.ASCII)
#: The format of an element, in the second half-byte of its number.
_DEVICE_FORMAT = 1


class ObjectType(IntEnum):
    """Kinds of objects, by the value Type of their description."""

    FIRMWARE_MANAGER = 0x10100001
    BOOT_MANAGER = 0x10100002
    LOADER = 0x10200003
    RESUME = 0x10200004
    MEMORY_TEST = 0x10200005
    NTLDR = 0x10300006
    BOOT_SECTOR = 0x10400008
    DEVICE_OPTIONS = 0x30000000


@dataclass(frozen=True, slots=True)
class BcdObject:
    """An object: its GUID in braces and lower case, its kind, its elements by their numbers."""

    id: str
    type: int
    elements: Mapping[int, RegistryValue]


@dataclass(frozen=True, slots=True)
class ElementEdit:
    """An element that is to have a value, or with None is to be gone."""

    object_id: str
    element: int
    value: RegistryValue | None

    @property
    def key(self) -> str:
        """The key of the element, whose value is named Element."""
        return rf"Objects\{self.object_id}\Elements\{self.element:08x}"


@dataclass(frozen=True, slots=True)
class BootManager:
    """What the boot manager is told. ``boot_sequence`` precedes the default one, once.

    ``timeout`` is in seconds. With ``attempt_resume`` the boot manager goes to ``resume`` before
    anything else, which wakes a hibernated Windows.
    """

    device: Device | None
    default: str | None
    display_order: tuple[str, ...]
    boot_sequence: tuple[str, ...]
    timeout: int | None
    resume: str | None
    attempt_resume: bool


@dataclass(frozen=True, slots=True)
class BootApplication:
    r"""A loader or another application, with what it inherits.

    ``device`` and ``path`` are where the application itself is, ``os_device`` and ``system_root``
    (such as ``\Windows``) where the Windows is that it loads.
    """

    id: str
    type: int
    description: str
    device: Device | None
    path: str
    os_device: Device | None
    system_root: str
    resume: str | None
    recovery_sequence: tuple[str, ...]
    recovery_enabled: bool
    safe_boot: int | None
    graphics_mode_disabled: bool
    test_signing: bool
    no_integrity_checks: bool
    kernel: str
    hal: str


@dataclass(frozen=True, slots=True)
class BootStore:
    """A BCD store, objects by their ids."""

    objects: Mapping[str, BcdObject]

    def holder(self, object_id: str, element: int) -> BcdObject | None:
        """Return the object that an element is taken from: itself, or one that it inherits from.

        The objects that it names are asked in their order, and each with what it inherits before
        the next; a store that runs in circles is left at the first object seen before.
        """
        pending, seen = [object_id], set[str]()
        while pending:
            present = self.objects.get(pending.pop())
            if present is None or present.id in seen:
                continue
            seen.add(present.id)
            if element in present.elements:
                return present
            pending += reversed(_references(present.elements.get(INHERIT)))
        return None

    def value(self, object_id: str, element: int) -> RegistryValue | None:
        """Return the value of an element, inherited or not; None when there is none."""
        holder = self.holder(object_id, element)
        return holder.elements[element] if holder else None

    def device(self, object_id: str, element: int) -> Device | None:
        """Return the device of an element."""
        value = self.value(object_id, element)
        return decode_device(value.data).device if value else None

    def text(self, object_id: str, element: int) -> str:
        """Return the text of an element, empty when there is none."""
        value = self.value(object_id, element)
        return (value.as_text() if value else None) or ""

    def number(self, object_id: str, element: int) -> int | None:
        """Return the number of an element."""
        value = self.value(object_id, element)
        if value is None or value.type != RegistryType.BINARY or not 0 < len(value.data) <= 8:
            return None
        return int.from_bytes(value.data, "little")

    def flag(self, object_id: str, element: int) -> bool:
        """Tell whether a boolean element is there and true."""
        return bool(self.number(object_id, element))

    def reference(self, object_id: str, element: int) -> str | None:
        """Return the id of the object that an element names."""
        references = self.references(object_id, element)
        return references[0] if references else None

    def references(self, object_id: str, element: int) -> tuple[str, ...]:
        """Return the ids of the objects that an element names."""
        return _references(self.value(object_id, element))


def read_boot_store(view: RegistryView) -> BootStore:
    """Return what is in a BCD store; keys that are no objects or elements are left out."""
    found = {}
    for name in islice(view.subkeys("Objects"), _MAX_OBJECTS):
        object_id = name.lower()
        if not _GUID.fullmatch(object_id):
            continue
        kind = view.value(rf"Objects\{name}\Description", "Type")
        elements = {}
        for element in islice(view.subkeys(rf"Objects\{name}\Elements"), _MAX_ELEMENTS):
            value = view.value(rf"Objects\{name}\Elements\{element}", "Element")
            if value is not None and _ELEMENT.fullmatch(element.lower()):
                elements[int(element, 16)] = value
        found[object_id] = BcdObject(object_id, (kind.as_int() if kind else None) or 0, elements)
    return BootStore(found)


def boot_manager(store: BootStore) -> BootManager | None:
    """Return the boot manager's settings; None when the store has none."""
    if BOOT_MANAGER not in store.objects:
        return None
    return BootManager(
        device=store.device(BOOT_MANAGER, APPLICATION_DEVICE),
        default=store.reference(BOOT_MANAGER, DEFAULT_OBJECT),
        display_order=store.references(BOOT_MANAGER, DISPLAY_ORDER),
        boot_sequence=store.references(BOOT_MANAGER, BOOT_SEQUENCE),
        timeout=store.number(BOOT_MANAGER, TIMEOUT),
        resume=store.reference(BOOT_MANAGER, RESUME_OBJECT),
        attempt_resume=store.flag(BOOT_MANAGER, ATTEMPT_RESUME),
    )


def boot_application(store: BootStore, object_id: str) -> BootApplication | None:
    """Return a loader or another application; None when the store has no such object."""
    present = store.objects.get(object_id)
    if present is None:
        return None
    return BootApplication(
        id=present.id,
        type=present.type,
        description=store.text(object_id, DESCRIPTION),
        device=store.device(object_id, APPLICATION_DEVICE),
        path=store.text(object_id, APPLICATION_PATH),
        os_device=store.device(object_id, OS_DEVICE),
        system_root=store.text(object_id, SYSTEM_ROOT),
        resume=store.reference(object_id, ASSOCIATED_RESUME_OBJECT),
        recovery_sequence=store.references(object_id, RECOVERY_SEQUENCE),
        recovery_enabled=store.flag(object_id, RECOVERY_ENABLED),
        safe_boot=store.number(object_id, SAFE_BOOT),
        graphics_mode_disabled=store.flag(object_id, GRAPHICS_MODE_DISABLED),
        test_signing=store.flag(object_id, TEST_SIGNING),
        no_integrity_checks=store.flag(object_id, NO_INTEGRITY_CHECKS),
        kernel=store.text(object_id, KERNEL_PATH),
        hal=store.text(object_id, HAL_PATH),
    )


def default_application(store: BootStore) -> BootApplication | None:
    """Return what starts when nobody chooses: the default, else the first that is displayed.

    None when that is not in the store; a boot sequence for the next start is not looked at.
    """
    manager = boot_manager(store)
    if manager is None:
        return None
    order = (manager.default,) if manager.default else manager.display_order[:1]
    return boot_application(store, order[0]) if order else None


def loaders(store: BootStore) -> tuple[BootApplication, ...]:
    """Return the loaders of all Windows in the store, the recovery's among them, by their ids."""
    found = (
        boot_application(store, object_id)
        for object_id, present in sorted(store.objects.items())
        if present.type == ObjectType.LOADER
    )
    return tuple(application for application in found if application is not None)


def device_edits(
    store: BootStore, moved: Mapping[PartitionIdentity, PartitionIdentity]
) -> tuple[ElementEdit, ...]:
    """Return the edits after which the store names partitions by their new identities.

    ``moved`` gives the new identity of each old one. Every device of every object is seen to, and
    the RAM disks and files on such partitions too.
    """
    edits = []
    for object_id, present in sorted(store.objects.items()):
        for element, value in sorted(present.elements.items()):
            if element >> 24 & 0xF != _DEVICE_FORMAT:
                continue
            old = decode_device(value.data)
            identity = disk_partition(old.device)
            if identity is not None and identity in moved:
                new = DeviceElement(on_partition(old.device, moved[identity]), old.options)
                edits.append(device_edit(object_id, element, new))
    return tuple(edits)


def device_edit(object_id: str, element: int, device: DeviceElement) -> ElementEdit:
    """Return the edit that gives an object a device."""
    return ElementEdit(object_id, element, RegistryValue.binary(encode_device(device)))


def _references(value: RegistryValue | None) -> tuple[str, ...]:
    return tuple(text.lower() for text in value.as_texts()) if value else ()
