"""The JSON schemas of everything that is printed or written as JSON, and of plan files.

The files in the folder ``schemas`` are made from the forms in the code by ``scripts/schemas``; that
of plan files is written by hand, since it is what decides which of them are taken.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

_FOLDER = resources.files("offline_mig.api") / "schemas"
_SUFFIX = ".json"
_OTHERS = {"plan-file": resources.files("offline_mig.batch") / "plan.schema.json"}


def schema_names() -> tuple[str, ...]:
    """Return the names that there are, such as ``report``."""
    made = (entry.name.removesuffix(_SUFFIX) for entry in _FOLDER.iterdir())
    return tuple(sorted((*made, *_OTHERS)))


def schema(name: str) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12); raises KeyError for a name that there is not."""
    if name not in schema_names():
        raise KeyError(name)
    loaded: dict[str, Any] = json.loads(schema_text(name))
    return loaded


def schema_text(name: str) -> str:
    """Return the text of a schema's file."""
    return _OTHERS.get(name, _FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
