"""Two engines, each the other's oracle: what they read and what they make of a guest is the same.

The appliance is started once for reading and once for writing, with all guests in it.
"""

from __future__ import annotations

import hashlib
import mmap
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.catalogue import (
    REAL_WINDOWS_10,
    WINDOWS_7,
    WINDOWS_10,
    XP,
    XP_HIBERNATED,
)
from fixtures.fat_volumes import (
    bytes_of,
    copy_in,
    make_fat,
    require_sound_fat,
    run_mtools,
    set_entry,
    slot_of,
)
from fixtures.guests import GuestKind, GuestSpec
from fixtures.ntfs_volumes import (
    FileState,
    cut_out,
    make_volume,
    open_journal,
    require_sound,
    volume_state,
)
from fixtures.one_disk import OneDisk
from fixtures.security_descriptors import described
from fixtures.windows_security import FILE_BELOW, FILE_BELOW_XP
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.conversion.examination import examined_volume
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import Engine, GuestDisks, OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.ntfs import VolumeKind, volume_kind
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.system_volume import SystemVolume, find_system_volume, read_layout

pytestmark = [pytest.mark.appliance, pytest.mark.usefixtures("userspace")]

_MIB = 1024 * 1024
_MADE = (XP, WINDOWS_7, WINDOWS_10)
_REAL = (REAL_WINDOWS_10,)
#: HiveBase blocks carry the time of the last edit; hivex writes it.
_HIVE_TIME = slice(12, 20)
_HIVE_CHECKSUM = slice(508, 512)


@pytest.fixture(scope="module")
def specs() -> tuple[GuestSpec, ...]:
    return _MADE + (_REAL if real_hives.data_folder() is not None else ())


@pytest.fixture(scope="module")
def images(
    specs: tuple[GuestSpec, ...], base_image: Callable[[GuestSpec], Path]
) -> tuple[Path, ...]:
    return tuple(base_image(spec) for spec in specs)


@pytest.fixture(scope="module")
def opened(images: tuple[Path, ...]) -> Iterator[tuple[GuestDisks, GuestDisks]]:
    disks = tuple(OpenedDisk(image, DiskFormat.RAW) for image in images)
    with (
        GuestfsEngine().open(disks, writable=False) as by_guestfs,
        UserspaceEngine().open(disks, writable=False) as by_userspace,
    ):
        yield by_guestfs, by_userspace


def test_sectors_are_the_same(
    opened: tuple[GuestDisks, GuestDisks], images: tuple[Path, ...]
) -> None:
    by_guestfs, by_userspace = opened
    for disk, image in enumerate(images):
        size = image.stat().st_size
        assert by_guestfs.size(disk) == by_userspace.size(disk) == size
        for offset, length in ((0, _MIB), (size - 512, 512), (size // 2 + 1, 3 * _MIB)):
            expected = by_guestfs.read(disk, offset, length)
            assert by_userspace.read(disk, offset, length) == expected
        assert read_layout(OneDisk(by_guestfs, disk), 1) == read_layout(
            OneDisk(by_userspace, disk), 1
        )


def test_volumes_are_the_same(
    opened: tuple[GuestDisks, GuestDisks], specs: tuple[GuestSpec, ...]
) -> None:
    for disk in range(len(specs)):
        found = [contents(OneDisk(disks, disk)) for disks in opened]
        assert found[0] == found[1]
        assert sum(len(files) for files in found[0].values()) > 20


def contents(disks: OneDisk) -> dict[int, dict[str, object]]:
    found: dict[int, dict[str, object]] = {}
    for partition in read_layout(disks, 1).tables[0].partitions:
        kind = volume_kind(disks.read(0, partition.start, 512))
        if kind not in (VolumeKind.NTFS, VolumeKind.FAT):
            continue
        with disks.mount(0, partition, writable=False) as files:
            seen: dict[str, object] = {"free": files.free_space()}
            walked = {
                f"/{entry.name}": None if entry.is_directory else entry.size
                for entry in files.walk("/")
            }
            assert walked == dict(tree(files, "/"))
            for path, size in tree(files, "/"):
                upper = path.upper()
                assert files.resolve(upper) == path
                assert files.resolve(f"{upper}/none") is None
                if size is not None:
                    content = files.read(upper)
                    assert len(content) == size
                    assert files.read_part(path, 3, 5) == content[3:8]
                    seen[path] = hashlib.sha256(content).hexdigest()
                else:
                    seen[path] = None
            found[partition.number] = seen
    return found


def tree(files: GuestFilesystem, path: str) -> Iterator[tuple[str, int | None]]:
    for entry in files.list_directory(path):
        below = f"{path.rstrip('/')}/{entry.name}"
        yield below, None if entry.is_directory else entry.size
        if entry.is_directory:
            yield from tree(files, below)


@pytest.fixture(scope="module")
def operated(
    specs: tuple[GuestSpec, ...],
    images: tuple[Path, ...],
    drivers_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[dict[str, FileState]]]:
    """The same done to every guest by each engine, and the state of its system volume then."""
    found = {}
    for engine in (GuestfsEngine(), UserspaceEngine()):
        folder = tmp_path_factory.mktemp(engine.name)
        overlays = []
        for number, image in enumerate(images):
            overlay = folder / f"overlay{number}.qcow2"
            qemu_img.create_overlay(overlay, image, DiskFormat.RAW)
            overlays.append(OpenedDisk(overlay, DiskFormat.QCOW2, (image,)))
        with engine.open(tuple(overlays), writable=True) as disks:
            volumes = [
                operate(OneDisk(disks, number), drivers_dir, folder) for number in range(len(specs))
            ]
        states = []
        for overlay, volume in zip(overlays, volumes, strict=True):
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", overlay.path], check=True)
            part = volume.partition
            local = cut_out(overlay.path, "qcow2", part.start, part.size, folder / "volume.raw")
            require_sound(local)
            states.append(volume_state(local))
            hives_without_time(states[-1], local, volume.root)
        found[engine.name] = states
    return found


def operate(disks: OneDisk, drivers: Path, folder: Path) -> SystemVolume:
    volume = find_system_volume(disks, read_layout(disks, 1))
    with examined_volume(disks, volume) as (files, facts):
        chosen = choose_drivers(open_sources((drivers,)), facts.version, allow_unsigned=True)
        cabinets, _ = take_from_cabinets(files, facts, missing_files(facts, chosen.drivers))
        plan = plan_conversion(facts, chosen.drivers, cabinets)
    scratch = folder / "scratch"
    scratch.mkdir()
    with disks.mount(volume.disk, volume.partition, writable=True) as files:
        apply_plan(plan, files, facts.hive_files, scratch)
        try_everything(files)
    with disks.mount(volume.disk, volume.partition, writable=False) as files:
        verify_plan(plan, files, facts.hive_files, scratch)
    shutil.rmtree(scratch)
    return volume


def try_everything(files: GuestFilesystem) -> None:
    """What a plan does, and what it does not do as often."""
    chance = random.Random(7)
    files.make_directory("/Ordner")
    files.make_directory("/ordner/Übung")
    for name, sizes in {
        "empty": (0,),
        "resident": (300,),
        "grows": (300, 2 * _MIB + 1),
        "shrinks": (2 * _MIB + 1, 300),
        "large": (7 * _MIB,),
        "vanishes": (_MIB, 0),
    }.items():
        for size in sizes:
            files.write(f"/ORDNER/Übung/{name}.bin", chance.randbytes(size))
    for number in range(60):
        files.write(f"/Ordner/file {number:02}.sys", bytes([number]) * number)
    for number in range(0, 60, 3):
        files.delete(f"/ordner/FILE {number:02}.SYS")
    files.make_directory("/Ordner/gone")
    files.delete("/Ordner/gone")
    files.create(("/Baum", "/Baum/Ast", "/Baum/Ast/Zweig"), {"/Baum/Ast/Zweig/Blatt": b"leaf"})
    files.write("/Baum/Wurzel.txt", b"")
    assert {(e.name, e.is_directory, e.size) for e in files.walk("/baum")} == {
        ("Ast", True, 0),
        ("Ast/Zweig", True, 0),
        ("Ast/Zweig/Blatt", False, 4),
        ("Wurzel.txt", False, 0),
    }
    files.delete_tree("/baum/AST/zweig")
    assert files.exists("/Baum/Ast")
    assert not files.exists("/Baum/Ast/Zweig")
    files.delete_tree("/BAUM/wurzel.TXT")
    files.delete_tree("/Baum")
    assert not files.exists("/Baum")
    files.create(("/Baum", "/Baum/Ast"), {"/Baum/Ast/Blatt": b"another"})
    with pytest.raises(FileNotFoundError):
        files.delete_tree("/Baum/Ast/Zweig")
    with pytest.raises(FileNotFoundError):
        files.walk("/Baum/Ast/Zweig")


def hives_without_time(state: dict[str, FileState], volume: Path, root: str) -> None:
    """Put the hash of a hive without its time stamp in place of its hash."""
    for path, file in state.items():
        if path.lower().rpartition("/")[0] != f"{root}/System32/config".lower():
            continue
        hive = bytearray(
            subprocess.run(["ntfscat", "-f", volume, path], check=True, capture_output=True).stdout
        )
        assert hashlib.sha256(hive).hexdigest() == file.content
        hive[_HIVE_TIME] = bytes(8)
        hive[_HIVE_CHECKSUM] = bytes(4)
        digest = hashlib.sha256(hive).hexdigest()
        state[path] = FileState(file.audit, digest, file.information, file.security)


def test_same_operation_makes_the_same_guest(
    operated: dict[str, list[dict[str, FileState]]], specs: tuple[GuestSpec, ...]
) -> None:
    for spec, guestfs, userspace in zip(
        specs, operated["guestfs"], operated["userspace"], strict=True
    ):
        assert guestfs.keys() == userspace.keys(), spec
        different = {path for path, state in guestfs.items() if userspace[path] != state}
        assert not different, spec
        (driver,) = (path for path in guestfs if path.lower().endswith("/drivers/viostor.sys"))
        expected = FILE_BELOW_XP if spec.kind is GuestKind.XP else FILE_BELOW
        assert described(bytes.fromhex(guestfs[driver].security)) == expected


#: Of each kind of table, a volume that ``try_everything`` fits on.
_FAT = {12: ("-s", "8", 15 * _MIB), 16: ("-s", "4", 32 * _MIB), 32: ("-s", "1", 64 * _MIB)}


def test_fat_is_changed_and_refused_alike(tmp_path: Path) -> None:
    """Linux's vfat in the appliance, and the confined reader and writer, judged by fsck.fat."""
    sources = [
        make_fat(tmp_path / f"fat{bits}.raw", bits, *options, size=size)
        for bits, (*options, size) in _FAT.items()
    ]
    for source in sources:
        copy_in(source, Path(__file__), "/Written by mtools.py")
        copy_in(source, Path(__file__), "/small.PY")
        copy_in(source, Path(__file__), "/UMLAUT.PY")
        with bytes_of(source) as data:
            # A short name alone, in the code page of DOS.
            at = slot_of(data, b"UMLAUT  PY")
            data[at : at + 6] = b"\x9aBUNG "
    sources += [make_fat(tmp_path / f"{name}.raw", 16) for name in ("dirty", "damaged", "absurd")]
    for source, damage in zip(sources[3:], (_dirty, _damaged, _absurd), strict=True):
        with bytes_of(source) as data:
            damage(data)
    found, said = [], []
    for engine in (GuestfsEngine(), UserspaceEngine()):
        folder = tmp_path / engine.name
        folder.mkdir()
        images = [Path(shutil.copy(source, folder)) for source in sources]
        disks = tuple(OpenedDisk(image, DiskFormat.RAW) for image in images)
        with engine.open(disks, writable=True) as opened_disks:
            for disk in range(3):
                with opened_disks.mount(disk, whole_of(images[disk]), writable=True) as files:
                    try_everything(files)
                    files.write("/written BY mtools.py", b"replaced")
            said.append([refused(opened_disks, disk, whole_of(images[disk])) for disk in (3, 4, 5)])
            trees = [
                contents_of(opened_disks, disk, whole_of(images[disk])) for disk in (0, 1, 2, 3)
            ]
        found.append(trees)
        for image in images[:3]:
            require_sound_fat(image)
        # What mtools sees of names and attributes.
        found[-1].append({"mattrib": run_mtools("mattrib", "-/", "-i", images[2], "::")})
        for source, image in zip(sources[3:], images[3:], strict=True):
            assert source.read_bytes() == image.read_bytes()
    assert found[0] == found[1]
    assert said[0] == said[1]
    for message, reason in zip(
        said[0], ("its dirty bit", "copies of its allocation table", "clusters have 3"), strict=True
    ):
        assert reason in message
    assert found[0][0].keys() >= {"/ÜBUNG.PY", "/small.PY"}
    assert found[0][0]["/Written by mtools.py"] == hashlib.sha256(b"replaced").hexdigest()


def _dirty(data: mmap.mmap) -> None:
    set_entry(data, 16, 1, 0x7FFF)


def _damaged(data: mmap.mmap) -> None:
    set_entry(data, 16, 100, 0xFFFF, copies=1)


def _absurd(data: mmap.mmap) -> None:
    data[13] = 3


def whole_of(image: Path) -> Partition:
    return Partition(0, 0, image.stat().st_size, "volume")


def refused(disks: GuestDisks, disk: int, whole: Partition) -> str:
    with (
        pytest.raises(GuestRefusedError) as error,
        disks.mount(disk, whole, writable=True),
    ):
        pass
    return error.value.message + error.value.remedy


def contents_of(disks: GuestDisks, disk: int, whole: Partition) -> dict[str, object]:
    with disks.mount(disk, whole, writable=False) as files:
        return {"free": files.free_space()} | {
            path: size if size is None else hashlib.sha256(files.read(path)).hexdigest()
            for path, size in tree(files, "/")
        }


def test_refusals_are_the_same(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> None:
    journal = make_volume(tmp_path / "journal.raw")
    open_journal(journal)
    whole = Partition(0, 0, journal.stat().st_size, "volume")
    fine = Path(shutil.copy(base_image(XP_HIBERNATED), tmp_path / "hibernated.raw"))
    fine.chmod(0o600)
    empty = tmp_path / "empty.raw"
    empty.write_bytes(journal.read_bytes()[:512].ljust(whole.size, b"\0"))
    disks = tuple(OpenedDisk(image, DiskFormat.RAW) for image in (journal, fine, empty))
    said = [refusals(engine, disks, whole) for engine in (GuestfsEngine(), UserspaceEngine())]
    assert said[0] == said[1]
    assert "1:0 can only be mounted read-only" in said[0][0]
    assert "2:1 can only be mounted read-only" in said[0][1]
    assert "3:0 cannot be" in said[0][2]


def refusals(engine: Engine, disks: tuple[OpenedDisk, ...], whole: Partition) -> list[str]:
    said = []
    with engine.open(disks, writable=True) as opened:
        (hibernated,) = read_layout(OneDisk(opened, 1), 1).tables[0].partitions
        for disk, partition in enumerate((whole, hibernated, whole)):
            with (
                pytest.raises(GuestRefusedError) as refused,
                opened.mount(disk, partition, writable=True),
            ):
                pass
            # Further words are those of the program that mounts.
            said.append(refused.value.message.partition("mounted:")[0] + refused.value.remedy)
    return said
