"""What a conversion makes of the source's disks before anything is done to them."""

from __future__ import annotations

import shutil

from offline_mig.conversion.bulk_copy import CopyJob
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.space import ALLOWANCE, measured
from offline_mig.conversion.workspace import (
    Workspace,
)
from offline_mig.errors import OutputRefusedError
from offline_mig.images import qemu_img
from offline_mig.images.trimmed_image import create_trimmed
from offline_mig.machine import DiskFormat, Machine


def prepare_disks(
    machine: Machine, options: ConvertOptions, workspace: Workspace, names: list[str]
) -> tuple[tuple[CopyJob, ...], int]:
    """Make the overlays of all disks; returns them and the bytes of free space left out.

    Each disk gets two: a trimmed image over the source, from which is copied, and over that the
    one that is operated on.
    """
    jobs = []
    left_out = 0
    for number, (disk, name) in enumerate(zip(machine.disks, names, strict=True), start=1):
        image = disk.image
        source = workspace.folder / f"source-{number}.qcow2"
        if options.trim:
            left_out += create_trimmed(source, image.path, image.format, image.window).left_out
        else:
            qemu_img.create_overlay(source, image.path, image.format, image.window)
        overlay = workspace.folder / f"overlay-{number}.qcow2"
        size = qemu_img.create_overlay(overlay, source, DiskFormat.QCOW2)
        jobs.append(CopyJob(source, overlay, workspace.folder / name, options.format, size))
    return tuple(jobs), left_out


def require_space(jobs: tuple[CopyJob, ...], options: ConvertOptions, workspace: Workspace) -> None:
    """Raise OutputRefusedError when there may be no room for the results."""
    free = shutil.disk_usage(workspace.folder).free
    # What the tables of an image take is far below a thousandth, and where there is room for all
    # of the disks nothing needs to be measured.
    if free >= ALLOWANCE + sum(job.size + job.size // 1000 for job in jobs):
        return
    needed = ALLOWANCE + sum(measured(job.source) for job in jobs)
    if needed > free:
        raise OutputRefusedError(
            f"The disk with {options.output} is too full: the result can take up to "
            f"{needed // 1024**2 + 1} MiB, and {free // 1024**2} MiB are free.",
            "Free some space or choose another folder with -o.",
        )
