"""What the boot model says, as plain data for JSON."""

from __future__ import annotations

from typing import TypedDict

from offline_mig.diagnosis.finding import Confidence, Finding, Link, Severity
from offline_mig.diagnosis.verdict import Outcome, Verdict


class FindingForm(TypedDict):
    """A finding; ``stop`` is the stop code that Windows shows, if it shows one."""

    id: str
    severity: Severity
    link: Link
    title: str
    detail: str
    evidence: list[str]
    confidence: Confidence
    stop: str | None
    remedy: str


class VerdictForm(TypedDict):
    """What the boot model says; ``broken`` is the finding that stops the guest first."""

    verdict: Outcome
    confidence: Confidence
    stop: str | None
    broken: str | None
    findings: list[FindingForm]


def verdict_record(verdict: Verdict) -> VerdictForm:
    """Return a verdict as plain data."""
    return {
        "verdict": verdict.outcome,
        "confidence": verdict.confidence,
        "stop": verdict.stop,
        "broken": None if verdict.broken is None else verdict.broken.id,
        "findings": [finding_record(finding) for finding in verdict.findings],
    }


def finding_record(finding: Finding) -> FindingForm:
    """Return a finding as plain data."""
    kind = finding.kind
    return {
        "id": kind.id,
        "severity": kind.severity,
        "link": kind.link,
        "title": kind.title,
        "detail": finding.detail,
        "evidence": list(finding.evidence),
        "confidence": finding.confidence,
        "stop": kind.stop,
        "remedy": kind.remedy,
    }
