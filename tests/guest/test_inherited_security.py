"""What new files inherit: known lists of Windows, what libntfs-3g computes, any bytes at all."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import windows_security
from fixtures.ntfs_volumes import descriptors, make_volume, require_sound, set_descriptors
from fixtures.security_descriptors import access_list, described, descriptor, entry, sid
from fixtures.windows_security import FILE_BELOW, FILE_BELOW_XP, FOLDER_BELOW
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.inherited_security import inherited_descriptor
from offline_mig.guest.ntfs_library import load_library
from offline_mig.guest.partition_table import Partition
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offline_mig.guest.engine import Engine
    from offline_mig.guest.filesystem import GuestFilesystem

_DEFAULT_FOLDER = "O:BAG:SYD:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"
_DEFAULT_FILE = "O:BAG:SYD:(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)"


def inherited(parent: str, *, is_directory: bool) -> str:
    return described(inherited_descriptor(descriptor(parent), is_directory=is_directory))


def test_programs_and_drivers_of_windows_10() -> None:
    assert inherited(windows_security.FOLDER, is_directory=True) == FOLDER_BELOW
    assert inherited(windows_security.FOLDER, is_directory=False) == FILE_BELOW
    assert inherited(FOLDER_BELOW, is_directory=True) == FOLDER_BELOW


def test_drivers_of_windows_xp() -> None:
    assert inherited(windows_security.FOLDER_XP, is_directory=False) == FILE_BELOW_XP


@pytest.mark.parametrize(
    ("entries", "file", "folder"),
    [
        ("(A;OI;FA;;;BU)", "(A;;FA;;;BU)", "(A;OIIO;FA;;;BU)"),
        ("(A;CI;FA;;;BU)", None, "(A;CI;FA;;;BU)"),
        ("(A;OICINP;FA;;;BU)", "(A;;FA;;;BU)", "(A;;FA;;;BU)"),
        ("(A;OINP;FA;;;BU)", "(A;;FA;;;BU)", None),
        ("(A;OICIIO;GXGR;;;BU)", "(A;;0x1200a9;;;BU)",
         "(A;;0x1200a9;;;BU)(A;OICIIO;GXGR;;;BU)"),
        ("(D;OICI;0x10000;;;BU)(A;OICI;GW;;;CG)", "(D;;0x10000;;;BU)(A;;0x120116;;;SY)",
         "(D;OICI;0x10000;;;BU)(A;;0x120116;;;SY)(A;OICIIO;GW;;;CG)"),
        ("(A;OICI;FA;;;BA)(A;OICIIO;GA;;;CO)", "(A;;FA;;;BA)",
         "(A;OICI;FA;;;BA)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)"),
        ("(A;;FA;;;WD)", None, None),
    ],
)  # fmt: skip
def test_each_way_to_pass_an_entry_on(entries: str, file: str | None, folder: str | None) -> None:
    parent = f"O:WDG:WDD:{entries}"
    assert inherited(parent, is_directory=False) == (
        _DEFAULT_FILE if file is None else f"O:BAG:SYD:{file}"
    )
    assert inherited(parent, is_directory=True) == (
        _DEFAULT_FOLDER if folder is None else f"O:BAG:SYD:{folder}"
    )


def test_audits_and_labels_go_on() -> None:
    parent = "O:BAG:BAD:(A;OICI;FA;;;BA)S:AI(AU;OICISAFA;0x10000;;;WD)(ML;OICI;NW;;;LW)"
    assert inherited(parent, is_directory=False) == (
        "O:BAG:SYD:(A;;FA;;;BA)S:AI(AU;IDSAFA;0x10000;;;WD)(ML;ID;NW;;;LW)"
    )


@pytest.mark.parametrize("parent", [b"", b"\1\0\4\x80", b"\xff" * 100, descriptor("O:BAG:BA")])
def test_a_directory_that_says_nothing_lets_users_read_only(parent: bytes) -> None:
    assert described(inherited_descriptor(parent, is_directory=False)) == _DEFAULT_FILE
    assert described(inherited_descriptor(parent, is_directory=True)) == _DEFAULT_FOLDER


_WHO = st.sampled_from(["WD", "SY", "BA", "BU", "PU", "AC", "TI"])
#: What libntfs-3g computes as Windows does: no generic rights, no creators, nothing for one
#: generation only.
_ENTRIES = st.lists(
    st.builds(
        entry,
        st.sampled_from(["A", "D"]),
        st.sampled_from(["", "OI", "CI", "OICI", "OIIO", "CIIO", "OICIIO"]),
        st.integers(1, 0x1F01FF).map(hex),
        _WHO,
    ),
    max_size=12,
    unique_by=lambda made: made[4:],
)


@given(_ENTRIES, st.booleans())
def test_libntfs_inherits_the_same(entries: list[bytes], is_directory: bool) -> None:
    parent = access_list(entries)
    expected = ctypes.create_string_buffer(65536)
    size = load_library().ntfs_inherit_acl(
        parent, expected, sid("BA"), sid("SY"), is_directory, 0x400
    )
    head = (1).to_bytes(2, "little") + (0x8404).to_bytes(2, "little")
    made = inherited_descriptor(
        head + b"\0" * 12 + (20).to_bytes(4, "little") + parent, is_directory=is_directory
    )
    length = int.from_bytes(made[22:24], "little")
    if size:
        assert made[20 : 20 + length] == expected.raw[:size]
    else:
        assert described(made) == (_DEFAULT_FOLDER if is_directory else _DEFAULT_FILE)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(descriptor(windows_security.FOLDER))
    for _ in range(draw(st.integers(1, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@given(st.one_of(st.binary(max_size=300), _damaged()), st.booleans())
def test_whatever_the_directory_has_files_get_a_list(parent: bytes, is_directory: bool) -> None:
    made = inherited_descriptor(parent, is_directory=is_directory)
    dacl = int.from_bytes(made[16:20], "little")
    assert dacl >= 20
    assert int.from_bytes(made[2:4], "little") & 0x4
    assert int.from_bytes(made[dacl + 4 : dacl + 6], "little") >= 1
    assert len(made) <= 2 * 65536 + 1024


@contextmanager
def mounted(engine: Engine, volume: Path) -> Iterator[GuestFilesystem]:
    part = Partition(0, 0, volume.stat().st_size, "volume")
    with (
        engine.open((OpenedDisk(volume, DiskFormat.RAW),), writable=True) as disks,
        disks.mount(0, part, writable=True) as files,
    ):
        yield files


@pytest.mark.parametrize(
    "engine",
    [UserspaceEngine(), pytest.param(GuestfsEngine(), marks=pytest.mark.appliance)],
    ids=lambda engine: engine.name,
)
@pytest.mark.usefixtures("userspace")
def test_new_files_on_a_volume(engine: Engine, tmp_path: Path) -> None:
    volume = make_volume(tmp_path / "volume.raw")
    with mounted(UserspaceEngine(), volume) as files:
        for folder in ("/Program Files", "/open", "/tools"):
            files.make_directory(folder)
        files.write("/tools/old.exe", b"old")
    set_descriptors(
        volume,
        {
            "/Program Files": descriptor(windows_security.FOLDER),
            "/open": descriptor("O:WDG:WDD:(A;;FA;;;WD)"),
            "/tools/old.exe": descriptor(windows_security.FILE),
        },
    )
    with mounted(engine, volume) as files:
        files.make_directory("/Program Files/Agent")
        files.write("/Program Files/Agent/agent.exe", b"MZ" * 3_000_000)
        files.write("/Program Files/Agent/empty.txt", b"")
        files.write("/open/driver.sys", b"MZ")
        files.write("/tools/old.exe", b"new and longer")
    require_sound(volume)
    found = {path: described(data) for path, data in descriptors(volume).items()}
    assert found["/Program Files/Agent"] == FOLDER_BELOW
    assert found["/Program Files/Agent/agent.exe"] == FILE_BELOW
    assert found["/Program Files/Agent/empty.txt"] == FILE_BELOW
    assert found["/open/driver.sys"] == _DEFAULT_FILE
    assert found["/tools/old.exe"] == windows_security.FILE
