"""VMDK descriptors that are made for the time of a run; the source keeps the ones that it has.

One is made where a disk has none, where its own names files that are called otherwise, and for
each disk that is based on such a one, since it names its parent. Extents and parents are named by
absolute paths, which qemu takes as they are (block/vmdk.c, vmdk_parse_extents()).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import DiskFormat
from offline_mig.sources import vmdk
from offline_mig.sources.file_access import shown
from offline_mig.sources.layer import Layer
from offline_mig.sources.vmdk_kinds import EMBEDDED_TYPES, descriptor_beside

#: Bytes that qemu reads of the name of an extent ("%511[^\n\r\"]").
_LONGEST_NAME = 511
_UNNAMEABLE = re.compile(rb'["\r\n]')
#: The kind whose extents may each be a sparse file with a descriptor of its own inside.
_OF_SPARSE_FILES = "twoGbMaxExtentSparse"


def with_descriptors(layers: Sequence[Layer], scratch: Path) -> tuple[Layer, ...]:
    """Return the layers, nearest first, with new descriptors in ``scratch`` where it takes them.

    Raises SourceUnreadableError where a file's name cannot be written down, or where a disk that
    is no VMDK would have to be given another parent.
    """
    done: list[Layer] = []
    replaced = False
    for number in reversed(range(len(layers))):
        layer = layers[number]
        replaced = replaced or layer.rebuilt
        if replaced:
            expected = layers[number - 1].parent if number else None
            if layer.cid is None and expected is not None:
                layer = replace(layer, cid=expected.cid)
            layer = _with_descriptor(layer, done[-1] if done else None, scratch)
        done.append(layer)
    return tuple(reversed(done))


def written_descriptors(layers: Sequence[Layer]) -> tuple[Path, ...]:
    """Return the descriptors that with_descriptors() made."""
    return tuple(layer.files[0] for layer in layers if layer.rebuilt)


def _with_descriptor(layer: Layer, below: Layer | None, scratch: Path) -> Layer:
    if layer.format is not DiskFormat.VMDK:
        raise SourceUnreadableError(
            f"{shown(layer.files[0])} is based on a VMDK whose descriptor does not fit its files.",
            "Give these files the names that the descriptor has for them.",
        )
    # A folder for each: disks of different folders may have one name.
    folder = Path(tempfile.mkdtemp(prefix="descriptor-", dir=scratch))
    descriptor = folder / (descriptor_beside(layer.files[0]) or layer.files[0]).name
    descriptor.write_bytes(_text(layer, None if below is None else below.files[0]))
    extents = dict.fromkeys(extent.file for extent in layer.extents)
    return replace(layer, files=(descriptor, *extents), rebuilt=True)


def _text(layer: Layer, parent: Path | None) -> bytes:
    kind = _OF_SPARSE_FILES if layer.kind in EMBEDDED_TYPES else layer.kind
    parent_cid = vmdk.NO_PARENT
    if layer.parent is not None and layer.parent.cid is not None:
        parent_cid = layer.parent.cid
    # A disk without a content id gets one that nothing names.
    cid = vmdk.NO_PARENT - 1 if layer.cid is None else layer.cid
    lines = [
        b"# Disk DescriptorFile",
        b"version=1",
        b"CID=%08x" % cid,
        b"parentCID=%08x" % parent_cid,
        b'createType="%s"' % kind.encode("ascii"),
    ]
    if parent is not None:
        lines.append(b'parentFileNameHint="%s"' % _name(parent))
    lines.append(b"# Extent description")
    for extent in layer.extents:
        line = b'RW %d %s "%s"' % (extent.sectors, extent.type.encode("ascii"), _name(extent.file))
        lines.append(line if extent.offset is None else line + b" %d" % extent.offset)
    return b"\n".join(lines) + b"\n"


def _name(path: Path) -> bytes:
    name = os.fsencode(path.absolute())
    if len(name) > _LONGEST_NAME or _UNNAMEABLE.search(name):
        raise SourceUnreadableError(
            f"No VMDK descriptor can name {shown(path)}: its path is too long, or has a quotation "
            "mark in it.",
            "Move the disk to a folder with a shorter, plainer path.",
        )
    return name
