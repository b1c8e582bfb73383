"""cpio archives that another program wrote, in pieces of any size, and damaged anywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_mig.drivers.cpio import CpioError, CpioReader

FILES = {"a.inf": b"[Version]\n", "b.sys": bytes(range(256)) * 20, "empty": b"", "odd": b"xyz"}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("cpio")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "link").symlink_to("b.sys")
    names = "\n".join([*FILES, "link"]).encode()
    command = ["bsdcpio", "-o", "--quiet", "-H", "newc"]
    return subprocess.run(command, cwd=folder, input=names, check=True, capture_output=True).stdout


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 110, 4096, 1_000_000])
def test_pieces_of_any_size(archive: bytes, size: int) -> None:
    reader = CpioReader(pieces(archive, size))
    found = {entry.name: reader.read() for entry in reader if entry.is_file}
    assert found == FILES


def test_contents_that_are_not_asked_for_are_skipped(archive: bytes) -> None:
    reader = CpioReader(pieces(archive, 100))
    targets = {entry.name: reader.target() for entry in reader if entry.is_link}
    assert targets == {"link": "b.sys"}
    reader = CpioReader(pieces(archive, 100))
    halves = {entry.name: bytes(next(reader.contents(), b"")) for entry in reader}
    assert all(FILES.get(name, b"b.sys").startswith(half) for name, half in halves.items())
    assert len(halves) == len(FILES) + 1


def test_an_end_that_is_missing(archive: bytes) -> None:
    for end in range(0, archive.index(b"TRAILER!!!"), 13):
        with pytest.raises(CpioError, match="it ends in the middle of a file"):
            list(CpioReader(iter([archive[:end]])))


@given(st.data())
def test_damage_is_told_and_nothing_else_happens(archive: bytes, data: st.DataObject) -> None:
    damaged = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    reader = CpioReader(pieces(bytes(damaged), 1000))
    try:
        read = sum(len(reader.read()) for _ in reader)
    except CpioError as error:
        assert str(error)
    else:
        assert read < len(archive)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_archive(data: bytes) -> None:
    with pytest.raises(CpioError):
        list(CpioReader(iter([data])))
    with pytest.raises(CpioError):
        list(CpioReader(iter([b"070701" + data])))
