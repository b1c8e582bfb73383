"""The published schemas: sound, and printed by the command."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

import offline_mig
from fixtures.published_schemas import require_valid
from offline_mig.cli import main

NAMES = offline_mig.schema_names()


def test_the_names() -> None:
    printed = CliRunner().invoke(main, ["schema"])
    assert printed.output.split() == list(NAMES)
    assert {"report", "journal", "error", "convert", "summary"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_sound_and_says_its_version(name: str) -> None:
    printed = CliRunner().invoke(main, ["schema", name])
    schema = json.loads(printed.output)
    assert schema == offline_mig.schema(name)
    Draft202012Validator.check_schema(schema)
    version = "version" if name == "plan-file" else "schema"
    known = schema["properties"][version]["const"]
    assert known == (1 if name == "plan-file" else f"offline-mig/{name}/1")
    assert version in schema["required"]


def test_an_unknown_name_is_refused() -> None:
    assert CliRunner().invoke(main, ["schema", "nonsense"]).exit_code == 2
    with pytest.raises(KeyError):
        offline_mig.schema("nonsense")


def test_what_a_schema_does_not_know_is_not_let_through() -> None:
    """The oracle of the other tests is one that can say no."""
    error = {"schema": "offline-mig/error/1", "error": "x", "remedy": "", "exit_code": 4}
    require_valid("error", error)
    with pytest.raises(AssertionError, match="exit_code"):
        require_valid("error", {**error, "exit_code": "4"})
    with pytest.raises(AssertionError, match="surprise"):
        require_valid("error", {**error, "surprise": 1})
    # Readers must not be as strict: fields are added within a version.
    Draft202012Validator(offline_mig.schema("error")).validate({**error, "surprise": 1})
    with pytest.raises(ValidationError):
        Draft202012Validator(offline_mig.schema("error")).validate({"schema": error["schema"]})
