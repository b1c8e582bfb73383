"""Images that others are based on: what a snapshot left behind is not what the guest has now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from offline_mig.errors import OfflineMigError
from offline_mig.images.qcow2_header import MAGIC as QCOW2_MAGIC
from offline_mig.images.qcow2_header import MAX_HEADER, parse_qcow2_header
from offline_mig.sources.file_access import shown
from offline_mig.sources.vmdk import SECTOR, SPARSE_MAGIC, is_descriptor
from offline_mig.sources.vmdk_as_qemu_reads import PARENT_WINDOW, parent_name

#: Enough of a file to tell what it is, and what a VMDK names as its parent.
_HEAD = SECTOR + PARENT_WINDOW


def images_based_on(image: Path) -> Iterator[Path]:
    """Yield the images in the same folder that name ``image`` as what they are based on.

    Only their heads are read.
    """
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


def without_parents(images: Sequence[Path]) -> list[Path]:
    """Return those of the images that no other of them is based on."""
    parents = {(path.parent / parent).resolve() for path in images if (parent := _parent(path))}
    return [path for path in images if path.resolve() not in parents]


def newer_state_notes(image: Path) -> tuple[str, ...]:
    """Return a note where the state of a disk is one that a snapshot keeps."""
    try:
        newer = [shown(path.name) for path in images_based_on(image)]
    except OSError:
        # A folder that cannot be listed; the disk itself can be read.
        return ()
    if not newer:
        return ()
    are = "is" if len(newer) == 1 else "are"
    note = (
        f"{', '.join(newer)} {are} based on {shown(image.name)}: what was changed after that "
        "snapshot is not in it. For the current state give the machine's VMX file, or that disk."
    )
    return (note,)


def _parent(path: Path) -> str | None:
    """Return what an image names as the one it is based on; None for whatever else."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            if head.startswith(QCOW2_MAGIC):
                head += stream.read(MAX_HEADER - _HEAD)
                return parse_qcow2_header(head, shown(path)).backing_file
    except (OSError, OfflineMigError):
        # Whatever it is, qemu could not open it on top of the image either.
        return None
    if head.startswith(SPARSE_MAGIC):
        return parent_name(head[SECTOR:])
    return parent_name(head) if is_descriptor(head) else None
