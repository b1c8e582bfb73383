"""Volumes with a session in hiberfil.sys: refused, or written with the session given up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.hiberfil import new_header, old_header
from fixtures.ntfs_dirt import set_dirty_flag
from fixtures.ntfs_volumes import MIB, make_volume, open_journal, require_sound, volume_state
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import GuestDisks, OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.ntfs import read_state
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import SystemVolume, require_clean
from offline_mig.windows.hibernation import judge_hibernation, read_memory_image

_ENGINES = [UserspaceEngine(), pytest.param(GuestfsEngine(), marks=pytest.mark.appliance)]
_HEADERS = {
    "hibr": old_header(bits=32, nt5=True),
    "HIBR": new_header(hiberboot=True),
    "RSTR": new_header(hiberboot=False, signature=b"RSTR"),
    "HORM": new_header(hiberboot=False, signature=b"HORM"),
}
#: What ntfs-3g itself refuses to write beside; the others the program looks for before.
_KNOWN_TO_NTFS_3G = ("hibr", "HIBR")

pytestmark = pytest.mark.usefixtures("userspace")


@contextmanager
def opened(engine: UserspaceEngine | GuestfsEngine, *volumes: Path) -> Iterator[GuestDisks]:
    disks = tuple(OpenedDisk(volume, DiskFormat.RAW) for volume in volumes)
    with engine.open(disks, writable=True) as opened_disks:
        yield opened_disks


def mark_dirty(volume: Path) -> None:
    image = os.open(volume, os.O_RDWR)
    try:
        set_dirty_flag(image, 0)
    finally:
        os.close(image)


def whole(disks: GuestDisks, number: int) -> Partition:
    return Partition(0, 0, disks.size(number), "volume")


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, ...]:
    """A volume with each kind of session, which is 3 MiB long."""
    made = tuple(make_volume(tmp_path / f"{name}.raw") for name in _HEADERS)
    with opened(UserspaceEngine(), *made) as disks:
        for number, header in enumerate(_HEADERS.values()):
            with disks.mount(number, whole(disks, number), writable=True) as files:
                files.write("/hiberfil.sys", header + b"\x5a" * 3 * MIB)
                files.write("/kept.txt", b"kept")
    return made


@pytest.mark.parametrize("engine", _ENGINES, ids=lambda engine: engine.name)
def test_session_goes_on_request_only(
    engine: UserspaceEngine | GuestfsEngine, volumes: tuple[Path, ...]
) -> None:
    with opened(engine, *volumes) as disks:
        for number, name in enumerate(_HEADERS):
            place = whole(disks, number)
            if name in _KNOWN_TO_NTFS_3G:
                with (
                    pytest.raises(GuestRefusedError, match="read-only"),
                    disks.mount(number, place, writable=True),
                ):
                    pass
            with disks.mount(number, place, writable=False, discard_session=True) as files:
                assert files.read_part("/hiberfil.sys", 0, 4) == name.encode()
            with disks.mount(number, place, writable=True, discard_session=True) as files:
                assert not files.exists("/hiberfil.sys")
                files.write("/written.txt", b"written")
            with disks.mount(number, place, writable=True) as files:
                assert files.read("/written.txt") == b"written"
    for volume in volumes:
        require_sound(volume)
        assert set(volume_state(volume)) == {"/kept.txt", "/written.txt"}


@pytest.mark.parametrize(
    ("engine", "version", "in_use"),
    [
        (UserspaceEngine(), (1, 1), True),
        (UserspaceEngine(), (2, 0), False),
        pytest.param(GuestfsEngine(), (2, 0), False, marks=pytest.mark.appliance),
    ],
    ids=["userspace", "userspace-windows-8", "guestfs-windows-8"],
)
def test_open_journal_is_not_mended(
    engine: UserspaceEngine | GuestfsEngine,
    volumes: tuple[Path, ...],
    version: tuple[int, int],
    in_use: bool,
) -> None:
    volume = volumes[1]
    open_journal(volume, version=version, in_use=in_use)
    assert read_state(lambda at, size: volume.read_bytes()[at : at + size]).journal_open
    before = volume.read_bytes()
    with (
        opened(engine, volume) as disks,
        pytest.raises(GuestRefusedError),
        disks.mount(0, whole(disks, 0), writable=True, discard_session=True),
    ):
        pass
    assert volume.read_bytes() == before
    with opened(engine, volume) as disks, disks.mount(0, whole(disks, 0), writable=False) as files:
        assert files.exists("/hiberfil.sys")


def test_closed_journal_keeps_nobody_out(volumes: tuple[Path, ...]) -> None:
    open_journal(volumes[1], in_use=False)
    assert not read_state(lambda at, size: volumes[1].read_bytes()[at : at + size]).journal_open
    with (
        opened(UserspaceEngine(), volumes[1]) as disks,
        disks.mount(0, whole(disks, 0), writable=True, discard_session=True) as files,
    ):
        assert not files.exists("/hiberfil.sys")


def test_volume_without_a_session_is_written_as_ever(tmp_path: Path) -> None:
    volume = make_volume(tmp_path / "volume.raw")
    with (
        opened(UserspaceEngine(), volume) as disks,
        disks.mount(0, whole(disks, 0), writable=True, discard_session=True) as files,
    ):
        files.write("/file", b"content")
    told = subprocess.run(["ntfscat", "-f", volume, "/file"], check=True, capture_output=True)
    assert told.stdout == b"content"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(mark_dirty, "marked dirty"), (open_journal, "its session cannot be given up")],
    ids=["dirty", "open-journal"],
)
def test_all_else_has_to_be_closed(
    volumes: tuple[Path, ...], spoil: Callable[[Path], None], reason: str
) -> None:
    image = read_memory_image(_HEADERS["HIBR"])
    assert image is not None
    with opened(UserspaceEngine(), volumes[1]) as disks:
        system = SystemVolume(0, whole(disks, 0), "/Windows", judge_hibernation(image))
        require_clean(disks, system, discard_hibernation=True)
    spoil(volumes[1])
    with (
        opened(UserspaceEngine(), volumes[1]) as disks,
        pytest.raises(GuestRefusedError, match=reason),
    ):
        require_clean(disks, system, discard_hibernation=True)
