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
from offline_mig.sources.file_access import OpenFile, open_file, shown, stat_regular_file
from offline_mig.sources.layer import Layer, LocatedExtent, Parent
from offline_mig.sources.named_files import Bounds
from offline_mig.sources.vmdk import SECTOR, Descriptor, SparseHeader
from offline_mig.sources.vmdk_extents import (
    FoundExtents,
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
    in_words_of_qemu,
    part_of_disk,
)


def read_vmdk_layer(
    path: Path, bounds: Bounds, window: Window | None = None, *, rebuild: bool = False
) -> Layer:
    """Check the VMDK at ``path``, a descriptor or a sparse extent with a descriptor in it.

    Of a ``window`` only a sparse extent will do: what a text names lies somewhere else in the
    archive. ``rebuild`` takes files that have other names than the descriptor says; the layer is
    then one that takes a new one. Raises SourceUnreadableError and SourceUnsafeError.
    """
    with open_file(path, window=window) as file:
        head = file.read(0, SECTOR)
        if head.startswith(vmdk.SPARSE_MAGIC):
            header = vmdk.parse_sparse_header(head, shown(path))
            return _sparse_layer(file, header, bounds, rebuild=rebuild)
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
    return _text_layer(path, text, bounds, rebuild=rebuild)


def read_lone_flat(path: Path) -> Layer:
    """Return the layer of a flat file without a descriptor: all of it, stored as it is.

    Raises SourceUnreadableError for one that is no whole number of sectors.
    """
    size = stat_regular_file(path, wrong_kind=SourceUnsafeError).st_size
    if size == 0 or size % SECTOR:
        raise SourceUnreadableError(
            f"{shown(path)} has {size} bytes, which are no whole sectors: it is cut off.",
            "Copy the file again and compare its size and checksum with the original.",
        )
    note = (
        f"{shown(path.name)} has no descriptor; one was made for this run. Whether the file is "
        "whole only its partition table can tell."
    )
    return Layer(
        format=DiskFormat.VMDK,
        kind="monolithicFlat",
        files=(path,),
        virtual_size=size,
        notes=(note,),
        extents=(LocatedExtent(size // SECTOR, "FLAT", path, 0),),
        rebuilt=True,
    )


def _text_layer(path: Path, text: bytes, bounds: Bounds, *, rebuild: bool) -> Layer:
    descriptor = vmdk.parse_descriptor(text, shown(path))
    check_names(path, descriptor, bounds, rebuild=rebuild)
    check_qemu_agrees(path, descriptor, text, vmdk_as_qemu_reads.extents(text))
    stated = descriptor.create_type
    if rebuild:
        descriptor = in_words_of_qemu(descriptor)
    check_text_kind(path, descriptor)
    found = find_extents(path, descriptor, bounds, rebuild=rebuild)
    checked = [
        check_extent(path, extent, file, bounds)
        for extent, file in zip(descriptor.extents, found.files, strict=True)
    ]
    unclean = _unclean_note(path, any(extent.unclean for extent in checked))
    return Layer(
        format=DiskFormat.VMDK,
        kind=descriptor.create_type,
        files=(path, *dict.fromkeys(found.files)),
        virtual_size=sum(extent.sectors for extent in checked) * SECTOR,
        parent=_parent(path, descriptor),
        cid=descriptor.cid,
        notes=(*unclean, *_renamed_notes(path, found)),
        extents=tuple(
            LocatedExtent(extent.sectors, extent.type, file, extent.offset)
            for extent, file in zip(descriptor.extents, found.files, strict=True)
        ),
        rebuilt=bool(found.renamed) or descriptor.create_type != stated,
    )


def _renamed_notes(path: Path, found: FoundExtents) -> tuple[str, ...]:
    return tuple(
        f"{shown(path.name)} names {shown(one.name)}, which is not there; {shown(one.file.name)} "
        "was taken for it, by a descriptor that was made for this run."
        for one in found.renamed
    )


def _sparse_layer(file: OpenFile, header: SparseHeader, bounds: Bounds, *, rebuild: bool) -> Layer:
    path = file.path
    text = embedded_text(file, header)
    descriptor = vmdk.parse_descriptor(text, shown(path))
    check_names(path, descriptor, bounds, rebuild=rebuild)
    check_qemu_agrees(path, descriptor, file.read(SECTOR, vmdk_as_qemu_reads.PARENT_WINDOW))
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
    _require_capacity(path, descriptor, header)
    verify_complete(file, header)
    return Layer(
        format=DiskFormat.VMDK,
        kind=descriptor.create_type,
        files=(path,),
        virtual_size=header.capacity * SECTOR,
        parent=_parent(path, descriptor),
        cid=descriptor.cid,
        notes=_unclean_note(path, header.unclean),
        extents=(LocatedExtent(header.capacity, "SPARSE", path),),
    )


def _require_capacity(path: Path, descriptor: Descriptor, header: SparseHeader) -> None:
    """Refuse a disk whose header states less than its descriptor: qemu would leave out the rest.

    More than that is what programs state that round up to whole grains, and does no harm.
    """
    described = sum(extent.sectors for extent in descriptor.extents)
    if described > header.capacity:
        raise SourceUnreadableError(
            f"{shown(path)} has {header.capacity} sectors by its header, but its descriptor says "
            f"{described}: the end of the disk would be missing.",
            "Export or copy the disk again. If its size was corrected by hand, do it in the header "
            "as well.",
        )


def _unclean_note(path: Path, unclean: bool) -> tuple[str, ...]:
    if not unclean:
        return ()
    note = (
        f"VMware did not close {shown(path.name)} properly: the machine crashed, or the disk was "
        "copied while it ran."
    )
    return (note,)


def check_qemu_agrees(
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
