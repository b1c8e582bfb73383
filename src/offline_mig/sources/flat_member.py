"""A VMDK in several members of an archive: a descriptor, and data that are stored as they are.

A flat extent is a run of sectors, and so is a member of an archive; so a descriptor made for this
run can say where in the archive the extents lie, and nothing is unpacked. Of other extents qemu
wants a file of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import DiskFormat, DiskImage
from offline_mig.sources import vmdk, vmdk_as_qemu_reads
from offline_mig.sources.disk_image import ExaminedImage
from offline_mig.sources.file_access import open_file, shown
from offline_mig.sources.layer import Layer, LocatedExtent
from offline_mig.sources.ovf_package import OvfPackage, PackagedFile
from offline_mig.sources.rebuilt_descriptor import with_descriptors
from offline_mig.sources.vmdk import SECTOR, Descriptor
from offline_mig.sources.vmdk_kinds import check_text_kind, refuse_device
from offline_mig.sources.vmdk_layer import check_qemu_agrees

_FLAT_TYPES = {"FLAT", "VMFS"}


@dataclass(frozen=True, slots=True)
class FlatMember:
    """A descriptor in an archive with the members that hold its extents, in their order."""

    descriptor: Descriptor
    file: PackagedFile
    extents: tuple[PackagedFile, ...]


def find_flat_member(package: OvfPackage, file: PackagedFile, href: str) -> FlatMember | None:
    """Return what belongs to a member that is a descriptor; None for any other.

    ``href`` is its name in the OVF, beside which its extents lie.

    Raises SourceUnreadableError for one whose extents are missing or not flat, and
    SourceUnsafeError for names that lead out of the archive.
    """
    with open_file(file.path, window=file.window) as opened:
        head = opened.read(0, min(file.size, vmdk.MAX_DESCRIPTOR))
    if not vmdk.is_descriptor(head):
        return None
    where = Path(file.name)
    descriptor = vmdk.parse_descriptor(head, shown(where))
    refuse_device(where, descriptor)
    check_text_kind(where, descriptor)
    check_qemu_agrees(where, descriptor, head, vmdk_as_qemu_reads.extents(head))
    types = {extent.type for extent in descriptor.extents}
    if not types <= _FLAT_TYPES or descriptor.parent_hint is not None:
        raise SourceUnreadableError(
            f"{shown(where)} in {shown(file.path)} is a VMDK descriptor ({descriptor.create_type}) "
            "whose data lie in sparse files of their own, or in another disk.",
            "Unpack the archive with 'tar -xf' and give the OVF, or export the machine as an OVA "
            "again: there, every disk is a single file.",
        )
    found: list[PackagedFile] = []
    missing: list[str] = []
    for extent in descriptor.extents:
        # check_text_kind() lets no flat extent through that has no name.
        name = str(PurePosixPath(href).parent / (extent.name or ""))
        member = package.find(name, "extent")
        if member is None:
            missing.append(shown(name))
            continue
        end = ((extent.offset or 0) + extent.sectors) * SECTOR
        if member.size < end:
            raise SourceUnreadableError(
                f"{shown(name)} is cut off: it has {member.size} bytes, but {shown(where)} needs "
                f"{end}.",
                "Export the machine again.",
            )
        found.append(member)
    if missing:
        raise SourceUnreadableError(
            f"{shown(where)} names extents that are not in {package.where()}: "
            f"{', '.join(missing)}.",
            "Export the machine again.",
        )
    return FlatMember(descriptor, file, tuple(found))


def examine_flat_member(flat: FlatMember, scratch: Path) -> ExaminedImage:
    """Return the image of a descriptor in an archive; writes one into ``scratch``."""
    archive = flat.file.path
    layer = Layer(
        format=DiskFormat.VMDK,
        kind=flat.descriptor.create_type,
        files=(Path(flat.file.name),),
        virtual_size=sum(extent.sectors for extent in flat.descriptor.extents) * SECTOR,
        cid=flat.descriptor.cid,
        extents=tuple(
            LocatedExtent(
                extent.sectors, "FLAT", archive, member.offset // SECTOR + (extent.offset or 0)
            )
            for extent, member in zip(flat.descriptor.extents, flat.extents, strict=True)
        ),
        rebuilt=True,
    )
    (written,) = with_descriptors([layer], scratch)
    image = DiskImage(
        written.files[0],
        written.format,
        written.kind,
        written.files,
        written.virtual_size,
        member=flat.file.name,
        temporary=written.files[:1],
    )
    return ExaminedImage(image)
