"""The name that everything made of a machine gets, and what the user is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_mig.conversion.result_names import named
from offline_mig.machine import Machine


@pytest.mark.parametrize(
    ("source", "asked", "name", "told"),
    [
        ("Old Box", None, "Old Box", False),
        ("web/prod", None, "web-prod", True),
        ("web/prod", "web", "web", False),
        ("Old Box", ".hidden", "hidden", True),
    ],
)
def test_another_name_than_was_asked_for_is_told(
    source: str, asked: str | None, name: str, told: bool
) -> None:
    machine = named(Machine(source, Path("/m.vmx"), ()), asked)
    assert machine.name == name
    assert [name in note for note in machine.notes] == ([True] if told else [])
