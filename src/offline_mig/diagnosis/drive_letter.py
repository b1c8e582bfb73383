r"""Whether the volume with Windows keeps its drive letter.

Windows gives a volume the letter that MountedDevices has for it. Where its own letter belongs to
another volume of the machine, or to one that is gone, the system volume gets a different one, and
every path in the registry is wrong: the user is logged off as soon as logged on, or services fail
(Microsoft KB 249321). Without any entry for the letter Windows gives it to its own volume.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.finding import Confidence, Finding
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.guest.partition_identity import identity_of
from offline_mig.surgery.changes import SetValue
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.hive import HiveName
from offline_mig.windows.mounted_devices import (
    KEY,
    encode_volume_id,
    letters_of,
    read_mounted_devices,
)

_CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
_WITH_LETTER = re.compile(r"([A-Z]):\\", re.ASCII | re.IGNORECASE)


def _own_letter(facts: BootFacts) -> str | None:
    r"""Return the letter of SystemRoot (``C:\WINDOWS``)."""
    value = facts.guest.software.value(_CURRENT_VERSION, "SystemRoot")
    match = _WITH_LETTER.match((value.as_text() if value else None) or "")
    return match[1].upper() if match else None


def letter_findings(facts: BootFacts, start: StartFacts) -> Iterator[Finding]:
    """Yield what is wrong with the letter of the system volume."""
    letter = _own_letter(facts)
    mounted = read_mounted_devices(facts.system)
    taken = next((device for device in mounted if device.letter == letter), None)
    if letter is None or taken is None:
        return
    if letter in letters_of(mounted, start.tables, start.windows):
        return
    yield Finding(
        kinds.DRIVE_LETTER,
        f"The letter {letter}:, on which this Windows was set up, belongs to {taken.id}.",
        (rf"SYSTEM\{KEY}: {taken.name}", rf"SOFTWARE\{_CURRENT_VERSION}: SystemRoot"),
        Confidence.MEDIUM,
        key=KEY,
        name=taken.name,
    )


def plan_letter(facts: BootFacts, start: StartFacts) -> tuple[PlanBlock, ...]:
    """Return what gives the system volume its letter back."""
    table = start.tables[start.windows.disk]
    identity = identity_of(table, start.windows.partition)
    blocks = []
    for finding in letter_findings(facts, start):
        if identity is None:
            continue
        change = SetValue(
            HiveName.SYSTEM,
            KEY,
            finding.name,
            encode_volume_id(identity),
            "the letter on which this Windows was set up",
        )
        blocks.append(PlanBlock("The drive letter of Windows", (change,)))
    return tuple(blocks)
