"""A repair killed at any moment: the broken guest or the mended one, and no third."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, Case, Converted, offline_mig
from fixtures.guest_files import disk_state
from fixtures.guests import GuestKind, GuestSpec
from fixtures.interruption import killed, moments, require_nothing_runs
from fixtures.opened_guest import opened_guest
from fixtures.registry_parts import dword
from fixtures.zoo import OVERRIDE, both, no_file, put, sector
from offline_mig.machine import DiskFormat

pytestmark = pytest.mark.conversion

#: Of each format.
KILLS = 25
#: Faults in a sector, on another volume, and in a hive: of one kind each.
BROKEN = {
    GuestKind.XP: both(
        sector("1:1:boot sector", 0x1C, bytes(4)), put(r"Services\viostor", "Start", dword(3))
    ),
    GuestKind.WINDOWS_10: both(
        no_file("1:1:/EFI/Boot/bootx64.efi"), put(OVERRIDE.format("viostor"), "0", dword(3))
    ),
}


@pytest.mark.parametrize(
    ("kind", "image_format"),
    [(GuestKind.XP, DiskFormat.RAW), (GuestKind.WINDOWS_10, DiskFormat.QCOW2)],
)
def test_repair_killed_at_any_moment(
    kind: GuestKind,
    image_format: DiskFormat,
    converted: Callable[[Case], Converted],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    made = tmp_path / "made.qcow2"
    shutil.copyfile(converted(Case(GuestSpec(kind))).disk, made)
    with opened_guest(made, tmp_path) as guest:
        BROKEN[kind](guest)
    image = folder / f"guest.{image_format}"
    subprocess.run(["qemu-img", "convert", "-O", image_format, made, image], check=True)
    journal = image.with_name(f"{image.name}.journal.json")
    repair = ["repair", image, "--allow-unsigned", "--engine", "userspace"]

    def undo() -> None:
        done = offline_mig("undo", image, "--journal", journal, "--engine", "userspace")
        assert done.returncode == 0, done.stderr
        assert disk_state(image, image_format) == old
        journal.unlink()

    old = disk_state(image, image_format)
    begun = time.monotonic()
    assert offline_mig(*map(str, repair)).returncode == 0
    seconds = time.monotonic() - begun
    new = disk_state(image, image_format)
    undo()
    outcomes: set[bool] = set()
    for number, (after, delay) in enumerate(moments(random.Random(3), seconds, KILLS)):
        killed([*COMMAND, *repair], after, delay)
        if number % 2:
            # The next command that edits the image ends what was cut off, and does it all.
            assert offline_mig(*map(str, repair)).returncode == 0
            assert (found := disk_state(image, image_format)) == new
        else:
            assert offline_mig("recover", image).returncode == 0
            found = disk_state(image, image_format)
            assert found in (old, new), (after, delay)
            outcomes.add(found == new)
        expected = {image.name, *([journal.name] if found == new else [])}
        assert {path.name for path in folder.iterdir()} == expected
        if found == new:
            undo()
        require_nothing_runs(folder)
    # Else no kill came early enough, or none late enough.
    assert outcomes == {True, False}
