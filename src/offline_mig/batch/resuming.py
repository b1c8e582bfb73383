"""What is left to do of a batch, by its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from offline_mig.batch.plan_guests import GuestWork
from offline_mig.batch.record import BatchRecord, GuestRecord, GuestState

#: What is met again as long as nothing is changed: see errors.py. All else may be gone by then: the
#: host, its programs, full disks, and sources (4): a storage that is away looks like a bad source.
_LASTING = {2, 5, 6, 7}


def resumed(guests: Sequence[GuestWork], before: BatchRecord | None) -> list[GuestRecord]:
    """Return what is known of the guests of a plan; those that wait are to be converted.

    A guest that is converted stays so, whatever has become of its source or options. One that was
    refused for what it is, is tried again once that has changed.
    """
    known = {record.name: record for record in before.guests} if before else {}
    return [_resumed(guest, known.get(guest.name)) for guest in guests]


def _resumed(guest: GuestWork, known: GuestRecord | None) -> GuestRecord:
    new = GuestRecord(guest.name, guest.source, size=guest.size, fingerprint=guest.fingerprint)
    if known is None or known.source != guest.source:
        return new
    if known.state is GuestState.CONVERTED:
        return known
    refused = known.state is GuestState.FAILED and known.exit_code in _LASTING
    if refused and known.fingerprint == guest.fingerprint:
        return known
    return replace(new, log=known.log)
