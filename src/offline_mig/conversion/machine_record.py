"""A machine as plain data, for reports and JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from offline_mig.conversion.plain_data import plain
from offline_mig.machine import DiskImage, Machine


def machine_record(machine: Machine) -> Any:
    """Return a machine as what JSON knows.

    Files that were made for the time of the run are told by their names: where they lay is of no
    use any more, and is another place in each run.
    """
    disks = tuple(replace(disk, image=_without_places(disk.image)) for disk in machine.disks)
    return plain(replace(machine, disks=disks))


def _without_places(image: DiskImage) -> DiskImage:
    names = {file: Path(file.name) for file in image.temporary}
    return replace(
        image,
        path=names.get(image.path, image.path),
        files=tuple(names.get(file, file) for file in image.files),
        temporary=tuple(names.values()),
    )
