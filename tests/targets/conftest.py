"""What the tests of targets share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.qemu_oracle import QemuDriver


@pytest.fixture(scope="session")
def qemu_driver() -> Iterator[QemuDriver]:
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="libvirt-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        driver = QemuDriver(root)
        if not driver.works():
            pytest.skip("libvirt's QEMU driver cannot be loaded here")
        yield driver
