"""The bench's own guests: a made Windows 7 with data, built without an appliance.

Volumes are made by mkntfs in sparse files and filled through the userspace engine, which writes as
fast as this host's disk, where ntfs-3g in an emulated appliance writes 4 MB/s. The same shape gives
the same files and contents; only time stamps and the volume's serial number differ.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from dataclasses import astuple, dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath

from benchmark.large_hives import large_hives
from fixtures import partition_tables, real_hives
from fixtures.base_images import cache_folder
from fixtures.disk_layout import DISK_SIGNATURE, SYSTEM_VOLUME_OFFSET
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.partition_tables import MbrEntry
from fixtures.virtio_win import write_iso, write_tree
from fixtures.vmware import MACHINES, write_machine
from fixtures.windows_tree import Files, system_reserved, system_volume
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.guest.partition_table import read_partition_table
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
from offline_mig.windows.version import Architecture

KIB, MIB, GIB = 1024, 1024**2, 1024**3
#: One data file; a deleted file of half its size lies between two of them.
_FILE = 32 * MIB
#: What a real virtio-win ISO holds beside the drivers: installers and guest agents.
_ISO_FILLING = 256 * MIB
#: Published drivers for Windows 7 each bring this co-installer of 1.7 MB, which virt-v2v copies
#: and the made ones lack: about 10 MB, as with a published ISO.
_CO_INSTALLER = "WdfCoInstaller01009.dll"
_CO_INSTALLER_SIZE = 1721576
_WITH_CO_INSTALLER = ("balloon", "fwcfg", "pvpanic", "vioinput", "viorng", "vioserial")
_FOLDER = "Data"


class Hives(StrEnum):
    """The registry of a guest: a few KiB, or as large as after years of use."""

    SMALL = "small"
    REAL = "real"
    MADE = "made"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a guest holds, in bytes: its disk, data, and data that was deleted again."""

    name: str
    size: int
    data: int
    deleted: int = 0
    hives: Hives = Hives.SMALL


SMALL = Shape("small", GIB, 60 * MIB)
BIG = Shape("big", 6 * GIB, 2 * GIB, deleted=GIB)


def growing(gibibytes: int) -> Shape:
    """Return a guest with so much data on a disk of twice the size."""
    return Shape(f"growing-{gibibytes}", 2 * gibibytes * GIB, gibibytes * GIB)


def with_large_hives() -> Shape:
    """Return a guest with a 16 MiB SYSTEM and a 38 MiB SOFTWARE, made for the bench."""
    return Shape("made-hives", GIB, 0, hives=Hives.MADE)


def with_real_hives() -> Shape | None:
    """Return a guest with real hives, None where they are not at hand."""
    if real_hives.data_folder() is None:
        return None
    return Shape("real-hives", GIB, 0, hives=Hives.REAL)


@dataclass(frozen=True, slots=True)
class Guest:
    """A built guest: its VMX and its VMDK."""

    shape: Shape
    vmx: Path
    disk: Path


def build(shape: Shape) -> Guest:
    """Return the guest of that shape, building it when the cache has none."""
    source = b"".join(
        (Path(__file__).parent / name).read_bytes() for name in ("guests.py", "large_hives.py")
    )
    key = sha256(source + repr(astuple(shape)).encode()).hexdigest()[:16]
    folder = cache_folder() / f"bench-{shape.name}-{key}"
    if not folder.exists():
        print(f"building the guest {shape.name} ...", file=sys.stderr)
        for old in cache_folder().glob(f"bench-{shape.name}-*"):
            shutil.rmtree(old)
        partial = folder.with_suffix(".partial")
        raw = partial.with_suffix(".disk")
        try:
            _write_disk(raw, shape)
            write_machine(partial, raw, MACHINES[GuestKind.WINDOWS_7])
            partial.rename(folder)
        finally:
            raw.unlink(missing_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
    return Guest(shape, next(folder.glob("*.vmx")), next(folder.glob("*.vmdk")))


def discard(guest: Guest) -> None:
    """Take a guest out of the cache again."""
    shutil.rmtree(guest.disk.parent)


def drivers() -> tuple[Path, Path]:
    """Return a folder of drivers and an ISO image of the size of a published one."""
    folder = cache_folder() / "bench-virtio-win"
    iso = cache_folder() / "bench-virtio-win.iso"
    if not iso.exists():
        shutil.rmtree(folder, ignore_errors=True)
        tree = write_tree(folder)
        for name in _WITH_CO_INSTALLER:
            place = tree / name / "w7" / "amd64"
            place.mkdir(parents=True, exist_ok=True)
            (place / _CO_INSTALLER).write_bytes(_content(0)[:_CO_INSTALLER_SIZE])
        filling = tree / "guest-agent"
        filling.mkdir()
        (filling / "installer.msi").write_bytes(_content(0) * (_ISO_FILLING // _FILE))
        write_iso(tree, iso)
        shutil.rmtree(filling)
    return folder, iso


def expected_data(shape: Shape) -> dict[str, str]:
    """Return the SHA-256 of each data file by its path in the guest."""
    return {
        f"/{_FOLDER}/{number}.bin": sha256(_content(number)[:size]).hexdigest()
        for number, size in enumerate(_sizes(shape.data))
    }


def _sizes(total: int) -> list[int]:
    whole, rest = divmod(total, _FILE)
    return [_FILE] * whole + ([rest] if rest else [])


def _content(number: int) -> bytes:
    return _noise(number % 8)


@cache
def _noise(seed: int) -> bytes:
    # Half noise, half the same again and again: zlib makes about half of it, and no 4 KiB are zero,
    # which qemu-img would leave out.
    noise = random.Random(seed)
    pages = _FILE // (4 * KIB)
    same = bytes(range(1, 256)) * 9
    noisy = noise.randbytes(pages * 2 * KIB)
    return b"".join(
        noisy[at : at + 2 * KIB] + same[: 2 * KIB] for at in range(0, len(noisy), 2 * KIB)
    )


def _spec(shape: Shape) -> tuple[GuestSpec, Files | None]:
    if shape.hives is Hives.REAL:
        chosen = Variant(architecture=Architecture.X86, real_hives=RealHives.WINDOWS_7)
        return GuestSpec(GuestKind.WINDOWS_7, chosen), real_hives.hives(RealHives.WINDOWS_7)
    spec = GuestSpec(GuestKind.WINDOWS_7)
    return spec, large_hives(spec) if shape.hives is Hives.MADE else None


def _write_disk(raw: Path, shape: Shape) -> None:
    start = SYSTEM_VOLUME_OFFSET[GuestKind.WINDOWS_7]
    entries = (
        MbrEntry(MIB, start - MIB, active=True),
        MbrEntry(start, shape.size - MIB - start),
    )
    with raw.open("wb") as disk:
        disk.truncate(shape.size)
        disk.write(partition_tables.mbr(entries, DISK_SIGNATURE[GuestKind.WINDOWS_7]))
        for entry in entries:
            _make_volume(disk.fileno(), raw.with_suffix(".volume"), entry)
    spec, hives = _spec(shape)
    with UserspaceEngine().open((OpenedDisk(raw, DiskFormat.RAW),), writable=True) as disks:
        table = read_partition_table(lambda offset, size: disks.read(0, offset, size), shape.size)
        reserved, system = table.partitions
        with disks.mount(0, reserved, writable=True) as volume:
            _write_files(volume, system_reserved())
        with disks.mount(0, system, writable=True) as volume:
            _write_files(volume, system_volume(spec, hives))
            _write_data(volume, shape)


def _make_volume(disk: int, volume: Path, entry: MbrEntry) -> None:
    """Make an NTFS in a sparse file and copy what mkntfs wrote to its place on the disk."""
    try:
        with volume.open("wb") as stream:
            stream.truncate(entry.size)
        subprocess.run(
            ["/sbin/mkntfs", "-q", "-Q", "-F", "-s", "512", "-p", str(entry.offset // 512),
             "-H", "255", "-S", "63", volume],
            check=True, capture_output=True,
        )  # fmt: skip
        with volume.open("rb") as stream:
            at = 0
            while (begin := _next_data(stream.fileno(), at)) is not None:
                at = os.lseek(stream.fileno(), begin, os.SEEK_HOLE)
                for offset in range(begin, at, MIB):
                    piece = os.pread(stream.fileno(), min(MIB, at - offset), offset)
                    os.pwrite(disk, piece, entry.offset + offset)
    finally:
        volume.unlink(missing_ok=True)


def _next_data(handle: int, at: int) -> int | None:
    try:
        return os.lseek(handle, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _write_files(volume: GuestFilesystem, files: Files) -> None:
    made = {PurePosixPath("/")}
    for name, content in sorted(files.items()):
        path = PurePosixPath("/", name)
        folders = [*reversed(path.parents)] + ([path] if name.endswith("/") else [])
        for folder in folders:
            if folder not in made and not volume.exists(str(folder)):
                volume.make_directory(str(folder))
            made.add(folder)
        if not name.endswith("/"):
            volume.write(str(path), content)


def _write_data(volume: GuestFilesystem, shape: Shape) -> None:
    if not shape.data:
        return
    volume.make_directory(f"/{_FOLDER}")
    kept, deleted = _sizes(shape.data), shape.deleted // (_FILE // 2)
    for number, size in enumerate(kept):
        volume.write(f"/{_FOLDER}/{number}.bin", _content(number)[:size])
        if number < deleted:
            volume.write(f"/{_FOLDER}/{number}.old", _content(number)[: _FILE // 2])
    for number in range(min(deleted, len(kept))):
        volume.delete(f"/{_FOLDER}/{number}.old")
