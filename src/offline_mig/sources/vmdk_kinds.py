"""The kinds of VMDK: which are read, and why each of the others is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.sources.file_access import exists, shown
from offline_mig.sources.vmdk import Descriptor

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
#: createTypes that qemu opens by a text descriptor (vmdk_open_desc_file()), and the extents that
#: each may have.
_EXTENTS_OF = {
    "monolithicFlat": {"FLAT"},
    "vmfs": {"VMFS", "FLAT"},
    "twoGbMaxExtentFlat": {"FLAT"},
    "twoGbMaxExtentSparse": {"SPARSE"},
    "vmfsSparse": {"VMFSSPARSE"},
    "seSparse": {"SESPARSE"},
}
EMBEDDED_TYPES = {"monolithicSparse", "streamOptimized"}
#: Spellings of older VMware products and of products that qemu does not open, and what to put.
_SAME_AS = {
    "2GbMaxExtentSparse": "twoGbMaxExtentSparse",
    "2GbMaxExtentFlat": "twoGbMaxExtentFlat",
    "vmfsThin": "vmfs",
    "vmfsPreallocated": "vmfs",
    "vmfsEagerZeroedThick": "vmfs",
}
#: How VMware names the files that a descriptor stands beside, the map of changed blocks (ctk)
#: among them.
_PART_STEM = re.compile(r"(.+)-(?:flat|[sf]\d{3,}|delta|sesparse|rdmp?|pt|ctk)", re.IGNORECASE)
CONSOLIDATE = (
    "Consolidate the machine's snapshots in VMware, or make a full clone, and give the resulting "
    "disk."
)


def refuse_device(path: Path, descriptor: Descriptor) -> None:
    """Raise SourceUnsafeError for a disk whose data lie on a physical disk or LUN."""
    if descriptor.create_type.lower() in _DEVICE_TYPES or any(
        extent.type.upper() in _DEVICE_EXTENTS for extent in descriptor.extents
    ):
        raise SourceUnsafeError(
            f"{shown(path)} is no disk image but a pointer to a physical disk or LUN "
            f'(createType "{shown(descriptor.create_type)}").',
            "Make a full clone to a virtual disk in VMware, such as with 'vmkfstools -i', and "
            "give that.",
        )


def check_text_kind(path: Path, descriptor: Descriptor) -> None:
    """Raise SourceUnreadableError unless qemu opens a text descriptor of this kind as it stands."""
    if descriptor.encrypted:
        raise encrypted(path)
    kind = descriptor.create_type
    if kind in _SAME_AS:
        raise SourceUnreadableError(
            f'{shown(path)} has the createType "{kind}", which qemu does not open.',
            f'Write createType="{_SAME_AS[kind]}" in it: the files are laid out the same. '
            "--rebuild-descriptor does so for this run alone.",
        )
    allowed = _EXTENTS_OF.get(kind)
    if allowed is None:
        raise SourceUnreadableError(
            f'{shown(path)} has the createType "{shown(kind)}"; read are '
            f"{', '.join([*_EXTENTS_OF, *sorted(EMBEDDED_TYPES)])}."
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
                "Write FLAT extents with the offset 0 after the name, all others without one.",
            )


def in_words_of_qemu(descriptor: Descriptor) -> Descriptor:
    """Return a descriptor with the createType that qemu has for it, where it has another."""
    kind = descriptor.create_type
    return replace(descriptor, create_type=_SAME_AS.get(kind, kind))


def encrypted(path: Path) -> SourceUnreadableError:
    """Return the refusal of a disk that VMware encrypted."""
    return SourceUnreadableError(
        f"{shown(path)} is encrypted by VMware.",
        "Decrypt the machine in VMware (remove its encryption), then give the disk.",
    )


def is_part_name(path: Path) -> bool:
    """Tell whether VMware gives this name to a part of a disk, not to a disk."""
    return path.suffix.lower() == ".vmdk" and _PART_STEM.fullmatch(path.stem) is not None


def is_flat_name(path: Path) -> bool:
    """Tell whether VMware gives this name to the data of a disk in one piece, stored as it is."""
    return is_part_name(path) and path.stem.lower().endswith("-flat")


def flat_beside(descriptor: Path) -> Path:
    """Return the file that holds the data of a disk in one piece, by VMware's way of naming."""
    return descriptor.with_name(f"{descriptor.stem}-flat.vmdk")


def descriptor_beside(path: Path) -> Path | None:
    """Return the descriptor that belongs to a part by its name, None for other names."""
    match = _PART_STEM.fullmatch(path.stem) if is_part_name(path) else None
    return path.with_name(f"{match[1]}.vmdk") if match else None


def part_of_disk(path: Path) -> SourceUnreadableError:
    """Return the refusal of a single part of a disk, naming the descriptor to give instead."""
    descriptor = descriptor_beside(path)
    message = f"{shown(path)} is only a part of a disk: it holds data, but no descriptor."
    if descriptor is None:
        return SourceUnreadableError(
            message, "Give the descriptor, the small text file NAME.vmdk beside it."
        )
    if exists(descriptor):
        return SourceUnreadableError(message, f"Give {shown(descriptor)} instead.")
    remedy = (
        f"Give the descriptor {shown(descriptor.name)}; it is not in the folder, so copy it from "
        "where this part came from."
    )
    if is_flat_name(path):
        remedy += " If it is lost, give --rebuild-descriptor, which makes one for this run."
    return SourceUnreadableError(message, remedy)
