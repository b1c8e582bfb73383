"""A medium that was made, as plain data for JSON."""

from __future__ import annotations

from typing import Any

from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import choice_record
from offline_mig.conversion.setup_medium import MadeMedium

#: Changes when the record's form does.
SCHEMA = "offline-mig/media/1"


def medium_record(made: MadeMedium) -> dict[str, Any]:
    """Return what was made, of which drivers, and how a libvirt domain takes it."""
    return {
        "schema": SCHEMA,
        "file": plain(made.path),
        "kind": made.kind,
        **plain(made.whole),
        "files": plain(made.files),
        "windows": [
            {
                "windows": {**plain(chosen.windows), "release": chosen.windows.release},
                "drivers": [choice_record(choice) for choice in chosen.choices],
            }
            for chosen in made.drivers
        ],
        "agents": [
            {"kind": choice.kind.value, "from": choice.agent.origin if choice.agent else None}
            for choice in made.agents
        ],
        "f6_menu": list(made.menu),
        "libvirt": made.element,
        "notes": list(made.notes),
    }
