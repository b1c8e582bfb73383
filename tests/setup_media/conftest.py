"""What tests of media share: the command, and media as other programs read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.virtio_win import EVERY_RELEASE, write_tree
from offline_mig.cli import main

Run = Callable[..., Result]


@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``media`` with arguments."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return lambda *arguments: CliRunner().invoke(main, ["media", *map(str, arguments)])


@pytest.fixture
def copied_out(tmp_path: Path) -> Callable[[Path], dict[str, bytes]]:
    """Return the files of a floppy as mtools reads them, by lower-case paths."""

    def copy(image: Path) -> dict[str, bytes]:
        target = tmp_path / f"{image.name}.files"
        target.mkdir()
        subprocess.run(
            ["mcopy", "-s", "-m", "-i", image, "::*", target],
            check=True, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return tree(target)

    return copy


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by lower-case paths."""
    return {
        path.relative_to(folder).as_posix().lower(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def every_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver folder for every Windows; only read it."""
    return write_tree(tmp_path_factory.mktemp("virtio-win-all") / "drivers", EVERY_RELEASE)


@pytest.fixture
def large_driver(drivers_dir: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Return XP's viostor with so many bytes at the end of its file."""

    def make(padding: int) -> Path:
        source = tmp_path / "source"
        shutil.copytree(drivers_dir / "viostor/xp/x86", source)
        with (source / "viostor.sys").open("ab") as file:
            file.write(os.urandom(padding))
        return source

    return make
