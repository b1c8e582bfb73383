"""Device elements of a BCD store: where an application, a Windows or a file is to be found.

Microsoft documents what kinds of device there are ("BcdDeviceData" and its relatives) but not how
they are stored. The layout here is that of the structures that the boot library works with, as the
headers of ReactOS name them (boot/environ/include/bl.h, BL_DEVICE_DESCRIPTOR, BL_LOCAL_DEVICE,
BL_FILE_PATH_DESCRIPTOR); it was compared with stores that Windows 7 to 11 and bcdedit wrote. All
numbers are little-endian, the sizes in bytes::

    element     options(16)  descriptor      options: GUID of an object with more, or zeros
    descriptor  kind(4)  flags(4)  size(4)  0(4)  body                  size: with these 16
      boot (5)       zeros
      disk (0)       local
      partition (6)  partition(16)  local    partition: first byte of it (8), or its GUID
      locate (8)     by(4)  element(4)  parent(4)  path  descriptor at parent, where that is not 0
    local       kind(4), then
      disk (0)       scheme(4)  disk(16)     scheme: 0 GPT, 1 MBR; disk: GUID, or signature (4)
      RAM disk (3)   base(8)  size(8)  offset(4), all zeros here  file
      file (5)       file
      VHD (6)        scheme(4)  disk(16)  descriptor of the file
    file        1(4)  size(4)  5(4)  descriptor of what it is on  path

A path is UTF-16 with a terminator. The bodies of boot and of a partition on a disk are padded to a
descriptor of 72 bytes. A locate device is looked for on all volumes: by the path in an element of
the same object (by = 0) or by its own (by = 1).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from offline_mig.guest.partition_identity import (
    GptIdentity,
    MbrIdentity,
    PartitionIdentity,
    PlacedPartition,
    find_partitions,
)
from offline_mig.guest.partition_table import PartitionTable

_DISK, _BOOT, _PARTITION, _LOCATE = 0, 5, 6, 8
_LOCAL_DISK, _LOCAL_RAM_DISK, _LOCAL_FILE, _LOCAL_VIRTUAL_DISK = 0, 3, 5, 6
_GPT, _MBR = 0, 1
_BY_ELEMENT, _BY_PATH = 0, 1
_FILE_VERSION, _FILE_ON_DEVICE = 1, 5
#: Bit of a descriptor's flags that goes with RAM disks only.
_FLAG_RAM_DISK = 1
_HEADER = 16
_PADDED_SIZE = 72
_NO_GUID = uuid.UUID(int=0)
#: A VHD on a located partition nests three deep; nothing that Windows writes goes further.
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class BootVolume:
    """The volume that the boot manager itself came from (``boot`` of bcdedit)."""

    def __str__(self) -> str:
        """Name it for people."""
        return "the volume of the boot manager"


@dataclass(frozen=True, slots=True)
class DiskPartition:
    """A partition of a disk (``partition=``)."""

    identity: PartitionIdentity

    def __str__(self) -> str:
        """Name it for people."""
        return str(self.identity)


@dataclass(frozen=True, slots=True)
class RamDisk:
    """A disk in memory, filled from an image file (``ramdisk=``): WinPE and the recovery."""

    path: str
    parent: Device

    def __str__(self) -> str:
        """Name it for people."""
        return f"a RAM disk of {self.path} on {self.parent}"


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A file that is taken for a device (``file=``)."""

    path: str
    parent: Device

    def __str__(self) -> str:
        """Name it for people."""
        return f"the file {self.path} on {self.parent}"


@dataclass(frozen=True, slots=True)
class VirtualDisk:
    """A virtual disk in a file (``vhd=``), and the partition in it where that is said."""

    file: Device
    identity: PartitionIdentity | None = None

    def __str__(self) -> str:
        """Name it for people."""
        where = "" if self.identity is None else f"{self.identity}, in "
        return f"{where}the virtual disk in {self.file}"


@dataclass(frozen=True, slots=True)
class LocatedDevice:
    """The first volume that holds a path (``locate=``), which ``element`` keeps if not ``path``."""

    element: int = 0
    path: str = ""
    parent: Device | None = None

    def __str__(self) -> str:
        """Name it for people."""
        what = self.path or f"the path of element {self.element:08x}"
        return f"the first volume with {what}" + (f", in {self.parent}" if self.parent else "")


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """What cannot be made sense of; ``content`` is the whole element."""

    content: bytes

    def __str__(self) -> str:
        """Name it for people."""
        return f"a device of an unknown kind ({len(self.content)} bytes)"


Device = (
    BootVolume | DiskPartition | RamDisk | DeviceFile | VirtualDisk | LocatedDevice | UnknownDevice
)


@dataclass(frozen=True, slots=True)
class DeviceElement:
    """A device element; ``options`` is the object with further settings of a RAM disk."""

    device: Device
    options: uuid.UUID | None = None


class _DamagedError(Exception):
    """The bytes make no sense."""


def decode_device(data: bytes) -> DeviceElement:
    """Return what the bytes of a device element say."""
    try:
        options = uuid.UUID(bytes_le=_cut(data, 0, 16))
        device, _ = _descriptor(data[16:], 0)
    except (_DamagedError, struct.error):
        return DeviceElement(UnknownDevice(data))
    return DeviceElement(device, options if options != _NO_GUID else None)


def encode_device(element: DeviceElement) -> bytes:
    """Return the bytes of a device element."""
    if isinstance(element.device, UnknownDevice):
        return element.device.content
    return (element.options or _NO_GUID).bytes_le + _encoded(element.device)


def disk_partition(device: Device) -> PartitionIdentity | None:
    """Return the partition of a real disk that a device is or that its file is on."""
    match device:
        case DiskPartition(identity):
            return identity
        case RamDisk(parent=parent) | DeviceFile(parent=parent) | VirtualDisk(file=parent):
            return disk_partition(parent)
        case LocatedDevice(parent=inside) if inside is not None:
            return disk_partition(inside)
    return None


def on_partition(device: Device, wanted: PartitionIdentity) -> Device:
    """Return the same device on another partition of a real disk, if it is on one."""
    match device:
        case DiskPartition():
            return DiskPartition(wanted)
        case RamDisk(parent=parent) | DeviceFile(parent=parent):
            return replace(device, parent=on_partition(parent, wanted))
        case VirtualDisk(file=file):
            return replace(device, file=on_partition(file, wanted))
        case LocatedDevice(parent=inside) if inside is not None:
            return replace(device, parent=on_partition(inside, wanted))
    return device


def candidates(
    device: Device, tables: Sequence[PartitionTable], boot_volume: PlacedPartition | None
) -> tuple[PlacedPartition, ...]:
    """Return the partitions that a device can be on: none means that it is not there.

    ``tables`` are those of the disks in the order in which the firmware has them, ``boot_volume``
    is where the boot manager is. For a device that is to be located that is every partition; the
    first one that holds the path is meant.
    """
    match device:
        case BootVolume():
            return (boot_volume,) if boot_volume else ()
        case DiskPartition(identity):
            return find_partitions(tables, identity)
        case RamDisk(parent=parent) | DeviceFile(parent=parent) | VirtualDisk(file=parent):
            return candidates(parent, tables, boot_volume)
        case LocatedDevice(parent=inside) if inside is not None:
            return candidates(inside, tables, boot_volume)
        case LocatedDevice():
            return tuple(
                PlacedPartition(disk, partition)
                for disk, table in enumerate(tables)
                for partition in table.partitions
            )
    return ()


def _descriptor(data: bytes, depth: int) -> tuple[Device, int]:
    """Return the device of a descriptor and the descriptor's size."""
    kind, _, size, _ = struct.unpack_from("<IIII", data)
    if depth > _MAX_DEPTH or not _HEADER <= size <= len(data):
        raise _DamagedError
    body = data[_HEADER:size]
    if kind == _BOOT:
        return BootVolume(), size
    if kind == _PARTITION:
        return _partition(body, depth), size
    if kind == _DISK:
        return _local(body, depth), size
    if kind == _LOCATE:
        return _located(data[:size], depth), size
    raise _DamagedError


def _partition(body: bytes, depth: int) -> Device:
    kind, scheme = struct.unpack_from("<II", body, 16)
    identity = _identity(_cut(body, 0, 16), scheme, _cut(body, 24, 16))
    if kind == _LOCAL_DISK:
        return DiskPartition(identity)
    if kind == _LOCAL_VIRTUAL_DISK:
        return VirtualDisk(_descriptor(body[40:], depth + 1)[0], identity)
    raise _DamagedError


def _local(body: bytes, depth: int) -> Device:
    (kind,) = struct.unpack_from("<I", body)
    if kind == _LOCAL_RAM_DISK:
        return RamDisk(*_file(body[24:], depth))
    if kind == _LOCAL_FILE:
        return DeviceFile(*_file(body[4:], depth))
    if kind == _LOCAL_VIRTUAL_DISK:
        return VirtualDisk(_descriptor(body[24:], depth + 1)[0])
    raise _DamagedError


def _file(data: bytes, depth: int) -> tuple[str, Device]:
    version, size, kind = struct.unpack_from("<III", data)
    if (version, kind) != (_FILE_VERSION, _FILE_ON_DEVICE) or size > len(data):
        raise _DamagedError
    parent, used = _descriptor(data[12:size], depth + 1)
    return _text(data[12 + used : size]), parent


def _located(data: bytes, depth: int) -> Device:
    by, element, parent_at = struct.unpack_from("<III", data, _HEADER)
    path_at = _HEADER + 12
    if by not in (_BY_ELEMENT, _BY_PATH) or 0 < parent_at < path_at:
        raise _DamagedError
    path = _text(data[path_at : parent_at or len(data)])
    parent = _descriptor(data[parent_at:], depth + 1)[0] if parent_at else None
    return LocatedDevice(element, path, parent)


def _identity(partition: bytes, scheme: int, disk: bytes) -> PartitionIdentity:
    if scheme == _GPT:
        return GptIdentity(uuid.UUID(bytes_le=partition), uuid.UUID(bytes_le=disk))
    if scheme == _MBR:
        return MbrIdentity(
            int.from_bytes(disk[:4], "little"), int.from_bytes(partition[:8], "little")
        )
    raise _DamagedError


def _cut(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    if len(part) < size:
        raise _DamagedError
    return part


def _text(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "replace").split("\0", 1)[0]


def _encoded(device: Device) -> bytes:
    match device:
        case BootVolume():
            return _with_header(_BOOT, bytes(_PADDED_SIZE - _HEADER))
        case DiskPartition(identity):
            partition, disk = _identity_bytes(identity)
            body = partition + _number(_LOCAL_DISK) + disk
            return _with_header(_PARTITION, body.ljust(_PADDED_SIZE - _HEADER, b"\0"))
        case RamDisk(path, parent):
            body = _number(_LOCAL_RAM_DISK) + bytes(20) + _file_bytes(path, parent)
            return _with_header(_DISK, body, _FLAG_RAM_DISK)
        case DeviceFile(path, parent):
            return _with_header(_DISK, _number(_LOCAL_FILE) + _file_bytes(path, parent))
        case VirtualDisk(file, inner):
            kind = _DISK if inner is None else _PARTITION
            partition, disk = (b"", bytes(20)) if inner is None else _identity_bytes(inner)
            body = partition + _number(_LOCAL_VIRTUAL_DISK) + disk + _encoded(file)
            return _with_header(kind, body)
        case LocatedDevice(element, path, inside):
            text = _path_bytes(path)
            parent_at = _HEADER + 12 + len(text) if inside else 0
            by = _BY_PATH if path else _BY_ELEMENT
            tail = _encoded(inside) if inside else b""
            return _with_header(_LOCATE, struct.pack("<III", by, element, parent_at) + text + tail)
        case UnknownDevice(content):
            return content[16:]


def _with_header(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("<IIII", kind, flags, _HEADER + len(body), 0) + body


def _file_bytes(path: str, parent: Device) -> bytes:
    content = _encoded(parent) + _path_bytes(path)
    return struct.pack("<III", _FILE_VERSION, 12 + len(content), _FILE_ON_DEVICE) + content


def _identity_bytes(identity: PartitionIdentity) -> tuple[bytes, bytes]:
    """Return the 16 bytes of the partition, and scheme and disk."""
    if isinstance(identity, MbrIdentity):
        partition = identity.offset.to_bytes(16, "little")
        return partition, _number(_MBR) + identity.signature.to_bytes(16, "little")
    return identity.partition.bytes_le, _number(_GPT) + (identity.disk or _NO_GUID).bytes_le


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _path_bytes(path: str) -> bytes:
    return path.encode("utf-16-le", "replace") + b"\0\0"
