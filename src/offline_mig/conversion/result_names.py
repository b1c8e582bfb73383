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
    """Return the machine under the name that everything made of it gets."""
    return replace(machine, name=result_name(name or machine.name))


def disk_names(machine: Machine, image_format: DiskFormat) -> list[str]:
    """Return the file names of the converted disks, in the machine's order."""
    suffix = "qcow2" if image_format is DiskFormat.QCOW2 else "raw"
    if len(machine.disks) == 1:
        return [f"{machine.name}.{suffix}"]
    return [f"{machine.name}-disk{number}.{suffix}" for number in range(1, len(machine.disks) + 1)]


def result_names(machine: Machine, image_format: DiskFormat) -> ResultNames:
    """Return the names that results of a machine may have."""
    provenance, report = f"{machine.name}.provenance.json", f"{machine.name}.report.json"
    # Those of other targets would go with other disks, once these are replaced.
    documents = document_names(machine.name, tuple(TargetKind))
    every = (*disk_names(machine, image_format), *documents, provenance, report)
    return ResultNames(provenance, report, every)
