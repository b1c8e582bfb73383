"""Results that are in place already: of the same source, by the same options and program.

A conversion publishes its report last, so that whoever finds a report finds the whole. It names
the options and the state of every source file; when nothing differs from now, converting again
would make the same. This is how a batch that was killed between the end of a guest and its line in
the journal, or a worker that was taken for dead, leads to no second conversion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from offline_mig import __version__
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import SCHEMA
from offline_mig.conversion.source_guard import file_sha256
from offline_mig.targets.identity import result_name


def earlier_result(source: Path, options: ConvertOptions, since: float) -> dict[str, Any] | None:
    """Return the report of an earlier conversion that made what this one would, else None.

    What was reported before ``since`` (seconds since 1970, by the clock of the output's storage)
    does not count: such results may have been started by now.
    """
    report_file = options.output / f"{result_name(options.name or source.stem)}.report.json"
    try:
        report = json.loads(report_file.read_text(encoding="utf-8"))
        machine_source = Path(report["source"]["machine"]["source"])
        same = (
            report["schema"] == SCHEMA
            and report["tools"]["offline-mig"] == __version__
            and report_file.stat().st_mtime >= since
            and _asked(report["options"]) == _asked(json.loads(json.dumps(plain(options))))
            and source.resolve() in (machine_source, machine_source.parent)
            and all(_is_as_then(state) for state in report["source"]["files"])
            and all((options.output / name).is_file() for name in report["published"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        # No report, or one of something else: then there is everything left to do.
        return None
    return report if same else None


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the results depend on: not whether others might be replaced by them."""
    return {key: value for key, value in options.items() if key != "overwrite"}


def _is_as_then(state: dict[str, Any]) -> bool:
    path = Path(state["path"])
    status = path.stat()
    if state["modified"] is None:
        # A reproducible report tells of no times, but of hashes.
        return bool(status.st_size == state["size"] and file_sha256(path) == state["sha256"])
    return (status.st_size, status.st_mtime_ns) == (state["size"], state["modified"])
