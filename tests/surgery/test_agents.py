"""Agents put into XP, 7 and 10: planned, applied, read back by hivexget, undone.

The hives are edited by hivex for real; only the volume is in memory.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.agents import AMD64, X86, qemu_files, qemu_wxs, spice_pair, spice_wxs, write_files
from fixtures.agents import write_msi as write_installer
from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.agents.source import AgentSource, open_agent_source
from offline_mig.conversion.agent_choice import ChosenAgents, choose_and_plan_agents
from offline_mig.surgery.agents import Placement
from offline_mig.surgery.changes import OpenGuest
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.targets.devices import Graphics
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

XP = GuestSpec(GuestKind.XP)
WINDOWS_7 = GuestSpec(GuestKind.WINDOWS_7)
WINDOWS_10 = GuestSpec(GuestKind.WINDOWS_10)
SERVICES = r"ControlSet001\Services"
CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"


@dataclass
class Bench:
    """A guest on the bench, and what is to be done to it about agents."""

    volume: MemoryVolume
    facts: GuestFacts
    chosen: ChosenAgents
    scratch: Path

    @property
    def plan(self) -> Plan:
        return Plan(self.chosen.plan.blocks)

    @property
    def placement(self) -> Placement:
        (placed,) = self.chosen.plan.placed
        return placed.placement

    def apply(self) -> None:
        apply_plan(self.plan, self.volume, self.facts.hive_files, self.scratch)

    def get(self, hive: HiveName, key: str, name: str | None = None) -> str:
        """Ask hivexget, an independent reader, for what is in a hive on the volume."""
        local = self.scratch / "for-hivexget"
        local.write_bytes(self.volume.read(self.facts.hive_files[hive]))
        command = ["hivexget", local, "\\" + key, *([] if name is None else [name])]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def system(self, key: str, name: str | None = None) -> str:
        return self.get(HiveName.SYSTEM, key, name)

    def notes(self) -> str:
        return "\n".join(self.chosen.notes)


def files_of(spec: GuestSpec) -> dict[str, bytes]:
    chosen = spec.variant.real_hives
    if chosen is not None and real_hives.data_folder() is None:
        pytest.skip("no shared data")
    return system_volume(spec, real_hives.hives(chosen) if chosen is not None else None)


def bench(
    files: dict[str, bytes],
    sources: Sequence[AgentSource],
    scratch: Path,
    *,
    serial: bool = True,
    graphics: Graphics = Graphics.SPICE,
) -> Bench:
    volume = MemoryVolume(files)
    root = volume.resolve("/windows")
    assert root is not None
    facts = examine(volume, root, scratch)
    chosen = choose_and_plan_agents(volume, facts, sources, serial=serial, graphics=graphics)
    return Bench(volume, facts, chosen, scratch)


def pair(
    folder: Path, architecture: Architecture, version: tuple[int, ...] = (0, 10, 0, 0)
) -> AgentSource:
    files = spice_pair(architecture, version=version)
    return open_agent_source(write_files(folder / f"pair-{version[1]}", files))


def spice_installer(folder: Path) -> AgentSource:
    return open_agent_source(
        write_installer(folder / "spice-vdagent-x64.msi", spice_wxs(), spice_pair(AMD64), AMD64)
    )


def qemu_installer(folder: Path, architecture: Architecture) -> AgentSource:
    where = "ProgramFiles64Folder" if architecture is AMD64 else "ProgramFilesFolder"
    path = folder / f"qemu-ga-{architecture}.msi"
    return open_agent_source(
        write_installer(path, qemu_wxs(where), qemu_files(architecture), architecture)
    )


REAL = [
    pytest.param(
        GuestSpec(kind, Variant(real_hives=hives)), id=f"real-{hives}", marks=pytest.mark.data
    )
    for kind, hives in (
        (GuestKind.XP, RealHives.XP),
        (GuestKind.WINDOWS_7, RealHives.WINDOWS_7),
        (GuestKind.WINDOWS_10, RealHives.WINDOWS_10),
    )
]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(XP, id="xp"),
        pytest.param(WINDOWS_7, id="w7"),
        pytest.param(WINDOWS_10, id="w10"),
        *REAL,
    ],
)
def test_applied_verified_kept_the_next_time_and_undone(spec: GuestSpec, tmp_path: Path) -> None:
    architecture = spec.architecture
    sources = [pair(tmp_path, architecture), qemu_installer(tmp_path, architecture)]
    guest = bench(files_of(spec), sources, tmp_path)
    before, directories = guest.volume.files, guest.volume.directories
    journal = apply_plan(guest.plan, guest.volume, guest.facts.hive_files, tmp_path)
    verify_plan(guest.plan, guest.volume, guest.facts.hive_files, tmp_path)

    again = bench(guest.volume.files, sources, tmp_path)
    assert [placed.placement for placed in again.chosen.plan.placed] == [Placement.KEPT] * 2
    assert len(again.plan) == 0

    undo(journal, guest.volume, before, guest.facts)
    assert guest.volume.files == before
    assert guest.volume.directories == directories
    system = guest.volume.read(guest.facts.hive_files[HiveName.SYSTEM])
    (tmp_path / "undone").write_bytes(system)
    hive = Hive(tmp_path / "undone", HiveName.SYSTEM)
    assert not any(hive.has_key(rf"{SERVICES}\{name}") for name in ("vdservice", "QEMU-GA"))


@pytest.mark.parametrize("spec", [XP, WINDOWS_7, WINDOWS_10], ids=["xp", "w7", "w10"])
def test_spice_agent_is_registered_as_vdservice_install_does(
    spec: GuestSpec, tmp_path: Path
) -> None:
    guest = bench(files_of(spec), [pair(tmp_path, spec.architecture)], tmp_path)
    guest.apply()
    for control_set in guest.facts.control_sets.bootable:
        key = rf"{control_set}\Services\vdservice"
        # What CreateService is called with in vdservice.cpp: SERVICE_WIN32_OWN_PROCESS,
        # SERVICE_AUTO_START, SERVICE_ERROR_IGNORE.
        assert guest.system(key, "Type") == "16"
        assert guest.system(key, "Start") == "2"
        assert guest.system(key, "ErrorControl") == "0"
        assert guest.system(key, "DisplayName") == "Spice Agent"
        assert guest.system(key, "Group") == "Pointer Port"
        assert guest.system(key, "ObjectName") == "LocalSystem"
        assert (
            guest.system(key, "Description")
            == "Enables Spice event injection and display configuration."
        )
        image_path = guest.system(key, "ImagePath")
        assert image_path == r'"C:\Program Files\SPICE Guest Agent\vdservice.exe"'
    for name, content in spice_pair(spec.architecture).items():
        assert guest.volume.read(f"/Program Files/SPICE Guest Agent/{name}") == content


def test_folders_are_those_of_the_guest_and_not_the_english_ones(tmp_path: Path) -> None:
    files = files_of(XP)
    with edited(files, HiveName.SOFTWARE, tmp_path) as software:
        nt = r"Microsoft\Windows NT\CurrentVersion"
        software.set_value(nt, "SystemRoot", RegistryValue.sz(r"F:\WINDOWS"))
        programs = RegistryValue.sz("F:\\Programme\\")
        software.set_value(CURRENT_VERSION, "ProgramFilesDir", programs)
    guest = bench(files, [pair(tmp_path, X86)], tmp_path)
    guest.apply()
    image_path = guest.system(rf"{SERVICES}\vdservice", "ImagePath")
    assert image_path == r'"F:\Programme\SPICE Guest Agent\vdservice.exe"'
    assert guest.volume.exists("/Programme/SPICE Guest Agent/vdagent.exe")


@pytest.mark.parametrize(
    "text", [r"D:\Program Files", r"C:\..\Windows", r"\\server\share", "C:\\Prog\nram", ""]
)
def test_unusable_program_files_give_way_to_the_usual_ones(text: str, tmp_path: Path) -> None:
    files = files_of(WINDOWS_10)
    with edited(files, HiveName.SOFTWARE, tmp_path) as software:
        software.set_value(CURRENT_VERSION, "ProgramFilesDir", RegistryValue.sz(text))
    guest = bench(files, [pair(tmp_path, AMD64)], tmp_path)
    guest.apply()
    assert guest.volume.exists("/Program Files/SPICE Guest Agent/vdagent.exe")
    assert r"C:\Program Files was taken" in guest.notes()


def test_spice_agent_from_its_installer(tmp_path: Path) -> None:
    guest = bench(files_of(WINDOWS_10), [spice_installer(tmp_path)], tmp_path)
    guest.apply()
    key = rf"{SERVICES}\spice-agent"
    assert guest.system(key, "ErrorControl") == "1"
    assert guest.system(key, "Description") == "The Spice guest agent"
    assert guest.system(key, "ImagePath") == r'"C:\Program Files\Spice Agent\vdservice.exe"'
    assert guest.volume.exists("/Program Files/Spice Agent/vdagent.exe")
    assert [step.id for step in guest.chosen.plan.steps] == ["spice-agent"]


@pytest.mark.parametrize(
    ("spec", "below"), [(XP, ""), (WINDOWS_10, "WOW6432Node\\")], ids=["xp", "w10"]
)
def test_qemu_guest_agent_with_all_that_its_installer_writes(
    spec: GuestSpec, below: str, tmp_path: Path
) -> None:
    guest = bench(files_of(spec), [qemu_installer(tmp_path, spec.architecture)], tmp_path)
    guest.apply()
    for control_set in guest.facts.control_sets.bootable:
        key = rf"{control_set}\Services\QEMU-GA"
        program = r"C:\Program Files\Qemu-ga\qemu-ga.exe"
        assert guest.system(key, "ImagePath") == f'"{program}" -d --retry-path'
        assert guest.system(key, "Start") == "2"
        assert guest.system(key, "DisplayName") == "QEMU Guest Agent"
    # wixl marks no component as a 64-bit one, and Windows Installer would go by that.
    key = rf"{below}RedHat\RHEL\Tools\QemuGA"
    assert guest.get(HiveName.SOFTWARE, key, "Version") == "105.0.2"
    assert guest.get(HiveName.SOFTWARE, key, "Level") == "7"
    assert guest.get(HiveName.SOFTWARE, key, "Program") == program
    assert guest.get(HiveName.SOFTWARE, key, "Path") == "C:\\Program Files\\Qemu-ga\\log"
    for name, content in qemu_files(spec.architecture).items():
        assert guest.volume.read(f"/Program Files/Qemu-ga/{name}") == content
    assert "vss-install" not in guest.notes()


def test_an_installer_finishes_its_work_at_the_first_boot(tmp_path: Path) -> None:
    source = qemu_installer(tmp_path, AMD64)
    files = files_of(WINDOWS_10)
    guest = bench(files, [source], tmp_path)
    (step,) = guest.chosen.plan.steps
    assert [(file.name, file.content) for file in step.files] == [
        ("qemu-ga-amd64.msi", (tmp_path / "qemu-ga-amd64.msi").read_bytes())
    ]
    assert '"%~dp0qemu-ga-amd64.msi"' in step.commands[0]
    assert not step.restart
    # What is in place by then is kept by a second conversion, and the step with it.
    guest.apply()
    again = bench(guest.volume.files, [source], tmp_path)
    assert again.placement is Placement.KEPT
    assert again.chosen.plan.steps == (step,)


@pytest.mark.parametrize("branch", ["", "WOW6432Node\\"])
def test_what_windows_installer_knows_is_not_installed_again(branch: str, tmp_path: Path) -> None:
    source = qemu_installer(tmp_path, AMD64)
    command = ["msiinfo", "export", tmp_path / "qemu-ga-amd64.msi", "Property"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    code = next(line.split("\t")[1] for line in told.splitlines() if "ProductCode" in line)
    files = files_of(WINDOWS_10)
    with edited(files, HiveName.SOFTWARE, tmp_path) as software:
        software.create_key(rf"{branch}{CURRENT_VERSION}\Uninstall\{code.strip()}")
    assert bench(files, [source], tmp_path).chosen.plan.steps == ()


def test_an_agent_without_an_installer_leaves_the_vss_provider_to_the_user(tmp_path: Path) -> None:
    source = qemu_installer(tmp_path, AMD64)
    (agent,) = source.agents
    bare = replace(source, agents=(replace(agent, installer=None),))
    guest = bench(files_of(WINDOWS_10), [bare], tmp_path)
    assert guest.chosen.plan.steps == ()
    assert r'"C:\Program Files\Qemu-ga\qemu-ga.exe" -s vss-install' in guest.notes()


def with_service(
    files: dict[str, bytes],
    scratch: Path,
    service: str,
    image_path: str,
    *,
    start: int = 2,
    folder: str | None = None,
    content: dict[str, bytes] | None = None,
) -> dict[str, bytes]:
    """Return the files with an agent that somebody installed, in ``folder``."""
    with edited(files, HiveName.SYSTEM, scratch) as system:
        for name, value in (
            ("ImagePath", RegistryValue.expand_sz(image_path)),
            ("DisplayName", RegistryValue.sz("as it was")),
            ("Start", RegistryValue.dword(start)),
        ):
            system.set_value(rf"{SERVICES}\{service}", name, value)
    return files | {f"{folder}/{name}": data for name, data in (content or {}).items()}


@pytest.mark.parametrize(
    ("service", "image_path"),
    [
        ("vdservice", r'"C:\Program Files (x86)\SPICE Guest Tools\64\vdservice.exe"'),
        ("vdservice", r"C:\Program Files (x86)\SPICE Guest Tools\64\vdservice.exe"),
        ("spice-agent", r'"%SystemDrive%\Program Files (x86)\SPICE Guest Tools\64\vdservice.exe"'),
    ],
)
@pytest.mark.parametrize("installer", [False, True], ids=["pair", "msi"])
def test_older_agent_is_replaced_where_it_lies_and_never_registered_twice(
    service: str, image_path: str, installer: bool, tmp_path: Path
) -> None:
    source = spice_installer(tmp_path) if installer else pair(tmp_path, AMD64)
    old = spice_pair(AMD64, version=(0, 7, 3, 0), rhev=True)
    folder = "Program Files (x86)/SPICE Guest Tools/64"
    files = with_service(
        files_of(WINDOWS_7), tmp_path, service, image_path, folder=folder, content=old
    )
    guest = bench(files, [source], tmp_path)
    assert guest.placement is Placement.UPDATED
    guest.apply()
    for name, content in spice_pair(AMD64).items():
        assert guest.volume.read(f"/{folder}/{name}") == content
    assert guest.system(rf"{SERVICES}\{service}", "DisplayName") == "as it was"
    assert guest.system(rf"{SERVICES}\{service}", "ImagePath") == image_path
    (other,) = {"vdservice", "spice-agent"} - {service}
    with pytest.raises(subprocess.CalledProcessError):
        guest.system(rf"{SERVICES}\{other}")
    assert "0.7.3.0" in guest.notes()


def test_registration_that_a_control_set_lacks_is_made_as_the_other_has_it(tmp_path: Path) -> None:
    image_path = r"C:\Agents\vdservice.exe"
    files = with_service(files_of(XP), tmp_path, "vdservice", image_path)
    guest = bench(files, [pair(tmp_path, X86)], tmp_path)
    guest.apply()
    assert len(guest.facts.control_sets.bootable) == 2
    for control_set in guest.facts.control_sets.bootable:
        key = rf"{control_set}\Services\vdservice"
        assert guest.system(key, "ImagePath") == image_path
        assert guest.system(key, "DisplayName") == "as it was"
    assert guest.volume.read("/Agents/vdservice.exe") == spice_pair(X86)["vdservice.exe"]


@pytest.mark.parametrize(
    ("image_path", "content", "told"),
    [
        (r"C:\Agents\vdservice.exe", spice_pair(AMD64, version=(0, 11, 0, 0)), "is as new as"),
        (r"C:\Agents\vdservice.exe", spice_pair(AMD64), "is the same"),
        (r"D:\Agents\vdservice.exe", {}, "outside of the Windows volume"),
        (r"C:\..\vdservice.exe", {}, "outside of the Windows volume"),
        (r"C:\Agents\other.exe", {}, "is no vdservice.exe"),
        ("", {}, "outside of the Windows volume"),
    ],
)
def test_agent_that_is_as_new_or_cannot_be_replaced_is_kept(
    image_path: str, content: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    files = with_service(
        files_of(WINDOWS_7), tmp_path, "vdservice", image_path, folder="Agents", content=content
    )
    guest = bench(files, [pair(tmp_path, AMD64)], tmp_path)
    assert guest.placement is Placement.KEPT
    assert len(guest.plan) == 0
    assert told in guest.notes()


def test_unreadable_agent_is_kept(tmp_path: Path) -> None:
    files = with_service(
        files_of(WINDOWS_7),
        tmp_path,
        "vdservice",
        r"C:\Agents\vdservice.exe",
        folder="Agents",
        content=spice_pair(AMD64, version=(0, 1, 0, 0)),
    )
    volume = MemoryVolume(files, odd=["/Agents/vdservice.exe"])
    facts = examine(volume, "/Windows", tmp_path)
    chosen = choose_and_plan_agents(
        volume, facts, [pair(tmp_path, AMD64)], serial=True, graphics=Graphics.SPICE
    )
    assert [placed.placement for placed in chosen.plan.placed] == [Placement.KEPT]
    assert any("it is odd" in note for note in chosen.notes)


def test_disabled_agent_stays_disabled_and_is_told(tmp_path: Path) -> None:
    image_path = r"C:\Agents\vdservice.exe"
    files = with_service(files_of(WINDOWS_7), tmp_path, "vdservice", image_path, start=4)
    guest = bench(files, [pair(tmp_path, AMD64)], tmp_path)
    guest.apply()
    assert guest.system(rf"{SERVICES}\vdservice", "Start") == "4"
    assert "sc config vdservice start= auto" in guest.notes()


def test_agent_without_a_channel_is_told(tmp_path: Path) -> None:
    guest = bench(files_of(XP), [pair(tmp_path, X86)], tmp_path, serial=False)
    assert "no vioserial driver for xp" in guest.notes()
    assert "no vioserial" not in bench(files_of(XP), [pair(tmp_path, X86)], tmp_path).notes()


def test_spice_agent_without_a_spice_screen_is_told(tmp_path: Path) -> None:
    guest = bench(files_of(XP), [pair(tmp_path, X86)], tmp_path, graphics=Graphics.VNC)
    assert "the screen is not a SPICE one" in guest.notes()


def test_pending_plan_is_empty_once_applied(tmp_path: Path) -> None:
    guest = bench(files_of(WINDOWS_10), [qemu_installer(tmp_path, AMD64)], tmp_path)
    guest.apply()
    opened = {}
    for name, path in guest.facts.hive_files.items():
        local = tmp_path / f"read-{name}"
        local.write_bytes(guest.volume.read(path))
        opened[name] = Hive(local, name)
    assert len(guest.plan.pending(OpenGuest(guest.volume, opened))) == 0
