"""A disk image with all that it is based on, checked before qemu gets to see it.

Not covered: someone who changes the files after this check. The folder of a source must be as
trustworthy as the user who converts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OfflineMigError, SourceUnreadableError, ToolFailedError
from offline_mig.images import qemu_img
from offline_mig.images.image_lock import refuse_in_use
from offline_mig.machine import DiskFormat, DiskImage, Window
from offline_mig.sources.file_access import shown, stat_regular_file, unreadable
from offline_mig.sources.image_chain import read_layer, read_layers
from offline_mig.sources.named_files import Bounds
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.rebuilt_descriptor import with_descriptors, written_descriptors


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


def examine_disk_image(
    path: Path,
    image_format: DiskFormat | None = None,
    options: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
    scratch: Path | None = None,
) -> ExaminedImage:
    """Check the disk image at ``path`` and everything that it is based on.

    The format is told from the content unless ``image_format`` states it. The path may be a
    link; what the image names must lie in the folder of the file that it leads to, or where
    ``options`` allow it, and the DiskImage has that file's absolute path. Nothing is written but
    descriptors that are made anew, into ``scratch``; without that there are none.

    Raises SourceUnreadableError when the image is missing, incomplete, in use or of a kind that
    is not read, SourceUnsafeError when it names files outside of its folder.
    """
    stat_regular_file(path)
    try:
        start = path.resolve(strict=True)
    except OSError as error:
        raise unreadable(path, error) from error
    rebuild = options.rebuild_descriptor and scratch is not None
    layers = read_layers(start, image_format, options.bounds(start.parent), rebuild=rebuild)
    for file in dict.fromkeys(file for layer in layers for file in layer.files):
        refuse_locked(file)
        refuse_in_use(file)
    notes = [note for layer in layers for note in layer.notes]
    if len(layers) > 1:
        below = ", ".join(
            f"{shown(layer.files[0].name)} ({layer.format.value})" for layer in layers[1:]
        )
        notes.append(f"{shown(start.name)} is based on {below}; its current state is taken.")
    if scratch is not None and any(layer.rebuilt for layer in layers):
        layers = with_descriptors(layers, scratch)
    top = layers[0]
    image = DiskImage(
        top.files[0],
        top.format,
        top.kind,
        tuple(dict.fromkeys(file for layer in layers for file in layer.files)),
        top.virtual_size,
        temporary=written_descriptors(layers),
    )
    _ask_qemu(start, image)
    return ExaminedImage(image, tuple(notes))


def examine_member(
    path: Path, window: Window, member: str, image_format: DiskFormat | None = None
) -> ExaminedImage:
    """Check the disk image ``member`` that lies in a ``window`` of the archive ``path``.

    ``path`` is resolved. Raises as examine_disk_image() does, also for an image that is based on
    another.
    """
    try:
        layer = read_layer(path, image_format, Bounds(path.parent), window, Path(member))
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


def _ask_qemu(given: Path, image: DiskImage) -> None:
    """Take qemu-img's opinion on a VMDK, which must be the one found here.

    Raises SourceUnreadableError where it cannot open the disk or sees another size.
    """
    if image.format is not DiskFormat.VMDK:
        return
    try:
        size = qemu_img.info(image.path, image.format).virtual_size
    except ToolFailedError as error:
        raise SourceUnreadableError(
            f"{shown(given)} looks sound, but qemu-img cannot open it: {error.message}",
            "Copy the disk again from where it came from, or make a full clone of it in VMware.",
        ) from error
    if size != image.virtual_size:
        raise SourceUnreadableError(
            f"{shown(given)} has {image.virtual_size} bytes by its descriptor and headers, but "
            f"qemu-img reads {size}.",
            "Make a full clone of the disk in VMware and give that.",
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
