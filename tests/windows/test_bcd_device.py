"""Device elements: bytes of known layout decoded, encoded again, and set against disks."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.bcd import boot_device, gpt_device, mbr_device, ram_disk_device
from offline_mig.guest.partition_identity import (
    GptIdentity,
    MbrIdentity,
    PartitionIdentity,
    PlacedPartition,
)
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.windows.bcd_device import (
    BootVolume,
    Device,
    DeviceElement,
    DeviceFile,
    DiskPartition,
    LocatedDevice,
    RamDisk,
    UnknownDevice,
    VirtualDisk,
    candidates,
    decode_device,
    disk_partition,
    encode_device,
    on_partition,
)

MIB = 1024 * 1024
DISK = uuid.UUID("8f2d7f3a-52c1-4f0e-9a64-0e1d5a7c9b01")
PARTITION = uuid.UUID("1e178d94-794e-41e9-865d-2e5b4328cd24")
OPTIONS = uuid.UUID("ae5534e0-a924-466c-b836-758539a3ee3a")
ON_MBR = MbrIdentity(0x36234DA4, MIB)
ON_GPT = GptIdentity(PARTITION, DISK)
#: The descriptor of a file on a partition, and what a VHD in that file looks like when it is to be
#: located: laid out as bcdedit of Windows 8 does, with other values.
FILE = "05000000 01000000 68000000 05000000"
MBR_PARTITION = (
    "06000000 00000000 48000000 00000000 0000100000000000 0000000000000000"
    "00000000 01000000 a44d2336 000000000000000000000000 00000000000000000000000000000000"
)
VHD_PATH = "5c00 7400 6500 7300 7400 2e00 7600 6800 6400 0000"
LOCATED_VHD = (
    "00000000000000000000000000000000"
    "08000000 00000000 c2000000 00000000 00000000 02000012 1e000000 0000"
    "00000000 00000000 a4000000 00000000 06000000 0000000000000000000000000000000000000000"
    f"00000000 00000000 7c000000 00000000 {FILE} {MBR_PARTITION} {VHD_PATH}"
)
#: What Sysprep leaves: to be located by the element that holds the loader's path.
LOCATED = (
    "00000000000000000000000000000000"
    "08000000 00000000 1e000000 00000000 00000000 02000012 00000000 0000"
)
SYSTEM = Partition(1, MIB, 100 * MIB, "0x07", active=True)
WINDOWS = Partition(2, 101 * MIB, 900 * MIB, "0x07")
TABLES = (PartitionTable(TableKind.MBR, (SYSTEM, WINDOWS), "36234da4"),)

KNOWN: dict[str, tuple[bytes, DeviceElement]] = {
    "boot": (boot_device(), DeviceElement(BootVolume())),
    "MBR partition": (mbr_device(0x36234DA4, MIB), DeviceElement(DiskPartition(ON_MBR))),
    "GPT partition": (gpt_device(DISK, PARTITION), DeviceElement(DiskPartition(ON_GPT))),
    "RAM disk": (
        ram_disk_device(mbr_device(0x36234DA4, MIB), r"\boot\boot.wim", str(OPTIONS)),
        DeviceElement(RamDisk(r"\boot\boot.wim", DiskPartition(ON_MBR)), OPTIONS),
    ),
    "located": (bytes.fromhex(LOCATED), DeviceElement(LocatedDevice(0x12000002))),
    "located VHD": (
        bytes.fromhex(LOCATED_VHD),
        DeviceElement(
            LocatedDevice(
                0x12000002,
                parent=VirtualDisk(DeviceFile(r"\test.vhd", DiskPartition(ON_MBR))),
            )
        ),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_layouts(name: str) -> None:
    data, element = KNOWN[name]
    assert decode_device(data) == element
    assert encode_device(element) == data


def identities() -> st.SearchStrategy[PartitionIdentity]:
    mbr = st.builds(MbrIdentity, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
    return mbr | st.builds(GptIdentity, st.uuids(), st.uuids())


def devices() -> st.SearchStrategy[Device]:
    paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    simple: st.SearchStrategy[Device] = (
        st.just(BootVolume())
        | st.builds(DiskPartition, identities())
        | st.builds(LocatedDevice, st.integers(1, 2**32 - 1))
        | st.builds(LocatedDevice, path=paths)
    )
    return st.recursive(
        simple,
        lambda inner: (
            st.builds(RamDisk, paths, inner)
            | st.builds(DeviceFile, paths, inner)
            | st.builds(VirtualDisk, inner, st.none() | identities())
            | st.builds(LocatedDevice, st.integers(1, 2**32 - 1), parent=inner)
        ),
        max_leaves=3,
    )


@given(devices(), st.none() | st.uuids().filter(lambda guid: guid.int))
def test_what_is_encoded_is_decoded(device: Device, options: uuid.UUID | None) -> None:
    element = DeviceElement(device, options)
    assert decode_device(encode_device(element)) == element


@given(devices(), identities())
def test_a_device_is_moved_whole(device: Device, wanted: PartitionIdentity) -> None:
    moved = on_partition(device, wanted)
    before = disk_partition(device)
    assert disk_partition(moved) == (None if before is None else wanted)
    if before is not None:
        assert on_partition(moved, before) == device


@given(st.binary(max_size=300), st.sampled_from([0, 2, 5, 6, 8]))
def test_any_bytes_are_kept(body: bytes, kind: int) -> None:
    data = bytes(16) + struct.pack("<IIII", kind, 0, 16 + len(body), 0) + body
    element = decode_device(data)
    if isinstance(element.device, UnknownDevice):
        assert encode_device(element) == data
    else:
        assert decode_device(encode_device(element)) == element


@pytest.mark.parametrize("cut", [0, 15, 20, 40, 60, 87])
def test_cut_elements_are_unknown(cut: int) -> None:
    data = gpt_device(DISK, PARTITION)[:cut]
    assert decode_device(data) == DeviceElement(UnknownDevice(data))


def test_endless_nesting_ends() -> None:
    device: Device = BootVolume()
    for _ in range(40):
        device = DeviceFile("x", device)
    data = encode_device(DeviceElement(device))
    assert decode_device(data).device == UnknownDevice(data)


@pytest.mark.parametrize(
    ("device", "numbers"),
    [
        (BootVolume(), [1]),
        (DiskPartition(MbrIdentity(0x36234DA4, 101 * MIB)), [2]),
        (DiskPartition(MbrIdentity(0x36234DA5, 101 * MIB)), []),
        (DiskPartition(MbrIdentity(0x36234DA4, 102 * MIB)), []),
        (DiskPartition(ON_GPT), []),
        (RamDisk(r"\Winre.wim", DiskPartition(ON_MBR)), [1]),
        (VirtualDisk(DeviceFile(r"\a.vhd", DiskPartition(ON_MBR))), [1]),
        (LocatedDevice(0x12000002), [1, 2]),
        (LocatedDevice(0x12000002, parent=VirtualDisk(DiskPartition(ON_MBR))), [1]),
        (UnknownDevice(b""), []),
    ],
)
def test_where_a_device_can_be(device: Device, numbers: list[int]) -> None:
    found = candidates(device, TABLES, PlacedPartition(0, SYSTEM))
    assert [place.partition.number for place in found] == numbers


MBR_WORDS = "the partition at byte 1048576 of the MBR disk 36234da4"
LOCATED_WORDS = "the first volume with the path of element 12000002"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("boot", "the volume of the boot manager"),
        ("MBR partition", MBR_WORDS),
        ("GPT partition", f"the partition {PARTITION} of the GPT disk {DISK}"),
        ("RAM disk", rf"a RAM disk of \boot\boot.wim on {MBR_WORDS}"),
        ("located", LOCATED_WORDS),
        (
            "located VHD",
            rf"{LOCATED_WORDS}, in the virtual disk in the file \test.vhd on {MBR_WORDS}",
        ),
    ],
)
def test_devices_are_named_for_people(name: str, words: str) -> None:
    assert str(KNOWN[name][1].device) == words


def test_without_a_boot_volume_boot_is_nowhere() -> None:
    assert candidates(BootVolume(), TABLES, None) == ()
