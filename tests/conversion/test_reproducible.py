"""The same inputs give the same bytes; what does not belong to them makes no difference."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fixtures.conversion_run import require_engine
from fixtures.guests import BuildGuest, BuiltGuest, GuestKind, GuestSpec, VmdkKind
from fixtures.result import system_volume
from offline_mig.batch.earlier_result import earlier_result
from offline_mig.cli import main
from offline_mig.conversion.named_options import named_options
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.reproducible import result_moment
from offline_mig.errors import HostNotReadyError
from offline_mig.guest.stopped_clock import stopped_clock

Convert = Callable[..., dict[str, str]]


@pytest.fixture
def convert(drivers_iso: Path, tmp_path: Path) -> Convert:
    """Converts into always the same folder and gives the SHA-256 of all results."""
    require_engine("userspace")
    try:
        stopped_clock(0)
    except HostNotReadyError as error:
        pytest.skip(error.message)

    def run(guest: BuiltGuest, *options: str, epoch: str | None = None) -> dict[str, str]:
        output = tmp_path / "out"
        shutil.rmtree(output, ignore_errors=True)
        arguments = [
            "convert", guest.vmx, "--drivers", drivers_iso, "--allow-unsigned", "-o", output,
            "--reproducible", "--target", "libvirt", "--target", "proxmox", *options,
        ]  # fmt: skip
        done = CliRunner().invoke(
            main, [str(argument) for argument in arguments], env={"SOURCE_DATE_EPOCH": epoch}
        )
        assert done.exit_code == 0, done.output
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in output.iterdir()
        }

    return run


def report_file(folder: Path) -> Path:
    return next((folder / "out").glob("*.report.json"))


def report(folder: Path) -> str:
    return report_file(folder).read_text()


@pytest.mark.conversion
@pytest.mark.parametrize("kind", list(GuestKind))
def test_twice_is_the_same(kind: GuestKind, guest: BuildGuest, convert: Convert) -> None:
    built = guest(GuestSpec(kind))
    first = convert(built, "--provenance")
    assert {Path(name).suffix for name in first} == {".qcow2", ".xml", ".sh", ".conf", ".json"}
    # NTFS and hives count in tenths of a microsecond; what is in whole seconds must move as well.
    time.sleep(1.1)
    assert convert(built, "--provenance") == first


@pytest.mark.conversion
def test_neither_times_nor_holes_of_the_source_count(
    guest: BuildGuest, convert: Convert, drivers_iso: Path, tmp_path: Path
) -> None:
    built = guest(GuestSpec(GuestKind.XP), vmdk_kind=VmdkKind.MONOLITHIC_FLAT)
    first = convert(built)
    aside = built.folder.rename(tmp_path / "aside")
    copy = ["cp", "-r", "--sparse=never", aside, built.folder]
    subprocess.run(copy, check=True)
    for path in built.folder.iterdir():
        os.utime(path, (1, 1))
    extents = list(built.folder.glob("*-flat.vmdk"))
    assert extents
    assert all(path.stat().st_blocks * 512 >= path.stat().st_size for path in extents)
    assert convert(built) == first

    # A batch that goes on knows by the hashes that there is nothing left to do.
    given = {
        "drivers": [drivers_iso], "allow-unsigned": True, "target": ["libvirt", "proxmox"],
        "reproducible": True, "name": json.loads(report(tmp_path))["source"]["machine"]["name"],
    }  # fmt: skip
    options = named_options(tmp_path / "out", given)
    told = json.loads(report(tmp_path))
    named = {**told, "options": json.loads(json.dumps(plain(options)))}
    report_file(tmp_path).write_text(json.dumps(named))
    assert earlier_result(built.vmx, options, 0.0) == named
    now = report_file(tmp_path).stat().st_mtime
    assert earlier_result(built.vmx, options, now) == named
    # Results from before the batch, and of another version, are not those that it would make.
    assert earlier_result(built.vmx, options, now + 1) is None
    other = {**named, "tools": {**named["tools"], "offline-mig": "0.0.1"}}
    report_file(tmp_path).write_text(json.dumps(other))
    assert earlier_result(built.vmx, options, 0.0) is None
    report_file(tmp_path).write_text(json.dumps(named))
    with extents[0].open("r+b") as stream:
        stream.write(b"x")
    assert earlier_result(built.vmx, options, 0.0) is None


@pytest.mark.conversion
def test_the_moment_is_that_of_the_variable(
    guest: BuildGuest, convert: Convert, tmp_path: Path
) -> None:
    """Read back from the disk by ntfscat and ntfsinfo."""
    built = guest(GuestSpec(GuestKind.XP))
    convert(built, epoch="1234567890")
    told = json.loads(report(tmp_path))
    assert told["options"]["moment"] == 1234567890
    assert told["seconds"] == {}
    disk = next((tmp_path / "out").glob("*.qcow2"))
    volume = system_volume(disk, "qcow2", tmp_path)
    hive = volume.cat("/WINDOWS/system32/config/system")
    # 100 ns since 1601: Microsoft, "FILETIME structure".
    assert int.from_bytes(hive[12:20], "little") == (1234567890 + 11644473600) * 10**7
    info = volume.info("/WINDOWS/system32/drivers/viostor.sys")
    stamps = [line for line in info.splitlines() if "Time:" in line]
    assert len(stamps) >= 8
    assert all("Fri Feb 13 23:31:30 2009" in line for line in stamps), info


@pytest.mark.conversion
def test_an_appliance_has_a_clock_of_its_own(guest: BuildGuest, tmp_path: Path) -> None:
    built = guest(GuestSpec(GuestKind.XP))
    arguments = ["convert", str(built.vmx), "-o", str(tmp_path / "out"), "--reproducible"]
    done = CliRunner().invoke(main, [*arguments, "--engine", "guestfs"])
    assert done.exit_code == 3
    assert "--engine userspace" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "now", "-1", "1.5", "999999999999", "²"])
def test_a_variable_that_is_no_time(text: str) -> None:
    with pytest.raises(HostNotReadyError, match="SOURCE_DATE_EPOCH"):
        result_moment({"SOURCE_DATE_EPOCH": text})


def test_the_moment() -> None:
    assert result_moment({"SOURCE_DATE_EPOCH": "0"}) == 0
    assert result_moment({}) == result_moment({"SOURCE_DATE_EPOCH": "946684800"})
