"""The command line: parses, calls and prints, nothing else."""

from __future__ import annotations

from offline_mig.cli.commands import main

__all__ = ["main"]
