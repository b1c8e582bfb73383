"""The command line: parses, calls and prints, nothing else."""

from __future__ import annotations

from offline_mig.cli.command_table import main

__all__ = ["main"]
