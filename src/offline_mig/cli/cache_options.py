"""Options for keeping results and taking them from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from offline_mig.cli.parameters import PATH
from offline_mig.conversion.result_cache import DEFAULT_SIZE, ResultCache


def cache_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the parameters ``cache`` and ``cache_size`` for ``asked_cache``."""
    size = click.option(
        "--cache-size",
        type=click.IntRange(1),
        metavar="GIB",
        help=f"What the cache may take on disk.  [default: {DEFAULT_SIZE}]",
    )
    folder = click.option(
        "--cache",
        type=PATH,
        metavar="DIR",
        help="Keep the results in DIR as well, and take them from there when nothing has changed "
        "that they depend on.",
    )
    return folder(size(command))


def asked_cache(cache: Path | None, cache_size: int | None) -> ResultCache | None:
    """Return the cache that was asked for; ``cache_size`` is in GiB.

    Raises click.UsageError for a size without a folder.
    """
    if cache is None:
        if cache_size is not None:
            raise click.UsageError("--cache-size goes with --cache.")
        return None
    return ResultCache.of_size(cache, cache_size or DEFAULT_SIZE)
