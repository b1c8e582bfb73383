"""The verdict on a guest: boots, stops or cannot be told, with the first broken link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.diagnosis.finding import Confidence, Finding, Link, Severity


class Outcome(StrEnum):
    """What the model says of the next start."""

    BOOTS = "boots"
    STOPS = "stops"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model says, and why.

    ``broken`` is the first broken link of the chain, or what keeps the model from seeing further;
    None for a guest that boots. ``findings`` are all of them, in the order of the chain.
    """

    outcome: Outcome
    confidence: Confidence
    findings: tuple[Finding, ...]
    broken: Finding | None = None

    @property
    def stop(self) -> str:
        """The STOP code or the loader's status that is to be expected, "" for none."""
        return self.broken.kind.stop if self.broken is not None else ""


_ORDER = {link: number for number, link in enumerate(Link)}
_CERTAINTY = {Confidence.LOW: 0, Confidence.MEDIUM: 1, Confidence.HIGH: 2}


def judge(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict that findings amount to.

    The first link that stops Windows, or that cannot be seen, decides: what lies behind it is
    never reached. That a guest boots is never said with more than medium confidence, since the
    model knows only the causes in its catalogue.
    """
    ordered = tuple(sorted(findings, key=lambda finding: _ORDER[finding.kind.link]))
    deciding = (f for f in ordered if f.kind.severity in (Severity.STOP, Severity.UNKNOWN))
    # What is certain to stop counts more than what cannot be seen at the same link.
    broken = min(
        deciding,
        key=lambda f: (
            _ORDER[f.kind.link],
            f.kind.severity is not Severity.STOP,
            -_CERTAINTY[f.confidence],
        ),
        default=None,
    )
    if broken is not None:
        stops = broken.kind.severity is Severity.STOP
        outcome = Outcome.STOPS if stops else Outcome.UNKNOWN
        return Verdict(outcome, broken.confidence, ordered, broken)
    doubtful = any(f.kind.link is not Link.AFTER for f in ordered)
    return Verdict(Outcome.BOOTS, Confidence.LOW if doubtful else Confidence.MEDIUM, ordered)
