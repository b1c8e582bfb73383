"""The command that says whether this host can do the work."""

from __future__ import annotations

import json
import sys

import click

from offline_mig.cli import screen
from offline_mig.cli.parameters import JSON
from offline_mig.conversion.host_check import check_host
from offline_mig.conversion.plain_data import plain
from offline_mig.errors import HostNotReadyError


@click.command()
@JSON
def check(as_json: bool) -> None:
    """Tell whether this host can convert guests, and what it lacks."""
    checks = check_host()
    if as_json:
        record = {"schema": "offline-mig/check/1", "checks": plain(checks)}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        screen.show_checks(checks)
    if not all(point.passed or not point.needed for point in checks):
        sys.exit(HostNotReadyError.exit_code)
