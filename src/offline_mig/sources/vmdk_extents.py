"""The files that a VMDK descriptor lists: inside the folder, all there, and long enough."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.sources import vmdk
from offline_mig.sources.file_access import (
    OpenFile,
    exists,
    open_file,
    shown,
    stat_regular_file,
)
from offline_mig.sources.named_files import check_name, find_inside
from offline_mig.sources.vmdk import SECTOR, Descriptor, Extent, SparseHeader
from offline_mig.sources.vmdk_grains import verify_complete
from offline_mig.sources.vmdk_kinds import CONSOLIDATE, cowd, refuse_device

_COPY_ALL = "Copy every file of the disk, with its name unchanged, into the folder."


def check_names(path: Path, descriptor: Descriptor) -> None:
    """Judge everything that the descriptor names by its name alone."""
    refuse_device(path, descriptor)
    for extent in descriptor.extents:
        if extent.name is not None:
            check_name(extent.name, path, "extent")
    if descriptor.parent_hint is not None:
        try:
            check_name(descriptor.parent_hint, path, "parent")
        except SourceUnsafeError as error:
            raise SourceUnsafeError(error.message, CONSOLIDATE) from error


def embedded_text(file: OpenFile, header: SparseHeader) -> bytes:
    """Return the descriptor inside a sparse extent, empty when it has none."""
    if header.descriptor_offset == 0:
        return b""
    # With a capacity of 0 qemu reads on to the end of the file, past the stated size.
    size = vmdk.MAX_DESCRIPTOR if header.capacity == 0 else header.descriptor_size * SECTOR
    text = file.read(header.descriptor_offset * SECTOR, min(size, vmdk.MAX_DESCRIPTOR))
    return text.split(b"\0", 1)[0]


def find_extents(path: Path, descriptor: Descriptor, root: Path) -> list[Path]:
    """Return the file of each extent; raise one error that names all missing ones."""
    names = [extent.name for extent in descriptor.extents if extent.name is not None]
    files = [
        find_inside(name, folder=path.parent, root=root, namer=path, role="extent")
        for name in names
    ]
    missing: list[str] = []
    for name, file in dict(zip(names, files, strict=True)).items():
        if not exists(file):
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
class CheckedExtent:
    """How many sectors qemu takes from an extent, and whether VMware left it open."""

    sectors: int
    unclean: bool = False


def check_extent(path: Path, extent: Extent, file: Path) -> CheckedExtent:
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
            return CheckedExtent(extent.sectors)
        head = opened.read(0, SECTOR)
        if head.startswith(vmdk.COWD_MAGIC):
            raise cowd(file)
        header = vmdk.parse_sparse_header(head, shown(file))
        # A part needs no descriptor, but qemu goes by one if the header says a size of 0.
        check_names(file, vmdk.parse_descriptor(embedded_text(opened, header), shown(file)))
        if header.capacity != extent.sectors:
            raise SourceUnreadableError(
                f"{shown(file)} holds {header.capacity} sectors by its header, but "
                f"{shown(path)} expects {extent.sectors}.",
                "The parts are mixed up or damaged: copy the whole disk again.",
            )
        verify_complete(opened, header)
        return CheckedExtent(header.capacity, header.unclean)
