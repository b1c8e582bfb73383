"""What other programs read on standard output."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click


def print_json(record: Mapping[str, object]) -> None:
    """Print a record as JSON."""
    click.echo(json.dumps(record, indent=2, ensure_ascii=False))
