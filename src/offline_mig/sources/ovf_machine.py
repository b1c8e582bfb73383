"""The machine of an OVF or OVA: its description, with every disk found, verified and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from offline_mig.errors import OfflineMigError, SourceUnreadableError
from offline_mig.images.image_lock import refuse_in_use
from offline_mig.machine import Disk, DiskFormat, Firmware, Machine
from offline_mig.sources.disk_image import (
    ExaminedImage,
    examine_disk_image,
    examine_member,
    refuse_locked,
)
from offline_mig.sources.file_access import shown
from offline_mig.sources.flat_member import FlatMember, examine_flat_member, find_flat_member
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.ovf import MAX_OVF, OvfDisk, OvfEnvelope, OvfFile, parse_ovf
from offline_mig.sources.ovf_hardware import OvfHardware, PlacedDisk, read_hardware
from offline_mig.sources.ovf_manifest import (
    MAX_MANIFEST,
    ManifestEntry,
    parse_manifest,
    verify_files,
)
from offline_mig.sources.ovf_package import OvfPackage, PackagedFile, open_package
from offline_mig.sources.packed_disk import find_chunks, require_chunks, unpack

_MIB = 1024 * 1024
_ROLE = "disk"


@dataclass(frozen=True, slots=True)
class _FoundDisk:
    """A disk, and the file that it is in; several files where it was cut into chunks.

    ``flat`` is what the file names where it is a descriptor in an archive.
    """

    placed: PlacedDisk
    file: OvfFile
    stored: tuple[PackagedFile, ...]
    flat: FlatMember | None = None

    @property
    def files(self) -> tuple[PackagedFile, ...]:
        """All that it consists of."""
        return self.stored if self.flat is None else (*self.stored, *self.flat.extents)

    @property
    def packed(self) -> bool:
        return self.file.compression is not None or self.file.chunk_size is not None


def read_ovf_machine(
    path: Path, options: SourceOptions, scratch: Path | None, *, archive: bool
) -> Machine:
    """Return the machine at ``path``: an OVF, or an OVA for ``archive``.

    Disks that are compressed or in chunks are unpacked into ``scratch``; all others are left
    where they are, and get a descriptor in it where they are flat and in an archive. Where there
    is a manifest, all that is used of the machine is compared with it.

    Raises SourceUnreadableError when something is missing, damaged, encrypted or not what the
    manifest says, SourceUnsafeError when names lead out of the folder or archive,
    OutputRefusedError when there is no space to unpack.
    """
    package = open_package(path, options, archive=archive)
    source = package.source
    refuse_locked(source)
    refuse_in_use(source)
    notes: list[str] = []
    try:
        manifest = _read_manifest(package, notes)
        _verify(manifest, [package.descriptor])
        envelope = parse_ovf(package.descriptor.content(MAX_OVF, "an OVF"))
        hardware = read_hardware(envelope)
    except OfflineMigError as error:
        raise type(error)(f"{shown(source)}: {error.message}", error.remedy) from error
    notes += hardware.notes
    found = _find_disks(package, envelope, hardware, notes)
    stored = [file for disk in found for file in disk.files]
    _verify(manifest, stored)
    disks = [_disk(disk, options, scratch, number, notes) for number, disk in enumerate(found)]
    read = [file.path for file in stored if file.path != source]
    return Machine(
        name=hardware.name or source.stem,
        source=source,
        disks=tuple(disks),
        memory=hardware.memory,
        vcpus=hardware.vcpus,
        cores_per_socket=hardware.cores_per_socket,
        firmware=hardware.firmware or Firmware.BIOS,
        firmware_stated=hardware.firmware is not None,
        secure_boot=hardware.secure_boot,
        tpm=hardware.tpm,
        uuid=hardware.uuid,
        guest_os=hardware.guest_os,
        nics=hardware.nics,
        drives=hardware.drives,
        sound=hardware.sound,
        other_files=tuple(read),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Manifest:
    where: str
    entries: dict[str, ManifestEntry]


def _read_manifest(package: OvfPackage, notes: list[str]) -> _Manifest | None:
    stem = PurePosixPath(package.descriptor.name).stem
    if package.find(f"{stem}.cert", "certificate") is not None:
        notes.append(
            f"The signature of the OVF ({shown(stem)}.cert) was not checked; who made it is not "
            "known."
        )
    file = package.find(f"{stem}.mf", "manifest")
    if file is None:
        return None
    data = file.content(MAX_MANIFEST, "a manifest")
    return _Manifest(shown(file.name), parse_manifest(data, shown(file.name)))


def _verify(manifest: _Manifest | None, files: Sequence[PackagedFile]) -> None:
    if manifest is not None:
        verify_files(manifest.entries, files, manifest.where)


def _find_disks(
    package: OvfPackage, envelope: OvfEnvelope, hardware: OvfHardware, notes: list[str]
) -> list[_FoundDisk]:
    """Return the files of all disks; judge every name before any is opened."""
    where = shown(package.source)
    if not hardware.disks:
        raise SourceUnreadableError(
            f"{where} describes a machine without a hard disk.",
            "Check that this is the right OVF, or give the disk image itself.",
        )
    found: list[_FoundDisk] = []
    missing: list[str] = []
    owners: set[str] = set()
    for placed in hardware.disks:
        disk = placed.disk
        if disk.id in owners:
            raise SourceUnreadableError(
                f"{where} has the disk {shown(disk.id)} on two places.",
                "Remove one of them from a copy of the OVF.",
            )
        owners.add(disk.id)
        file = _file_of(envelope, disk, where)
        if file is None:
            notes.append(
                f"The disk {shown(disk.id)} has no file: it is empty, and was left out. Add a new "
                "one where the guest needs it."
            )
            continue
        stored = _stored(package, file, where)
        if stored:
            found.append(_with_extents(package, _FoundDisk(placed, file, stored)))
        else:
            missing.append(shown(file.href))
    if missing:
        raise SourceUnreadableError(
            f"{where} names disks that are not in {package.where()}: {', '.join(missing)}.",
            "Copy all files of the export again; their names must be as the OVF has them.",
        )
    if not found:
        raise SourceUnreadableError(
            f"{where} describes a machine all of whose disks are empty: none has a file.",
            "Export the machine with its disks, or give the disk image itself.",
        )
    return found


def _file_of(envelope: OvfEnvelope, disk: OvfDisk, where: str) -> OvfFile | None:
    """Return the file of a disk, None for a disk without one."""
    if disk.parent is not None:
        raise SourceUnreadableError(
            f"{where} has the disk {shown(disk.id)}, which only holds the changes to another.",
            "Export the machine without snapshots.",
        )
    if disk.file is None:
        return None
    file = envelope.files.get(disk.file)
    if file is None:
        raise SourceUnreadableError(
            f'{where} has the disk {shown(disk.id)} in the file "{shown(disk.file)}", which is '
            "not in its list of files.",
            "Export the machine again, or give the disk image itself.",
        )
    if file.compression not in {None, "gzip"}:
        raise SourceUnreadableError(
            f"{where} has the disk {shown(disk.id)} compressed by {shown(file.compression or '')}, "
            "which is not read.",
            "Unpack it and give the disk image itself.",
        )
    return file


def _stored(package: OvfPackage, file: OvfFile, where: str) -> tuple[PackagedFile, ...]:
    if file.chunk_size is not None:
        chunks = find_chunks(package, file.href, _ROLE)
        if chunks:
            if file.size is None:
                raise SourceUnreadableError(
                    f"{where} does not say how large {shown(file.href)} is, which is in chunks.",
                    "Join its chunks with 'cat' and give the disk image itself.",
                )
            require_chunks(file.href, chunks, file.chunk_size, file.size)
            return chunks
    whole = package.find(file.href, _ROLE)
    return () if whole is None else (whole,)


def _with_extents(package: OvfPackage, disk: _FoundDisk) -> _FoundDisk:
    """Return a disk with the members that it names; of a folder they are found by their names."""
    if disk.packed or not disk.stored[0].in_archive:
        return disk
    return replace(disk, flat=find_flat_member(package, disk.stored[0], disk.file.href))


def _disk(
    found: _FoundDisk,
    options: SourceOptions,
    scratch: Path | None,
    number: int,
    notes: list[str],
) -> Disk:
    examined = _examined(found, options, scratch, number, notes)
    notes += examined.notes
    placed, image = found.placed, examined.image
    _compare_file_size(found, image.format, notes)
    size, stated = image.virtual_size, placed.disk.capacity
    # Sizes in large units are rounded.
    if size and stated and abs(size - stated) >= max(placed.disk.capacity_unit, _MIB):
        notes.append(
            f"The OVF gives the disk {shown(found.file.href)} {stated} bytes, but it has {size}; "
            "the disk is right."
        )
    return Disk(image, placed.bus, placed.controller, placed.unit, placed.controller_model)


def _compare_file_size(found: _FoundDisk, image_format: DiskFormat, notes: list[str]) -> None:
    """Compare a disk's file with the size that the OVF states; a raw image has no other mark."""
    there, stated = sum(file.size for file in found.stored), found.file.size
    if stated is None or there == stated:
        return
    name = shown(found.file.href)
    if there < stated and image_format is DiskFormat.RAW:
        raise SourceUnreadableError(
            f"{name} is cut off: it has {there} bytes, but the OVF says {stated}.",
            "Copy it again from where it came from.",
        )
    notes.append(f"{name} should have {stated} bytes by the OVF, but has {there}.")


def _examined(
    found: _FoundDisk,
    options: SourceOptions,
    scratch: Path | None,
    number: int,
    notes: list[str],
) -> ExaminedImage:
    first = found.stored[0]
    if found.flat is not None and scratch is not None:
        return examine_flat_member(found.flat, scratch)
    if not found.packed:
        if first.window is not None:
            return examine_member(first.path, first.window, first.name)
        return examine_disk_image(first.path, None, options, scratch)
    name = shown(found.file.href)
    if scratch is None:
        raise SourceUnreadableError(
            f"{name} is compressed or in chunks.", "Unpack it and give the disk image itself."
        )
    # A folder for each: what one disk names must not be another.
    folder = scratch / f"disk{number}"
    folder.mkdir()
    target = folder / _plain_name(found.file)
    size = unpack(found.stored, target, gzip=found.file.compression is not None)
    notes.append(
        f"{name} is compressed or in chunks; it was unpacked for the time of this run, which "
        f"takes up to {size // _MIB + 1} MiB of temporary space."
    )
    try:
        examined = examine_disk_image(target)
    except OfflineMigError as error:
        raise type(error)(f"{name}, unpacked: {error.message}", error.remedy) from error
    image = examined.image
    return replace(examined, image=replace(image, member=found.file.href, temporary=image.files))


def _plain_name(file: OvfFile) -> str:
    """Return a name with the ending of the disk, by which a raw or fixed VHD image is known."""
    name = PurePosixPath(file.href.lower())
    if file.compression is not None and name.suffix in {".gz", ".gzip"}:
        name = name.with_suffix("")
    known = {".vmdk", ".vhd", ".vpc", ".vhdx", ".vdi", ".qcow2", ".raw", ".img", ".dd", ".bin"}
    return f"disk{name.suffix if name.suffix in known else ''}"
