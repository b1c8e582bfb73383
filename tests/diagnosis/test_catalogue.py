"""The catalogue of findings and its pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from offline_mig.cli import main
from offline_mig.diagnosis.finding import FindingKind, Severity
from offline_mig.diagnosis.finding_page import every_kind, finding_page, index_page

PAGES = Path(__file__).parents[2] / "docs" / "findings"


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.id)
def test_every_finding_has_its_page(kind: FindingKind) -> None:
    """scripts/findings writes them anew."""
    assert (PAGES / f"{kind.id}.md").read_text() == finding_page(kind)


def test_no_page_is_left_over() -> None:
    named = {f"{kind.id}.md" for kind in every_kind()} | {"README.md"}
    assert {page.name for page in PAGES.iterdir()} == named
    assert (PAGES / "README.md").read_text() == index_page(every_kind())


def test_ids_are_stable_in_form_and_unique() -> None:
    ids = [kind.id for kind in every_kind()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("BOOT(-[A-Z0-9]+)+", identifier) for identifier in ids)


def test_what_stops_says_what_people_see() -> None:
    assert all(kind.stop for kind in every_kind() if kind.severity is Severity.STOP)


def test_explain() -> None:
    told = CliRunner().invoke(main, ["explain", "boot-startoverride"])
    assert told.exit_code == 0
    assert told.output.startswith("# BOOT-STARTOVERRIDE\n")
    listed = CliRunner().invoke(main, ["explain"])
    assert [line.split()[0] for line in listed.output.splitlines()] == [k.id for k in every_kind()]
    assert CliRunner().invoke(main, ["explain", "BOOT-NONE"]).exit_code == 2
