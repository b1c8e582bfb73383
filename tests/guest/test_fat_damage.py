"""FAT volumes that are dirty, damaged or hostile: not written, and read only within bounds."""

from __future__ import annotations

import mmap
import random
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.fat_volumes import (
    SIZES,
    bytes_of,
    copy_out,
    entry_of,
    find,
    make_fat,
    opened,
    put,
    set_entry,
    slot_of,
    table_offsets,
    tree,
)
from offline_mig.guest.fat_check import UnsafeFatError
from offline_mig.guest.fat_layout import FatDamagedError
from offline_mig.guest.fat_volume import FatVolume
from offline_mig.guest.ntfs import VolumeKind, volume_kind

#: Of each kind of table: the last cluster of a chain, a bad one, and the two bits of its second
#: entry that Windows clears while the volume is in use, and when it met an error of the disk.
LAST = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}
BAD = {12: 0xFF7, 16: 0xFFF7, 32: 0x0FFFFFF7}
CLEAN, NO_ERROR = {16: 0x8000, 32: 0x08000000}, {16: 0x4000, 32: 0x04000000}

Damage = Callable[[mmap.mmap, int], None]


@pytest.fixture(params=SIZES)
def bits(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def volume(bits: int, tmp_path: Path) -> Path:
    """A directory, and two files of four clusters in it."""
    path = make_fat(tmp_path / "volume.raw", bits)
    with opened(path) as fat:
        fat.create(0, "DIR", is_directory=True)
        put(fat, "/DIR/FIRST", b"1" * 2000)
        put(fat, "/DIR/SECOND", b"2" * 2000)
    return path


def first_cluster(data: mmap.mmap, short: bytes) -> int:
    high, low = struct.unpack_from("<H4xH", data, slot_of(data, short) + 20)
    return int(high << 16 | low)


def chain_set(data: mmap.mmap, bits: int, index: int, value: int) -> None:
    """Set an entry of the chain of FIRST."""
    cluster = first_cluster(data, b"FIRST")
    for _ in range(index):
        cluster = entry_of(data, bits, cluster)
    set_entry(data, bits, cluster, value)


def point(data: mmap.mmap, short: bytes, cluster: int) -> None:
    at = slot_of(data, short)
    struct.pack_into("<H", data, at + 20, cluster >> 16)
    struct.pack_into("<H", data, at + 26, cluster & 0xFFFF)


#: What is done, what is said of it, and whether FIRST and the directory can still be read.
DAMAGES: dict[str, tuple[Damage, str, bool, bool]] = {
    "circle": (
        lambda data, bits: chain_set(data, bits, 3, first_cluster(data, b"FIRST")),
        "runs in a circle", False, True,
    ),
    "circle of one": (
        lambda data, bits: chain_set(data, bits, 0, first_cluster(data, b"FIRST")),
        "runs in a circle", False, True,
    ),
    "out of the volume": (
        lambda data, bits: chain_set(data, bits, 1, LAST[bits] - 0x20), "leads to 0x", False, True,
    ),
    "into what is free": (
        lambda data, bits: chain_set(data, bits, 1, 0), "leads to 0x0", False, True,
    ),
    "to a reserved number": (
        lambda data, bits: chain_set(data, bits, 1, 1), "leads to 0x1", False, True,
    ),
    "into a bad cluster": (
        lambda data, bits: chain_set(data, bits, 1, BAD[bits]), "leads to 0x", False, True,
    ),
    "too short": (
        lambda data, bits: chain_set(data, bits, 1, LAST[bits]), "2000 bytes in 2", False, True,
    ),
    "shared": (
        lambda data, bits: point(data, b"FIRST", first_cluster(data, b"SECOND")),
        "belong to several", True, True,
    ),
    "joined": (
        lambda data, bits: chain_set(data, bits, 3, first_cluster(data, b"SECOND")),
        "FIRST has 2000 bytes in 8 clusters", True, True,
    ),
    "empty with clusters": (
        lambda data, _: struct.pack_into("<I", data, slot_of(data, b"FIRST") + 28, 0),
        "0 bytes in 4", True, True,
    ),
    "size of a giant": (
        lambda data, _: struct.pack_into("<I", data, slot_of(data, b"FIRST") + 28, 0xFFFFFFFF),
        "4294967295 bytes in 4", False, True,
    ),
    "twice the same name": (
        lambda data, _: data.__setitem__(
            slice(at := slot_of(data, b"SECOND"), at + 11), b"FIRST".ljust(11)
        ),
        "FIRST is there twice", True, True,
    ),
    "directory in itself": (
        lambda data, _: (
            data.__setitem__(slot_of(data, b"FIRST") + 11, 16),
            point(data, b"FIRST", first_cluster(data, b"DIR")),
        )[0],
        "belong to several", True, True,
    ),
    "directory nowhere": (
        lambda data, _: point(data, b"DIR", 0), "DIR has no content", False, False,
    ),
    "directory out of the volume": (
        lambda data, bits: point(data, b"DIR", LAST[bits] - 0x20), "leads to 0x", False, False,
    ),
    "circle of a directory": (
        lambda data, bits: set_entry(
            data, bits, first_cluster(data, b"DIR"), first_cluster(data, b"DIR")
        ),
        "runs in a circle", False, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_volumes_are_not_written(volume: Path, bits: int, name: str) -> None:
    damage, said, readable, listable = DAMAGES[name]
    with bytes_of(volume) as data:
        damage(data, bits)
    damaged = volume.read_bytes()
    judged = subprocess.run(["/sbin/fsck.fat", "-n", volume], capture_output=True, check=False)
    # It finds nothing wrong with a directory that is its own.
    assert judged.returncode or name == "directory in itself", judged.stdout
    with pytest.raises(UnsafeFatError, match=said), opened(volume):
        pass
    with opened(volume, writable=False) as fat:
        directory, _ = find(fat, "/DIR")
        if not listable:
            with pytest.raises(FatDamagedError):
                fat.entries(directory)
            return
        if readable:
            assert fat.read(find(fat, "/DIR/FIRST")[0], 0, 100) in (b"1" * 100, b"2" * 100, b"")
        else:
            with pytest.raises(FatDamagedError):
                fat.read(find(fat, "/DIR/FIRST")[0], 0, 1 << 20)
    assert volume.read_bytes() == damaged


def test_copies_of_the_table_that_differ(volume: Path, bits: int) -> None:
    with bytes_of(volume) as data:
        set_entry(data, bits, first_cluster(data, b"SECOND"), LAST[bits], copies=1)
    with (
        pytest.raises(UnsafeFatError, match="copies of its allocation table differ"),
        opened(volume),
    ):
        pass
    with opened(volume, writable=False) as fat:
        assert fat.read(find(fat, "/DIR/FIRST")[0], 0, 5000) == b"1" * 2000


def test_lost_clusters_are_let_be(volume: Path, bits: int) -> None:
    with bytes_of(volume) as data:
        lost = first_cluster(data, b"SECOND") + 20
        set_entry(data, bits, lost, LAST[bits])
    with opened(volume) as fat:
        free = fat.free_clusters()
        put(fat, "/all", bytes(512 * free))
        assert fat.free_clusters() == 0
    with bytes_of(volume) as data:
        assert entry_of(data, bits, lost) == LAST[bits]
    assert copy_out(volume, "/DIR/SECOND") == b"2" * 2000


@pytest.mark.parametrize("bits", [16, 32], indirect=True)
@pytest.mark.parametrize(
    ("flags", "said"), [(CLEAN, "its dirty bit is set"), (NO_ERROR, "met errors of its disk")]
)
def test_flags_in_the_table(volume: Path, bits: int, flags: dict[int, int], said: str) -> None:
    with bytes_of(volume) as data:
        set_entry(data, bits, 1, entry_of(data, bits, 1) & ~flags[bits])
    require_unwritten(volume, said)


def test_flag_in_the_boot_sector(volume: Path, bits: int) -> None:
    with bytes_of(volume) as data:
        data[65 if bits == 32 else 37] |= 1
    judged = require_unwritten(volume, "its dirty bit is set")
    assert "Dirty bit is set" in judged


def require_unwritten(volume: Path, said: str) -> str:
    """Have it refused for writing and read; return what fsck.fat says."""
    before = volume.read_bytes()
    with pytest.raises(UnsafeFatError, match=said), opened(volume):
        pass
    with opened(volume, writable=False) as fat:
        assert tree(fat)["/DIR/FIRST"] == b"1" * 2000
    assert volume.read_bytes() == before
    return subprocess.run(
        ["/sbin/fsck.fat", "-n", volume], capture_output=True, text=True, check=False
    ).stdout


#: Offset, format and value of what the boot sector may not say, by the kinds it is wrong for.
ABSURD = {
    "sectors of 0": (11, "<H", 0),
    "sectors of 513": (11, "<H", 513),
    "sectors of 32768": (11, "<H", 32768),
    "clusters of 0": (13, "B", 0),
    "clusters of 3": (13, "B", 3),
    "clusters of 128 large sectors": (11, "<HB", 4096, 128),
    "nothing reserved": (14, "<H", 0),
    "no table": (16, "B", 0),
    "200 tables": (16, "B", 200),
    "odd root directory": (17, "<H", 7),
    "medium of 1": (21, "B", 1),
    "no sectors": (19, "<H11xI", 0, 0),
    "more than the partition": (19, "<H11xI", 0, 0xFFFFFFFF),
    "few sectors": (19, "<H11xI", 9, 9),
    "table of 1 sector": (22, "<H", 1),
    "table of 65535 sectors": (22, "<H", 65535),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_boot_sectors(volume: Path, name: str) -> None:
    at, form, *values = ABSURD[name]
    with bytes_of(volume) as data:
        struct.pack_into(form, data, at, *values)
        # It still names itself FAT, so the refusal is about that.
        assert volume_kind(data[:512]) is VolumeKind.FAT
    with pytest.raises(FatDamagedError), opened(volume, writable=False):
        pass


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [(36, "<I", 0), (36, "<I", 0xFFFFFFFF), (42, "<H", 1), (44, "<I", 1), (44, "<I", 1 << 28),
     (40, "<H", 0x8F)],
)  # fmt: skip
@pytest.mark.parametrize("bits", [32], indirect=True)
def test_absurd_boot_sectors_of_fat32(volume: Path, at: int, form: str, value: int) -> None:
    with bytes_of(volume) as data:
        struct.pack_into(form, data, at, value)
    with pytest.raises(FatDamagedError), opened(volume, writable=False):
        pass


def test_a_volume_that_is_cut_off(volume: Path) -> None:
    with volume.open("r+b") as stream:
        stream.truncate(volume.stat().st_size // 2)
    with pytest.raises(FatDamagedError, match="its partition only"), opened(volume):
        pass
    volume.write_bytes(b"\xeb\x3c\x90")
    with pytest.raises(FatDamagedError, match="too small"), opened(volume):
        pass


def test_nameless_boot_sectors_are_known_by_what_they_say(volume: Path, bits: int) -> None:
    """The words FAT16 and the like are for people; Windows and firmware look at the numbers."""
    with bytes_of(volume) as whole:
        data = bytearray(whole[:512])
    at = 82 if bits == 32 else 54
    data[at : at + 8] = b"        "
    assert volume_kind(data) is VolumeKind.FAT
    data[13] = 0
    assert volume_kind(data) is VolumeKind.OTHER


def test_a_separator_in_a_name_shows_nothing(volume: Path) -> None:
    with bytes_of(volume) as data:
        at = slot_of(data, b"FIRST")
        data[at : at + 11] = b"A/B".ljust(11)
    with opened(volume, writable=False) as fat:
        assert set(tree(fat)) == {"/DIR", "/DIR/SECOND"}
    with pytest.raises(UnsafeFatError, match="a name that can be none"), opened(volume):
        pass


def test_a_long_name_of_another_file_is_passed_over(volume: Path) -> None:
    with opened(volume) as fat:
        put(fat, "/DIR/a long name", b"x")
    with bytes_of(volume) as data:
        at = slot_of(data, b"ALONGN~1")
        data[at : at + 8] = b"OTHER   "
    with opened(volume, writable=False) as fat:
        assert "/DIR/OTHER" in tree(fat)


@pytest.mark.parametrize("seed", range(15))
def test_random_bytes_do_no_harm(volume: Path, bits: int, seed: int) -> None:
    """An error in our words or a sound answer, soon; what is written leaves the rest as it was."""
    with opened(volume) as fat:
        for number in range(20):
            put(fat, f"/DIR/a file with number {number}", bytes([number]) * 700)
    chance = random.Random(seed)
    with bytes_of(volume) as data:
        tables = table_offsets(data)
        # The boot sector; both tables alike; the directories.
        spots = [((0,), 90), (tables, 400), ((slot_of(data, b"DIR"),), 96)]
        spots += [((slot_of(data, b"FIRST"),), 32 * 60)] * 2
        for _ in range(chance.choice((1, 3, 30))):
            places, size = chance.choice(spots[seed % 4 != 0 :])
            at, value = chance.randrange(size), chance.randrange(256)
            for place in places:
                data[place + at] = value
    before = time.monotonic()
    try:
        with opened(volume, writable=False) as fat:
            walk(fat, 0, 4)
        with opened(volume) as fat:
            held = tree(fat)
            put(fat, "/NEW", b"new" * 5000)
        with opened(volume) as fat:
            assert tree(fat) == held | {"/NEW": b"new" * 5000}
    except (OSError, UnsafeFatError):
        pass
    assert time.monotonic() - before < 5


def walk(fat: FatVolume, directory: int, depth: int) -> None:
    for _, reference, is_directory in fat.entries(directory)[:50]:
        if not is_directory:
            fat.read(reference, 0, 4096)
        elif depth:
            walk(fat, reference, depth - 1)
