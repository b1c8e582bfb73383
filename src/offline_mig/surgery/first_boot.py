r"""What is left for the first boot: steps that only a running Windows can take.

They are few, as what can be done offline is done offline. A service runs them, since that is what
every Windows from XP to 2025 starts by itself, before anybody logs on, with all drivers and
services at hand and no program but its own:

* ``Setup\CmdLine`` runs in a Windows that believes it is being set up, without its services and
  without Windows Installer, and once more at every start if the script does not get to resetting
  SetupType.
* A scheduled task is a binary ``.job`` up to 2003, and since Vista entries below
  ``Schedule\TaskCache`` with hashes that Microsoft leaves undocumented.
* ``RunOnce`` waits for an administrator to log on, which a server may not see for months.
* A start-up script of the group policy has to be merged with those of the user's, and a domain may
  switch local policies off.

``cmd.exe`` is no service, so Windows notes once that this one did not report (events 7009 and
7000), and goes on; see ``first_boot_script`` for how the steps live on. ErrorControl is 0: nobody
is shown anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from offline_mig.surgery.changes import Change, RegistryChange, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot_script import ScriptStep, runner_script
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import set_values
from offline_mig.windows.code_page import console_code_page
from offline_mig.windows.known_folders import KnownFolder, read_known_folders
from offline_mig.windows.registry import RegistryValue

SERVICE = "offline-mig-first-boot"
#: Below the Windows directory, where ordinary users can write nothing.
_FOLDER = "offline-mig/first-boot"
_RUNNER = "offline-mig/first-boot.cmd"
LOG = "offline-mig/first-boot.log"
#: The first Windows that has reg.exe and sc.exe in the box.
_FIRST = (5, 1)
#: Services that Windows starts by itself, which the steps need: programs talk to Windows by the
#: one, and new devices are installed by the other.
_NEEDED = ("RpcSs", "PlugPlay")
#: SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START, SERVICE_DISABLED of winnt.h.
_OWN_PROCESS, _AUTO_START, _DISABLED = 0x10, 2, 4
_MOST_TRIES = 9
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_ORIGIN = "written for this guest"


@dataclass(frozen=True, slots=True)
class StepFile:
    """A file that a step needs, beside its script (``%~dp0NAME``); ``origin`` is for people."""

    name: str
    content: bytes = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class FirstBootStep:
    """Something that is done when Windows first starts.

    ``id`` is its name in the log, ``title`` says in the report what it does ("register ...").
    ``commands`` are the lines of its cmd script, which runs as LocalSystem in a 64-bit cmd.exe on
    a 64-bit Windows; it has done its work if it ends with 0 (``exit /b N``), else it is run once
    more, ``tries`` times at most in all and over all starts of Windows. It must not restart
    Windows itself: with ``restart`` that is done once when it has done its work, before the next
    step. Whatever it writes goes to the log. Raises ValueError for what is none of that.
    """

    id: str
    title: str
    commands: tuple[str, ...]
    files: tuple[StepFile, ...] = ()
    restart: bool = False
    tries: int = 3

    def __post_init__(self) -> None:
        """Refuse what would break the script or leave its folder."""
        names = [file.name.lower() for file in self.files]
        if not _NAME.fullmatch(self.id):
            raise ValueError(f"{self.id!r} is no name for a step")
        if not 1 <= self.tries <= _MOST_TRIES:
            raise ValueError(f"{self.id} is to be tried {self.tries} times")
        if any("\n" in line or "\r" in line for line in self.commands):
            raise ValueError(f"a command of {self.id} has several lines")
        if not all(map(_FILE_NAME.fullmatch, names)) or f"{self.id}.cmd" in names:
            raise ValueError(f"a file of {self.id} has an unfit name")


@dataclass(frozen=True, slots=True)
class FirstBoot:
    """What happens at the first boot.

    ``block`` puts it into the guest and is empty without ``steps``. ``log`` is the path of the log
    as Windows has it. ``notes`` are about steps that this Windows cannot take.
    """

    steps: tuple[FirstBootStep, ...]
    block: PlanBlock
    log: str
    notes: tuple[str, ...] = ()

    @property
    def restarts(self) -> int:
        """How often Windows restarts by itself, at most."""
        return sum(step.restart for step in self.steps)


def supports_first_boot(facts: GuestFacts) -> bool:
    """Tell whether this Windows can take steps at its first boot."""
    return facts.version.nt >= _FIRST


def plan_first_boot(facts: GuestFacts, steps: Sequence[FirstBootStep]) -> FirstBoot:
    """Return what has Windows take ``steps``, in their order, when it first starts.

    Without steps there is no runner. Raises ValueError for two steps, or files of theirs, of one
    name, and UnicodeEncodeError for a command that the guest's console cannot spell.
    """
    windows = read_known_folders(facts.software, facts.root, facts.version.architecture)
    log = rf"{windows.paths[KnownFolder.WINDOWS]}\{LOG}".replace("/", "\\")
    title = "What is left for the first boot"
    if not supports_first_boot(facts):
        notes = tuple(
            f"This Windows has no programs to take a step of the first boot with: {step.title}."
            for step in steps
        )
        return FirstBoot((), PlanBlock(title, ()), log, notes)
    changes = tuple(_changes(facts, steps)) if steps else ()
    return FirstBoot(tuple(steps), PlanBlock(title, changes), log)


def _changes(facts: GuestFacts, steps: Sequence[FirstBootStep]) -> Iterator[Change]:
    codec = console_code_page(facts.system, facts.control_sets.default)
    files: dict[str, StepFile] = {}
    for step in steps:
        script = StepFile(f"{step.id}.cmd", _encoded(("@echo off", *step.commands), codec), _ORIGIN)
        for file in (script, *step.files):
            if files.setdefault(file.name.lower(), file) is not file:
                raise ValueError(f"two steps of the first boot have a file {file.name}")
    run = _fingerprint(files.values())
    known = [ScriptStep(step.id, step.tries, step.restart) for step in steps]
    runner = runner_script(SERVICE, run, known)
    reason = "it is used at the first boot and goes"
    for file in files.values():
        yield WriteFile(f"{facts.root}/{_FOLDER}/{file.name}", file.content, file.origin, reason)
    content = _encoded(runner.splitlines(), codec)
    yield WriteFile(f"{facts.root}/{_RUNNER}", content, _ORIGIN, reason)
    for control_set in facts.control_sets.bootable:
        yield from _service(facts, control_set)


def _service(facts: GuestFacts, control_set: str) -> tuple[RegistryChange, ...]:
    services = rf"{control_set}\Services"
    script = rf"%SystemRoot%\{_RUNNER}".replace("/", "\\")
    values = {
        "Type": RegistryValue.dword(_OWN_PROCESS),
        "Start": RegistryValue.dword(_AUTO_START),
        "ErrorControl": RegistryValue.dword(0),
        # Of two pairs of quotes cmd.exe takes the outer one away.
        "ImagePath": RegistryValue.expand_sz(rf'%SystemRoot%\System32\cmd.exe /d /c ""{script}""'),
        "DisplayName": RegistryValue.sz("First boot after offline-mig"),
        "Description": RegistryValue.sz("Takes the last steps of a move, then removes itself."),
        "ObjectName": RegistryValue.sz("LocalSystem"),
        "DependOnService": RegistryValue.multi_sz(
            name for name in _NEEDED if _may_start(facts, rf"{services}\{name}")
        ),
    }
    return set_values(rf"{services}\{SERVICE}", values, "Windows runs it when it first starts")


def _may_start(facts: GuestFacts, key: str) -> bool:
    start = facts.system.value(key, "Start")
    return start is not None and start.as_int() != _DISABLED


def _encoded(lines: Sequence[str], codec: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode(codec)


def _fingerprint(files: Iterable[StepFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.name.encode() + b"\0" + file.content).digest())
    return digest.hexdigest()[:8]
