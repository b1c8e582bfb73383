"""FAT volumes read and written without an engine, judged by mtools and fsck.fat."""

from __future__ import annotations

import errno
import random
import shutil
import string
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.fat_volumes import (
    MIB,
    SIZES,
    bytes_of,
    copy_in,
    copy_out,
    find,
    listed,
    make_fat,
    opened,
    put,
    remove,
    require_sound_fat,
    run_mtools,
    slot_of,
    table_offset,
    table_offsets,
    tree,
)

NAMES = [
    "BOOTX64.EFI",
    "bootmgfw.efi",
    "Mixed.Case",
    "Übergröße.txt",
    "ΑΩ",
    "日本語",
    "emoji 😀.bin",
    "a b.c",
    "no extension",
    ".hidden",
    "two.dots.txt",
    "a+b,c;d=e[f]",
    "x" * 255,
    "y" * 13,
    "z" * 26,
]


@pytest.fixture(params=SIZES)
def bits(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def volume(bits: int, tmp_path: Path) -> Path:
    return make_fat(tmp_path / "volume.raw", bits)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5000, MIB + 17])
def test_written_files_are_there_for_others(volume: Path, size: int) -> None:
    with opened(volume) as fat:
        fat.create(0, "EFI", is_directory=True)
        put(fat, "/EFI/new file.efi", noise(size), piece=100_000)
    require_sound_fat(volume)
    assert copy_out(volume, "/EFI/new file.efi") == noise(size)
    with opened(volume, writable=False) as fat:
        assert tree(fat) == {"/EFI": None, "/EFI/new file.efi": noise(size)}
        file, _ = find(fat, "/EFI/new file.efi")
        assert fat.read(file, max(0, size - 7), 100) == noise(size)[max(0, size - 7) :]
        assert fat.read(file, size + 1, 100) == b""


def test_new_directories_have_a_date(volume: Path) -> None:
    with opened(volume) as fat:
        fat.create(0, "EFI", is_directory=True)
        put(fat, "/EFI/boot.efi", b"x")
    listing = subprocess.run(
        ["mdir", "-/", "-i", volume, "::"], check=True, capture_output=True, text=True
    ).stdout
    assert listing.count("<DIR>") == 3
    assert "1980" not in listing


def test_names_are_what_others_read(volume: Path) -> None:
    with opened(volume) as fat:
        fat.create(0, "Ordner", is_directory=True)
        for name in NAMES:
            put(fat, f"/Ordner/{name}", name.encode())
    require_sound_fat(volume)
    # mtools knows no letters beyond 16 bits.
    told = {name for name in listed(volume, "/Ordner/") if "emoji" not in name}
    assert told == {name for name in NAMES if "emoji" not in name}
    with opened(volume, writable=False) as fat:
        found = tree(fat)
        assert found == {"/Ordner": None} | {f"/Ordner/{name}": name.encode() for name in NAMES}


def test_names_are_what_others_wrote(volume: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    run_mtools("mmd", "-i", volume, "::Ordner")
    names = [name for name in NAMES if "emoji" not in name]
    for name in names:
        copy_in(volume, source, f"/Ordner/{name}")
    # mtools keeps these without a long name, by Windows NT's flags for small letters.
    copy_in(volume, source, "/Ordner/small.TXT")
    with opened(volume, writable=False) as fat:
        assert tree(fat) == {"/Ordner": None} | {
            f"/Ordner/{name}": b"content" for name in [*names, "small.TXT"]
        }


def test_short_names_are_as_windows_makes_them(volume: Path) -> None:
    with opened(volume) as fat:
        for name in ("Microsoft Boot", "Microsoft.Boot.efi", "microsoft boot 2", "Boot", "Größe"):
            put(fat, f"/{name}", b"")
    told = run_mtools("mdir", "-i", volume, "::")
    for short in ("MICROS~1", "MICROS~1 EFI", "MICROS~2", "BOOT", "GR__E~1"):
        assert f"\n{short} " in told, told


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", errno.EINVAL),
        ("a:b", errno.EINVAL),
        ("a\tb", errno.EINVAL),
        ("dot.", errno.EINVAL),
        ("..", errno.EINVAL),
        ("x" * 256, errno.ENAMETOOLONG),
        ("😀" * 128, errno.ENAMETOOLONG),
        ("LONGNA~1", errno.EEXIST),
    ],
)
def test_names_that_fat_does_not_allow(volume: Path, name: str, number: int) -> None:
    with opened(volume) as fat:
        put(fat, "/long name", b"kept")
        with pytest.raises(OSError, match=r"\w") as refused:
            fat.create(0, name, is_directory=False)
        assert refused.value.errno == number
        assert tree(fat) == {"/long name": b"kept"}
    require_sound_fat(volume)


@pytest.mark.parametrize(("before", "after"), [(10, 300_000), (300_000, 10), (70_000, 70_000)])
def test_replaced_files_keep_their_attributes(volume: Path, before: int, after: int) -> None:
    with opened(volume) as fat:
        put(fat, "/BCD.LOG", noise(before))
    run_mtools("mattrib", "+h", "+s", "+r", "-a", "-i", volume, "::BCD.LOG")
    with opened(volume) as fat:
        put(fat, "/BCD.LOG", noise(after, seed=2))
        assert list(tree(fat)) == ["/BCD.LOG"]
    require_sound_fat(volume)
    assert copy_out(volume, "/BCD.LOG") == noise(after, seed=2)
    attributes = run_mtools("mattrib", "-i", volume, "::BCD.LOG").split("::")[0]
    assert attributes.split() == ["A", "SHR"]


def test_a_directory_of_many_files(volume: Path) -> None:
    """The directory grows, shrinks to holes and is filled again; mtools sees the same."""
    with opened(volume) as fat:
        fat.create(0, "many", is_directory=True)
        directory, _ = find(fat, "/many")
        for number in range(120):
            fat.create(directory, f"file number {number}", is_directory=False)
    require_sound_fat(volume)
    with opened(volume) as fat:
        for number in range(0, 120, 2):
            remove(fat, f"/many/file number {number}")
        directory, _ = find(fat, "/many")
        for number in range(40):
            fat.create(directory, f"a longer name for number {number}", is_directory=True)
    require_sound_fat(volume)
    expected = {f"file number {number}" for number in range(1, 120, 2)} | {
        f"a longer name for number {number}" for number in range(40)
    }
    assert listed(volume, "/many/") == expected
    with opened(volume, writable=False) as fat:
        assert set(tree(fat)) == {"/many"} | {f"/many/{name}" for name in expected}


@pytest.mark.parametrize("bits", [12, 16], indirect=True)
def test_the_root_directory_gets_full(volume: Path) -> None:
    with opened(volume) as fat:
        made = 0
        with pytest.raises(OSError, match="No space left in the directory"):
            for made in range(600):
                fat.create(0, f"NAME{made}", is_directory=False)
        # 512 entries, one of which is the label.
        assert made == 511
        fat.delete(0, "NAME0", find(fat, "/NAME0")[0])
        fat.create(0, "AGAIN", is_directory=False)
    require_sound_fat(volume)
    assert "AGAIN" in run_mtools("mdir", "-b", "-i", volume, "::")


def test_a_full_volume(volume: Path) -> None:
    with opened(volume) as fat:
        put(fat, "/kept", b"kept")
    last_line = run_mtools("mdir", "-i", volume, "::").strip().splitlines()[-1]
    with opened(volume) as fat:
        free = fat.free_clusters() * 512
        assert last_line.replace(" ", "") == f"{free}bytesfree"
        put(fat, "/big", bytes(free - 600))
        assert fat.free_clusters() == 1
        for refused in (
            lambda: put(fat, "/big too", bytes(513)),
            lambda: fat.write(find(fat, "/big")[0], free - 600, bytes(2000), last=True),
        ):
            with pytest.raises(OSError, match="No space left") as error:
                refused()
            assert error.value.errno == errno.ENOSPC
        assert fat.free_clusters() == 1
        put(fat, "/last", bytes(512))
        assert fat.free_clusters() == 0
        with pytest.raises(OSError, match="No space left"):
            fat.create(0, "directory", is_directory=True)
        remove(fat, "/big")
    require_sound_fat(volume)
    assert copy_out(volume, "/kept") == b"kept"


def test_fragmented_files(volume: Path) -> None:
    """Written into holes of one cluster each."""
    with opened(volume) as fat:
        fat.create(0, "holes", is_directory=True)
        for number in range(100):
            put(fat, f"/holes/{number}", bytes([number]) * 512)
        put(fat, "/filler", bytes(fat.free_clusters() * 512))
        for number in range(0, 100, 2):
            remove(fat, f"/holes/{number}")
    with opened(volume) as fat:
        assert fat.free_clusters() == 50
        put(fat, "/scattered", noise(50 * 512 - 100), piece=5000)
        assert fat.free_clusters() == 0
    require_sound_fat(volume)
    assert copy_out(volume, "/scattered") == noise(50 * 512 - 100)
    with opened(volume, writable=False) as fat:
        file, _ = find(fat, "/scattered")
        assert fat.read(file, 700, 3000) == noise(50 * 512 - 100)[700:3700]


@pytest.mark.parametrize(
    "options", [("-f", "1"), ("-S", "4096", "-s", "1"), ("-R", "64"), ("-s", "8"), ("-a",)]
)
@pytest.mark.parametrize("bits", [12, 32])
def test_other_layouts(tmp_path: Path, bits: int, options: tuple[str, ...]) -> None:
    # mtools takes FAT32 for damaged that has fewer clusters than it should.
    size = 300 * MIB if bits == 32 and "-s" in options else 0
    volume = make_fat(tmp_path / "volume.raw", bits, *options, size=size)
    with opened(volume) as fat:
        fat.create(0, "Ordner", is_directory=True)
        put(fat, "/Ordner/file", noise(100_000))
    require_sound_fat(volume)
    assert copy_out(volume, "/Ordner/file") == noise(100_000)


def test_all_copies_of_the_table_are_written(volume: Path) -> None:
    with opened(volume) as fat:
        put(fat, "/file", noise(30_000))
    with bytes_of(volume) as data:
        first, second = table_offsets(data)
        size = second - first
        assert data[first:second] == data[second : second + size]
        assert data[first:second].count(0) < size - 40


def test_bits_of_a_fat32_table_that_are_not_its_own_stay(tmp_path: Path) -> None:
    volume = make_fat(tmp_path / "volume.raw", 32)
    with bytes_of(volume) as data:
        start = table_offset(data)
        for table in table_offsets(data):
            for entry in range(2, 1000):
                data[table + 4 * entry + 3] |= 0xA0
    with opened(volume) as fat:
        put(fat, "/file", noise(100_000))
        remove(fat, "/file")
        put(fat, "/file", noise(50_000))
    with bytes_of(volume) as data:
        assert {data[start + 4 * entry + 3] & 0xF0 for entry in range(2, 1000)} == {0xA0}
    assert copy_out(volume, "/file") == noise(50_000)


def test_only_the_table_in_use_is_read_and_written(tmp_path: Path) -> None:
    """BPB_ExtFlags 0x81: the second table is in use and not copied to the first."""
    volume = make_fat(tmp_path / "volume.raw", 32)
    with opened(volume) as fat:
        put(fat, "/file", noise(5000))
    with bytes_of(volume) as data:
        start, end = table_offsets(data)
        data[40] = 0x81
        data[start + 8 : end] = b"\xaa" * (end - start - 8)
        before = data[start:end]
    with opened(volume) as fat:
        assert tree(fat) == {"/file": noise(5000)}
        put(fat, "/more", noise(7000))
    with bytes_of(volume) as data:
        assert data[start:end] == before
    with opened(volume, writable=False) as fat:
        assert tree(fat) == {"/file": noise(5000), "/more": noise(7000)}


def test_what_lies_beyond_the_end_of_a_directory_stays_away(volume: Path) -> None:
    """A directory ends at its first zero; what was there before must not come back."""
    with opened(volume) as fat:
        fat.create(0, "dir", is_directory=True)
        directory, _ = find(fat, "/dir")
        for number in range(8):
            fat.create(directory, f"NAME{number}", is_directory=False)
    with bytes_of(volume) as data:
        data[slot_of(data, b"NAME2")] = 0
    require_sound_fat(volume)
    with opened(volume) as fat:
        assert set(tree(fat)) == {"/dir", "/dir/NAME0", "/dir/NAME1"}
        put(fat, "/dir/NEW", b"")
        assert set(tree(fat)) == {"/dir", "/dir/NAME0", "/dir/NAME1", "/dir/NEW"}
    require_sound_fat(volume)
    assert listed(volume, "/dir/") == {"NAME0", "NAME1", "NEW"}


def test_a_volume_is_marked_while_it_changes(volume: Path, bits: int) -> None:
    at = 65 if bits == 32 else 37
    untouched = volume.read_bytes()
    with opened(volume) as fat:
        assert tree(fat) == {}
    assert volume.read_bytes() == untouched
    with opened(volume) as fat:
        put(fat, "/file", b"x")
        assert volume.read_bytes()[at] & 1
    assert not volume.read_bytes()[at] & 1
    with pytest.raises(ZeroDivisionError), opened(volume) as fat:
        put(fat, "/file", b"y")
        raise ZeroDivisionError
    assert volume.read_bytes()[at] & 1


def test_whatever_write_a_run_breaks_off_at(volume: Path, tmp_path: Path) -> None:
    """What it was about is there as before, as wanted or in part; all else is as it was."""
    large = noise(150_000)
    with opened(volume) as fat:
        fat.create(0, "dir", is_directory=True)
        # What is written then reaches over a boundary of what is written of the table at once.
        put(fat, "/filler", bytes(850 * 512))
        for name in ("kept", "replaced", "deleted"):
            put(fat, f"/dir/{name}", noise(3000))
    writes = 0
    finished = False
    while not finished:
        image = Path(shutil.copy(volume, tmp_path / "broken off.raw"))
        try:
            with opened(image, writes=writes) as fat:
                put(fat, "/dir/replaced", large, piece=50_000)
                remove(fat, "/dir/deleted")
                fat.create(find(fat, "/dir")[0], "a new directory", is_directory=True)
                put(fat, "/dir/a new directory/new", large, piece=50_000)
            finished = True
        except ConnectionResetError:
            writes += 1
        with opened(image, writable=False) as fat:
            found = tree(fat)
        assert found.pop("/dir/kept") == noise(3000)
        replaced = found.pop("/dir/replaced")
        assert replaced == noise(3000) or large.startswith(replaced or b"")
        assert found.pop("/dir/deleted", noise(3000)) == noise(3000)
        assert large.startswith(found.pop("/dir/a new directory/new", b"") or b"")
        assert found.keys() <= {"/dir", "/filler", "/dir/a new directory"}
    assert writes > 20
    require_sound_fat(image)


def test_free_clusters_are_counted_and_kept(volume: Path, bits: int) -> None:
    with opened(volume) as fat:
        before = fat.free_clusters()
        put(fat, "/file", bytes(20 * 512))
        assert fat.free_clusters() == before - 20
    if bits == 32:
        info = volume.read_bytes()[512:1024]
        assert struct.unpack_from("<I", info, 488)[0] == before - 20


_STEM = st.text(string.ascii_letters + "0123456789 äß+", min_size=1, max_size=20).map(str.strip)
_PATH = st.tuples(st.sampled_from(["", "/one", "/one/two"]), st.sampled_from(range(6)))
_STEP = st.tuples(
    st.sampled_from(["write", "write", "write", "mkdir", "delete"]),
    _PATH,
    st.integers(0, 200_000),
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    names=st.lists(_STEM.filter(bool), min_size=6, max_size=6, unique_by=str.upper),
    steps=st.lists(_STEP, max_size=12),
)
def test_any_operations_do_what_a_dictionary_does(
    bits: int, tmp_path: Path, names: list[str], steps: list[tuple[str, tuple[str, int], int]]
) -> None:
    """After each, fsck.fat finds nothing, and the volume holds what the model does."""
    volume = make_fat(tmp_path / "volume.raw", bits)
    model: dict[str, bytes | None] = {"/one": None, "/one/two": None}
    with opened(volume) as fat:
        fat.create(0, "one", is_directory=True)
        fat.create(find(fat, "/one")[0], "two", is_directory=True)
    for number, (what, (folder, index), size) in enumerate(steps):
        path = f"{folder}/{names[index]}"
        with opened(volume) as fat:
            if what == "delete" and path in model:
                if any(other.startswith(f"{path}/") for other in model):
                    continue
                remove(fat, path)
                del model[path]
            elif what == "mkdir" and path not in model:
                fat.create(find(fat, folder)[0], names[index], is_directory=True)
                model[path] = None
            elif what == "write" and model.get(path, b"") is not None:
                put(fat, path, noise(size, number), piece=50_000)
                model[path] = noise(size, number)
            assert tree(fat) == model
        require_sound_fat(volume)
    with opened(volume, writable=False) as fat:
        assert tree(fat) == model
    for path, content in model.items():
        if content is not None:
            assert copy_out(volume, path) == content
