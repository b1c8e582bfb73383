"""Parameters that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class _PathType(click.Path):
    """A path as text; an empty one is refused, since Python takes it for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value in ("", b""):
            self.fail("the name is empty.", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


PATH = _PathType(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
