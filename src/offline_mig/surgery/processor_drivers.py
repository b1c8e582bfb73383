r"""Processor drivers of the old machine, which can stop an old Windows on another one."""

from __future__ import annotations

from offline_mig.surgery.changes import RegistryChange, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.hive import HiveName
from offline_mig.windows.processor_drivers import PROCESSOR_DRIVERS
from offline_mig.windows.registry import RegistryValue

#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4
_NT6 = (6, 0)


def plan_processor_drivers(facts: GuestFacts) -> PlanBlock:
    """Return what disables them, in a Windows before Vista; the files stay where they are."""
    changes: list[RegistryChange] = []
    if facts.version.nt < _NT6:
        for control_set in facts.control_sets.bootable:
            for service in PROCESSOR_DRIVERS:
                key = rf"{control_set}\Services\{service}"
                if facts.system.has_key(key):
                    changes.append(
                        SetValue(
                            HiveName.SYSTEM,
                            key,
                            "Start",
                            RegistryValue.dword(_DISABLED),
                            "it may stop Windows with 0x7E on another processor (KB 953356)",
                        )
                    )
    return PlanBlock("Processor drivers of the old machine", tuple(changes))
