"""How much room the results of a conversion take."""

from __future__ import annotations

import tempfile
from pathlib import Path

from offline_mig.images import qemu_img
from offline_mig.images.trimmed_image import create_trimmed
from offline_mig.machine import DiskFormat, Machine

#: Bytes that the overlay and qcow2 metadata may take beside the converted disks.
ALLOWANCE = 128 * 1024 * 1024


def needed_space(machine: Machine, *, trim: bool) -> int:
    """Return how many bytes a conversion of the machine takes on disk at most.

    Raises ToolFailedError, and OutputRefusedError where there is no room for temporary files.
    """
    needed = ALLOWANCE
    with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
        for number, disk in enumerate(machine.disks):
            image = disk.image
            overlay = Path(scratch, f"{number}.qcow2")
            if trim:
                create_trimmed(overlay, image.path, image.format, image.window)
            else:
                qemu_img.create_overlay(overlay, image.path, image.format, image.window)
            needed += measured(overlay)
    return needed


def measured(overlay: Path) -> int:
    """Return how many bytes the copy of a qcow2 image with its backing files takes at most.

    A raw result is sparse, which the measure for raw does not count on; hence that of qcow2.
    """
    return qemu_img.measure(overlay, DiskFormat.QCOW2, DiskFormat.QCOW2)
