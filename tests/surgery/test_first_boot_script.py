"""The script of a first boot, run by Wine's cmd.exe: every way that a step can go."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.agents import AMD64, qemu_files, qemu_wxs, write_msi
from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.windows_tree import system_volume
from fixtures.wine import Wine, windows_path
from offline_mig.agents.source import open_agent_source
from offline_mig.surgery.agent_installation import installation_step
from offline_mig.surgery.changes import SetValue, WriteFile
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.first_boot import (
    SERVICE,
    FirstBootStep,
    StepFile,
    plan_first_boot,
)
from offline_mig.surgery.first_boot_log import StepRecord, StepState, read_first_boot
from offline_mig.surgery.first_boot_settings import plan_first_boot_settings
from offline_mig.windows import crash_control, san_policy
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

CONTROL_SET = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet"
KEY = rf"{CONTROL_SET}\Services\{SERVICE}"
PLACE = r"C:\windows\offline-mig\first-boot.cmd"
WORKS = FirstBootStep("works", "work", ("exit /b 0",))
FAILS = FirstBootStep("fails", "fail", ("echo it fails", "exit /b 7"))
#: Fails until its third try.
LATE = FirstBootStep(
    "late", "work late", (
        'if not exist "%~dp0once" echo 1 >"%~dp0once" & exit /b 1',
        'if not exist "%~dp0twice" echo 2 >"%~dp0twice" & exit /b 1',
        "exit /b 0",
    ),
)  # fmt: skip
#: Is not done before it is let go.
SLOW = FirstBootStep(
    "slow", "be slow", (":again", 'if not exist "%~dp0go" goto again', "exit /b 0")
)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> GuestFacts:
    """An XP, which has the least of all."""
    volume = MemoryVolume(system_volume(GuestSpec(GuestKind.XP)))
    return examine(volume, "/WINDOWS", tmp_path_factory.mktemp("hives"))


class Guest:
    """What there is of a first boot in a Wine."""

    def __init__(self, wine: Wine, facts: GuestFacts, stand_ins: Path) -> None:
        self.wine, self._facts, self._stand_ins = wine, facts, stand_ins
        self.folder = wine.windows / "offline-mig"
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stand_ins.unlink(missing_ok=True)

    def put(self, steps: Sequence[FirstBootStep], *, automatic: bool = False) -> None:
        """Do in Wine what the plan does in a guest.

        Wine starts with each program of a test, and what is ``automatic`` with it.
        """
        lines = ["REGEDIT4", f"[{KEY}]"]
        for change in plan_first_boot(self._facts, steps).block.changes:
            if isinstance(change, WriteFile):
                path = self.wine.windows / change.path.removeprefix("/WINDOWS/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(change.content)
            elif isinstance(change, SetValue) and change.name in ("Type", "Start"):
                by_hand = change.name == "Start" and not automatic
                number = 3 if by_hand else change.value.as_int()
                lines.append(f'"{change.name}"=dword:{number:08x}')
            elif isinstance(change, SetValue) and change.name == "ImagePath":
                text = (change.value.as_text() or "").encode() + b"\0"
                lines.append(f'"ImagePath"=hex(2):{text.hex(",")}')
        file = self.folder / "service.reg"
        file.write_text("\r\n".join(lines) + "\r\n")
        self.wine.run("wine", "reg", "import", windows_path(file))
        file.unlink()

    def start(self) -> None:
        """Let Windows start: the runner runs to its end."""
        assert self.is_registered
        self.wine.cmd(PLACE, "steps")

    @property
    def is_registered(self) -> bool:
        """Whether Windows can start the service; Wine keeps a deleted one's key for a while."""
        told = self.wine.output("wine", "reg", "query", KEY, "/v", "Start")
        return "0x2" in told or "0x3" in told

    def set_number(self, key: str, name: str, number: int) -> None:
        """Set a DWORD below the current control set."""
        where, data = rf"{CONTROL_SET}\{key}", str(number)
        kind = ("/t", "REG_DWORD", "/d", data, "/f")
        self.wine.run("wine", "reg", "add", where, "/v", name, *kind)

    def number(self, key: str, name: str) -> int | None:
        """Return a DWORD below the current control set, None when there is none."""
        told = self.wine.output("wine", "reg", "query", rf"{CONTROL_SET}\{key}", "/v", name)
        found = re.search(r"REG_DWORD\s+0x([0-9a-f]+)", told)
        return int(found[1], 16) if found else None

    @property
    def removed(self) -> bool:
        left = {path.name for path in self.folder.iterdir()} - {"copied.bin"}
        return left == {"first-boot.log"} and not self.is_registered

    @property
    def log(self) -> str:
        return (self.folder / "first-boot.log").read_text()

    @property
    def called(self) -> list[str]:
        """What stand-ins were called with."""
        there = self._stand_ins.exists()
        return self._stand_ins.read_text().splitlines() if there else []

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The log, as it is read from the guest later."""
        volume = MemoryVolume({"WINDOWS/offline-mig/first-boot.log": self.log.encode()})
        found = read_first_boot(volume, self._facts)
        assert found is not None
        return found.steps


def until(reached: Callable[[], bool]) -> None:
    """Wait for what other processes do, for ten seconds and a bit."""
    for _ in range(100):
        if reached():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


@pytest.fixture(scope="module")
def stand_ins(running_wine: Wine) -> Path:
    return running_wine.put_stand_ins()


@pytest.fixture
def guest(running_wine: Wine, facts: GuestFacts, stand_ins: Path) -> Iterator[Guest]:
    yield Guest(running_wine, facts, stand_ins)
    running_wine.run("wine", "reg", "delete", KEY, "/f", check=False)


def test_steps_are_taken_in_their_order_and_all_goes(guest: Guest) -> None:
    first = FirstBootStep("first", "be first", ("echo said by the first",))
    guest.put([first, WORKS])
    guest.start()
    assert guest.steps == (
        StepRecord("first", StepState.DONE, 1, None),
        StepRecord("works", StepState.DONE, 1, None),
    )
    assert guest.log.index("said by the first") < guest.log.index("step works try 1 of 3")
    assert guest.log.endswith("offline-mig end\n")
    assert guest.removed
    assert guest.called == []


def test_a_step_that_fails_is_given_up_and_does_not_stop_the_rest(guest: Guest) -> None:
    guest.put([FAILS, WORKS])
    guest.start()
    assert guest.steps == (
        StepRecord("fails", StepState.GIVEN_UP, 3, 7),
        StepRecord("works", StepState.DONE, 1, None),
    )
    assert guest.log.count("it fails") == 3
    assert guest.called == ["ping.exe -n 21 127.0.0.1"] * 2
    assert guest.removed


def test_a_step_may_need_all_its_tries(guest: Guest) -> None:
    guest.put([LATE])
    guest.start()
    assert guest.steps == (StepRecord("late", StepState.DONE, 3, None),)


def test_a_try_that_stops_windows_counts(guest: Guest) -> None:
    """The runner is cut off in each of the tries, as by a STOP, a hang or the power."""
    kills = FirstBootStep("kills", "kill", ("echo on", "taskkill /f /im cmd.exe", "exit /b 1"))
    guest.put([kills, WORKS])
    for number in (1, 2, 3):
        guest.start()
        assert f"step kills try {number} of 3" in guest.log
        assert "step works" not in guest.log
    guest.start()
    assert guest.steps[-1] == StepRecord("works", StepState.DONE, 1, None)
    assert guest.steps[0].state is StepState.GIVEN_UP
    assert guest.removed


def test_windows_restarts_once_and_goes_on(guest: Guest) -> None:
    restarts = FirstBootStep("restarts", "restart", ("exit /b 0",), restart=True)
    guest.put([restarts, WORKS])
    guest.start()
    assert [line.partition(" -c ")[0] for line in guest.called] == ["shutdown.exe -r -t 30"]
    assert "step works" not in guest.log
    assert not guest.removed
    guest.start()
    assert [step.state for step in guest.steps] == [StepState.DONE, StepState.DONE]
    assert guest.log.count("restart restarts") == len(guest.called) == 1
    assert guest.removed


def test_a_step_that_fails_restarts_nothing(guest: Guest) -> None:
    guest.put([FirstBootStep("fails", "fail", ("exit /b 1",), restart=True, tries=1)])
    guest.start()
    assert guest.called == []
    assert guest.removed


def test_what_cannot_be_counted_is_not_run_and_waits(guest: Guest) -> None:
    """No room for a file that counts: the next start may have some."""
    guest.put([WORKS])
    runner = guest.folder / "first-boot.cmd"
    sound = runner.read_text()
    runner.write_text(sound.replace("set RUN=", "set RUN=no\\such\\folder\\"))
    guest.start()
    assert "step works uncounted" in guest.log
    assert "try" not in guest.log
    runner.write_text(sound)
    guest.start()
    assert guest.steps == (StepRecord("works", StepState.DONE, 1, None),)
    assert guest.removed


def test_an_earlier_run_does_not_count(guest: Guest) -> None:
    """A guest that is converted again after its first boot was cut off."""
    guest.put([FirstBootStep("works", "fail", ("exit /b 9",), tries=1), SLOW])
    (guest.folder / "first-boot" / "go").write_text("")
    (guest.folder / "first-boot" / "slow.cmd").write_text("taskkill /f /im cmd.exe\n")
    guest.start()
    assert "step works given-up" in guest.log
    guest.put([WORKS])
    guest.start()
    assert guest.steps[0] == StepRecord("works", StepState.DONE, 1, None)
    assert guest.removed


def test_a_step_has_its_files_and_its_letters(guest: Guest) -> None:
    content = bytes(range(256))
    step = FirstBootStep(
        "copies",
        "copy",
        (r'copy "%~dp0data.bin" "%SystemRoot%\offline-mig\copied.bin" || exit /b 1',),
        files=(StepFile("data.bin", content, "made"),),
    )
    guest.put([step])
    guest.start()
    assert (guest.folder / "copied.bin").read_bytes() == content


def test_the_service_need_not_wait(guest: Guest) -> None:
    """By Wine's service control manager: what it started is gone before the step is done."""
    guest.put([SLOW], automatic=True)
    # It starts with Wine, as with Windows; the first program has Wine start.
    guest.wine.restart()
    guest.wine.run("wine", "reg", "query", KEY)
    until(lambda: (guest.folder / "first-boot.log").exists() and "try 1 of 3" in guest.log)
    assert "step slow done" not in guest.log
    (guest.folder / "first-boot" / "go").write_text("")
    until(lambda: guest.removed)
    assert guest.steps == (StepRecord("slow", StepState.DONE, 1, None),)
    assert guest.log.count("offline-mig start") == 1


# --- the steps that come with a conversion -------------------------------------------------------


@pytest.mark.parametrize("policy", [None, 2])
def test_settings_are_put_back_by_reg(policy: int | None, guest: Guest, tmp_path: Path) -> None:
    """What the plan set meanwhile becomes what it was, by Wine's own reg.exe."""
    files = system_volume(GuestSpec(GuestKind.WINDOWS_7))
    with edited(files, HiveName.SYSTEM, tmp_path) as hive:
        hive.create_key(rf"ControlSet001\{san_policy.KEY}")
        if policy is not None:
            value = RegistryValue.dword(policy)
            hive.set_value(rf"ControlSet001\{san_policy.KEY}", san_policy.VALUE, value)
    settings = plan_first_boot_settings(examine(MemoryVolume(files), "/Windows", tmp_path), 2)
    assert settings.step is not None
    guest.set_number(crash_control.KEY, crash_control.AUTO_REBOOT, 0)
    guest.set_number(san_policy.KEY, san_policy.VALUE, 1)
    guest.put([settings.step])
    guest.start()
    assert guest.steps == (StepRecord("put-back", StepState.DONE, 1, None),)
    assert guest.number(crash_control.KEY, crash_control.AUTO_REBOOT) == 1
    assert guest.number(san_policy.KEY, san_policy.VALUE) == policy


def test_an_agent_is_installed_by_windows_installer(
    guest: Guest, facts: GuestFacts, tmp_path: Path
) -> None:
    """By Wine's own: afterwards it knows the product, and a damaged package is given up."""
    path = write_msi(tmp_path / "qemu-ga-x86_64.msi", qemu_wxs(), qemu_files(AMD64), AMD64)
    (agent,) = open_agent_source(path).agents
    step = installation_step(facts, agent)
    assert step is not None
    broken = replace(step, id="broken", files=(StepFile("broken.msi", b"no package", "made"),))
    broken = replace(
        broken, commands=tuple(c.replace(path.name, "broken.msi") for c in step.commands)
    )
    guest.put([replace(broken, tries=1), step])
    guest.start()
    assert [(found.id, found.state) for found in guest.steps] == [
        ("broken", StepState.GIVEN_UP),
        ("qemu-agent", StepState.DONE),
    ]
    installed = guest.wine.windows.parent / "Program Files" / "Qemu-ga" / "qemu-ga.exe"
    assert installed.read_bytes() == qemu_files(AMD64)["qemu-ga.exe"]
    # Wine's installer service holds the file open that the step spoke to, so its folder may stay.
    assert guest.log.endswith("offline-mig end\n")
    assert not guest.is_registered
