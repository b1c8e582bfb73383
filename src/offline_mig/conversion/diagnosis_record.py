"""A diagnosis as plain data for JSON."""

from __future__ import annotations

from typing import Any

from offline_mig.conversion.doctor import Diagnosis
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.verdict_record import verdict_record

SCHEMA = "offline-mig/doctor/1"


def diagnosis_record(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as plain data."""
    guest = None
    if found.facts is not None and found.volume is not None:
        guest = guest_record(found.facts.guest, found.volume, found.layout)
    return {
        "schema": SCHEMA,
        "source": plain(found.machine.source),
        "guest": guest,
        "firmware": found.firmware.value,
        "controller": plain(found.controller),
        **verdict_record(found.verdict),
        "notes": list(found.notes),
    }
