"""Disk images that qemu-img makes, and a record of the files that Python opens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.ovf import descriptor, write_ova
from fixtures.source_images import LARGE_SIZE, SMALL_SIZE, MakeVmdk, patterned, qemu_img

_recorders: list[list[str]] = []


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        for recorder in _recorders:
            name = arguments[0]
            recorder.append(name if isinstance(name, str) else name.decode("utf-8", "replace"))


sys.addaudithook(_record)  # cannot be removed again; it does nothing while nobody records


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The names of all files that Python opens during the test."""
    names: list[str] = []
    _recorders.append(names)
    yield names
    _recorders.remove(names)


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    return patterned(
        folder / "small.raw", SMALL_SIZE, [0, 1024 * 1024 + 512, SMALL_SIZE - 100 * 1024]
    )


@pytest.fixture(scope="session")
def large_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gibibyte = 1024**3
    folder = tmp_path_factory.mktemp("raw")
    return patterned(
        folder / "large.raw", LARGE_SIZE, [0, gibibyte, 3 * gibibyte, LARGE_SIZE - 4096]
    )


@pytest.fixture
def make_vmdk(tmp_path: Path, small_raw: Path) -> MakeVmdk:
    """Writes a VMDK of a kind into ``tmp_path / "vm"`` and returns its path."""

    def make(kind: str, raw: Path = small_raw, name: str = "disk.vmdk") -> Path:
        folder = tmp_path / "vm"
        folder.mkdir(exist_ok=True)
        qemu_img(
            "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", raw, folder / name
        )
        return folder / name

    return make


@pytest.fixture
def stream(make_vmdk: MakeVmdk) -> Path:
    return make_vmdk("streamOptimized")


@pytest.fixture
def ova(tmp_path: Path, stream: Path) -> Path:
    return write_ova(tmp_path / "x", descriptor(), {"disk1.vmdk": stream})[0]


@pytest.fixture
def ovf(ova: Path) -> Path:
    return ova.parent / "ovf" / "box.ovf"
