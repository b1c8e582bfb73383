"""Every broken guest: its faults are named and no others, mended, and put back byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.conversion_run import Case, Converted
from fixtures.guest_files import disk_state
from fixtures.guests import GuestKind, GuestSpec
from fixtures.opened_guest import opened_guest
from fixtures.registry_parts import dword
from fixtures.zoo import ZOO, ZooGuest
from offline_mig.cli import main
from offline_mig.diagnosis.finding import FindingKind, Severity
from offline_mig.machine import DiskFormat

pytestmark = pytest.mark.conversion

Release = Callable[[ZooGuest], Path]


@pytest.fixture
def release(
    converted: Callable[[Case], Converted],
    base_image: Callable[[GuestSpec], Path],
    tmp_path: Path,
) -> Release:
    """Makes the image of a broken guest, in a folder with nothing else."""

    def make(guest: ZooGuest) -> Path:
        folder = tmp_path / "images"
        folder.mkdir()
        image = folder / "guest.qcow2"
        spec = GuestSpec(guest.kind)
        if guest.converted:
            shutil.copyfile(converted(Case(spec)).disk, image)
        else:
            command = ["qemu-img", "convert", "-O", "qcow2", base_image(spec), image]
            subprocess.run(command, check=True)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        with opened_guest(image, scratch) as opened:
            if guest.kind is GuestKind.XP:
                # A warning of its own.
                opened.put(r"Services\intelppm", "Start", dword(4))
            guest.broken(opened)
        return image

    return make


def run(command: str, *arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [command, *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def machine(guest: ZooGuest, engine: str) -> list[str]:
    trusted = ["--allow-unsigned"] if guest.trusted else []
    return [*guest.options, *trusted, "--engine", engine]


def doctor(image: Path, guest: ZooGuest, engine: str) -> tuple[int, list[str]]:
    done = run("doctor", image, *machine(guest, engine), "--json")
    return done.exit_code, [found["id"] for found in json.loads(done.stdout)["findings"]]


def exit_code(found: tuple[FindingKind, ...]) -> int:
    severities = {kind.severity for kind in found}
    return 1 if Severity.STOP in severities else 11 if Severity.UNKNOWN in severities else 0


def ids(found: tuple[FindingKind, ...]) -> list[str]:
    return [kind.id for kind in found]


def names(image: Path) -> set[str]:
    return {path.name for path in image.parent.iterdir()}


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def through_the_zoo(image: Path, guest: ZooGuest, drivers: Path, engine: str) -> None:
    untouched = digest(image)
    before = disk_state(image, DiskFormat.QCOW2)
    assert doctor(image, guest, engine) == (exit_code(guest.found), ids(guest.found))
    assert digest(image) == untouched
    source = ["--drivers", drivers] if guest.drivers else []
    journal = image.with_name("journal.json")
    done = run("repair", image, *machine(guest, engine), *source, "--journal", journal)
    assert done.exit_code == guest.repair, done.output
    if guest.repair or guest.left:
        assert digest(image) == untouched
        assert names(image) == {image.name}
        return
    assert names(image) == {image.name, journal.name}
    assert doctor(image, guest, engine) == (0, [])
    assert digest(image) != untouched
    done = run("undo", image, "--journal", journal, "--engine", engine)
    assert done.exit_code == 0, done.output
    assert "Left alone" not in done.output
    assert disk_state(image, DiskFormat.QCOW2) == before
    subprocess.run(["qemu-img", "check", "-q", image], check=True)
    assert names(image) == {image.name, journal.name}


@pytest.mark.parametrize("guest", ZOO, ids=lambda guest: guest.name)
def test_named_mended_and_put_back(guest: ZooGuest, release: Release, drivers_iso: Path) -> None:
    through_the_zoo(release(guest), guest, drivers_iso, "userspace")


@pytest.mark.appliance
@pytest.mark.parametrize(
    "name", ["xp-hidden-sectors", "w7-start-and-stale-entry", "w10-fallback-and-version"]
)
def test_with_an_appliance(name: str, release: Release, drivers_iso: Path) -> None:
    guest = next(guest for guest in ZOO if guest.name == name)
    through_the_zoo(release(guest), guest, drivers_iso, "guestfs")


def test_names_are_unique() -> None:
    assert len({guest.name for guest in ZOO}) == len(ZOO)
