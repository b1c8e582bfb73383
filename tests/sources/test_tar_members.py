"""Where the members of an archive lie, against what the program tar unpacks of it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.ovf import pack
from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.sources.tar_members import read_members

LONG = "a disk with a long name " * 8 + ".vmdk"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    contents = {"box.ovf": b"<x/>", LONG: b"data" * 700, "größe.mf": b"", "last": b"z" * 512}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def written(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("form", ["gnu", "pax", "oldgnu"])
def test_members_lie_where_tar_finds_them(tmp_path: Path, files: list[Path], form: str) -> None:
    ova = pack(tmp_path / "a.ova", files, f"--format={form}")
    data = ova.read_bytes()
    members = read_members(ova)
    assert [found.name for found in members] == [file.name for file in files]
    for found in members:
        content = subprocess.run(
            ["tar", "-xOf", ova, found.name], check=True, capture_output=True
        ).stdout
        assert data[found.offset : found.offset + found.size] == content


def test_folders_and_dots_before_names_do_no_harm(tmp_path: Path, files: list[Path]) -> None:
    ova = tmp_path / "a.ova"
    subprocess.run(["tar", "-cf", ova, "-C", files[0].parent, "."], check=True)
    assert {found.name for found in read_members(ova)} == {file.name for file in files}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (member("../box.ovf"), "leads out"),
        (member("a/../../box.ovf"), "leads out"),
        (member("/etc/passwd"), "leads out"),
        (member("a\\..\\b"), "leads out"),
        (member("box.ovf", tarfile.SYMTYPE, "/etc/passwd"), "link, device"),
        (member("box.ovf", tarfile.LNKTYPE, "other"), "link, device"),
        (member("box.ovf", tarfile.CHRTYPE), "link, device"),
        (member("box.ovf", tarfile.BLKTYPE), "link, device"),
        (member("box.ovf", tarfile.FIFOTYPE), "link, device"),
    ],
)
def test_what_is_no_plain_file_inside_is_unsafe(
    tmp_path: Path, info: tarfile.TarInfo, words: str
) -> None:
    with pytest.raises(SourceUnsafeError, match=words):
        read_members(written(tmp_path / "a.ova", (info, b"")))


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_sparse_files_are_refused(tmp_path: Path, form: str) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.seek(4 * 1024 * 1024)
        file.write(b"end")
    with pytest.raises(SourceUnsafeError, match=r"sparse file, .*disk\.raw"):
        read_members(pack(tmp_path / "a.ova", [disk], "--sparse", f"--format={form}"))


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    ova = written(tmp_path / "a.ova", (member("./a"), b"1"), (member("a"), b"2"))
    with pytest.raises(SourceUnreadableError, match="holds a twice"):
        read_members(ova)


def test_archives_that_are_cut_off_or_damaged_are_told(tmp_path: Path, files: list[Path]) -> None:
    ova = pack(tmp_path / "a.ova", files, "--format=gnu")
    data = ova.read_bytes()
    found = {each.name: each for each in read_members(ova)}
    cut = found[LONG].offset + 600
    for size, words in ((cut, "cut off"), (cut - 600 - 100, "no sound|no header")):
        ova.write_bytes(data[:size])
        with pytest.raises(SourceUnreadableError, match=words):
            read_members(ova)
    damaged = bytearray(data)
    damaged[found["last"].offset - 512] ^= 0xFF
    ova.write_bytes(damaged)
    with pytest.raises(SourceUnreadableError, match="no header of a file"):
        read_members(ova)
    ova.write_bytes(b"no archive at all" * 100)
    with pytest.raises(SourceUnreadableError, match="no sound tar archive"):
        read_members(ova)


def test_huge_headers_are_not_read(tmp_path: Path) -> None:
    # A pax header that says of itself to have 8 GiB, in a file that is that large, but sparse.
    size = 8 * 1024**3
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    ova = tmp_path / "a.ova"
    with ova.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(size + 4096)
    with pytest.raises(SourceUnreadableError, match="header of 8589934592 bytes"):
        read_members(ova)


def test_sizes_below_zero_lead_nowhere(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.size = -1024
    ova = tmp_path / "a.ova"
    ova.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(SourceUnreadableError):
        read_members(ova)


def test_archives_of_names_without_end_are_refused(tmp_path: Path) -> None:
    ova = tmp_path / "a.ova"
    ova.write_bytes(b"".join(tarfile.TarInfo(f"f{n}").tobuf() for n in range(10_001)))
    with pytest.raises(SourceUnreadableError, match="more than 10000 files"):
        read_members(ova)
    # Long names upon long names, each of which is for the next.
    longlink = tarfile.TarInfo("l")
    longlink.type, longlink.size = tarfile.GNUTYPE_LONGNAME, 5
    ova.write_bytes((longlink.tobuf() + b"name\0".ljust(512, b"\0")) * 5000)
    with pytest.raises(SourceUnreadableError, match="no sound tar archive"):
        read_members(ova)


@given(changes=st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=16))))
def test_any_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    ova = tmp_path_factory.mktemp("tar") / "a.ova"
    info = tarfile.TarInfo("box.ovf")
    info.pax_headers = {"comment": "x" * 200, "path": "p" * 120}
    with tarfile.open(ova, "w", format=tarfile.PAX_FORMAT) as archive:
        info.size = 600
        archive.addfile(info, io.BytesIO(b"o" * 600))
    data = bytearray(ova.read_bytes())
    for place, content in changes:
        data[place : place + len(content)] = content
    ova.write_bytes(data)
    try:
        members = read_members(ova)
    except OfflineMigError as error:
        assert error.remedy
    else:
        assert all(0 <= m.offset <= m.offset + m.size <= len(data) for m in members)
