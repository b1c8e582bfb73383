"""From a folder or a plan to the guests of a batch: who they are, and what is asked for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offline_mig.batch.discovery import Discovery, FoundMachine, find_machines, unique_names
from offline_mig.batch.fingerprint import media_fingerprint, work_fingerprint
from offline_mig.batch.plan_file import BatchPlan, PlannedGuest, read_plan
from offline_mig.batch.record import BatchRecord, GuestState
from offline_mig.conversion.engines import EngineChoice
from offline_mig.errors import OfflineMigError, OutputRefusedError, SourceUnreadableError
from offline_mig.sources.file_access import shown

#: Nobody waits at a batch for an appliance that would have to be emulated.
_DEFAULTS: Mapping[str, Any] = {"engine": EngineChoice.AUTO.value}
#: Options that name what a conversion reads besides the machine. Which files of the folders that
#: disks may lie in are this machine's is not known here, so that all count.
_MEDIA = ("drivers", "agent", "allow-outside")


@dataclass(frozen=True, slots=True)
class GuestWork:
    """A guest with its final name and all of its options; ``size`` is what it takes on disk."""

    name: str
    machine: FoundMachine
    given: Mapping[str, Any]
    size: int
    fingerprint: str

    @property
    def source(self) -> Path:
        """What is converted."""
        return self.machine.source


@dataclass(frozen=True, slots=True)
class Scope:
    """What a user named: a plan, and where it comes from.

    ``found`` are the machines of a folder that was searched, ``unread`` what could not be searched
    of it, ``places`` the folders that are read from.
    """

    plan: BatchPlan
    places: tuple[Path, ...]
    found: Discovery | None = None
    unread: tuple[Path, ...] = ()


def plan_at(place: Path, output: Path | None) -> Scope:
    """Return the plan in a file that ends in .toml, or of all machines in and below a folder.

    What lies in ``output`` is no source. Raises PlanFileError, SourceUnreadableError where
    there is no machine, and OutputRefusedError where ``output`` is the folder itself.
    """
    if place.suffix.lower() == ".toml":
        plan = read_plan(place)
        return Scope(plan, tuple({guest.source.parent for guest in plan.guests}))
    if output is not None and output.resolve() == place.resolve():
        raise OutputRefusedError(
            f"{shown(place)} is both searched for machines and the folder for the results.",
            "Choose another folder with -o; it may lie in this one.",
        )
    found = find_machines(place, () if output is None else (output,))
    if not found.machines:
        raise SourceUnreadableError(
            f"No machine was found in {shown(place)} or the folders in it: no VMX, OVF or OVA file "
            "and no disk image.",
            "Give the folder with the machines, or a plan file (TOML).",
        )
    return Scope(plan_of(found), (place,), found, found.unread)


def unread_text(folder: Path) -> str:
    """Return what to tell of a folder that could not be searched."""
    return f"The folder {shown(folder)} cannot be read: machines in it are left out."


def plan_of(found: Discovery) -> BatchPlan:
    """Return a plan with all machines that were found, each under a name of its own."""
    names = unique_names(found.machines)
    return BatchPlan(tuple(PlannedGuest(m.source, names[m.source]) for m in found.machines))


def guests_of(
    scope: Scope, given: Mapping[str, Any], before: BatchRecord | None = None
) -> tuple[GuestWork, ...]:
    """Return the guests of a scope that are not to be skipped; ``given`` is the command line.

    Every one gets a name that no other has: results lie in one folder. Those of the batch
    ``before`` keep theirs, whatever has been added since; in a plan file, where names may have been
    changed on purpose, those that are converted. A source that cannot be looked at stays in, to
    fail with a reason.
    """
    plan = scope.plan
    known = {machine.source: machine for machine in scope.found.machines} if scope.found else {}
    planned = [guest for guest in plan.guests if not guest.skip]
    machines = [known.get(guest.source) or _machine(guest) for guest in planned]
    kept = _kept_names(before, every=scope.found is not None)
    named = [
        replace(machine, name=kept.get(machine.source) or guest.name or machine.name)
        for guest, machine in zip(planned, machines, strict=True)
    ]
    # Nor is a name that somebody chose given to another before.
    chosen = {guest.source for guest in planned if guest.name}
    names = unique_names(
        sorted(named, key=lambda one: (one.source not in kept, one.source not in chosen))
    )
    media: dict[tuple[str, ...], str] = {}
    work = []
    for guest, machine in zip(planned, machines, strict=True):
        name = names[machine.source]
        options = {**_DEFAULTS, **plan.given, **given, **guest.given, "name": name}
        paths = tuple(str(path) for key in _MEDIA for path in options.get(key, ()))
        paths += (str(options["xml"]),) if "xml" in options else ()
        if paths not in media:
            media[paths] = media_fingerprint(map(Path, paths))
        work.append(
            GuestWork(
                name, machine, options, _size(machine), _fingerprint(machine, media[paths], options)
            )
        )
    return tuple(work)


def _kept_names(before: BatchRecord | None, *, every: bool) -> dict[Path, str]:
    guests = before.guests if before else ()
    return {
        guest.source: guest.name for guest in guests if every or guest.state is GuestState.CONVERTED
    }


def _machine(guest: PlannedGuest) -> FoundMachine:
    try:
        found: Sequence[FoundMachine] = find_machines(guest.source).machines
    except OfflineMigError:
        found = ()
    # A folder may hold no machine, or what is found as several: converting it will tell.
    name = found[0].name if len(found) == 1 else guest.source.stem
    files = dict.fromkeys(file for machine in found for file in machine.files)
    return FoundMachine(guest.source, name, tuple(files))


def _size(machine: FoundMachine) -> int:
    """Return what a machine takes on disk in bytes."""
    size = 0
    for path in machine.files:
        try:
            size += path.stat().st_blocks * 512
        except OSError:
            continue
    return size


def _fingerprint(machine: FoundMachine, media: str, given: Mapping[str, Any]) -> str:
    try:
        return work_fingerprint(machine, media, given)
    except OSError:
        return work_fingerprint(replace(machine, files=()), media, given)
