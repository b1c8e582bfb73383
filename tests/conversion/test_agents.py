"""Guest agents by the whole command: an RPM and an MSI, judged by ntfscat and hivexget."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fixtures.agents import (
    AMD64,
    MINGW,
    X86,
    qemu_files,
    qemu_wxs,
    spice_pair,
    write_files,
    write_msi,
    write_rpm,
)
from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import BuildGuest, GuestKind, GuestSpec
from fixtures.result import hivexget, system_volume

pytestmark = pytest.mark.conversion

WINDOWS_10 = GuestSpec(GuestKind.WINDOWS_10)
XP = GuestSpec(GuestKind.XP)


@pytest.fixture
def agents(tmp_path: Path) -> tuple[Path, Path]:
    """The RPM of the SPICE agent and the MSI of the QEMU guest agent, for 64 bits."""
    files = {f"{MINGW[AMD64]}/{name}": content for name, content in spice_pair(AMD64).items()}
    rpm = write_rpm(tmp_path / "mingw64-spice-vdagent.rpm", files)
    return rpm, write_msi(tmp_path / "qemu-ga-x86_64.msi", qemu_wxs(), qemu_files(AMD64), AMD64)


def test_both_agents_are_in_the_converted_guest(
    guest: BuildGuest, drivers_dir: Path, agents: tuple[Path, Path], tmp_path: Path
) -> None:
    require_engine("userspace")
    built = guest(WINDOWS_10)
    rpm, msi = agents
    common = (
        "convert", built.vmx, "--drivers", drivers_dir, "--allow-unsigned", "--agent", rpm,
        "--agent", msi, "-o", tmp_path / "out", "--engine", "userspace",
    )  # fmt: skip
    rehearsed = offline_mig(*common, "--dry-run")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "+ /Program Files/SPICE Guest Agent/vdservice.exe" in rehearsed.stdout
    assert r"Services\QEMU-GA]" in rehearsed.stdout
    assert "install the QEMU guest agent by its own installer" in rehearsed.stdout
    assert "+ /Windows/offline-mig/first-boot/qemu-ga-x86_64.msi" in rehearsed.stdout

    run = offline_mig(*common, "--json")
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    volume = system_volume(Path(printed["disks"][0]), "qcow2", tmp_path)
    for name, content in spice_pair(AMD64).items():
        assert volume.cat(f"/Program Files/SPICE Guest Agent/{name}") == content
    for name, content in qemu_files(AMD64).items():
        assert volume.cat(f"/Program Files/Qemu-ga/{name}") == content
    system = volume.hive("/Windows/System32/config/SYSTEM")
    folder = r"C:\Program Files"
    assert (
        hivexget(system, r"ControlSet001\Services\vdservice", "ImagePath")
        == rf'"{folder}\SPICE Guest Agent\vdservice.exe"'
    )
    assert (
        hivexget(system, r"ControlSet001\Services\QEMU-GA", "ImagePath")
        == rf'"{folder}\Qemu-ga\qemu-ga.exe" -d --retry-path'
    )
    software = volume.hive("/Windows/System32/config/SOFTWARE")
    key = r"WOW6432Node\RedHat\RHEL\Tools\QemuGA"
    assert hivexget(software, key, "Version") == "105.0.2"

    told = {record["kind"]: record for record in printed["report"]["agents"]}
    spice, qemu = told["SPICE agent"], told["QEMU guest agent"]
    assert (spice["placement"], spice["service"]) == ("placed", "vdservice")
    assert spice["agent"]["from"] == f"{rpm.name}: {MINGW[AMD64]}"
    assert (qemu["agent"]["version"], qemu["agent"]["from"]) == ("105.0.2", msi.name)
    channels = {
        target.get("name") for target in ET.parse(printed["domain"]).iterfind(".//channel/target")
    }
    assert channels == {"org.qemu.guest_agent.0", "com.redhat.spice.0"}


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("nowhere", 4, "does not exist"),
        ("empty", 4, "no agent"),
        ("damaged.msi", 4, "cannot be used"),
        ("for-x86", 7, "built for x86"),
    ],
)
def test_unusable_sources_end_the_run_with_their_code(
    name: str, code: int, told: str, guest: BuildGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    require_engine("userspace")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.msi").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(4096))
    write_files(tmp_path / "for-x86", spice_pair(X86))
    run = offline_mig(
        "convert", guest(WINDOWS_10).vmx, "--drivers", drivers_dir, "--allow-unsigned",
        "--agent", tmp_path / name, "-o", tmp_path / "out", "--engine", "userspace", "--json",
    )  # fmt: skip
    assert run.returncode == code, run.stderr
    printed = json.loads(run.stdout)
    assert told in printed["error"]
    assert printed["remedy"]
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_xp_gets_the_agent_and_its_channel(
    guest: BuildGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    require_engine("userspace")
    source = write_files(tmp_path / "agent", spice_pair(X86))
    run = offline_mig(
        "convert", guest(XP).vmx, "--drivers", drivers_dir, "--allow-unsigned", "--agent", source,
        "--dry-run", "--engine", "userspace", "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    assert "com.redhat.spice.0" in printed["domain"]
    titles = [block["title"] for block in printed["plan"]]
    assert "SPICE agent 0.10.0.0" in titles
    keys = {
        change["key"]
        for block in printed["plan"]
        for change in block["changes"]
        if change["change"] == "set-value" and "vdservice" in change["key"]
    }
    assert keys == {rf"ControlSet00{number}\Services\vdservice" for number in (1, 2)}
