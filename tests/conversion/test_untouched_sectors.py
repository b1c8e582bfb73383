"""A converted disk is the flattened source but for what the plan names, sector by sector."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from fixtures.changed_sectors import changed_sectors, largest_volume
from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import GuestKind, GuestSpec, VmdkKind, build_guest

pytestmark = pytest.mark.conversion

#: NTFS keeps books in these, whatever is written.
_BOOKS = {"/$MFT", "/$MFTMirr", "/$LogFile", "/$Bitmap", "/$Secure", "/$Volume"}


def named_by(report: dict[str, Any], folder: str) -> set[str]:
    """Return, in lower case, what the journal says was changed, and all folders above it."""
    paths = {entry["path"] for entry in report["journal"] if "path" in entry}
    hives = {entry["hive"] for entry in report["journal"] if "hive" in entry}
    for hive in hives:
        paths.add(f"{folder}/{hive}")
    above = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return {path.lower() for path in paths | above}


def unnamed(paths: set[str], report: dict[str, Any], folder: str) -> set[str]:
    """Return those of ``paths`` that the journal neither names nor says are deleted."""
    allowed = named_by(report, folder)
    deleted = tuple(
        f"{entry['path']}/".lower()
        for entry in report["journal"]
        if entry["change"] == "delete-files"
    )
    lowered = {path: path.lower() for path in paths}
    return {p for p, low in lowered.items() if low not in allowed and not low.startswith(deleted)}


@pytest.mark.parametrize(
    ("kind", "vmdk", "folder"),
    [
        (GuestKind.XP, VmdkKind.SPLIT_SPARSE, "/WINDOWS/system32/config"),
        (GuestKind.WINDOWS_10, VmdkKind.MONOLITHIC_SPARSE, "/Windows/System32/config"),
    ],
)
def test_nothing_differs_but_what_the_plan_names(
    tmp_path: Path,
    base_image: Callable[[GuestSpec], Path],
    drivers_dir: Path,
    kind: GuestKind,
    vmdk: VmdkKind,
    folder: str,
) -> None:
    require_engine("userspace")
    if not shutil.which("ntfscluster"):
        pytest.skip("ntfscluster is missing")
    base_image(GuestSpec(kind))
    guest = build_guest(kind, tmp_path / "source", vmdk_kind=vmdk)
    run = offline_mig(
        "convert", guest.vmx, "--drivers", drivers_dir, "--allow-unsigned", "--no-trim",
        "--format", "raw", "-o", tmp_path / "out", "--json", "--engine", "userspace",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    flattened, converted = tmp_path / "flattened.raw", Path(printed["disks"][0])
    convert = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", guest.disk, flattened]
    subprocess.run(convert, check=True)

    before = largest_volume(flattened, tmp_path)
    after = largest_volume(converted, tmp_path)
    sectors = changed_sectors(flattened, converted)
    assert [sector for sector in sectors if not after.holds(sector)] == []
    owners = after.owners(sectors)
    assert unnamed(owners - _BOOKS, printed["report"], folder) == set()
    changed = after.changed_files(before)
    assert unnamed(changed, printed["report"], folder) == set()
    # The hive was written, so the comparison does see what is written.
    assert f"{folder}/system".lower() in {path.lower() for path in owners | changed}
