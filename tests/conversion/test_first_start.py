"""What a conversion leaves to the first boot, by the whole command, and what is said of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fixtures.conversion_run import Case, Converted, offline_mig
from fixtures.guests import BuildGuest, GuestKind, GuestSpec
from fixtures.opened_guest import opened_guest
from fixtures.result import hivexget, system_volume
from offline_mig.cli import main
from offline_mig.surgery.first_boot import SERVICE

pytestmark = pytest.mark.conversion

Convert = Callable[[Case], Converted]
XP, WINDOWS_10 = GuestSpec(GuestKind.XP), GuestSpec(GuestKind.WINDOWS_10)


def inspect(disk: Path, *options: str) -> str:
    done = CliRunner().invoke(main, ["inspect", str(disk), "--engine", "userspace", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("kind", list(GuestKind))
def test_the_report_says_what_to_expect(kind: GuestKind, converted: Convert) -> None:
    done = converted(Case(GuestSpec(kind)))
    told = done.report["first_boot"]
    assert told["restarts"] == 0
    assert [step["id"] for step in told["steps"]] == ["put-back"]
    assert told["log"].lower() == r"c:\windows\offline-mig\first-boot.log"
    sentences = "\n".join(told["expect"])
    for words in ("No restart is asked for", SERVICE, told["log"], "STOP code stays"):
        assert words in sentences
    assert "still to come" in inspect(done.disk)


def test_a_dry_run_says_it_as_well(guest: BuildGuest, drivers_dir: Path, tmp_path: Path) -> None:
    done = offline_mig(
        "convert", guest(XP).vmx, "--drivers", drivers_dir, "--allow-unsigned", "-o",
        tmp_path / "out", "--engine", "userspace", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout.partition("First boot:\n")[2]
    assert "put AutoReboot back" in told
    assert "logo test" in told
    assert "Activation:" in told


def test_an_old_machine_stays_behind(converted: Convert) -> None:
    done = converted(Case(XP))
    system = done.volume.hive("/WINDOWS/system32/config/system")
    assert hivexget(system, r"ControlSet001\Services\intelppm", "Start") == "4"


def test_the_log_is_shown_when_windows_was_there(converted: Convert, tmp_path: Path) -> None:
    disk = tmp_path / "guest.qcow2"
    shutil.copyfile(converted(Case(XP)).disk, disk)
    with opened_guest(disk, tmp_path) as opened:
        opened.drop(rf"Services\{SERVICE}")
        opened.files.write(
            f"{opened.root}/offline-mig/first-boot.log",
            b"offline-mig start 1\r\noffline-mig step put-back try 1 of 3\r\nsaid by reg\x1b[2J\r\n"
            b"offline-mig step put-back failed 5\r\noffline-mig step put-back given-up\r\n"
            b"offline-mig end\r\n",
        )
    told = inspect(disk)
    assert "put-back: given up, 1 try, last exit code 5" in told
    assert "said by reg" in told
    assert "\x1b" not in told
    record = json.loads(inspect(disk, "--json"))["first_boot"]
    assert record["state"] == "over"
    assert record["steps"] == [{"id": "put-back", "state": "given up", "tries": 1, "code": 5}]


def test_undone_by_the_report_it_is_as_it_was(
    guest: BuildGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    """Hives byte for byte, and no file of the conversion: runner, drivers, settings are out."""
    built = guest(WINDOWS_10)
    run = offline_mig(
        "convert", built.vmx, "--drivers", drivers_dir, "--allow-unsigned", "-o", tmp_path / "out",
        "--engine", "userspace", "--undoable", "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    disk = Path(printed["disks"][0])
    run = offline_mig(
        "undo", disk, "--journal", printed["report_file"], "--engine", "userspace", "--json"
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["left_alone"] == []
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    before = system_volume(built.base_image, "raw", old)
    after = system_volume(disk, "qcow2", new)
    for name in ("SYSTEM", "SOFTWARE", "DRIVERS"):
        path = f"/Windows/System32/config/{name}"
        assert after.cat(path) == before.cat(path)
    tools = "/Program Files/VMware/VMware Tools"
    for folder in ("/Windows", "/Windows/System32/drivers", "/Windows/INF", tools):
        assert after.names(folder) == before.names(folder)
    daemon = f"{tools}/vmtoolsd.exe"
    assert after.cat(daemon) == before.cat(daemon)


def test_a_conversion_without_a_way_back_says_so(converted: Convert, tmp_path: Path) -> None:
    """VMware Tools were deleted, and are in the source only."""
    done = converted(Case(XP))
    assert done.report["undo"] is None
    assert any("--undoable" in note for note in done.report["notes"])
    disk = tmp_path / "guest.qcow2"
    shutil.copyfile(done.disk, disk)
    run = offline_mig(
        "undo", disk, "--journal", done.printed["report_file"], "--engine", "userspace"
    )
    assert run.returncode == 4
    assert "cannot be undone" in run.stderr
