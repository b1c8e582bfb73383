"""Fixtures for all tests: made guests, driver trees and the shared data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.guests import GuestKind, GuestSpec, build_base_images
from fixtures.virtio_win import write_iso, write_tree


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files; tests that need it are skipped where it is missing."""
    folder = real_hives.data_folder()
    if folder is None:
        pytest.skip(f"no shared data; name its folder with {real_hives.DATA_VARIABLE}")
    return folder


@pytest.fixture(scope="session")
def base_image() -> Callable[[GuestSpec], Path]:
    """Gives the raw disk image of a guest, built on demand; it must only be read.

    The three plain guests are built together with the first one that is asked for.
    """
    built: dict[GuestSpec, Path] = {}

    def get(spec: GuestSpec) -> Path:
        if spec not in built:
            plain = [GuestSpec(kind) for kind in GuestKind]
            built.update(build_base_images([*plain, spec]))
        return built[spec]

    return get


@pytest.fixture(scope="session")
def drivers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtio-win driver folder for XP, 7, 10 and Server 2022; only read it."""
    return write_tree(tmp_path_factory.mktemp("virtio-win") / "drivers")


@pytest.fixture(scope="session")
def drivers_iso(drivers_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same drivers as an ISO image."""
    return write_iso(drivers_dir, tmp_path_factory.mktemp("virtio-win-iso") / "virtio-win.iso")
