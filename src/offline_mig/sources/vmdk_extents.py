"""The files that a VMDK descriptor lists: inside the folder, all there, and long enough."""

from __future__ import annotations

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
from offline_mig.sources.named_files import Bounds, check_name, find_inside
from offline_mig.sources.vmdk import SECTOR, Descriptor, Extent, SparseHeader
from offline_mig.sources.vmdk_cowd import read_cowd
from offline_mig.sources.vmdk_grains import verify_complete
from offline_mig.sources.vmdk_kinds import CONSOLIDATE, refuse_device
from offline_mig.sources.vmdk_renamed import Renamed, find_renamed, how_to_complete
from offline_mig.sources.vmdk_sesparse import read_sesparse


def check_names(
    path: Path, descriptor: Descriptor, bounds: Bounds, *, rebuild: bool = False
) -> None:
    """Judge everything that the descriptor names by its name alone.

    With ``rebuild`` the parent may be found by other means than its name.
    """
    refuse_device(path, descriptor)
    for extent in descriptor.extents:
        if extent.name is not None:
            check_name(extent.name, path, "extent", bounds)
    if descriptor.parent_hint is not None and not rebuild:
        try:
            check_name(descriptor.parent_hint, path, "parent", bounds)
        except SourceUnsafeError as error:
            raise SourceUnsafeError(
                error.message,
                f"{CONSOLIDATE} Where the parent lies beside it, --rebuild-descriptor finds it "
                f"there by its content id. {error.remedy}",
            ) from error


def embedded_text(file: OpenFile, header: SparseHeader) -> bytes:
    """Return the descriptor inside a sparse extent, empty when it has none."""
    if header.descriptor_offset == 0:
        return b""
    # With a capacity of 0 qemu reads on to the end of the file, past the stated size.
    size = vmdk.MAX_DESCRIPTOR if header.capacity == 0 else header.descriptor_size * SECTOR
    text = file.read(header.descriptor_offset * SECTOR, min(size, vmdk.MAX_DESCRIPTOR))
    return text.split(b"\0", 1)[0]


@dataclass(frozen=True, slots=True)
class FoundExtents:
    """The file of each extent, and those of them that have other names than the descriptor says."""

    files: tuple[Path, ...]
    renamed: tuple[Renamed, ...] = ()


def find_extents(
    path: Path, descriptor: Descriptor, bounds: Bounds, *, rebuild: bool
) -> FoundExtents:
    """Return the file of each extent.

    ``rebuild`` takes files that were renamed. Raises one SourceUnreadableError that names all
    missing ones, and what is there in their stead.
    """
    names = [extent.name for extent in descriptor.extents if extent.name is not None]
    files = {
        name: find_inside(name, folder=path.parent, bounds=bounds, namer=path, role="extent")
        for name in names
    }
    missing: list[str] = []
    for name, file in files.items():
        if not exists(file):
            missing.append(name)
        else:
            stat_regular_file(file, wrong_kind=SourceUnsafeError)
    if not missing:
        return FoundExtents(tuple(files[name] for name in names))
    renamed = find_renamed(path, descriptor, missing)
    if rebuild and len(renamed) == len(missing):
        for one in renamed:
            files[one.name] = find_inside(
                one.file.name, folder=path.parent, bounds=bounds, namer=path, role="extent"
            )
            stat_regular_file(one.file, wrong_kind=SourceUnsafeError)
        return FoundExtents(tuple(files[name] for name in names), renamed)
    raise SourceUnreadableError(
        f"{shown(path)} is incomplete: of its {len(files)} extent files these "
        f"are not in {shown(path.parent)}: {', '.join(map(shown, missing))}.",
        how_to_complete(path, missing, renamed),
    )


@dataclass(frozen=True, slots=True)
class CheckedExtent:
    """How many sectors qemu takes from an extent, and whether VMware left it open."""

    sectors: int
    unclean: bool = False


def check_extent(path: Path, extent: Extent, file: Path, bounds: Bounds) -> CheckedExtent:
    """Check that what the descriptor expects of an extent is there."""
    with open_file(file, wrong_kind=SourceUnsafeError) as opened:
        match extent.type:
            case "SPARSE":
                return _check_sparse(path, extent, opened, bounds)
            case "VMFSSPARSE":
                capacity = read_cowd(opened).capacity
            case "SESPARSE":
                capacity = read_sesparse(opened).capacity
            case _:
                end = ((extent.offset or 0) + extent.sectors) * SECTOR
                if opened.size < end:
                    raise SourceUnreadableError(
                        f"{shown(file)} is cut off: it has {opened.size} bytes, but {shown(path)} "
                        f"needs {end}.",
                        "Copy the file again and compare its size and checksum with the original.",
                    )
                capacity = extent.sectors
        _require_capacity(path, extent, file, capacity)
        return CheckedExtent(capacity)


def _check_sparse(path: Path, extent: Extent, opened: OpenFile, bounds: Bounds) -> CheckedExtent:
    file = opened.path
    header = vmdk.parse_sparse_header(opened.read(0, SECTOR), shown(file))
    # A part needs no descriptor, but qemu goes by one if the header says a size of 0.
    inner = vmdk.parse_descriptor(embedded_text(opened, header), shown(file))
    check_names(file, inner, bounds)
    _require_capacity(path, extent, file, header.capacity)
    verify_complete(opened, header)
    return CheckedExtent(header.capacity, header.unclean)


def _require_capacity(path: Path, extent: Extent, file: Path, capacity: int) -> None:
    if capacity != extent.sectors:
        raise SourceUnreadableError(
            f"{shown(file)} holds {capacity} sectors by its header, but "
            f"{shown(path)} expects {extent.sectors}.",
            "The parts are mixed up or damaged: copy the whole disk again.",
        )
