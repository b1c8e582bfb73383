"""A diagnosis as plain data for JSON."""

from __future__ import annotations

from typing import Any

from offline_mig.conversion.doctor import Diagnosis
from offline_mig.conversion.report import guest_record, plain
from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.verdict import Verdict

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


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain data."""
    return {
        "verdict": verdict.outcome.value,
        "confidence": verdict.confidence.value,
        "stop": verdict.stop,
        "broken": None if verdict.broken is None else verdict.broken.id,
        "findings": [finding_record(finding) for finding in verdict.findings],
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data."""
    kind = finding.kind
    return {
        "id": kind.id,
        "severity": kind.severity.value,
        "link": kind.link.value,
        "title": kind.title,
        "detail": finding.detail,
        "evidence": list(finding.evidence),
        "confidence": finding.confidence.value,
        "stop": kind.stop,
        "remedy": kind.remedy,
    }
