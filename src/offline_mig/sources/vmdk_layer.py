"""A VMDK as files on disk: descriptor, extents and the name of the parent, all checked.

Order matters: what is named is judged before anything but the named-by file is opened, and files
that do not belong are refused before it is said that others are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import DiskFormat, Window
from offline_mig.sources import vmdk, vmdk_as_qemu_reads
from offline_mig.sources.file_access import OpenFile, open_file, shown
from offline_mig.sources.layer import Layer, Parent
from offline_mig.sources.vmdk import SECTOR, Descriptor, SparseHeader
from offline_mig.sources.vmdk_extents import (
    check_extent,
    check_names,
    embedded_text,
    find_extents,
)
from offline_mig.sources.vmdk_grains import verify_complete
from offline_mig.sources.vmdk_kinds import (
    CONSOLIDATE,
    EMBEDDED_TYPES,
    check_text_kind,
    encrypted,
    part_of_disk,
)


def read_vmdk_layer(path: Path, root: Path, window: Window | None = None) -> Layer:
    """Check the VMDK at ``path``, a descriptor or a sparse extent with a descriptor in it.

    ``root`` is the resolved folder that no named file may lie outside of. Of a ``window`` only a
    sparse extent will do: what a text names lies somewhere else in the archive. Raises
    SourceUnreadableError and SourceUnsafeError.
    """
    with open_file(path, window=window) as file:
        head = file.read(0, SECTOR)
        if head.startswith(vmdk.SPARSE_MAGIC):
            return _sparse_layer(file, vmdk.parse_sparse_header(head, shown(path)))
        if window is not None:
            raise SourceUnreadableError(
                f"{shown(path)} holds a VMDK descriptor, whose data lie in files of their own.",
                "Unpack the archive with 'tar -xf' and give the descriptor, or export the machine "
                "as an OVA again: there, every disk is a single file.",
            )
        if file.size > vmdk.MAX_DESCRIPTOR:
            raise SourceUnreadableError(
                f"{shown(path)} begins like a VMDK descriptor but has {file.size} bytes.",
                "Copy the descriptor, a text file of a few hundred bytes, again.",
            )
        text = file.read(0, file.size)
    return _text_layer(path, text, root)


def _text_layer(path: Path, text: bytes, root: Path) -> Layer:
    descriptor = vmdk.parse_descriptor(text, shown(path))
    check_names(path, descriptor)
    _check_qemu_agrees(path, descriptor, text, vmdk_as_qemu_reads.extents(text))
    check_text_kind(path, descriptor)
    files = find_extents(path, descriptor, root)
    checked = [
        check_extent(path, extent, file)
        for extent, file in zip(descriptor.extents, files, strict=True)
    ]
    return Layer(
        format=DiskFormat.VMDK,
        kind=descriptor.create_type,
        files=(path, *dict.fromkeys(files)),
        virtual_size=sum(extent.sectors for extent in checked) * SECTOR,
        parent=_parent(path, descriptor),
        cid=descriptor.cid,
        notes=_unclean_note(path, any(extent.unclean for extent in checked)),
    )


def _sparse_layer(file: OpenFile, header: SparseHeader) -> Layer:
    path = file.path
    text = embedded_text(file, header)
    descriptor = vmdk.parse_descriptor(text, shown(path))
    check_names(path, descriptor)
    _check_qemu_agrees(path, descriptor, file.read(SECTOR, vmdk_as_qemu_reads.PARENT_WINDOW))
    if header.capacity == 0:
        # qemu then opens whatever the descriptor inside names; VMware writes no such disk.
        raise SourceUnreadableError(
            f"{shown(path)} is a VMDK whose header states a size of 0.",
            "Copy the file again from where it came from.",
        )
    if not text.strip():
        raise part_of_disk(path)
    if descriptor.encrypted:
        raise encrypted(path)
    if descriptor.create_type not in EMBEDDED_TYPES:
        raise SourceUnreadableError(
            f"{shown(path)} is a sparse VMDK whose descriptor calls it "
            f'"{shown(descriptor.create_type)}".',
            "Copy the disk again from where it came from.",
        )
    verify_complete(file, header)
    return Layer(
        format=DiskFormat.VMDK,
        kind=descriptor.create_type,
        files=(path,),
        virtual_size=header.capacity * SECTOR,
        parent=_parent(path, descriptor),
        cid=descriptor.cid,
        notes=_unclean_note(path, header.unclean),
    )


def _unclean_note(path: Path, unclean: bool) -> tuple[str, ...]:
    if not unclean:
        return ()
    note = (
        f"VMware did not close {shown(path.name)} properly: the machine crashed, or the disk was "
        "copied while it ran."
    )
    return (note,)


def _check_qemu_agrees(
    path: Path,
    descriptor: Descriptor,
    window: bytes,
    extents: Sequence[vmdk_as_qemu_reads.QemuExtent] | None = None,
) -> None:
    """Refuse a descriptor out of which qemu reads other files than stand in it."""
    parent = vmdk_as_qemu_reads.parent_name(window)
    if parent is not None and parent != descriptor.parent_hint:
        raise SourceUnsafeError(
            f'{shown(path)} hides a file name, "{shown(parent)}", where qemu takes it for the '
            "parent disk.",
            "Do not convert this disk unless you know how it was made.",
        )
    if parent is None and descriptor.parent_hint is not None:
        raise SourceUnreadableError(
            f'{shown(path)} names its parent "{shown(descriptor.parent_hint)}" in a way that '
            "qemu does not understand.",
            'Write it as parentFileNameHint="NAME", without spaces.',
        )
    if extents is None:
        return
    left_out = next(
        (
            extent
            for extent in descriptor.extents
            if extent.access != "RW" or extent.type == "ZERO" or extent.sectors <= 0
        ),
        None,
    )
    if left_out is not None:
        # Measured with qemu 7.2: such lines are skipped, and what follows moves forward.
        raise SourceUnreadableError(
            f'{shown(path)} has an extent "{left_out.access} {left_out.sectors} '
            f'{shown(left_out.type)}", which qemu leaves out, so that the disk would come out '
            "wrong.",
            "Make a full clone of the disk in VMware and give that.",
        )
    known = {extent.name for extent in descriptor.extents}
    for extent in extents:
        if extent.name not in known:
            raise SourceUnsafeError(
                f'{shown(path)} hides a file name, "{shown(extent.name)}", where qemu takes it '
                "for an extent.",
                "Do not convert this disk unless you know how it was made.",
            )
    if tuple(extents) != vmdk_as_qemu_reads.expected_extents(descriptor):
        raise SourceUnreadableError(
            f"{shown(path)} lists {len(descriptor.extents)} extents, but qemu reads the list as "
            f"{len(extents)}, so that the disk would come out wrong.",
            "Remove blank lines before and between the extent lines, and write each as "
            "'RW SECTORS FLAT \"NAME\" OFFSET', 'RW SECTORS VMFS \"NAME\"' or "
            "'RW SECTORS SPARSE \"NAME\"'.",
        )


def _parent(path: Path, descriptor: Descriptor) -> Parent | None:
    if descriptor.parent_hint is None:
        if descriptor.parent_cid != vmdk.NO_PARENT:
            # qemu would take it for a disk of its own, full of holes.
            raise SourceUnreadableError(
                f"{shown(path)} is a snapshot or linked clone, but does not name its parent.",
                CONSOLIDATE,
            )
        return None
    if descriptor.parent_cid == vmdk.NO_PARENT:
        raise SourceUnreadableError(
            f'{shown(path)} names a parent, "{shown(descriptor.parent_hint)}", but states that '
            "it has none (parentCID=ffffffff).",
            CONSOLIDATE,
        )
    return Parent(descriptor.parent_hint, DiskFormat.VMDK, descriptor.parent_cid)
