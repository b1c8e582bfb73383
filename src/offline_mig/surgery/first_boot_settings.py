r"""Settings for the first boot only, which its last step puts back as they were.

What they were is kept below the service's own key, so that a guest that is converted again before
it ever started still gets back what was its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig.surgery.changes import RegistryChange, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import SERVICE, FirstBootStep, supports_first_boot
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows import crash_control, san_policy
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.san_policy import SanPolicy

_KEPT = rf"Services\{SERVICE}\Parameters"
#: Marks a value that was not there before.
_ABSENT = RegistryValue(RegistryType.NONE, b"")
_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class FirstBootSettings:
    """The changes, the step that takes them back (None where nothing is changed), and notes."""

    block: PlanBlock
    step: FirstBootStep | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Setting:
    """A DWORD below a control set, and what it is to be until Windows has started well."""

    key: str
    name: str
    meanwhile: int
    reason: str


def plan_first_boot_settings(facts: GuestFacts, disks: int) -> FirstBootSettings:
    """Return what is set for the first boot of a guest with so many ``disks``."""
    wanted = []
    notes: tuple[str, ...] = ()
    if supports_first_boot(facts):
        wanted.append(_AUTO_REBOOT)
    if disks > 1 and facts.version.nt >= _NT6:
        if san_policy.in_cluster(facts.system, facts.control_sets.default):
            notes = (_IN_CLUSTER,)
        else:
            wanted.append(_SAN)
            notes = tuple(
                f"{disk} was kept offline in the guest. On the new machine all disks are new ones "
                "and come online; put it offline again where that was meant (diskpart)."
                for disk in san_policy.disks_kept_offline(facts.system, facts.control_sets.default)
            )
    changes: list[RegistryChange] = []
    commands: list[str] = []
    names: list[str] = []
    for setting in wanted:
        before = _before(facts, setting)
        if before == RegistryValue.dword(setting.meanwhile):
            continue
        if before is None and setting is _AUTO_REBOOT:
            continue  # Windows makes the value; where it is gone somebody wanted it so.
        if before is not None and before.as_int() is None:
            continue  # No number, which Windows does not heed and nobody could put back.
        for control_set in facts.control_sets.bootable:
            changes += _set(control_set, setting, before)
        commands += _put_back(setting, before)
        names.append(setting.name)
    block = PlanBlock("For the first boot only", tuple(changes))
    if not changes:
        return FirstBootSettings(block, None, notes)
    step = FirstBootStep("put-back", f"put {' and '.join(names)} back as before", tuple(commands))
    return FirstBootSettings(block, step, notes)


_AUTO_REBOOT = _Setting(
    crash_control.KEY,
    crash_control.AUTO_REBOOT,
    0,
    "a STOP at the first boot stays on the screen (KB 307973)",
)
_SAN = _Setting(
    san_policy.KEY,
    san_policy.VALUE,
    SanPolicy.ONLINE_ALL,
    "disks that Windows has not met yet come online (KB 2849097)",
)


_IN_CLUSTER = (
    "The guest is a node of a failover cluster: which of its disks come online is left to that, "
    "and the SAN policy was not touched."
)


def _before(facts: GuestFacts, setting: _Setting) -> RegistryValue | None:
    control_set = facts.control_sets.default
    kept = facts.system.value(rf"{control_set}\{_KEPT}", setting.name)
    if kept is not None:
        return None if kept == _ABSENT else kept
    return facts.system.value(rf"{control_set}\{setting.key}", setting.name)


def _set(
    control_set: str, setting: _Setting, before: RegistryValue | None
) -> tuple[RegistryChange, ...]:
    def put(key: str, value: RegistryValue, reason: str) -> SetValue:
        return SetValue(HiveName.SYSTEM, rf"{control_set}\{key}", setting.name, value, reason)

    return (
        put(setting.key, RegistryValue.dword(setting.meanwhile), setting.reason),
        put(_KEPT, before or _ABSENT, "what it is put back to"),
    )


def _put_back(setting: _Setting, before: RegistryValue | None) -> Sequence[str]:
    reg = r'"%SystemRoot%\System32\reg.exe"'
    key = rf'"HKLM\SYSTEM\CurrentControlSet\{setting.key}"'
    number = before.as_int() if before else None
    put = f"delete {key} /v {setting.name}"
    if number is not None:
        put = f"add {key} /v {setting.name} /t REG_DWORD /d {number}"
    return (f"{reg} {put} /f", "if errorlevel 1 exit /b 1")
