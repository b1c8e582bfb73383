"""A disk image that is to be changed in place: readable, written by qemu, and nobody's ground."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from offline_mig.errors import OfflineMigError, OutputRefusedError
from offline_mig.images.qcow2_header import MAGIC as QCOW2_MAGIC
from offline_mig.images.qcow2_header import MAX_HEADER, parse_qcow2_header
from offline_mig.sources.disk_image import ExaminedImage, examine_disk_image
from offline_mig.sources.file_access import shown
from offline_mig.sources.vmdk import SPARSE_MAGIC, is_descriptor
from offline_mig.sources.vmdk_layer import read_vmdk_layer

#: VMDK kinds that qemu only reads (block/vmdk.c: a compressed grain cannot be written again).
_READ_ONLY_KINDS = {"streamOptimized"}
#: Enough of a file to tell what it is.
_HEAD = 4096


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
    for other in _based_on(image.path):
        raise OutputRefusedError(
            f"{shown(other)} is based on {shown(image.path.name)}: it would be damaged if that "
            "were changed.",
            f"Edit {shown(other.name)} instead, or commit it ('qemu-img commit') or delete it "
            "first.",
        )
    return examined


def _based_on(image: Path) -> Iterator[Path]:
    """Yield the images in the same folder that name ``image`` as what they are based on."""
    for path in sorted(image.parent.iterdir()):
        if path == image or path.is_symlink() or not path.is_file():
            continue
        parent = _parent(path)
        if parent is None:
            continue
        try:
            if (path.parent / parent).samefile(image):
                yield path
        except (OSError, ValueError):
            # It names what is not there, or is no file name.
            continue


def _parent(path: Path) -> str | None:
    """Return what an image names as the one it is based on; None for whatever else."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            if head.startswith(QCOW2_MAGIC):
                head += stream.read(MAX_HEADER - _HEAD)
                return parse_qcow2_header(head, shown(path)).backing_file
        if head.startswith(SPARSE_MAGIC) or is_descriptor(head):
            parent = read_vmdk_layer(path, path.parent).parent
            return None if parent is None else parent.name
    except (OSError, OfflineMigError):
        # Whatever it is, qemu could not open it on top of the image either.
        return None
    return None
