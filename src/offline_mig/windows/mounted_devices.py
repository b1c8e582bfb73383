r"""SYSTEM\MountedDevices: which drive letters and volume names Windows has given to which volumes.

Each value is a name of the mount manager and, as REG_BINARY, the unique id of the volume that has
it (Microsoft, "Supporting mount manager requests in a storage class driver"): of an MBR partition
the disk signature (4 bytes) and the first byte (8), of a GPT partition or a dynamic volume
``DMIO:ID:`` and its GUID (16), of a removable drive the name of its device interface in UTF-16.
A letter stays with its volume for as long as this id does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from offline_mig.guest.partition_identity import (
    GptIdentity,
    MbrIdentity,
    PartitionIdentity,
    PlacedPartition,
    find_partitions,
)
from offline_mig.guest.partition_table import PartitionTable
from offline_mig.windows.hive import RegistryView
from offline_mig.windows.registry import RegistryValue

KEY = "MountedDevices"
_GPT_PREFIX = b"DMIO:ID:"
#: A server with many LUNs has seen some thousands in its life.
_MAX_VALUES = 65536
_LETTER = re.compile(r"\\DosDevices\\([A-Z]):", re.ASCII | re.IGNORECASE)
_VOLUME = re.compile(r"\\\?\?\\Volume(\{[0-9a-f-]{36}\})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemovableDevice:
    """A drive whose medium changes, by the name of its device interface."""

    name: str

    def __str__(self) -> str:
        return f"a removable drive ({self.name})"


@dataclass(frozen=True, slots=True)
class UnknownId:
    """A unique id of a kind that is not known."""

    data: bytes

    def __str__(self) -> str:
        return f"an unknown volume ({self.data[:24].hex()})"


VolumeId = PartitionIdentity | RemovableDevice | UnknownId


@dataclass(frozen=True, slots=True)
class MountedDevice:
    r"""A name and the volume that has it.

    ``letter`` is the upper-case letter of ``\DosDevices\C:``, ``volume`` the GUID in braces of
    ``\??\Volume{...}``; other names have neither (``#{...}`` says that a volume has no letter).
    """

    name: str
    id: VolumeId

    @property
    def letter(self) -> str | None:
        """The drive letter that the name is."""
        match = _LETTER.fullmatch(self.name)
        return match[1].upper() if match else None

    @property
    def volume(self) -> str | None:
        """The volume name that the name is."""
        match = _VOLUME.fullmatch(self.name)
        return match[1].lower() if match else None


class ConflictKind(StrEnum):
    """What is odd about a letter."""

    #: Its volume is no partition of the disks: it is gone, and the letter stays reserved for it, or
    #: it is a volume of dynamic disks.
    ABSENT = "absent"
    #: Disks are copies of each other; Windows changes the signature of one, which loses letters.
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class LetterConflict:
    """A letter, what is odd about it, and the volume in question."""

    letter: str
    kind: ConflictKind
    id: PartitionIdentity


def read_mounted_devices(system: RegistryView) -> tuple[MountedDevice, ...]:
    """Return all names of volumes by name; values that are not REG_BINARY count all the same."""
    values = islice(system.values(KEY).items(), _MAX_VALUES)
    return tuple(
        MountedDevice(name, decode_volume_id(value.data))
        for name, value in sorted(values, key=lambda item: item[0].casefold())
    )


def decode_volume_id(data: bytes) -> VolumeId:
    """Return which volume a unique id means."""
    if len(data) == 12:
        return MbrIdentity(int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little"))
    if len(data) == 24 and data.startswith(_GPT_PREFIX):
        return GptIdentity(uuid.UUID(bytes_le=data[8:]), None)
    if len(data) > 4 and len(data) % 2 == 0 and data[1] == data[3] == 0:
        return RemovableDevice(data.decode("utf-16-le", "replace"))
    return UnknownId(data)


def encode_volume_id(identity: PartitionIdentity) -> RegistryValue:
    """Return the value of a partition's name."""
    if isinstance(identity, MbrIdentity):
        signature, offset = identity.signature, identity.offset
        return RegistryValue.binary(signature.to_bytes(4, "little") + offset.to_bytes(8, "little"))
    return RegistryValue.binary(_GPT_PREFIX + identity.partition.bytes_le)


def letters_of(
    mounted: Sequence[MountedDevice], tables: Sequence[PartitionTable], place: PlacedPartition
) -> tuple[str, ...]:
    """Return the letters of a partition in alphabetical order; none when it has got none."""
    return tuple(
        device.letter
        for device in mounted
        if device.letter and place in _partitions(tables, device.id)
    )


def partition_of(
    mounted: Sequence[MountedDevice], tables: Sequence[PartitionTable], letter: str
) -> PlacedPartition | None:
    """Return the partition with a letter; None when there is none, or more than one copy of it."""
    for device in mounted:
        if device.letter == letter.upper():
            found = _partitions(tables, device.id)
            return found[0] if len(found) == 1 else None
    return None


def letter_conflicts(
    mounted: Sequence[MountedDevice], tables: Sequence[PartitionTable]
) -> tuple[LetterConflict, ...]:
    """Return what is odd about the letters of partitions, by letter.

    Removable drives are left out: theirs are taken by what is there at the next start.
    """
    conflicts = []
    for device in mounted:
        if device.letter is None or not isinstance(device.id, MbrIdentity | GptIdentity):
            continue
        found = _partitions(tables, device.id)
        if len(found) != 1:
            kind = ConflictKind.AMBIGUOUS if found else ConflictKind.ABSENT
            conflicts.append(LetterConflict(device.letter, kind, device.id))
    return tuple(conflicts)


def _partitions(tables: Sequence[PartitionTable], volume: VolumeId) -> tuple[PlacedPartition, ...]:
    if isinstance(volume, MbrIdentity | GptIdentity):
        return find_partitions(tables, volume)
    return ()
