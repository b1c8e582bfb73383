"""An image and the ones that it is based on, one after the other, each checked.

All that is wrong with how they hang together is told at once, link by link: whoever copies the
files of a machine by hand wants to go back for them only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import DiskFormat, Window
from offline_mig.sources.disk_format import HEAD, recognise
from offline_mig.sources.file_access import exists, open_file, shown, stat_regular_file
from offline_mig.sources.hypervisor_layer import VHD_FOOTER, read_hypervisor_layer
from offline_mig.sources.layer import Layer, Parent
from offline_mig.sources.lost_parent import find_lost_parent
from offline_mig.sources.named_files import Bounds, find_inside
from offline_mig.sources.qcow2_layer import read_qcow2_layer
from offline_mig.sources.vmdk_kinds import descriptor_beside, is_flat_name
from offline_mig.sources.vmdk_layer import read_lone_flat, read_vmdk_layer

#: Longer chains are damaged; VMware allows 32 snapshots on ESX and some 100 on Workstation.
MAX_LAYERS = 256
_SECTOR = 512


def read_layers(
    start: Path, image_format: DiskFormat | None, bounds: Bounds, *, rebuild: bool
) -> tuple[Layer, ...]:
    """Return the image's own layer and those that it is based on, the nearest first.

    ``start`` is resolved. Raises SourceUnreadableError, which names every broken link, and
    SourceUnsafeError.
    """
    layers = [read_layer(start, image_format, bounds, rebuild=rebuild)]
    links = [shown(start.name)]
    faults: list[str] = []
    seen = {start}
    path = start
    while (named := layers[-1].parent) is not None:
        parent = _find_parent(path, named, bounds, rebuild=rebuild)
        links.append(shown(parent.name))
        if not exists(parent):
            _refuse_missing(path, parent, find_lost_parent(path, named, bounds), links, faults)
        if parent != path.parent / named.name:
            note = (
                f"{shown(path.name)} names {shown(named.name)} as its parent; "
                f"{shown(parent.name)} was taken for it, by a descriptor that was made for this "
                "run."
            )
            layers[-1] = replace(layers[-1], rebuilt=True, notes=(*layers[-1].notes, note))
        stat_regular_file(parent, wrong_kind=SourceUnsafeError)
        resolved = parent.resolve()
        if resolved in seen:
            raise SourceUnreadableError(
                f"{shown(path)} names {shown(parent)} as its parent, which is based on itself.",
                "Copy the disk again from where it came from.",
            )
        if len(layers) >= MAX_LAYERS:
            raise SourceUnreadableError(
                f"{shown(start)} is based on more than {MAX_LAYERS} images.",
                "Consolidate the snapshots and give the resulting disk.",
            )
        stated = named.format or _unstated_format(path, parent)
        try:
            layer = read_layer(parent, stated, bounds, rebuild=rebuild)
        except SourceUnreadableError as error:
            if not faults:
                raise
            message = f"{_told(links, faults)} Besides: {error.message}"
            raise SourceUnreadableError(message, error.remedy) from error
        if (fault := _content_id_fault(path, named, parent, layer)) is not None:
            faults.append(fault)
        layers.append(layer)
        seen.add(resolved)
        path = parent
    if faults:
        raise SourceUnreadableError(
            _told(links, faults),
            "Find the right parent disks; data would come out mixed otherwise.",
        )
    return tuple(layers)


def read_layer(
    path: Path,
    stated: DiskFormat | None,
    bounds: Bounds,
    window: Window | None = None,
    member: Path | None = None,
    *,
    rebuild: bool = False,
) -> Layer:
    """Return the layer at ``path``, in the format that is stated or that it shows.

    ``member`` is the name of what lies in the ``window``. ``rebuild`` lets through what takes a
    new descriptor. Raises SourceUnreadableError, SourceUnsafeError.
    """
    with open_file(path, wrong_kind=SourceUnsafeError, window=window) as file:
        size = file.size
        head = file.read(0, HEAD)
        tail = file.read(max(size - VHD_FOOTER, 0), VHD_FOOTER)
    if rebuild and is_lone_flat(path):
        return read_lone_flat(path)
    # An empty file is told so whatever its format should be.
    name = member or path
    found = stated if stated is DiskFormat.RAW and size else recognise(name, head, size, tail)
    if stated is not None and found is not stated:
        raise SourceUnreadableError(
            f"{shown(path)} should be a {stated.value} image, but is a {found.value} image.",
            "State the format that it has, or none.",
        )
    if found is DiskFormat.VMDK:
        return read_vmdk_layer(path, bounds, window, rebuild=rebuild)
    if found is DiskFormat.QCOW2:
        return read_qcow2_layer(path, bounds, window)
    if found in (DiskFormat.VDI, DiskFormat.VHD, DiskFormat.VHDX):
        return read_hypervisor_layer(path, found, window)
    # qemu rounds a raw image up to whole sectors.
    return Layer(found, found.value, (path,), -(-size // _SECTOR) * _SECTOR)


def is_lone_flat(path: Path) -> bool:
    """Tell whether a file has the name of a flat one and the descriptor to it is not there."""
    descriptor = descriptor_beside(path) if is_flat_name(path) else None
    return descriptor is not None and not exists(descriptor)


def _find_parent(path: Path, named: Parent, bounds: Bounds, *, rebuild: bool) -> Path:
    """Return where a parent is by its name, or for ``rebuild`` by its content id.

    It need not exist. Raises SourceUnsafeError for a name that leads where it may not.
    """
    refusal: SourceUnsafeError | None = None
    parent = path
    try:
        parent = find_inside(
            named.name, folder=path.parent, bounds=bounds, namer=path, role="parent"
        )
    except SourceUnsafeError as error:
        if not rebuild:
            raise
        refusal = error
    if rebuild and (refusal is not None or not exists(parent)):
        lost = find_lost_parent(path, named, bounds)
        if lost is not None:
            return find_inside(
                lost.name, folder=lost.parent, bounds=bounds, namer=path, role="parent"
            )
    if refusal is not None:
        raise refusal
    return parent


def _refuse_missing(
    path: Path, parent: Path, lost: Path | None, links: Sequence[str], faults: list[str]
) -> NoReturn:
    faults.append(f"{shown(parent)} does not exist.")
    remedy = (
        f"{shown(path.name)} is based on it: copy it into the folder as well, or consolidate the "
        "snapshots and give the resulting disk."
    )
    if lost is not None:
        remedy += (
            f" {shown(lost)} seems to be it: --rebuild-descriptor takes it, by a descriptor for "
            "this run."
        )
    raise SourceUnreadableError(_told(links, faults), remedy)


def _told(links: Sequence[str], faults: Sequence[str]) -> str:
    """Return what is wrong with a chain, each broken link after the other."""
    if len(faults) == 1 and len(links) <= 2:
        return faults[0]
    return f"The chain {' -> '.join(links)} is broken: {' '.join(faults)}"


def _unstated_format(path: Path, parent: Path) -> DiskFormat:
    """Return the format of a qcow2 backing file that the header does not state.

    qemu will probe it. Only where that cannot come out otherwise than here is it let through.
    """
    with open_file(parent, wrong_kind=SourceUnsafeError) as file:
        found = recognise(parent, file.read(0, HEAD), file.size)
    if found is not DiskFormat.QCOW2:
        raise SourceUnreadableError(
            f"{shown(path)} does not state the format of the image that it is based on, "
            f"{shown(parent)}.",
            f"If it is a {found.value} image, say so in a copy: 'qemu-img rebase -u -b "
            f"{shown(parent.name)} -F {found.value}'.",
        )
    return found


def _content_id_fault(path: Path, named: Parent, parent: Path, layer: Layer) -> str | None:
    """Return what is wrong where a VMDK expects another content id of its parent than it has."""
    # Of a disk without a descriptor nobody knows it.
    if named.cid is None or layer.cid == named.cid or (layer.rebuilt and layer.cid is None):
        return None
    has = "none" if layer.cid is None else f"{layer.cid:08x}"
    return (
        f"{shown(path)} is based on {shown(parent)} with the content id {named.cid:08x}, but "
        f"that has {has}: it was changed or exchanged since the snapshot was made."
    )
