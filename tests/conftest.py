"""Fixtures for all tests: made guests, driver trees and the shared data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures import real_hives, wine
from fixtures.catalogue import built_together
from fixtures.guests import (
    BuildGuest,
    BuiltGuest,
    GuestSpec,
    VmdkKind,
    build_base_images,
    build_guest,
)
from fixtures.session_libvirtd import SessionLibvirtd, session_libvirtd
from fixtures.virtio_win import write_iso, write_tree
from offline_mig.guest.userspace_engine import userspace_problems


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try what runs in Wine three times: one of some thousand programs does not start in there.

    What is wrong itself fails each time.
    """
    for item in items:
        if "running_wine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=2))


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

    A guest of ``fixtures.catalogue`` brings the rest of the catalogue with it, which costs little
    where it takes an appliance, too.
    """

    def get(spec: GuestSpec) -> Path:
        _require_data(spec)
        return build_base_images(built_together(spec))[spec]

    return get


@pytest.fixture
def guest(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> BuildGuest:
    """Builds a guest's VMware machine in a fresh folder of this test's own."""
    count = 0

    def build(
        spec: GuestSpec,
        *,
        vmdk_kind: VmdkKind = VmdkKind.MONOLITHIC_SPARSE,
        virtual_size: int | None = None,
    ) -> BuiltGuest:
        nonlocal count
        count += 1
        base_image(spec)
        return build_guest(
            spec.kind,
            tmp_path / f"machine-{count}",
            variant=spec.variant,
            vmdk_kind=vmdk_kind,
            virtual_size=virtual_size,
        )

    return build


@pytest.fixture(scope="session")
def drivers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtio-win driver folder for XP, 7, 10 and Server 2022; only read it."""
    return write_tree(tmp_path_factory.mktemp("virtio-win") / "drivers")


@pytest.fixture(scope="session")
def drivers_iso(drivers_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same drivers as an ISO image."""
    return write_iso(drivers_dir, tmp_path_factory.mktemp("virtio-win-iso") / "virtio-win.iso")


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[SessionLibvirtd]:
    """A real libvirtd of the tests' own; skips where there is none."""
    with session_libvirtd() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def userspace() -> None:
    """Skips where the userspace engine does not work."""
    problems = userspace_problems()
    if problems:
        pytest.skip(" ".join(problems))


@pytest.fixture(scope="session")
def running_wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[wine.Wine]:
    """A Wine for Windows programs and scripts; tests that need it are skipped where it is not."""
    missing = wine.missing_programs()
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: Wine and a compiler for Windows programs")
    with wine.running_wine(tmp_path_factory.mktemp("wine")) as running:
        yield running


def _require_data(spec: GuestSpec) -> None:
    if spec.variant.real_hives is not None and real_hives.data_folder() is None:
        pytest.skip(f"no shared data; name its folder with {real_hives.DATA_VARIABLE}")
