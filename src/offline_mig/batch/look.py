"""Looking at a machine: a conversion up to its first change."""

from __future__ import annotations

from pathlib import Path

from offline_mig.batch.preflight import PreflightRow, Readiness
from offline_mig.conversion.convert import rehearse_machine
from offline_mig.conversion.examination import examine_machine, opened_source
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.progress import Progress
from offline_mig.conversion.space import needed_space
from offline_mig.errors import OfflineMigError
from offline_mig.guest.engine import Engine

_NO_DRIVERS_GIVEN = (
    "No --drivers were given: whether they have one for this Windows was not looked at."
)


def look_at(
    name: str,
    source: Path,
    size: int,
    options: ConvertOptions,
    engine: Engine,
    progress: Progress,
) -> PreflightRow:
    """Return the verdict on a machine. Changes nothing."""
    needed = 0
    try:
        with opened_source(source, options.source) as machine:
            needed = needed_space(machine, trim=options.trim)
            if options.drivers:
                rehearsal = rehearse_machine(machine, options, engine, progress)
                version, notes = rehearsal.proposal.facts.version, rehearsal.notes
            else:
                found = examine_machine(machine, engine, options.system_partition)
                version, notes = found.facts.version, (*found.notes, _NO_DRIVERS_GIVEN)
    except OfflineMigError as error:
        return PreflightRow(
            name,
            source,
            Readiness.BLOCKED,
            size=size,
            needed=needed,
            message=error.message,
            remedy=error.remedy,
            exit_code=error.exit_code,
        )
    return PreflightRow(
        name,
        source,
        Readiness.NOTES if notes else Readiness.READY,
        windows=version.summary,
        size=size,
        needed=needed,
        notes=tuple(dict.fromkeys(notes)),
    )
