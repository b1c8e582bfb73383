"""Everything that is printed or written as JSON, held against its published schema."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import offline_mig
from fixtures.conversion_run import Case, Converted, require_engine
from fixtures.guests import GuestKind, GuestSpec, Variant
from fixtures.opened_guest import opened_guest
from fixtures.published_schemas import require_valid
from fixtures.registry_parts import dword
from fixtures.zoo import OVERRIDE
from offline_mig.cli import main

pytestmark = pytest.mark.conversion

USERSPACE = ["--engine", "userspace"]


def run(*arguments: str | Path, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--json")])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", list(GuestKind))
def test_conversion_and_report(converted: Callable[[Case], Converted], kind: GuestKind) -> None:
    done = converted(Case(GuestSpec(kind)))
    require_valid("convert", done.printed)
    require_valid("report", done.report)
    assert done.printed["report"] == done.report
    assert done.report["next"][0].startswith("virsh define ")


@pytest.mark.parametrize("kind", [GuestKind.XP, GuestKind.WINDOWS_10])
def test_looking_at_a_guest(
    converted: Callable[[Case], Converted], kind: GuestKind, drivers_iso: Path
) -> None:
    vmx = converted(Case(GuestSpec(kind))).guest.vmx
    require_valid("inspect", run("inspect", vmx, *USERSPACE))
    require_valid(
        "plan",
        run("convert", vmx, "--drivers", drivers_iso, "--allow-unsigned", "--dry-run", *USERSPACE),
    )
    require_valid("doctor", run("doctor", vmx, *USERSPACE, code=1))


def test_a_guest_that_nobody_sees_into(base_image: Callable[[GuestSpec], Path]) -> None:
    require_engine("userspace")
    image = base_image(GuestSpec(GuestKind.WINDOWS_10, Variant(bitlocker=True)))
    told = run("doctor", image, *USERSPACE, code=11)
    require_valid("doctor", told)
    assert told["guest"] is None


def test_repair_journal_and_undo(
    converted: Callable[[Case], Converted], drivers_iso: Path, tmp_path: Path
) -> None:
    image = tmp_path / "guest.qcow2"
    shutil.copyfile(converted(Case(GuestSpec(GuestKind.WINDOWS_10))).disk, image)
    with opened_guest(image, tmp_path) as guest:
        guest.put(OVERRIDE.format("viostor"), "0", dword(3))
    repair = ["repair", image, "--drivers", drivers_iso, "--allow-unsigned", *USERSPACE]
    rehearsed = run(*repair, "--dry-run")
    require_valid("repair", rehearsed)
    assert rehearsed["journal"] is None
    done = run(*repair)
    require_valid("repair", done)
    journal = Path(done["journal"])
    require_valid("journal", json.loads(journal.read_text()))
    require_valid("undo", run("undo", image, "--journal", journal, *USERSPACE))
    require_valid("recover", run("recover", image))


def test_drivers(drivers_iso: Path) -> None:
    require_valid("drivers-list", run("drivers", "list", drivers_iso))
    matched = run(
        "drivers", "match", drivers_iso, "--windows", "w10-19045-amd64", "--allow-unsigned"
    )
    require_valid("drivers-match", matched)


def test_many_guests(
    converted: Callable[[Case], Converted],
    drivers_iso: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Preflight, and a batch by the interface that the command calls, with nobody watching."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = converted(Case(GuestSpec(GuestKind.XP))).guest.folder
    looked = run("preflight", folder, "--drivers", drivers_iso, "-o", tmp_path / "out")
    require_valid("preflight", looked)
    assert len(looked["machines"]) == 1
    options = {"drivers": [str(drivers_iso)], "engine": "userspace"}
    found = offline_mig.preflight(folder, tmp_path / "out", options=options, jobs=1)
    assert [row.name for row in found.rows] == [row["name"] for row in looked["machines"]]
    require_valid("preflight", offline_mig.preflight_record(found))
    with pytest.raises(offline_mig.NoOutputError):
        offline_mig.convert_many(folder, options=options)
    end = offline_mig.convert_many(folder, tmp_path / "out", options=options, jobs=1)
    assert end.left == 0
    (record,) = end.guests
    require_valid("report", json.loads((tmp_path / "out" / str(record.report)).read_text()))


def test_media(drivers_iso: Path, tmp_path: Path) -> None:
    made = run(
        "media", "iso", "--drivers", drivers_iso, "--windows", "w10-19045-amd64",
        "--allow-unsigned", "-o", tmp_path / "drivers.iso",
    )  # fmt: skip
    require_valid("media", made)


def test_errors(tmp_path: Path) -> None:
    require_valid("error", run("inspect", tmp_path / "nothing.vmx", *USERSPACE, code=4))
    require_valid("error", run("convert", code=2))


@pytest.mark.appliance
def test_check() -> None:
    require_valid("check", run("check"))
