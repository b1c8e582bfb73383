"""What is left to the first boot: planned, applied, read back by hivexget, undone, read later.

The hives are edited by hivex for real; only the volume is in memory. What the scripts do is tested
in ``test_first_boot_script``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.result import hivexget
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.surgery.changes import OpenGuest, WriteFile
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.first_boot import (
    SERVICE,
    FirstBoot,
    FirstBootStep,
    StepFile,
    plan_first_boot,
)
from offline_mig.surgery.first_boot_log import (
    FirstBootState,
    StepRecord,
    StepState,
    read_first_boot,
)
from offline_mig.surgery.first_boot_settings import plan_first_boot_settings
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue

XP, WINDOWS_7, WINDOWS_10 = (GuestSpec(kind) for kind in GuestKind)
ALL = pytest.mark.parametrize("spec", [XP, WINDOWS_7, WINDOWS_10], ids=lambda spec: spec.kind)
KEY = rf"ControlSet001\Services\{SERVICE}"
CRASH = r"ControlSet001\Control\CrashControl"
SAN = r"ControlSet001\Services\partmgr\Parameters"
STEP = FirstBootStep("greet", "greet", ("echo hello",))


class Bench:
    """A guest on the bench."""

    def __init__(self, spec: GuestSpec, scratch: Path, files: dict[str, bytes] | None = None):
        self.scratch = scratch
        self.volume = MemoryVolume(files or system_volume(spec))
        root = "/WINDOWS" if spec.kind is GuestKind.XP else "/Windows"
        self.facts = examine(self.volume, root, scratch)

    def planned(
        self, disks: int = 1, steps: Iterable[FirstBootStep] = ()
    ) -> tuple[FirstBoot, Plan]:
        settings = plan_first_boot_settings(self.facts, disks)
        last = [settings.step] if settings.step else []
        boot = plan_first_boot(self.facts, [*steps, *last])
        return boot, Plan((settings.block, boot.block), settings.notes)

    def apply(self, plan: Plan) -> None:
        """Apply a plan, see that it reads back, and leave the facts as they are afterwards."""
        apply_plan(plan, self.volume, self.facts.hive_files, self.scratch)
        verify_plan(plan, self.volume, self.facts.hive_files, self.scratch)
        self.facts = examine(self.volume, self.facts.root, self.scratch)

    def system(self, key: str, name: str) -> str:
        return hivexget(self._hive(), key, name)

    def script(self, name: str) -> bytes:
        return self.volume.read(f"{self.facts.root}/offline-mig/{name}")

    def _hive(self) -> Path:
        path = self.scratch / "SYSTEM.read"
        path.write_bytes(self.volume.read(self.facts.hive_files[HiveName.SYSTEM]))
        return path


@ALL
def test_the_service_is_one_that_windows_starts_by_itself(spec: GuestSpec, tmp_path: Path) -> None:
    bench = Bench(spec, tmp_path)
    boot = plan_first_boot(bench.facts, [STEP])
    bench.apply(Plan((boot.block,)))
    assert bench.system(KEY, "Type") == str(0x10)
    assert bench.system(KEY, "Start") == "2"
    assert bench.system(KEY, "ErrorControl") == "0"
    assert bench.system(KEY, "ObjectName") == "LocalSystem"
    program = r'""%SystemRoot%\offline-mig\first-boot.cmd""'
    assert bench.system(KEY, "ImagePath") == rf"%SystemRoot%\System32\cmd.exe /d /c {program}"
    assert bench.system(KEY, "DependOnService").split() == ["RpcSs", "PlugPlay"]
    assert boot.log.lower() == r"c:\windows\offline-mig\first-boot.log"
    for name in ("first-boot.cmd", "first-boot/greet.cmd"):
        script = bench.script(name)
        assert script.isascii()
        assert script.count(b"\r\n") == script.count(b"\n")


def test_every_control_set_that_may_start_has_the_service(tmp_path: Path) -> None:
    files = system_volume(XP)
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.set_value("Select", "LastKnownGood", RegistryValue.dword(2))
        hive.create_key(r"ControlSet002\Services")
    bench = Bench(XP, tmp_path, files)
    bench.apply(Plan((plan_first_boot(bench.facts, [STEP]).block,)))
    assert bench.system(rf"ControlSet002\Services\{SERVICE}", "Start") == "2"


def test_without_steps_there_is_nothing(tmp_path: Path) -> None:
    boot = plan_first_boot(Bench(XP, tmp_path).facts, [])
    assert boot.block.changes == ()
    assert boot.restarts == 0


def test_windows_2000_takes_no_steps_and_says_so(tmp_path: Path) -> None:
    facts = Bench(XP, tmp_path).facts
    facts = replace(facts, version=replace(facts.version, major=5, minor=0))
    boot = plan_first_boot(facts, [STEP])
    assert boot.block.changes == ()
    assert "greet" in boot.notes[0]
    assert plan_first_boot_settings(facts, 3).step is None


def test_scripts_are_in_the_code_page_of_the_console(tmp_path: Path) -> None:
    bench = Bench(XP, tmp_path)
    step = FirstBootStep("greet", "greet", ("echo Grüße",))
    bench.apply(Plan((plan_first_boot(bench.facts, [step]).block,)))
    assert bench.script("first-boot/greet.cmd") == "@echo off\r\necho Grüße\r\n".encode("cp850")
    with pytest.raises(UnicodeEncodeError):
        plan_first_boot(bench.facts, [FirstBootStep("greet", "greet", ("echo привет",))])


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "two words"},
        {"id": "..\\up"},
        {"tries": 0},
        {"commands": ("one\r\ntwo",)},
        {"files": (StepFile("..\\up.txt", b"", ""),)},
        {"files": (StepFile("GREET.cmd", b"", ""),)},
    ],
)
def test_a_step_that_would_break_the_script_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"step|tried|command|file"):
        replace(STEP, **bad)  # type: ignore[arg-type]


def test_two_steps_cannot_share_a_file(tmp_path: Path) -> None:
    facts = Bench(XP, tmp_path).facts
    one = replace(STEP, files=(StepFile("data", b"1", ""),))
    two = replace(STEP, id="other", files=(StepFile("DATA", b"2", ""),))
    for steps in ([STEP, STEP], [one, two]):
        with pytest.raises(ValueError, match="two steps"):
            plan_first_boot(facts, steps)


@ALL
def test_undone_byte_for_byte(spec: GuestSpec, tmp_path: Path) -> None:
    bench = Bench(spec, tmp_path)
    before, directories = dict(bench.volume.files), set(bench.volume.directories)
    _, plan = bench.planned(disks=2, steps=[STEP])
    journal = apply_plan(plan, bench.volume, bench.facts.hive_files, tmp_path)
    assert bench.volume.files != before
    undo(journal, bench.volume, before, bench.facts)
    assert bench.volume.files == before
    assert bench.volume.directories == directories


# --- settings for the first boot only ----------------------------------------------------------


@ALL
def test_a_stop_stays_on_the_screen_until_windows_has_started(
    spec: GuestSpec, tmp_path: Path
) -> None:
    bench = Bench(spec, tmp_path)
    boot, plan = bench.planned()
    bench.apply(plan)
    assert bench.system(CRASH, "AutoReboot") == "0"
    assert [step.id for step in boot.steps] == ["put-back"]
    assert b"/v AutoReboot /t REG_DWORD /d 1 /f" in bench.script("first-boot/put-back.cmd")


@pytest.mark.parametrize("policy", [None, 2, 3])
def test_data_disks_come_online(policy: int | None, tmp_path: Path) -> None:
    files = system_volume(WINDOWS_10)
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.create_key(SAN)
        if policy is not None:
            hive.set_value(SAN, "SanPolicy", RegistryValue.dword(policy))
    bench = Bench(WINDOWS_10, tmp_path, files)
    bench.apply(bench.planned(disks=2)[1])
    assert bench.system(SAN, "SanPolicy") == "1"
    script = bench.script("first-boot/put-back.cmd")
    wanted = f"/v SanPolicy /t REG_DWORD /d {policy} /f" if policy else "delete"
    assert wanted.encode() in script


@pytest.mark.parametrize(("spec", "disks"), [(WINDOWS_10, 1), (XP, 3)])
def test_the_policy_is_left_where_it_decides_nothing(
    spec: GuestSpec, disks: int, tmp_path: Path
) -> None:
    bench = Bench(spec, tmp_path)
    bench.apply(bench.planned(disks)[1])
    assert b"SanPolicy" not in bench.script("first-boot/put-back.cmd")
    assert bench.facts.system.value(SAN, "SanPolicy") is None


def test_the_disks_of_a_cluster_are_the_clusters(tmp_path: Path) -> None:
    files = system_volume(WINDOWS_10)
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.set_value(r"ControlSet001\Services\ClusSvc", "Start", RegistryValue.dword(2))
    bench = Bench(WINDOWS_10, tmp_path, files)
    _, plan = bench.planned(disks=3)
    bench.apply(plan)
    assert bench.facts.system.value(SAN, "SanPolicy") is None
    assert "cluster" in plan.notes[0]


def test_disks_that_were_offline_are_named(tmp_path: Path) -> None:
    files = system_volume(WINDOWS_10)
    key = r"ControlSet001\Enum\SCSI\Disk&Ven_VMware&Prod_Virtual_disk\5&1&0&000100"
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.set_value(key, "FriendlyName", RegistryValue.sz("VMware Virtual disk SCSI"))
        hive.set_value(rf"{key}\Device Parameters\Partmgr", "Attributes", RegistryValue.dword(3))
    _, plan = Bench(WINDOWS_10, tmp_path, files).planned(disks=2)
    assert "VMware Virtual disk SCSI" in plan.notes[0]


@ALL
def test_converting_again_before_the_first_boot_changes_nothing(
    spec: GuestSpec, tmp_path: Path
) -> None:
    bench = Bench(spec, tmp_path)
    bench.apply(bench.planned(disks=2, steps=[STEP])[1])
    _, again = bench.planned(disks=2, steps=[STEP])
    hives = {name: Hive(tmp_path / name.value, name) for name in bench.facts.hive_files}
    assert len(again.pending(OpenGuest(bench.volume, hives))) == 0
    assert any(isinstance(change, WriteFile) for change in again)


def test_who_has_no_restart_at_a_stop_gets_no_step_for_it(tmp_path: Path) -> None:
    files = system_volume(XP)
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.set_value(CRASH, "AutoReboot", RegistryValue.dword(0))
    boot, plan = Bench(XP, tmp_path, files).planned()
    assert boot.steps == ()
    assert len(plan) == 0


def test_what_is_no_number_is_left(tmp_path: Path) -> None:
    files = system_volume(XP)
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.set_value(CRASH, "AutoReboot", RegistryValue.sz("yes"))
    boot, plan = Bench(XP, tmp_path, files).planned()
    assert boot.steps == ()
    assert len(plan) == 0


# --- read back later ---------------------------------------------------------------------------


def left(facts: GuestFacts, volume: MemoryVolume, log: str) -> None:
    folder = f"{facts.root}/offline-mig"
    if not volume.exists(folder):
        volume.make_directory(folder)
    volume.write(f"{folder}/first-boot.log", log.replace("\n", "\r\n").encode("cp850"))


def test_a_first_boot_is_told_from_before_it_to_its_end(tmp_path: Path) -> None:
    bench = Bench(XP, tmp_path)
    assert read_first_boot(bench.volume, bench.facts) is None
    bench.apply(Plan((plan_first_boot(bench.facts, [STEP]).block,)))
    found = read_first_boot(bench.volume, bench.facts)
    assert found is not None
    assert (found.state, found.steps) == (FirstBootState.AHEAD, ())

    log = (
        "offline-mig start Do 26.11.2026  9:14\noffline-mig step greet try 1 of 3\nGrüße\n"
        "offline-mig step greet failed -1073741819\noffline-mig step greet try 2 of 3\n"
    )
    left(bench.facts, bench.volume, log)
    found = read_first_boot(bench.volume, bench.facts)
    assert found is not None
    assert found.state is FirstBootState.BEGUN
    assert found.steps == (StepRecord("greet", StepState.BEGUN, 2, -1073741819),)
    assert "Grüße" in found.log

    bench = Bench(XP, tmp_path)  # Windows has removed the service.
    log += (
        "offline-mig step greet done\noffline-mig restart greet\noffline-mig start x\n"
        "offline-mig step other try 3 of 3\noffline-mig step other failed 5\n"
        "offline-mig step other given-up\noffline-mig end\n"
    )
    left(bench.facts, bench.volume, log)
    found = read_first_boot(bench.volume, bench.facts)
    assert found is not None
    assert (found.state, found.restarts) == (FirstBootState.OVER, 1)
    assert found.steps == (
        StepRecord("greet", StepState.DONE, 2, None),
        StepRecord("other", StepState.GIVEN_UP, 3, 5),
    )


@pytest.mark.parametrize(
    "line",
    [
        "offline-mig step greet try x of 3",
        "offline-mig step GREET done",
        " offline-mig step greet done",
        "offline-mig step greet failed ",
        "\x00\x1b[2J",
    ],
)
def test_other_lines_are_no_steps(line: str, tmp_path: Path) -> None:
    bench = Bench(XP, tmp_path)
    left(bench.facts, bench.volume, line + "\n")
    found = read_first_boot(bench.volume, bench.facts)
    assert found is not None
    assert found.steps == ()


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    bench = Bench(XP, tmp_path)
    left(bench.facts, bench.volume, "x" * 2**21)
    found = read_first_boot(bench.volume, bench.facts)
    assert found is not None
    assert "MiB" in found.problem
