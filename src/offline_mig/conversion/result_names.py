"""What results are called: every name begins with the machine's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from offline_mig.machine import DiskFormat, Machine
from offline_mig.targets.documents import document_names
from offline_mig.targets.identity import result_name
from offline_mig.targets.options import TargetKind


@dataclass(frozen=True, slots=True)
class ResultNames:
    """The names that results of a machine may have; ``every`` has all of them, the report last."""

    provenance: str
    report: str
    every: tuple[str, ...]


def named(machine: Machine, name: str | None) -> Machine:
    """Return the machine under the name that everything made of it gets; a note tells of another.

    ``name`` is the one that was asked for, None for the source's.
    """
    wanted = name or machine.name
    sound = result_name(wanted)
    if sound == wanted:
        return replace(machine, name=sound)
    note = f'The machine is called "{sound}": hypervisors or file systems refuse parts of its name.'
    return replace(machine, name=sound, notes=(*machine.notes, note))


def disk_names(machine: Machine, image_format: DiskFormat) -> list[str]:
    """Return the file names of the converted disks, in the machine's order."""
    suffix = _suffix(image_format)
    if len(machine.disks) == 1:
        return [f"{machine.name}.{suffix}"]
    return [f"{machine.name}-disk{number}.{suffix}" for number in range(1, len(machine.disks) + 1)]


def possible_names(stem: str, image_format: DiskFormat) -> tuple[str, ...]:
    """Return names that tell whether there are results of a machine with any number of disks."""
    suffix = _suffix(image_format)
    disks = (f"{stem}.{suffix}", f"{stem}-disk1.{suffix}")
    return (*disks, *_other_names(stem))


def result_names(machine: Machine, image_format: DiskFormat) -> ResultNames:
    """Return the names that results of a machine may have."""
    others = _other_names(machine.name)
    *_, provenance, report = others
    return ResultNames(provenance, report, (*disk_names(machine, image_format), *others))


def _suffix(image_format: DiskFormat) -> str:
    return "qcow2" if image_format is DiskFormat.QCOW2 else "raw"


def _other_names(stem: str) -> tuple[str, ...]:
    # Those of other targets would go with other disks, once these are replaced.
    documents = document_names(stem, tuple(TargetKind))
    return (*documents, f"{stem}.provenance.json", f"{stem}.report.json")
