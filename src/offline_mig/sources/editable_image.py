"""A disk image that is to be changed in place: readable, written by qemu, and nobody's ground."""

from __future__ import annotations

import os
from pathlib import Path

from offline_mig.errors import OutputRefusedError
from offline_mig.sources.based_on import images_based_on
from offline_mig.sources.disk_image import ExaminedImage, examine_disk_image
from offline_mig.sources.file_access import shown

#: VMDK kinds that qemu only reads (block/vmdk.c: a compressed grain cannot be written again, nor
#: can seSparse extents), or in whose header it does not keep what ESX goes by (vmfsSparse).
_READ_ONLY_KINDS = {"streamOptimized", "vmfsSparse", "seSparse"}


def examine_for_editing(path: Path) -> ExaminedImage:
    """Check an image as ``examine_disk_image`` does, and that it can be changed.

    An image that is based on others is fine: what is changed goes into itself. One that others
    are based on is not, since they would change too, unnoticed, and make no sense any more.

    Raises SourceUnreadableError, SourceUnsafeError and OutputRefusedError.
    """
    examined = examine_disk_image(path)
    image = examined.image
    if image.kind in _READ_ONLY_KINDS:
        raise OutputRefusedError(
            f"{shown(path)} is a {image.kind} VMDK, which can be read but not written in place.",
            "Make an image that can: 'qemu-img convert -O qcow2', and edit that.",
        )
    # Of its extents qemu sees for itself, before anything is lost; images below are not written.
    if not os.access(image.path, os.W_OK):
        raise OutputRefusedError(
            f"{shown(image.path)} may not be written by this user.",
            "Give this user the right to, or work on a copy.",
        )
    for other in images_based_on(image.path):
        raise OutputRefusedError(
            f"{shown(other)} is based on {shown(image.path.name)}: it would be damaged if that "
            "were changed.",
            f"Edit {shown(other.name)} instead, or commit it ('qemu-img commit') or delete it "
            "first.",
        )
    return examined
