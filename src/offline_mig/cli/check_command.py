"""The command that says whether this host can do the work."""

from __future__ import annotations

import sys

import click

from offline_mig.api import host
from offline_mig.cli import screen
from offline_mig.cli.json_output import print_json
from offline_mig.cli.parameters import JSON
from offline_mig.errors import HostNotReadyError


@click.command()
@JSON
def check(as_json: bool) -> None:
    """Tell whether this host can convert guests, and what it lacks."""
    checks = host.check()
    if as_json:
        print_json(host.check_record(checks))
    else:
        screen.show_checks(checks)
    if not all(point.passed or not point.needed for point in checks):
        sys.exit(HostNotReadyError.exit_code)
