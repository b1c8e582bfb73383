"""Repairs that write to another volume than that of Windows, which is not fit to be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.guests import GuestKind, GuestSpec
from fixtures.ntfs_dirt import set_dirty_flag
from fixtures.opened_guest import MadeGuest, opened_guest
from fixtures.zoo import another_disk_store, another_guid_store
from offline_mig.cli import main

pytestmark = [pytest.mark.conversion, pytest.mark.usefixtures("userspace")]

#: Where the EFI system partition of Windows 10 and the reserved one of Windows 7 begin.
_FIRST_PARTITION = 1024 * 1024
#: fatgen103: where a 16-bit table's size is, and BS_Reserved1 with the dirty bit in its lowest.
_TABLE_SIZE, _RESERVED_16, _RESERVED_32 = 22, 37, 65


def dirty_fat(image: int) -> None:
    is_16 = os.pread(image, 2, _FIRST_PARTITION + _TABLE_SIZE) != b"\0\0"
    os.pwrite(image, b"\1", _FIRST_PARTITION + (_RESERVED_16 if is_16 else _RESERVED_32))


def dirty_ntfs(image: int) -> None:
    set_dirty_flag(image, _FIRST_PARTITION)


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry-run", "repair"])
@pytest.mark.parametrize(
    ("kind", "broken", "make_dirty", "told"),
    [
        (GuestKind.WINDOWS_10, another_guid_store, dirty_fat,
         "The FAT volume 1:1 can only be mounted read-only"),
        (GuestKind.WINDOWS_7, another_disk_store, dirty_ntfs,
         "The NTFS volume 1:1 is marked dirty"),
    ],
    ids=["efi", "reserved"],
)  # fmt: skip
def test_it_is_told_before_anything_is_done(
    base_image: Callable[[GuestSpec], Path], drivers_iso: Path, tmp_path: Path,
    kind: GuestKind, broken: Callable[[MadeGuest], None], make_dirty: Callable[[int], None],
    told: str, dry_run: bool,
) -> None:  # fmt: skip
    image = tmp_path / "images" / "guest.raw"
    image.parent.mkdir()
    made = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", base_image(GuestSpec(kind)), made],
                   check=True)  # fmt: skip
    with opened_guest(made, tmp_path) as guest:
        broken(guest)
    subprocess.run(["qemu-img", "convert", "-O", "raw", made, image], check=True)

    def run() -> Result:
        arguments = ["repair", image, "--bus", "virtio", "--drivers", drivers_iso,
                     "--allow-unsigned", "--engine", "userspace"]  # fmt: skip
        arguments += ["--dry-run"] if dry_run else []
        return CliRunner().invoke(main, list(map(str, arguments)))

    descriptor = os.open(image, os.O_RDWR)
    try:
        make_dirty(descriptor)
    finally:
        os.close(descriptor)
    before = image.read_bytes()
    refused = run()
    assert refused.exit_code == 6, refused.output
    assert told in refused.output
    assert image.read_bytes() == before
    assert list(image.parent.iterdir()) == [image]


def test_one_that_is_only_read_may_be_dirty(
    base_image: Callable[[GuestSpec], Path], drivers_iso: Path, tmp_path: Path
) -> None:
    image = tmp_path / "guest.raw"
    subprocess.run(["cp", "--sparse=always", base_image(GuestSpec(GuestKind.WINDOWS_10)), image],
                   check=True)  # fmt: skip
    image.chmod(0o600)
    descriptor = os.open(image, os.O_RDWR)
    try:
        dirty_fat(descriptor)
    finally:
        os.close(descriptor)
    arguments = ["repair", image, "--bus", "virtio", "--drivers", drivers_iso,
                 "--allow-unsigned", "--engine", "userspace", "--dry-run"]  # fmt: skip
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
