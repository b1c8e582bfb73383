"""MountedDevices: letters of made and real Windows, set against disks."""

from __future__ import annotations

import lzma
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.disk_layout import DISK_SIGNATURE, SYSTEM_VOLUME_GUID, mounted_device
from fixtures.guest_spec import GuestKind
from fixtures.hives import build_hive
from offline_mig.guest.partition_identity import GptIdentity, MbrIdentity, PlacedPartition
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.windows.hive import Hive
from offline_mig.windows.mounted_devices import (
    ConflictKind,
    MountedDevice,
    RemovableDevice,
    UnknownId,
    decode_volume_id,
    encode_volume_id,
    letter_conflicts,
    letters_of,
    partition_of,
    read_mounted_devices,
)
from offline_mig.windows.registry import RegistryValue

MIB = 1024 * 1024
GPT_GUID = uuid.UUID("8f2d7f3a-52c1-4f0e-9a64-0e1d5a7c9b01")
FIRST = Partition(1, MIB, 32 * MIB, "0x07", active=True)
SECOND = Partition(2, 33 * MIB, 700 * MIB, "0x07")
MBR_DISK = PartitionTable(
    TableKind.MBR, (FIRST, SECOND), f"{DISK_SIGNATURE[GuestKind.WINDOWS_7]:08x}"
)
DATA = Partition(1, MIB, 32 * MIB, "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", guid=str(GPT_GUID))
GPT_DISK = PartitionTable(TableKind.GPT, (DATA,), "00000000-0000-4000-8000-000000000001")
CDROM = r"\??\IDE#CdRomQEMU_DVD-ROM#5&290fd3ab&0&1.0.0#{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}"


def mounted(tmp_path: Path, **letters: bytes) -> tuple[MountedDevice, ...]:
    values = {rf"\DosDevices\{letter}:": RegistryValue.binary(i) for letter, i in letters.items()}
    path = tmp_path / "SYSTEM"
    path.write_bytes(build_hive("SYSTEM", {"MountedDevices": values}))
    return read_mounted_devices(Hive(path, "SYSTEM"))


def mbr_id(signature: int, offset: int) -> bytes:
    return signature.to_bytes(4, "little") + offset.to_bytes(8, "little")


WINDOWS = mounted_device(GuestKind.WINDOWS_7)
GPT_ID = b"DMIO:ID:" + GPT_GUID.bytes_le


def test_letters_of_partitions(tmp_path: Path) -> None:
    devices = mounted(tmp_path, C=WINDOWS, D=CDROM.encode("utf-16-le"), E=GPT_ID)
    tables = (MBR_DISK, GPT_DISK)
    assert letters_of(devices, tables, PlacedPartition(0, SECOND)) == ("C",)
    assert letters_of(devices, tables, PlacedPartition(0, FIRST)) == ()
    assert letters_of(devices, tables, PlacedPartition(1, DATA)) == ("E",)
    assert partition_of(devices, tables, "c") == PlacedPartition(0, SECOND)
    assert partition_of(devices, tables, "D") is None
    assert partition_of(devices, tables, "X") is None
    assert letter_conflicts(devices, tables) == ()
    assert [device.id for device in devices if device.letter == "D"] == [RemovableDevice(CDROM)]


def test_letters_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    gone = mbr_id(0x11223344, MIB)
    devices = mounted(tmp_path, C=WINDOWS, F=gone, G=GPT_ID)
    conflicts = letter_conflicts(devices, (MBR_DISK,))
    assert [(c.letter, c.kind, c.id) for c in conflicts] == [
        ("F", ConflictKind.ABSENT, MbrIdentity(0x11223344, MIB)),
        ("G", ConflictKind.ABSENT, GptIdentity(GPT_GUID, None)),
    ]


def test_copies_of_a_disk_are_told(tmp_path: Path) -> None:
    devices = mounted(tmp_path, C=WINDOWS)
    tables = (MBR_DISK, MBR_DISK)
    assert [c.kind for c in letter_conflicts(devices, tables)] == [ConflictKind.AMBIGUOUS]
    assert partition_of(devices, tables, "C") is None


def test_a_partition_may_have_two_letters(tmp_path: Path) -> None:
    devices = mounted(tmp_path, C=WINDOWS, H=WINDOWS)
    assert letters_of(devices, (MBR_DISK,), PlacedPartition(0, SECOND)) == ("C", "H")
    assert letter_conflicts(devices, (MBR_DISK,)) == ()


@pytest.mark.parametrize(
    ("name", "letter", "volume"),
    [
        (r"\DosDevices\c:", "C", None),
        (r"\??\Volume{656B1715-ecf6-11df-92e6-806e6f6e6963}", None,
         "{656b1715-ecf6-11df-92e6-806e6f6e6963}"),
        (r"#{656b1715-ecf6-11df-92e6-806e6f6e6963}", None, None),
        (r"\DosDevices\CC:", None, None),
    ],
)  # fmt: skip
def test_names(name: str, letter: str | None, volume: str | None) -> None:
    device = MountedDevice(name, UnknownId(b""))
    assert (device.letter, device.volume) == (letter, volume)


@pytest.mark.parametrize(
    "identity", [MbrIdentity(0x5CBEA03F, 33 * MIB), GptIdentity(GPT_GUID, None)]
)
def test_ids_are_written_as_they_are_read(identity: MbrIdentity | GptIdentity) -> None:
    value = encode_volume_id(identity)
    assert decode_volume_id(value.data) == identity
    assert value.data in (WINDOWS, GPT_ID)


@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: b"DMIO:ID:" + tail))
def test_any_id_is_read(data: bytes) -> None:
    found = decode_volume_id(data)
    if isinstance(found, MbrIdentity | GptIdentity):
        assert encode_volume_id(found).data == data
    elif isinstance(found, UnknownId):
        assert found.data == data


def test_a_hive_without_the_key_has_no_letters(tmp_path: Path) -> None:
    path = tmp_path / "SYSTEM"
    path.write_bytes(build_hive("SYSTEM", {"Select": {}}))
    assert read_mounted_devices(Hive(path, "SYSTEM")) == ()


def real(shared_data: Path, tmp_path: Path, name: str) -> tuple[MountedDevice, ...]:
    path = tmp_path / "SYSTEM"
    packed = shared_data / "hives" / "system" / f"{name}.SYSTEM.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return read_mounted_devices(Hive(path, "SYSTEM"))


@pytest.mark.data
def test_letters_of_windows_7(shared_data: Path, tmp_path: Path) -> None:
    devices = real(shared_data, tmp_path, "win7-sp1-x86-vmware")
    letters = {device.letter: device.id for device in devices if device.letter}
    assert set(letters) == {"A", "C", "D", "E"}
    assert letters["C"] == MbrIdentity(0x5CBEA03E, MIB)
    stick = letters["E"]
    assert isinstance(stick, RemovableDevice)
    assert stick.name.startswith("_??_USBSTOR#Disk&Ven_HP")
    assert sum(device.volume is not None for device in devices) == 7


@pytest.mark.data
def test_letters_of_windows_10(shared_data: Path, tmp_path: Path) -> None:
    devices = real(shared_data, tmp_path, "win10-2004-x64-vmware")
    letters = {device.letter: device.id for device in devices if device.letter}
    assert letters["C"] == GptIdentity(uuid.UUID("1e178d94-4f79-41e9-865d-2e5b4328cd23"), None)
    assert letters["C"] != GptIdentity(SYSTEM_VOLUME_GUID, None)
