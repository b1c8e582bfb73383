r"""Drivers that Windows installs itself at the first boot, found through ``DevicePath``.

``DevicePath`` lists the folders in which Windows looks for the INF of a new device before it
asks anyone (Microsoft, "DevicePath"). Each package gets a folder of its own, since packages share
file names.
"""

from __future__ import annotations

from collections.abc import Sequence

from offline_mig.surgery.changes import Change, SetValue, WriteFile
from offline_mig.surgery.driver_install import PlacedDriver
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

_KEY = r"Microsoft\Windows\CurrentVersion"
#: What Windows itself has in DevicePath.
_INBOX = r"%SystemRoot%\inf"
_FOLDER = "Drivers/VirtIO"


def plan_plug_and_play(facts: GuestFacts, drivers: Sequence[PlacedDriver]) -> PlanBlock:
    """Return the changes that let Windows find ``drivers`` by itself."""
    changes: list[Change] = []
    folders = []
    for driver in drivers:
        folder = f"{_FOLDER}/{driver.name.lower()}"
        changes += [
            WriteFile(
                f"{facts.root}/{folder}/{name}",
                content,
                driver.location,
                f"{driver.name} for plug and play at the first boot",
            )
            for name, content in sorted(driver.package.files.items())
        ]
        folders.append("%SystemRoot%\\" + folder.replace("/", "\\"))
    present = facts.software.value(_KEY, "DevicePath")
    # Some make a REG_MULTI_SZ of it, one folder a string; Windows makes a REG_EXPAND_SZ.
    texts = present.as_texts() if present else ()
    known = [part for text in texts for part in text.split(";") if part] or [_INBOX]
    folded = {part.casefold() for part in known}
    missing = [folder for folder in folders if folder.casefold() not in folded]
    # In any other type %SystemRoot% stays as it is, and the folders are not found.
    expanded = present is not None and present.type == RegistryType.EXPAND_SZ
    if missing or not expanded:
        changes.append(
            SetValue(
                HiveName.SOFTWARE,
                _KEY,
                "DevicePath",
                RegistryValue.expand_sz(";".join([*known, *missing])),
                "the folders in which Windows looks for drivers of new devices",
            )
        )
    names = ", ".join(driver.name for driver in drivers)
    return PlanBlock(f"Drivers for plug and play: {names}", tuple(changes))
