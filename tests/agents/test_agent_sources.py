"""Agents in folders, zips, RPMs, ISOs and MSIs, the damaged and the hostile among them."""

from __future__ import annotations

import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.agents import (
    AMD64,
    MINGW,
    X86,
    program,
    qemu_files,
    qemu_wxs,
    spice_pair,
    spice_wxs,
    write_files,
    write_msi,
    write_rpm,
    write_zip,
)
from fixtures.virtio_win import write_iso
from offline_mig.agents import archives
from offline_mig.agents.agent import Agent, AgentKind, AgentPath
from offline_mig.agents.source import open_agent_source
from offline_mig.errors import SourceUnreadableError
from offline_mig.windows.known_folders import KnownFolder
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture


def only(path: Path) -> Agent:
    (agent,) = open_agent_source(path).agents
    return agent


def contents(agent: Agent) -> dict[str, bytes]:
    return {file.path.name: file.content for file in agent.files}


def as_folder(folder: Path, files: dict[str, bytes]) -> Path:
    return write_files(folder / "files", files)


def as_zip(folder: Path, files: dict[str, bytes]) -> Path:
    return write_zip(folder / "agent.zip", files)


def as_rpm(payload: str) -> Callable[[Path, dict[str, bytes]], Path]:
    return lambda folder, files: write_rpm(folder / "agent.rpm", files, payload=payload)


def as_iso(folder: Path, files: dict[str, bytes]) -> Path:
    return write_iso(as_folder(folder, files), folder / "agent.iso")


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(as_folder, id="folder"),
        pytest.param(as_zip, id="zip"),
        pytest.param(as_rpm("w9.gzdio"), id="rpm-gzip"),
        pytest.param(as_rpm("w2.xzdio"), id="rpm-xz"),
        pytest.param(as_rpm("w3.zstdio"), id="rpm-zstd"),
        pytest.param(as_iso, id="iso"),
    ],
)
def test_both_executables_are_found_wherever_they_lie(
    pack: Callable[[Path, dict[str, bytes]], Path], tmp_path: Path
) -> None:
    pairs = {X86: spice_pair(X86), AMD64: spice_pair(AMD64)}
    files = {
        f"{MINGW[architecture]}/{name}": content
        for architecture, pair in pairs.items()
        for name, content in pair.items()
    }
    found = open_agent_source(pack(tmp_path, files)).agents
    assert {agent.architecture: contents(agent) for agent in found} == pairs
    for agent in found:
        assert agent.kind is AgentKind.SPICE
        assert agent.version == "0.10.0.0"
        assert agent.service.name == "vdservice"
        assert agent.service.group == "Pointer Port"
        # vdservice starts the vdagent.exe beside it.
        assert len({file.path.relative.rpartition("\\")[0] for file in agent.files}) == 1


def test_architecture_is_that_of_the_headers_and_not_of_the_folder(tmp_path: Path) -> None:
    files = {f"x64/{name}": content for name, content in spice_pair(X86).items()}
    assert only(as_folder(tmp_path, files)).architecture is X86


def test_executables_that_do_not_belong_together_are_for_no_windows(tmp_path: Path) -> None:
    files = spice_pair(AMD64) | {"vdagent.exe": program(X86)}
    assert only(as_folder(tmp_path, files)).architecture is None


@pytest.mark.parametrize(("rhev", "name"), [(True, "RHEV Spice Agent"), (False, "Spice Agent")])
def test_display_name_is_the_one_that_the_program_would_give_itself(
    rhev: bool, name: str, tmp_path: Path
) -> None:
    agent = only(as_folder(tmp_path, spice_pair(X86, rhev=rhev)))
    assert agent.service.display_name == name


def test_installer_of_the_spice_agent(tmp_path: Path) -> None:
    pair = spice_pair(AMD64)
    agent = only(write_msi(tmp_path / "spice.msi", spice_wxs(), pair, AMD64))
    assert contents(agent) == pair
    assert agent.architecture is AMD64
    assert agent.version == "0.10.7"
    service = agent.service
    assert service.name == "spice-agent"
    assert service.display_name == "Spice Agent"
    assert service.description == "The Spice guest agent"
    assert (service.service_type, service.start_type, service.error_control) == (0x10, 2, 1)
    # [SERVICEACCOUNT] is a property that nobody sets.
    assert service.account == "LocalSystem"
    assert service.program == AgentPath(KnownFolder.PROGRAM_FILES, r"Spice Agent\vdservice.exe")


@pytest.mark.parametrize(
    ("architecture", "folder", "known"),
    [
        (AMD64, "ProgramFiles64Folder", KnownFolder.PROGRAM_FILES),
        (X86, "ProgramFilesFolder", KnownFolder.PROGRAM_FILES_X86),
    ],
)
def test_installer_of_the_qemu_guest_agent(
    architecture: Architecture, folder: str, known: KnownFolder, tmp_path: Path
) -> None:
    files = qemu_files(architecture)
    agent = only(write_msi(tmp_path / "qemu-ga.msi", qemu_wxs(folder), files, architecture))
    assert agent.kind is AgentKind.QEMU
    assert contents(agent) == files
    assert {file.path.folder for file in agent.files} == {known}
    service = agent.service
    assert service.program == AgentPath(known, r"Qemu-ga\qemu-ga.exe")
    assert service.arguments == ("-d --retry-path",)
    assert service.error_control == 0  # "vital" is for the installer
    values = {entry.name: entry for entry in agent.registry}
    assert {entry.key for entry in agent.registry} == {r"RedHat\RHEL\Tools\QemuGA"}
    assert values["Version"].value == ("105.0.2",)
    assert values["Level"].value == RegistryValue.dword(7)
    assert values["Program"].value == (service.program,)
    assert values["Path"].value == (AgentPath(known, "Qemu-ga\\"), "log")
    assert values["ProductID"].type is RegistryType.SZ


def test_driver_iso_gives_all_agents_on_it(tmp_path: Path) -> None:
    write_msi(tmp_path / "ga64.msi", qemu_wxs(), qemu_files(AMD64), AMD64)
    write_msi(tmp_path / "ga32.msi", qemu_wxs("ProgramFilesFolder"), qemu_files(X86), X86)
    write_msi(tmp_path / "spice.msi", spice_wxs(), spice_pair(AMD64), AMD64)
    read = {name: (tmp_path / f"{name}.msi").read_bytes() for name in ("ga64", "ga32", "spice")}
    iso = as_iso(
        tmp_path,
        {
            "guest-agent/qemu-ga-x86_64.msi": read["ga64"],
            "guest-agent/qemu-ga-i386.msi": read["ga32"],
            "spice-vdagent/spice-vdagent-x64.msi": read["spice"],
            # Installers of drivers are not looked into.
            "virtio-win-gt-x64.msi": b"drivers",
        },
    )
    found = {(agent.kind, agent.architecture) for agent in open_agent_source(iso).agents}
    assert found == {(AgentKind.QEMU, AMD64), (AgentKind.QEMU, X86), (AgentKind.SPICE, AMD64)}
    assert {agent.location for agent in open_agent_source(iso).agents} == {
        "guest-agent/qemu-ga-x86_64.msi",
        "guest-agent/qemu-ga-i386.msi",
        "spice-vdagent/spice-vdagent-x64.msi",
    }


def test_installer_within_an_rpm(tmp_path: Path) -> None:
    msi = write_msi(tmp_path / "x.msi", spice_wxs(), spice_pair(AMD64), AMD64)
    path = "usr/share/spice/spice-vdagent-x64-0.10.0-7.msi"
    agent = only(write_rpm(tmp_path / "agent.rpm", {path: msi.read_bytes()}))
    assert agent.origin == f"agent.rpm: {path}"
    assert contents(agent) == spice_pair(AMD64)


def missing(folder: Path) -> Path:
    return folder / "nowhere.rpm"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def text(folder: Path) -> Path:
    (folder / "agent.txt").write_text("no agent")
    return folder / "agent.txt"


def zip_without(folder: Path) -> Path:
    return write_zip(folder / "other.zip", {"readme.txt": b"text"})


def half_a_pair(folder: Path) -> Path:
    return write_zip(folder / "half.zip", {"vdagent.exe": program(AMD64)})


def cut_zip(folder: Path) -> Path:
    whole = write_zip(folder / "cut.zip", spice_pair(AMD64))
    whole.write_bytes(whole.read_bytes()[:-60])
    return whole


def spoiled_zip(folder: Path) -> Path:
    whole = write_zip(folder / "spoiled.zip", spice_pair(AMD64))
    data = bytearray(whole.read_bytes())
    data[60:90] = bytes(30)
    whole.write_bytes(data)
    return whole


def cut_rpm(folder: Path) -> Path:
    whole = write_rpm(folder / "cut.rpm", spice_pair(AMD64))
    whole.write_bytes(whole.read_bytes()[:-300])
    return whole


def cut_msi(folder: Path) -> Path:
    whole = write_msi(folder / "cut.msi", spice_wxs(), spice_pair(AMD64), AMD64)
    whole.write_bytes(whole.read_bytes()[:4096])
    return whole


def msi_of_something_else(folder: Path) -> Path:
    wxs = spice_wxs().replace('Name="spice-agent"', 'Name="other"')
    return write_msi(folder / "other.msi", wxs, spice_pair(AMD64), AMD64)


def msi_with_its_files_outside(folder: Path) -> Path:
    wxs = spice_wxs().replace('EmbedCab="yes"', 'EmbedCab="no"')
    return write_msi(folder / "outside.msi", wxs, spice_pair(AMD64), AMD64)


def msi_that_leads_out(folder: Path) -> Path:
    wxs = spice_wxs().replace('Name="Spice Agent">', 'Name="..">')
    return write_msi(folder / "out.msi", wxs, spice_pair(AMD64), AMD64)


def msi_for_windows_itself(folder: Path) -> Path:
    wxs = spice_wxs("System64Folder")
    return write_msi(folder / "system.msi", wxs, spice_pair(AMD64), AMD64)


def msi_with_one_name_twice(folder: Path) -> Path:
    wxs = spice_wxs().replace('Name="vdagent.exe" Source', 'Name="VDSERVICE.EXE" Source')
    return write_msi(folder / "twice.msi", wxs, spice_pair(AMD64), AMD64)


def msi_with_a_driver(folder: Path) -> Path:
    msi = write_msi(folder / "driver.msi", spice_wxs(), spice_pair(AMD64), AMD64)
    # The service's type, 0x10, becomes that of a driver.
    query = "UPDATE `ServiceInstall` SET `ServiceType` = 1"
    subprocess.run(["msibuild", msi, "-q", query], check=True)
    return msi


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (missing, "does not exist"),
        (empty, "no agent"),
        (text, "no agent source"),
        (zip_without, "no agent"),
        (half_a_pair, "no agent"),
        (cut_zip, "zip"),
        (spoiled_zip, "zip"),
        (cut_rpm, "RPM"),
        (cut_msi, "cut.msi"),
        (msi_of_something_else, "no agent"),
        (msi_with_its_files_outside, "outside"),
        (msi_that_leads_out, "no plain file name"),
        (msi_for_windows_itself, "not known here"),
        (msi_with_one_name_twice, "the same name"),
        (msi_with_a_driver, "type 1"),
    ],
)
def test_what_cannot_be_used_is_told(
    make: Callable[[Path], Path], told: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(SourceUnreadableError) as caught:
        open_agent_source(path)
    assert told in caught.value.message
    assert path.name in caught.value.message
    assert caught.value.remedy


def test_encrypted_zip_is_told(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "secret.zip", spice_pair(AMD64))
    data = bytearray(path.read_bytes())
    # Bit 0 of the flags, in the local header (at 6) and in the central directory (at 8).
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + flags] |= 1
            place = data.find(mark, place + 4)
    path.write_bytes(data)
    with pytest.raises(SourceUnreadableError, match="encrypted"):
        open_agent_source(path)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_zip_gives_the_whole_agent_or_an_error(
    spice_zip: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, whole = spice_zip
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = open_agent_source(path).agents
    except SourceUnreadableError as error:
        assert error.remedy
    else:
        assert [contents(agent) for agent in found] == [spice_pair(AMD64)]


@pytest.fixture(scope="module")
def spice_zip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = write_zip(tmp_path_factory.mktemp("zip") / "agent.zip", spice_pair(AMD64))
    return path, path.read_bytes()


@pytest.mark.parametrize("payload", ["w9.gzdio", "w3.zstdio"])
@pytest.mark.parametrize("from_end", range(40, 1240, 400))
def test_damage_of_an_rpms_header_and_payload_is_noticed(
    payload: str, from_end: int, tmp_path: Path
) -> None:
    path = write_rpm(tmp_path / "agent.rpm", spice_pair(AMD64), payload=payload)
    data = bytearray(path.read_bytes())
    data[-from_end] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(SourceUnreadableError, match="digest"):
        open_agent_source(path)


def test_rpm_without_an_md5_is_held_against_the_digest_of_its_payload(tmp_path: Path) -> None:
    path = write_rpm(tmp_path / "agent.rpm", spice_pair(AMD64))
    data = bytearray(path.read_bytes())
    # Tag 1004, of 16 bytes of binary, becomes one that nobody knows: as rpm 6 leaves it out.
    place = data.index(struct.pack(">II", 1004, 7))
    data[place : place + 4] = struct.pack(">I", 999)
    path.write_bytes(data)
    assert contents(only(path)) == spice_pair(AMD64)
    data[-40] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(SourceUnreadableError, match="digest"):
        open_agent_source(path)


@pytest.mark.parametrize("pack", [as_zip, as_rpm("w9.gzdio")])
def test_bombs_are_not_unpacked(
    pack: Callable[[Path, dict[str, bytes]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_SIZE", 1024**2)
    bomb = pack(tmp_path, {"a/vdagent.exe": bytes(2 * 1024**2), "a/vdservice.exe": b"MZ"})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(SourceUnreadableError, match="larger than any agent"):
        open_agent_source(bomb)


def test_names_that_lead_out_of_a_zip_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in spice_pair(AMD64).items():
            archive.writestr(f"../../{name}", content)
            archive.writestr(f"/{name}", content)
    with pytest.raises(SourceUnreadableError, match="no agent"):
        open_agent_source(path)


def test_names_that_would_reach_the_terminal_are_passed_over(tmp_path: Path) -> None:
    files = {f"\x1b[2J/{name}": data for name, data in spice_pair(AMD64).items()}
    with pytest.raises(SourceUnreadableError, match="no agent"):
        open_agent_source(as_zip(tmp_path, files))


def test_far_too_many_agents_are_not_read(tmp_path: Path) -> None:
    pair = spice_pair(AMD64)
    files = {f"{number}/{name}": data for number in range(60) for name, data in pair.items()}
    with pytest.raises(SourceUnreadableError, match="120 files"):
        open_agent_source(as_zip(tmp_path, files))
