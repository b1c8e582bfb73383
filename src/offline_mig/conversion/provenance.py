"""Where results come from, for whoever checks what enters a pipeline.

The form is that of an in-toto Statement v1 with a SLSA Provenance v1 as its predicate
(https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance). It is not signed: that is
for whoever runs the pipeline, whose key it takes.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.report import Report, tool_versions
from offline_mig.conversion.source_guard import file_sha256
from offline_mig.surgery.record import plan_record

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
#: What kind of build this is, and who built: names of this project's own, which have to be URIs.
_BUILD_TYPE = "urn:offline-mig:convert:1"
_BUILDER = "urn:offline-mig"


@dataclass(frozen=True, slots=True)
class Run:
    """When a conversion began and ended (UTC)."""

    began: datetime
    ended: datetime


def provenance_json(report: Report, documents: Mapping[str, str], run: Run | None) -> str:
    """Return the statement about a conversion as JSON text.

    The report has the hashes of its disks and source files; ``documents`` are the SHA-256 of all
    other results by name. ``run`` is None when nothing may depend on the clock or on chance.
    """
    disks = report.published[: len(report.disk_sha256)]
    subjects = {**dict(zip(disks, report.disk_sha256, strict=True)), **documents}
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha}} for name, sha in subjects.items()],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {
                    "source": plain(report.machine.source),
                    "options": plain(report.options),
                },
                "internalParameters": {"engine": report.engine},
                "resolvedDependencies": list(_dependencies(report)),
            },
            "runDetails": {
                "builder": {"id": _BUILDER, "version": tool_versions()},
                **({} if run is None else {"metadata": _metadata(run)}),
                "byproducts": [{"name": "plan", "digest": {"sha256": plan_sha256(report)}}],
            },
        },
    }
    return json.dumps(statement, indent=2, ensure_ascii=False) + "\n"


def plan_sha256(report: Report) -> str:
    """Return the SHA-256 of what was planned.

    It is that of the report's ``wanted`` as JSON with sorted keys, without spaces, in UTF-8.
    """
    text = json.dumps(
        plan_record(report.wanted), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    # Names in a guest may hold halves of surrogate pairs.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _dependencies(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the source's files, then those of drivers and agents that are files themselves.

    Of folders with drivers and agents, and of archives as well, the files of the chosen packages.
    """
    for state in report.source_files:
        yield _file(state.path, state.sha256)
    for path in report.options.source_files:
        yield _file(path.absolute(), file_sha256(path))
    for choice in report.drivers.considered:
        if choice.package is not None:
            for name, content in sorted(choice.package.files.items()):
                yield _content(f"{choice.location}: {name}", content)
    for placed in report.agents.plan.placed:
        for file in placed.agent.files:
            yield _content(f"{placed.agent.origin}: {file.path.name}", file.content)


def _file(path: Path, sha256: str | None) -> dict[str, Any]:
    return {"name": plain(Path(path.name)), "uri": path.as_uri(), "digest": {"sha256": sha256}}


def _content(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}


def _metadata(run: Run) -> dict[str, str]:
    return {
        "invocationId": str(uuid.uuid4()),
        "startedOn": _timestamp(run.began),
        "finishedOn": _timestamp(run.ended),
    }


def _timestamp(moment: datetime) -> str:
    # The specification asks for RFC 3339 with a Z.
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
