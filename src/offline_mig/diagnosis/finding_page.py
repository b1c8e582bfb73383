"""The catalogue of findings as pages to read, in Markdown: one for each, and an index."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from offline_mig.diagnosis import catalogue
from offline_mig.diagnosis.finding import FindingKind, Link, Severity

_WIDTH = 100
_SEVERITIES = {
    Severity.STOP: "Windows does not get to its system volume",
    Severity.WARNING: "Windows starts, or may, and something can go wrong after that",
    Severity.UNKNOWN: "it cannot be told from outside whether Windows starts",
}


def every_kind() -> tuple[FindingKind, ...]:
    """Return all kinds of findings, in the order of the chain and then by id."""
    kinds = (kind for kind in vars(catalogue).values() if isinstance(kind, FindingKind))
    order = tuple(Link)
    return tuple(sorted(kinds, key=lambda kind: (order.index(kind.link), kind.id)))


def find_kind(identifier: str) -> FindingKind | None:
    """Return the kind with an id in any letter case, None when there is none."""
    wanted = identifier.casefold()
    return next((kind for kind in every_kind() if kind.id.casefold() == wanted), None)


def finding_page(kind: FindingKind) -> str:
    """Return the page of a kind."""
    shown = f"\n\nWhat people see: {kind.stop}." if kind.stop else ""
    parts = (
        f"# {kind.id}\n\n{kind.title}.",
        _wrapped(kind.explanation),
        f"Severity: {kind.severity} ({_SEVERITIES[kind.severity]}). Link of the chain: {kind.link}."
        + shown,
        "## What to do\n\n" + _wrapped(kind.remedy),
        "## How it is known\n\n" + _wrapped(f"{kind.source}."),
    )
    return "\n\n".join(parts) + "\n"


def index_page(kinds: Iterable[FindingKind]) -> str:
    """Return the page that lists all kinds."""
    rows = [
        f"| [{kind.id}]({kind.id}.md) | {kind.severity} | {kind.link} | {kind.title} |"
        for kind in kinds
    ]
    return "\n".join(
        (
            "# Findings",
            "",
            "What `offline-mig doctor` can find, in the order in which a machine starts.",
            "`offline-mig explain ID` prints a page.",
            "",
            "| id | severity | link | what it is |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
