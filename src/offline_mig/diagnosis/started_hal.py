"""The HAL that a Windows before Vista starts with."""

from __future__ import annotations

from offline_mig.diagnosis.boot_facts import NT6
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.hal import Hal, hal_of_device, hal_of_file


def started_hal(start: StartFacts, facts: GuestFacts) -> Hal | None:
    """Return the HAL that boot.ini names for the entry that starts, else the one set up.

    None for a later Windows, and where it cannot be told.
    """
    if facts.version.nt >= NT6:
        return None
    ini = start.started.boot_ini if start.started else None
    entry = ini.starting if ini else None
    named = (entry.switch("hal") if entry else None) or ""
    return hal_of_file(named) or hal_of_device(facts.system, facts.control_sets.default)
