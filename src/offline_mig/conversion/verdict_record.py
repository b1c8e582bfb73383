"""What the boot model says, as plain data for JSON."""

from __future__ import annotations

from typing import Any

from offline_mig.diagnosis.finding import Finding
from offline_mig.diagnosis.verdict import Verdict


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
