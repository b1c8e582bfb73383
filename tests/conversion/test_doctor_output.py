"""What doctor, repair and explain print: safe on a terminal, no wider than one, and doable."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.conversion_run import COMMAND, Case, Converted, offline_mig, require_engine
from fixtures.disk_layout import MIB
from fixtures.guests import BuildGuest, GuestKind, GuestSpec, Variant
from fixtures.opened_guest import MadeGuest, opened_guest
from fixtures.registry_parts import dword, multi_sz, sz
from fixtures.zoo import OVERRIDE, SCSI
from offline_mig.cli import main
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

pytestmark = pytest.mark.conversion

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
TRUSTED = ["--allow-unsigned", "--engine", "userspace"]


@pytest.fixture
def image(
    converted: Callable[[Case], Converted], tmp_path: Path
) -> Callable[[GuestKind, Callable[[MadeGuest], None]], Path]:
    require_engine("userspace")

    def make(kind: GuestKind, change: Callable[[MadeGuest], None]) -> Path:
        path = tmp_path / "guest.qcow2"
        shutil.copyfile(converted(Case(GuestSpec(kind))).disk, path)
        with opened_guest(path, tmp_path) as guest:
            change(guest)
        return path

    return make


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def hostile(guest: MadeGuest) -> None:
    """Name things in ways that a terminal would obey, or that no text holds."""
    guest.put(rf"Control\Class\{SCSI}", "UpperFilters", multi_sz([f"evil{ESCAPE}"]))
    surrogate = RegistryValue(RegistryType.SZ, b"\x00\xd8v\0i\0\0\0")
    guest.put(r"Services\viostor", "ImagePath", surrogate)
    software = guest.hive(HiveName.SOFTWARE)
    key = r"Microsoft\Windows NT\CurrentVersion"
    software.set_value(key, "ProductName", sz(f"Windows{ESCAPE} 7"))


Make = Callable[[GuestKind, Callable[[MadeGuest], None]], Path]


def test_nothing_that_a_terminal_obeys(image: Make, drivers_iso: Path) -> None:
    path = image(GuestKind.WINDOWS_7, hostile)
    for command in (
        ["doctor", path],
        ["repair", path, "--dry-run", "--drivers", drivers_iso],
        ["inspect", path],
        ["repair", path, "--bus", "nvme"],
        ["repair", path, "--drivers", drivers_iso],
    ):
        trusted = TRUSTED if command[0] != "inspect" else TRUSTED[1:]
        done = offline_mig(*command, *trusted)
        assert "Traceback" not in done.stderr
        printed = done.stdout + done.stderr
        assert all(char.isprintable() for line in printed.splitlines() for char in line), printed
        assert "evil" not in printed or r"evil\x1b]0;owned" in printed
    assert r"Windows\x1b]0;owned" in offline_mig("doctor", path, *TRUSTED).stdout
    done = offline_mig("undo", path, "--journal", f"{path}.journal.json", *TRUSTED[1:])
    assert "\x1b" not in done.stdout + done.stderr


def test_json_of_what_is_no_text(image: Make) -> None:
    path = image(GuestKind.WINDOWS_7, hostile)
    done = offline_mig("doctor", path, *TRUSTED, "--json")
    assert done.returncode == 1, done.stderr
    assert {found["id"] for found in json.loads(done.stdout)["findings"]} >= {"BOOT-FILTER-MISSING"}


def override(guest: MadeGuest) -> None:
    guest.put(OVERRIDE.format("viostor"), "0", dword(3))


def hint(printed: str) -> list[str]:
    return shlex.split(printed.rpartition("\n  offline-mig ")[2])


def test_the_hint_can_be_followed(image: Make) -> None:
    path = image(GuestKind.WINDOWS_10, override)
    told = run("doctor", path, *TRUSTED).output
    assert hint(told)[:2] == ["repair", str(path)]
    done = run(*hint(told))
    assert done.exit_code == 0, done.output
    assert "would be changed; nothing was" in done.output


def test_a_machine_is_not_to_be_repaired(guest: BuildGuest) -> None:
    require_engine("userspace")
    built = guest(GuestSpec(GuestKind.WINDOWS_10))
    told = run("doctor", built.vmx, "--engine", "userspace").output
    assert hint(told)[:2] == ["convert", str(built.vmx)]
    assert "offline-mig repair '" not in told


def test_nothing_is_hinted_at_that_cannot_be_done(image: Make) -> None:
    path = image(GuestKind.WINDOWS_7, lambda guest: guest.files.delete("1:1:/bootmgr"))
    assert "offline-mig" not in run("doctor", path, *TRUSTED).output
    refused = run("repair", path, *TRUSTED)
    assert refused.exit_code == 12
    assert "bcdboot" in refused.output


def test_width(image: Make) -> None:
    path = image(GuestKind.XP, override)
    for bus in ("virtio", "sata", "virtio-scsi"):
        told = run("doctor", path, "--bus", bus, "--engine", "userspace").output
        lines = told.partition("\nTo see what")[0].splitlines()
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("kind", "variant", "finding", "code"),
    [
        (GuestKind.XP, Variant(damaged_hive=True), "BOOT-HIVE-DAMAGED", 1),
        (GuestKind.XP, Variant(dirty_hive=True), "BOOT-HIVE-DIRTY", 11),
        (GuestKind.WINDOWS_10, Variant(bitlocker=True), "BOOT-BITLOCKER", 11),
    ],
)
def test_guests_that_cannot_be_seen_into(
    kind: GuestKind, variant: Variant, finding: str, code: int, base_image: Callable[..., Path]
) -> None:
    require_engine("userspace")
    path = base_image(GuestSpec(kind, variant))
    done = run("doctor", path, "--engine", "userspace", "--json")
    assert done.exit_code == code
    told = json.loads(done.stdout)
    assert [found["id"] for found in told["findings"]] == [finding]
    assert told["guest"] is None


def test_dirty_volume_is_a_warning_and_is_not_edited(base_image: Callable[..., Path]) -> None:
    require_engine("userspace")
    path = base_image(GuestSpec(GuestKind.XP, Variant(dirty_volume=True)))
    told = json.loads(run("doctor", path, "--engine", "userspace", "--json").stdout)
    assert "BOOT-VOLUME-DIRTY" in [found["id"] for found in told["findings"]]
    assert run("repair", path, "--engine", "userspace", "--dry-run").exit_code == 6


@pytest.mark.parametrize("kind", list(GuestKind))
def test_converted_guests_on_their_own_domain(
    kind: GuestKind, converted: Callable[[Case], Converted]
) -> None:
    done = converted(Case(GuestSpec(kind)))
    for machine in (["--xml", done.domain], ["--bus", "ide"], []):
        told = run("doctor", done.disk, *machine, *TRUSTED, "--json")
        assert told.exit_code == 0
        assert json.loads(told.stdout)["findings"] == []


@pytest.mark.appliance
def test_one_launch_and_no_copy(image: Make, tmp_path: Path) -> None:
    """Counted by a program in qemu's place; no file may grow as large as a copy would be."""
    path = image(GuestKind.WINDOWS_10, override)
    launches = tmp_path / "launches"
    program = tmp_path / "qemu"
    real = shutil.which("qemu-system-x86_64")
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *-kernel*) echo launch >> {launches};; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    before = path.read_bytes()
    assert len(before) > 4 * MIB
    done = subprocess.run(
        ["prlimit", f"--fsize={4 * MIB}", *COMMAND, "doctor", path, "--allow-unsigned", "--json"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "LIBGUESTFS_HV": str(program)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["broken"] == "BOOT-STARTOVERRIDE"
    assert launches.read_text().splitlines() == ["launch"]
    assert path.read_bytes() == before
