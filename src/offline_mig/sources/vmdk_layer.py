"""A VMDK as files on disk: descriptor, extents and the name of the parent, all checked.

Order matters: what is named is judged before anything but the named-by file is opened, and files
that do not belong are refused before it is said that others are missing.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import DiskFormat
from offline_mig.sources import vmdk, vmdk_as_qemu_reads
from offline_mig.sources.file_access import OpenFile, open_file, shown, stat_regular_file
from offline_mig.sources.layer import Layer, Parent
from offline_mig.sources.named_files import check_name, find_inside
from offline_mig.sources.vmdk import SECTOR, Descriptor, Extent, SparseHeader
from offline_mig.sources.vmdk_grains import verify_complete

#: createTypes whose data lie on a device of the machine that the disk came from.
_DEVICE_TYPES = {
    "fulldevice",
    "partitioneddevice",
    "vmfsraw",
    "vmfsrdm",
    "vmfsrawdevicemap",
    "vmfspassthroughrawdevicemap",
}
_DEVICE_EXTENTS = {"VMFSRDM", "VMFSRAW"}
#: createTypes that qemu opens by a text descriptor (vmdk_open_desc_file()), less the two kinds
#: of ESX snapshots, and the extents that each may have.
_EXTENTS_OF = {
    "monolithicFlat": {"FLAT"},
    "vmfs": {"VMFS", "FLAT"},
    "twoGbMaxExtentFlat": {"FLAT"},
    "twoGbMaxExtentSparse": {"SPARSE"},
}
_EMBEDDED_TYPES = {"monolithicSparse", "streamOptimized"}
#: Spellings of older VMware products and of products that qemu does not open, and what to put.
_SAME_AS = {
    "2GbMaxExtentSparse": "twoGbMaxExtentSparse",
    "2GbMaxExtentFlat": "twoGbMaxExtentFlat",
    "vmfsThin": "vmfs",
    "vmfsPreallocated": "vmfs",
    "vmfsEagerZeroedThick": "vmfs",
}
#: How VMware names the files that a descriptor stands beside.
_PART_STEM = re.compile(r"(.+)-(?:flat|[sf]\d{3,}|delta|sesparse|rdmp?|pt)", re.IGNORECASE)
_CONSOLIDATE = (
    "Consolidate the machine's snapshots in VMware, or make a full clone, and give the resulting "
    "disk."
)
_COPY_ALL = "Copy every file of the disk, with its name unchanged, into the folder."


def read_vmdk_layer(path: Path, root: Path) -> Layer:
    """Check the VMDK at ``path``, a descriptor or a sparse extent with a descriptor in it.

    ``root`` is the resolved folder that no named file may lie outside of. Raises
    SourceUnreadableError and SourceUnsafeError.
    """
    with open_file(path) as file:
        head = file.read(0, SECTOR)
        if head.startswith(vmdk.SPARSE_MAGIC):
            return _sparse_layer(file, vmdk.parse_sparse_header(head, shown(path)))
        if file.size > vmdk.MAX_DESCRIPTOR:
            raise SourceUnreadableError(
                f"{shown(path)} begins like a VMDK descriptor but has {file.size} bytes.",
                "Copy the descriptor, a text file of a few hundred bytes, again.",
            )
        text = file.read(0, file.size)
    return _text_layer(path, text, root)


def _text_layer(path: Path, text: bytes, root: Path) -> Layer:
    descriptor = vmdk.parse_descriptor(text, shown(path))
    _check_names(path, descriptor)
    _check_qemu_agrees(path, descriptor, text, vmdk_as_qemu_reads.extents(text))
    _check_kind(path, descriptor)
    files = _find_extents(path, descriptor, root)
    checked = [
        _check_extent(path, extent, file)
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
    text = _embedded_text(file, header)
    descriptor = vmdk.parse_descriptor(text, shown(path))
    _check_names(path, descriptor)
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
        raise _encrypted(path)
    if descriptor.create_type not in _EMBEDDED_TYPES:
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


def _embedded_text(file: OpenFile, header: SparseHeader) -> bytes:
    """Return the descriptor inside a sparse extent, empty when it has none."""
    if header.descriptor_offset == 0:
        return b""
    # With a capacity of 0 qemu reads on to the end of the file, past the stated size.
    size = vmdk.MAX_DESCRIPTOR if header.capacity == 0 else header.descriptor_size * SECTOR
    text = file.read(header.descriptor_offset * SECTOR, min(size, vmdk.MAX_DESCRIPTOR))
    return text.split(b"\0", 1)[0]


def _check_names(path: Path, descriptor: Descriptor) -> None:
    """Judge everything that the descriptor names by its name alone."""
    if descriptor.create_type.lower() in _DEVICE_TYPES or any(
        extent.type.upper() in _DEVICE_EXTENTS for extent in descriptor.extents
    ):
        raise SourceUnsafeError(
            f"{shown(path)} is no disk image but a pointer to a physical disk or LUN "
            f'(createType "{shown(descriptor.create_type)}").',
            "Make a full clone to a virtual disk in VMware, such as with 'vmkfstools -i', and "
            "give that.",
        )
    for extent in descriptor.extents:
        if extent.name is not None:
            check_name(extent.name, path, "extent")
    if descriptor.parent_hint is not None:
        try:
            check_name(descriptor.parent_hint, path, "parent")
        except SourceUnsafeError as error:
            raise SourceUnsafeError(error.message, _CONSOLIDATE) from error


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


def _check_kind(path: Path, descriptor: Descriptor) -> None:
    if descriptor.encrypted:
        raise _encrypted(path)
    types = {extent.type for extent in descriptor.extents}
    kind = descriptor.create_type
    if kind in {"vmfsSparse", "seSparse"} or types & {"VMFSSPARSE", "SESPARSE"}:
        raise SourceUnreadableError(
            f"{shown(path)} is an ESX snapshot ({shown(kind)}); such disks are not read.",
            _CONSOLIDATE,
        )
    if kind in _SAME_AS:
        raise SourceUnreadableError(
            f'{shown(path)} has the createType "{kind}", which qemu does not open.',
            f'Write createType="{_SAME_AS[kind]}" in it: the files are laid out the same.',
        )
    allowed = _EXTENTS_OF.get(kind)
    if allowed is None:
        raise SourceUnreadableError(
            f'{shown(path)} has the createType "{shown(kind)}"; read are '
            f"{', '.join([*_EXTENTS_OF, *sorted(_EMBEDDED_TYPES)])}."
            if kind
            else f"{shown(path)} is a VMDK descriptor without a createType.",
            "Make a full clone of the disk in VMware and give that.",
        )
    if not descriptor.extents:
        raise SourceUnreadableError(
            f"{shown(path)} is a VMDK descriptor that lists no extents.",
            "Copy the descriptor again from where it came from.",
        )
    for extent in descriptor.extents:
        if extent.type not in allowed or extent.name is None:
            raise SourceUnreadableError(
                f'{shown(path)} has an extent of type "{shown(extent.type)}", which a {kind} '
                "disk does not have.",
                "Make a full clone of the disk in VMware and give that.",
            )
        if (extent.offset is None) == (extent.type == "FLAT"):
            raise SourceUnreadableError(
                f'{shown(path)} has a {extent.type} extent "{shown(extent.name)}" '
                + ("without its offset." if extent.offset is None else "with an offset."),
                "Write FLAT extents with the offset 0 after the name, VMFS and SPARSE extents "
                "without one.",
            )


def _find_extents(path: Path, descriptor: Descriptor, root: Path) -> list[Path]:
    """Return the file of each extent; raise one error that names all missing ones."""
    names = [extent.name for extent in descriptor.extents if extent.name is not None]
    files = [
        find_inside(name, folder=path.parent, root=root, namer=path, role="extent")
        for name in names
    ]
    missing: list[str] = []
    for name, file in dict(zip(names, files, strict=True)).items():
        if not file.exists():
            missing.append(name)
        else:
            stat_regular_file(file, wrong_kind=SourceUnsafeError)
    if missing:
        raise SourceUnreadableError(
            f"{shown(path)} is incomplete: of its {len(dict.fromkeys(names))} extent files these "
            f"are not in {shown(path.parent)}: {', '.join(map(shown, missing))}.",
            _how_to_complete(path, descriptor, missing),
        )
    return files


def _how_to_complete(path: Path, descriptor: Descriptor, missing: Sequence[str]) -> str:
    """Return the remedy for missing extents, with what is there in their stead."""
    try:
        present = {entry.name for entry in path.parent.iterdir()}
    except OSError:
        present = set()
    folded = {name.casefold(): name for name in present}
    for name in missing:
        if other := folded.get(name.casefold()):
            return f"The folder holds {shown(other)}: rename it to {shown(name)}, letter by letter."
        if not name.isascii() and _decoded(name, descriptor.encoding) in present:
            return (
                f"The files are there, but the descriptor writes their names in "
                f"{shown(descriptor.encoding)}: convert it with 'iconv -f "
                f"{shown(descriptor.encoding)} -t UTF-8'."
            )
        suffix = name.rpartition("-")[2]
        if (renamed := f"{path.stem}-{suffix}") in present:
            return (
                f"The folder holds {shown(renamed)}: if the disk was renamed, write the new "
                f"names into {shown(path.name)}."
            )
    return _COPY_ALL


def _decoded(name: str, encoding: str) -> str | None:
    try:
        codecs.lookup(encoding)
        return name.encode("utf-8", "surrogateescape").decode(encoding)
    except (LookupError, UnicodeError):
        return None


@dataclass(frozen=True, slots=True)
class _CheckedExtent:
    """How many sectors qemu takes from an extent, and whether VMware left it open."""

    sectors: int
    unclean: bool = False


def _check_extent(path: Path, extent: Extent, file: Path) -> _CheckedExtent:
    """Check that what the descriptor expects of an extent is there."""
    with open_file(file, wrong_kind=SourceUnsafeError) as opened:
        if extent.type != "SPARSE":
            end = ((extent.offset or 0) + extent.sectors) * SECTOR
            if opened.size < end:
                raise SourceUnreadableError(
                    f"{shown(file)} is cut off: it has {opened.size} bytes, but {shown(path)} "
                    f"needs {end}.",
                    "Copy the file again and compare its size and checksum with the original.",
                )
            return _CheckedExtent(extent.sectors)
        head = opened.read(0, SECTOR)
        if head.startswith(vmdk.COWD_MAGIC):
            raise cowd(file)
        header = vmdk.parse_sparse_header(head, shown(file))
        # A part needs no descriptor, but qemu goes by one if the header says a size of 0.
        _check_names(file, vmdk.parse_descriptor(_embedded_text(opened, header), shown(file)))
        if header.capacity != extent.sectors:
            raise SourceUnreadableError(
                f"{shown(file)} holds {header.capacity} sectors by its header, but "
                f"{shown(path)} expects {extent.sectors}.",
                "The parts are mixed up or damaged: copy the whole disk again.",
            )
        verify_complete(opened, header)
        return _CheckedExtent(header.capacity, header.unclean)


def _parent(path: Path, descriptor: Descriptor) -> Parent | None:
    if descriptor.parent_hint is None:
        if descriptor.parent_cid != vmdk.NO_PARENT:
            # qemu would take it for a disk of its own, full of holes.
            raise SourceUnreadableError(
                f"{shown(path)} is a snapshot or linked clone, but does not name its parent.",
                _CONSOLIDATE,
            )
        return None
    if descriptor.parent_cid == vmdk.NO_PARENT:
        raise SourceUnreadableError(
            f'{shown(path)} names a parent, "{shown(descriptor.parent_hint)}", but states that '
            "it has none (parentCID=ffffffff).",
            _CONSOLIDATE,
        )
    return Parent(descriptor.parent_hint, DiskFormat.VMDK, descriptor.parent_cid)


def _encrypted(path: Path) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{shown(path)} is encrypted by VMware.",
        "Decrypt the machine in VMware (remove its encryption), then give the disk.",
    )


def cowd(path: Path) -> SourceUnreadableError:
    """Return the refusal of an ESX "COWD" sparse extent."""
    return SourceUnreadableError(
        f"{shown(path)} is an ESX sparse extent (COWD), the form of ESX snapshots; such disks "
        "are not read.",
        _CONSOLIDATE,
    )


def is_part_name(path: Path) -> bool:
    """Tell whether VMware gives this name to a part of a disk, not to a disk."""
    return path.suffix.lower() == ".vmdk" and _PART_STEM.fullmatch(path.stem) is not None


def part_of_disk(path: Path) -> SourceUnreadableError:
    """Return the refusal of a single part of a disk, naming the descriptor to give instead."""
    match = _PART_STEM.fullmatch(path.stem)
    descriptor = path.with_name(f"{match[1]}.vmdk") if match else None
    message = f"{shown(path)} is only a part of a disk: it holds data, but no descriptor."
    if descriptor is None:
        return SourceUnreadableError(
            message, "Give the descriptor, the small text file NAME.vmdk beside it."
        )
    if descriptor.exists():
        return SourceUnreadableError(message, f"Give {shown(descriptor)} instead.")
    return SourceUnreadableError(
        message,
        f"Give the descriptor {shown(descriptor.name)}; it is not in the folder, so copy it from "
        "where this part came from.",
    )
