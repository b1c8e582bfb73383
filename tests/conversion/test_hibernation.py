"""Guests with a session in hiberfil.sys: named by doctor, refused, converted without it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.catalogue import WINDOWS_10_FAST_STARTUP, WINDOWS_10_HIBERNATED, XP_HIBERNATED
from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import GuestSpec, build_guest
from fixtures.ntfs_volumes import descriptors
from fixtures.result import system_volume, tree_state
from fixtures.security_descriptors import described
from fixtures.windows_security import FILE_BELOW
from offline_mig.errors import GuestRefusedError

pytestmark = pytest.mark.conversion

_ENGINES = ["userspace", pytest.param("guestfs", marks=pytest.mark.appliance)]


@pytest.mark.parametrize(
    ("spec", "finding", "severity"),
    [
        (XP_HIBERNATED, "BOOT-HIBERNATED", "stop"),
        (WINDOWS_10_HIBERNATED, "BOOT-HIBERNATED", "stop"),
        (WINDOWS_10_FAST_STARTUP, "BOOT-FAST-STARTUP", "warning"),
    ],
    ids=["xp", "w10", "w10-fast-startup"],
)
def test_doctor_tells_whose_session_waits(
    base_image: Callable[[GuestSpec], Path], spec: GuestSpec, finding: str, severity: str
) -> None:
    require_engine("userspace")
    run = offline_mig("doctor", base_image(spec), "--engine", "userspace", "--json")
    found = {
        item["id"]: item
        for item in json.loads(run.stdout)["findings"]
        if item["id"] in ("BOOT-HIBERNATED", "BOOT-FAST-STARTUP")
    }
    assert list(found) == [finding]
    assert found[finding]["severity"] == severity
    assert found[finding]["confidence"] == "high"
    assert any("hiberfil.sys begins with" in line for line in found[finding]["evidence"])


@pytest.mark.parametrize("engine", _ENGINES)
def test_converted_without_its_session(
    engine: str,
    base_image: Callable[[GuestSpec], Path],
    drivers_iso: Path,
    tmp_path: Path,
) -> None:
    require_engine(engine)
    spec = WINDOWS_10_FAST_STARTUP
    base_image(spec)
    guest = build_guest(spec.kind, tmp_path / "source", variant=spec.variant)
    before = tree_state(guest.folder)
    command = ("convert", guest.vmx, "--drivers", drivers_iso, "--allow-unsigned")
    command += ("--engine", engine, "-o", tmp_path / "out", "--json")
    if engine == "userspace":
        refused = offline_mig(*command)
        assert refused.returncode == GuestRefusedError.exit_code
        assert "shut down with fast startup" in refused.stderr
        assert "--discard-hibernation" in refused.stderr
    run = offline_mig(*command, "--discard-hibernation")
    assert run.returncode == 0, run.stderr
    assert tree_state(guest.folder) == before

    printed = json.loads(run.stdout)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    volume = system_volume(Path(printed["disks"][0]), "qcow2", scratch)
    assert "hiberfil.sys" not in volume.names("/")
    report = json.loads(Path(printed["report_file"]).read_text())
    (change,) = (entry for entry in report["journal"] if entry["change"] == "discard-session")
    assert change["session"] == "fast startup"
    (note,) = (note for note in report["notes"] if "hiberfil.sys" in note)
    assert "nothing is lost" in note
    assert "too large for the journal" in note
    # The user's setting is theirs.
    shown = subprocess.run(
        ["hivexget", volume.hive("/Windows/System32/config/SYSTEM"),
         r"\ControlSet001\Control\Session Manager\Power", "HiberbootEnabled"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert shown.strip() == "1"
    rights = descriptors(volume.volume)
    assert described(rights["/Windows/System32/drivers/viostor.sys"]) == FILE_BELOW


def test_repaired_in_place_and_not_brought_back(
    base_image: Callable[[GuestSpec], Path], drivers_iso: Path, tmp_path: Path
) -> None:
    require_engine("userspace")
    image = tmp_path / "guest.raw"
    source = base_image(WINDOWS_10_FAST_STARTUP)
    subprocess.run(["cp", "--sparse=always", source, image], check=True)
    image.chmod(0o600)
    common = ("--engine", "userspace", "--json")
    command = ("repair", image, "--drivers", drivers_iso, "--allow-unsigned", *common)
    refused = offline_mig(*command)
    assert refused.returncode == GuestRefusedError.exit_code
    assert "--discard-hibernation" in refused.stderr
    run = offline_mig(*command, "--discard-hibernation")
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert "BOOT-FAST-STARTUP" in {finding["id"] for finding in done["before"]["findings"]}
    assert "BOOT-FAST-STARTUP" not in {finding["id"] for finding in done["after"]["findings"]}
    (note,) = (note for note in done["notes"] if "hiberfil.sys" in note)
    assert "does not bring it back." in note
    journal = json.loads(Path(done["journal"]).read_text())
    assert [c["change"] for c in journal["changes"]].count("discard-session") == 1

    undone = offline_mig("undo", image, "--journal", done["journal"], *common)
    assert undone.returncode == 0, undone.stderr
    assert "given up for good" in undone.stdout
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert "hiberfil.sys" not in system_volume(image, "raw", scratch).names("/")
