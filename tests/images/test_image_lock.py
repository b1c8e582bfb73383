"""A running machine is seen whatever the format, and kept from an image that is being edited."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.running_guest import running_guest, starts
from offline_mig.errors import SourceUnreadableError
from offline_mig.images.image_lock import kept_from_others, refuse_in_use
from offline_mig.sources.disk_image import open_disk_image

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing"
)


@pytest.fixture(params=["raw", "qcow2", "vmdk"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"disk.{request.param}"
    subprocess.run(["qemu-img", "create", "-q", "-f", request.param, path, "64M"], check=True)
    return path


def kind(image: Path) -> str:
    return image.suffix.removeprefix(".")


def test_running_machine_is_seen(image: Path) -> None:
    with running_guest(image, kind(image)), pytest.raises(SourceUnreadableError, match="in use"):
        refuse_in_use(image)
    refuse_in_use(image)


def test_source_of_a_running_machine_is_refused(image: Path) -> None:
    """qemu itself lets a raw image be read while a machine writes to it."""
    with running_guest(image, kind(image)), pytest.raises(SourceUnreadableError, match="in use"):
        open_disk_image(image)
    assert open_disk_image(image).path == image


def test_reader_is_no_writer(image: Path) -> None:
    with running_guest(image, kind(image), ",snapshot=on"):
        refuse_in_use(image)


def test_machine_that_keeps_its_changes_apart_is_seen_before_an_edit(tmp_path: Path) -> None:
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "64M"], check=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top], check=True
    )
    with (
        running_guest(top, "qcow2"),
        pytest.raises(SourceUnreadableError, match="in use"),
        kept_from_others(base),
    ):
        pytest.fail("the image below a running machine was taken")


def test_no_machine_starts_on_an_image_that_is_kept(image: Path) -> None:
    with kept_from_others(image):
        started, said = starts(image, kind(image))
    assert not started
    assert '"write" lock' in said
    assert starts(image, kind(image))[0]


def test_only_one_keeps_an_image(image: Path) -> None:
    with (
        kept_from_others(image),
        pytest.raises(SourceUnreadableError, match="in use"),
        kept_from_others(image),
    ):
        pytest.fail("an image was kept twice")
    with kept_from_others(image):
        pass


def test_overlay_can_be_worked_on_while_its_image_is_kept(image: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    with kept_from_others(image):
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", kind(image), overlay],
            check=True,
        )
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 64k", overlay], check=True)
        committed = subprocess.run(
            ["qemu-img", "commit", "-q", "-f", "qcow2", overlay], check=False, capture_output=True
        )
        assert committed.returncode != 0
    subprocess.run(["qemu-img", "commit", "-q", "-f", "qcow2", overlay], check=True)
