"""A diagnosis as plain data for JSON."""

from __future__ import annotations

from typing import Literal

from offline_mig.conversion.doctor import Diagnosis
from offline_mig.conversion.guest_form import GuestForm
from offline_mig.conversion.guest_record import guest_record
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.verdict_record import VerdictForm, verdict_record
from offline_mig.diagnosis.boot_bus import BootController
from offline_mig.machine import Firmware


class DiagnosisForm(VerdictForm):
    """What ``doctor`` found; ``guest`` and ``controller`` are null where nothing can be seen."""

    schema: Literal["offline-mig/doctor/1"]
    source: str
    guest: GuestForm | None
    firmware: Firmware
    controller: BootController | None
    notes: list[str]


def diagnosis_record(found: Diagnosis) -> DiagnosisForm:
    """Return a diagnosis as plain data."""
    guest = None
    if found.facts is not None and found.volume is not None:
        guest = guest_record(found.facts.guest, found.volume, found.layout)
    return {
        "schema": "offline-mig/doctor/1",
        "source": plain(found.machine.source),
        "guest": guest,
        "firmware": found.firmware,
        "controller": plain(found.controller),
        **verdict_record(found.verdict),
        "notes": list(found.notes),
    }
