"""A disk image with all that it is based on, checked before qemu gets to see it.

Not covered: someone who changes the files after this check. The folder of a source must be as
trustworthy as the user who converts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.images.image_lock import refuse_in_use
from offline_mig.machine import DiskFormat, DiskImage, Window
from offline_mig.sources.disk_format import HEAD, recognise
from offline_mig.sources.file_access import open_file, shown, stat_regular_file, unreadable
from offline_mig.sources.hypervisor_layer import VHD_FOOTER, read_hypervisor_layer
from offline_mig.sources.layer import Layer, Parent
from offline_mig.sources.named_files import find_inside
from offline_mig.sources.qcow2_layer import read_qcow2_layer
from offline_mig.sources.vmdk_layer import read_vmdk_layer

#: Longer chains are damaged; VMware allows 32 snapshots on ESX and some 100 on Workstation.
MAX_LAYERS = 256
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class ExaminedImage:
    """A disk image, and sentences for the user about what was noticed."""

    image: DiskImage
    notes: tuple[str, ...] = ()


def open_disk_image(path: Path, format: DiskFormat | None = None) -> DiskImage:  # noqa: A002
    """Return the disk image at ``path`` after checking every file that it consists of.

    See examine_disk_image(), which also returns what was noticed.
    """
    return examine_disk_image(path, format).image


def examine_disk_image(path: Path, image_format: DiskFormat | None = None) -> ExaminedImage:
    """Check the disk image at ``path`` and everything that it is based on.

    The format is told from the content unless ``image_format`` states it. The path may be a
    link; what the image names must lie in the folder of the file that it leads to, and the
    DiskImage has that file's absolute path. Nothing is written.

    Raises SourceUnreadableError when the image is missing, incomplete, in use or of a kind that
    is not read, SourceUnsafeError when it names files outside of its folder.
    """
    stat_regular_file(path)
    try:
        start = path.resolve(strict=True)
    except OSError as error:
        raise unreadable(path, error) from error
    layers = _read_layers(start, image_format)
    files = tuple(dict.fromkeys(file for layer in layers for file in layer.files))
    for file in files:
        refuse_locked(file)
        refuse_in_use(file)
    notes = [note for layer in layers for note in layer.notes]
    if len(layers) > 1:
        below = ", ".join(
            f"{shown(layer.files[0].name)} ({layer.format.value})" for layer in layers[1:]
        )
        notes.append(f"{shown(start.name)} is based on {below}; its current state is taken.")
    top = layers[0]
    return ExaminedImage(
        DiskImage(start, top.format, top.kind, files, top.virtual_size), tuple(notes)
    )


def examine_member(
    path: Path, window: Window, member: str, image_format: DiskFormat | None = None
) -> ExaminedImage:
    """Check the disk image ``member`` that lies in a ``window`` of the archive ``path``.

    ``path`` is resolved. Raises as examine_disk_image() does, also for an image that is based on
    another.
    """
    try:
        layer = _read_layer(path, image_format, path.parent, window, Path(member))
        if layer.parent is not None:
            raise SourceUnreadableError(
                f"{shown(path)} holds an image that is based on another, "
                f"{shown(layer.parent.name)}.",
                "Consolidate the machine's snapshots where it came from and export it again.",
            )
    except OfflineMigError as error:
        # The sentences know only of files, and this is not the whole of one.
        message = error.message.replace(shown(path), f"{shown(member)} in {shown(path)}")
        raise type(error)(message, error.remedy) from error
    return ExaminedImage(
        DiskImage(path, layer.format, layer.kind, (path,), layer.virtual_size, window, member),
        layer.notes,
    )


def refuse_locked(path: Path) -> None:
    """Raise SourceUnreadableError when VMware holds a lock on ``path``.

    Workstation and Fusion keep a folder NAME.lck with a file in it while a disk or a machine is
    open. An empty folder is a leftover and holds no lock.
    """
    lock = path.with_name(path.name + ".lck")
    try:
        held = any(lock.iterdir()) if lock.is_dir() else lock.exists()
    except OSError as error:
        raise unreadable(lock, error) from error
    if held:
        raise SourceUnreadableError(
            f"{shown(path)} seems to be in use by a running machine: {shown(lock.name)} lies "
            "beside it.",
            "Shut the machine down and close VMware. If it is not running, or this is a copy, "
            f"delete {shown(lock.name)}.",
        )


def _read_layers(start: Path, image_format: DiskFormat | None) -> list[Layer]:
    """Return the image's own layer and those that it is based on, the nearest first."""
    root = start.parent
    layers = [_read_layer(start, image_format, root)]
    seen = {start}
    path = start
    while (named := layers[-1].parent) is not None:
        parent = _find_parent(path, named, root)
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
        layer = _read_layer(parent, named.format or _unstated_format(path, parent), root)
        _check_content_id(path, named, parent, layer)
        layers.append(layer)
        seen.add(resolved)
        path = parent
    return layers


def _read_layer(
    path: Path,
    stated: DiskFormat | None,
    root: Path,
    window: Window | None = None,
    member: Path | None = None,
) -> Layer:
    """Return the layer at ``path``, in the format that is stated or that it shows.

    ``member`` is the name of what lies in the ``window``.
    """
    with open_file(path, wrong_kind=SourceUnsafeError, window=window) as file:
        size = file.size
        head = file.read(0, HEAD)
        tail = file.read(max(size - VHD_FOOTER, 0), VHD_FOOTER)
    # An empty file is told so whatever its format should be.
    name = member or path
    found = stated if stated is DiskFormat.RAW and size else recognise(name, head, size, tail)
    if stated is not None and found is not stated:
        raise SourceUnreadableError(
            f"{shown(path)} should be a {stated.value} image, but is a {found.value} image.",
            "State the format that it has, or none.",
        )
    if found is DiskFormat.VMDK:
        return read_vmdk_layer(path, root, window)
    if found is DiskFormat.QCOW2:
        return read_qcow2_layer(path, window)
    if found in (DiskFormat.VDI, DiskFormat.VHD, DiskFormat.VHDX):
        return read_hypervisor_layer(path, found, window)
    # qemu rounds a raw image up to whole sectors.
    return Layer(found, found.value, (path,), -(-size // _SECTOR) * _SECTOR)


def _find_parent(path: Path, parent: Parent, root: Path) -> Path:
    found = find_inside(parent.name, folder=path.parent, root=root, namer=path, role="parent")
    stat_regular_file(
        found,
        missing=f"{shown(path.name)} is based on it: copy it into the folder as well, or "
        "consolidate the snapshots and give the resulting disk.",
        wrong_kind=SourceUnsafeError,
    )
    return found


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


def _check_content_id(path: Path, named: Parent, parent: Path, layer: Layer) -> None:
    """Compare the content id that a VMDK expects of its parent with the one that it has."""
    if named.cid is None or layer.cid == named.cid:
        return
    has = "none" if layer.cid is None else f"{layer.cid:08x}"
    raise SourceUnreadableError(
        f"{shown(path)} is based on {shown(parent)} with the content id {named.cid:08x}, but "
        f"that has {has}: it was changed or exchanged since the snapshot was made.",
        "Find the right parent disk; data would come out mixed otherwise.",
    )
