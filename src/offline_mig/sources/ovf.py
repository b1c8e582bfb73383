"""An OVF descriptor as such: the files, disks and virtual systems of an XML envelope.

Sources: DMTF DSP0243 1.1.1 and 2.1.1 (Open Virtualization Format) and DSP8023 (its schema);
CIM_ResourceAllocationSettingData for the elements of an item; OVF 0.9 as VMware published it.
The three differ in namespaces, and 0.9 in that sections and systems carry their kind in
``xsi:type``. Elements are therefore known by their local names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

# defusedxml has no types of elements of its own; nothing is parsed by this import.
from xml.etree.ElementTree import Element, ParseError

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import shown
from offline_mig.sources.ovf_units import amount_bytes, unit_bytes
from offline_mig.sources.ovf_virtualbox import VirtualBoxMachine, read_virtualbox

#: Bytes; licence texts and their translations make some descriptors large.
MAX_OVF = 4 * 1024 * 1024
#: Files, disks and items in one descriptor at most; no real machine comes near it.
_MAX_ENTRIES = 1000
#: How many machines an error lists.
_LISTED = 10

_NAMESPACE = re.compile(
    r"https?://(?:schemas\.dmtf\.org/ovf|www\.vmware\.com/schema/ovf)/(?:envelope/)?(\d+)"
    r"(?:/envelope)?/?"
)
_KNOWN_VERSIONS = {"1", "2"}
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
#: Elements of an OVF that was encrypted (XML Encryption, DSP0243 1.1 and later).
_ENCRYPTED = {"EncryptedData", "EncryptedKey"}
_DESCRIPTOR_AGAIN = "Export the machine again, or give its disk image."

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class OvfFile:
    """A file that belongs to the machine. Sizes are in bytes, None where they are not stated."""

    href: str
    size: int | None = None
    compression: str | None = None
    chunk_size: int | None = None


@dataclass(frozen=True, slots=True)
class OvfDisk:
    """A virtual disk. ``capacity`` is in bytes and exact to ``capacity_unit``.

    ``file`` is the id of its file, None for a disk that is created empty.
    """

    id: str
    file: str | None
    capacity: int | None
    capacity_unit: int
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class OvfItem:
    """A piece of hardware: fields are those of CIM_ResourceAllocationSettingData."""

    instance: str
    resource_type: int
    subtype: str
    name: str
    address: str | None
    address_on_parent: str | None
    parent: str | None
    quantity: str | None
    units: str | None
    host_resource: str | None
    connection: str | None
    cores_per_socket: str | None
    configurations: tuple[str, ...]
    bound: str | None


@dataclass(frozen=True, slots=True)
class OvfSystem:
    """A virtual machine of the envelope.

    ``settings`` are VMware's own key and value pairs, by lower-case key.
    """

    id: str
    name: str | None
    guest_os: str | None
    items: tuple[OvfItem, ...]
    hardware_sections: int
    settings: Mapping[str, str]
    virtualbox: VirtualBoxMachine | None


@dataclass(frozen=True, slots=True)
class OvfEnvelope:
    """The content of a descriptor. ``configuration`` is the one to deploy by default."""

    files: Mapping[str, OvfFile]
    disks: Mapping[str, OvfDisk]
    system: OvfSystem
    configuration: str | None = None


def looks_like_ovf(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is an OVF descriptor, whatever its name."""
    text = head.replace(b"\0", b"")  # UTF-16 is allowed, too
    return re.search(rb"<(?:\w+:)?Envelope[\s>]", text) is not None and b"/ovf" in text


def parse_ovf(data: bytes) -> OvfEnvelope:
    """Read the content of a descriptor.

    Raises SourceUnreadableError when it is no XML, no OVF of a known version, encrypted, or
    describes several machines: which of them is meant cannot be known.
    """
    root = _parse(data)
    _require_known_version(root)
    if any(local_name(element) in _ENCRYPTED for element in root.iter()):
        raise SourceUnreadableError(
            "The OVF is encrypted.",
            "Export the machine again without encryption.",
        )
    files: dict[str, OvfFile] = {}
    disks: dict[str, OvfDisk] = {}
    for element in _descendants(root, "References", "File"):
        _add(files, _attribute(element, "id") or "", _file(element), "file")
    for element in _descendants(root, "DiskSection", "Disk"):
        disk = _disk(element)
        _add(disks, disk.id, disk, "disk")
    return OvfEnvelope(
        MappingProxyType(files),
        MappingProxyType(disks),
        _system(_only_system(root)),
        _default_configuration(root),
    )


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _parse(data: bytes) -> Element:
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root: Element = ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SourceUnreadableError(
            f"The OVF declares entities or a document type, which no OVF needs: {error}.",
            "Do not convert it unless you know how it was made; then remove these declarations "
            "from a copy.",
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise SourceUnreadableError(
            f"The OVF is no sound XML: {error}.",
            "Copy it again from where it came from; it may be cut off.",
        ) from error
    return root


def _require_known_version(root: Element) -> None:
    namespace = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    match = _NAMESPACE.fullmatch(namespace)
    if local_name(root) != "Envelope" or match is None:
        raise SourceUnreadableError(
            f"This is no OVF: its first element is <{shown(local_name(root))[:60]}> of "
            f'"{shown(namespace)[:100]}".',
            "Give the .ovf file that came with the disks.",
        )
    if match[1] not in _KNOWN_VERSIONS:
        raise SourceUnreadableError(
            f"The OVF is of the unknown version {match[1]} ({shown(namespace)}); 0.9, 1 and 2 are "
            "read.",
            "Export the machine as OVF 1.0 or 2.0.",
        )


def _only_system(root: Element) -> Element:
    systems = [element for element in root.iter() if _kind(element) == "VirtualSystem"]
    if not systems:
        raise SourceUnreadableError("The OVF describes no virtual system.", _DESCRIPTOR_AGAIN)
    if len(systems) > 1:
        names = [
            shown(_child_text(element, "Name") or _attribute(element, "id") or "?")[:100]
            for element in systems[:_LISTED]
        ]
        listed = ", ".join(names) + (" ..." if len(systems) > _LISTED else "")
        raise SourceUnreadableError(
            f"The OVF describes {len(systems)} machines: {listed}.",
            "Export each machine on its own, or unpack the OVA and give the disk image of one.",
        )
    return systems[0]


def _add(entries: dict[str, _Entry], key: str, entry: _Entry, what: str) -> None:
    if key in entries or len(entries) >= _MAX_ENTRIES:
        how = "twice" if key in entries else "among too many others"
        raise SourceUnreadableError(
            f'The OVF lists the {what} "{shown(key)[:100]}" {how}.', _DESCRIPTOR_AGAIN
        )
    entries[key] = entry


def _kind(element: Element) -> str:
    """Return what an element is: its local name, or what xsi:type says in OVF 0.9."""
    name = local_name(element)
    if name in {"Section", "Content"}:
        stated = element.get(_XSI_TYPE, "").rpartition(":")[2]
        return stated.removesuffix("_Type") or name
    return name


def _descendants(root: Element, section: str, name: str) -> Iterator[Element]:
    for found in root.iter():
        if _kind(found) == section:
            yield from (child for child in found if local_name(child) == name)


def _attribute(element: Element, name: str) -> str | None:
    """Return an attribute by its local name: exporters differ in whether they qualify it."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value.strip() or None
    return None


def _child_text(element: Element, *names: str) -> str | None:
    for child in element:
        if local_name(child) in names and (child.text or "").strip():
            return (child.text or "").strip()
    return None


def _file(element: Element) -> OvfFile:
    href = _attribute(element, "href")
    if href is None:
        raise SourceUnreadableError("The OVF lists a file without its name.", _DESCRIPTOR_AGAIN)
    compression = (_attribute(element, "compression") or "identity").lower()
    return OvfFile(
        href=href,
        size=amount_bytes(_attribute(element, "size"), None),
        compression=None if compression == "identity" else compression,
        chunk_size=amount_bytes(_attribute(element, "chunkSize"), None),
    )


def _disk(element: Element) -> OvfDisk:
    unit = _attribute(element, "capacityAllocationUnits")
    return OvfDisk(
        id=_attribute(element, "diskId") or "",
        file=_attribute(element, "fileRef"),
        # A capacity such as ${size} is chosen when the machine is deployed.
        capacity=amount_bytes(_attribute(element, "capacity"), unit),
        capacity_unit=unit_bytes(unit) or 1,
        parent=_attribute(element, "parentRef"),
    )


def _system(element: Element) -> OvfSystem:
    hardware = [child for child in element if _kind(child) == "VirtualHardwareSection"]
    name = _child_text(element, "Name")
    items: list[Element] = []
    for section in hardware[:1]:
        items = [
            child
            for child in section
            if local_name(child) in {"Item", "StorageItem", "EthernetPortItem"}
        ]
        if len(items) > _MAX_ENTRIES:
            raise SourceUnreadableError(
                f"The OVF lists {len(items)} pieces of hardware.", _DESCRIPTOR_AGAIN
            )
        described = next((c for c in section if local_name(c) == "System"), None)
        if name is None and described is not None:
            name = _child_text(described, "VirtualSystemIdentifier")
    settings = {
        key.lower(): value
        for found in element.iter()
        if local_name(found) in {"Config", "ExtraConfig"}
        and (key := _attribute(found, "key"))
        and (value := _attribute(found, "value"))
    }
    # Some write Secure Boot as an element of VMware's boot order.
    settings |= {
        local_name(child).lower(): (child.text or "").strip()
        for found in element.iter()
        if _kind(found) == "BootOrderSection"
        for child in found
        if (child.text or "").strip()
    }
    virtualbox = next((c for c in element if local_name(c) == "Machine"), None)
    return OvfSystem(
        id=_attribute(element, "id") or "",
        name=name,
        guest_os=_guest_os(element),
        items=tuple(_item(child) for child in items),
        hardware_sections=len(hardware),
        settings=MappingProxyType(settings),
        virtualbox=None if virtualbox is None else read_virtualbox(virtualbox),
    )


def _guest_os(system: Element) -> str | None:
    """Return the exporter's own word for the guest, or CIM's number of it with a description."""
    for section in system:
        if _kind(section) == "OperatingSystemSection":
            return (
                _attribute(section, "osType")
                or _child_text(section, "OSType")
                or _child_text(section, "Description")
                or _attribute(section, "id")
            )
    return None


def _item(element: Element) -> OvfItem:
    def text(*names: str) -> str | None:
        return _child_text(element, *names)

    kind = text("ResourceType") or ""
    return OvfItem(
        instance=text("InstanceID", "InstanceId") or "",
        resource_type=int(kind) if re.fullmatch(r"[0-9]{1,5}", kind) else 0,
        subtype=(text("ResourceSubType") or "").lower(),
        # 0.9 and 1.0 have Caption where later ones have ElementName.
        name=text("ElementName", "Caption", "Description") or "",
        address=text("Address"),
        address_on_parent=text("AddressOnParent"),
        parent=text("Parent"),
        quantity=text("VirtualQuantity"),
        units=text("AllocationUnits"),
        host_resource=text("HostResource"),
        connection=text("Connection"),
        cores_per_socket=text("CoresPerSocket"),
        configurations=tuple((_attribute(element, "configuration") or "").split()),
        bound=_attribute(element, "bound"),
    )


def _default_configuration(root: Element) -> str | None:
    """Return the configuration that is deployed unless another is chosen (DSP0243, 9.8)."""
    found = list(_descendants(root, "DeploymentOptionSection", "Configuration"))
    marked = [c for c in found if (_attribute(c, "default") or "").lower() in {"true", "1"}]
    for element in (*marked, *found):
        return _attribute(element, "id")
    return None
