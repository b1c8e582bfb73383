"""A machine as the user gives it: a VMX or OVF file, its folder, an OVA, or a disk image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Bus, Disk, DiskFormat, Machine
from offline_mig.sources.disk_format import HEAD, looks_like_tar, looks_like_vmx
from offline_mig.sources.disk_image import examine_disk_image, refuse_locked
from offline_mig.sources.file_access import exists, open_file, shown, stat_regular_file, unreadable
from offline_mig.sources.ovf import looks_like_ovf
from offline_mig.sources.ovf_machine import read_ovf_machine
from offline_mig.sources.vmx import MAX_VMX, VmxValues, parse_vmx
from offline_mig.sources.vmx_disk_files import base_name, find_disk_file
from offline_mig.sources.vmx_hardware import VmxDisk, VmxHardware, read_hardware

#: What is assumed of a machine of which only the disk is given: enough for Windows 11, and not
#: more than 32-bit Windows XP can use.
ASSUMED_MEMORY = 4096
ASSUMED_VCPUS = 2

_VMX_SUFFIXES = {".vmx", ".vmtx"}
_OVF_SUFFIX, _OVA_SUFFIX = ".ovf", ".ova"
_IMAGE_SUFFIXES = {".vmdk", ".qcow2", ".raw", ".img", ".dd", ".bin"}
#: How many candidates an error lists.
_LISTED = 10


@dataclass(frozen=True, slots=True)
class _FoundDisk:
    """A disk of a VMX file, and the file that it is."""

    disk: VmxDisk
    path: Path
    notes: tuple[str, ...]


def read_machine(
    path: Path, disk_format: DiskFormat | None = None, scratch: Path | None = None
) -> Machine:
    """Return the machine at ``path``, with every file of its disks checked.

    ``path`` is a VMX or OVF file or an OVA (by its ending or its content), a folder with exactly
    one VMX file, or without one with exactly one OVF or OVA, or a disk image; ``disk_format``
    states the format of a disk image where its content does not tell. For a bare disk the
    firmware is left at BIOS: only the partition table knows. Disks of an OVF that are compressed
    are unpacked into ``scratch``; without it such an OVF is refused.

    Raises SourceUnreadableError when something is missing, damaged, encrypted, suspended or in
    use, SourceUnsafeError when a file outside of the source's folder is named.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError:  # a NUL character; open_file() has the sentence
        is_folder = False
    if is_folder:
        path = _only_machine(path)
    with open_file(path) as file:
        suffix = path.suffix.lower()
        head = file.read(0, HEAD) if disk_format is None else b""
        if suffix not in _VMX_SUFFIXES:
            # An OVA is told by its content alone: what is no tar archive has a sentence elsewhere.
            if looks_like_tar(head):
                return read_ovf_machine(path, archive=True, scratch=scratch)
            if suffix == _OVF_SUFFIX or looks_like_ovf(head):
                return read_ovf_machine(path, archive=False, scratch=scratch)
            if not looks_like_vmx(head):
                return _bare_disk(path, disk_format)
        if file.size > MAX_VMX:
            raise SourceUnreadableError(
                f"{shown(path)} has {file.size} bytes, too many for a VMX file.",
                "Give the .vmx file of the machine, or a disk image.",
            )
        data = file.read(0, file.size)
    try:
        source = path.resolve(strict=True)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        vmx = parse_vmx(data)
        hardware = read_hardware(vmx)
    except OfflineMigError as error:
        raise type(error)(f"{shown(path)}: {error.message}", error.remedy) from error
    _refuse_unusable_state(source, vmx, hardware)
    return _machine(source, path.stem, hardware)


def _machine(source: Path, stem: str, hardware: VmxHardware) -> Machine:
    disks: list[Disk] = []
    notes = list(hardware.notes)
    for found in _find_disks(source, hardware):
        examined = examine_disk_image(found.path)
        notes += [*found.notes, *examined.notes]
        disks.append(
            Disk(
                image=examined.image,
                bus=found.disk.bus,
                controller=found.disk.controller,
                unit=found.disk.unit,
                controller_model=found.disk.controller_model,
            )
        )
    _refuse_shared_files(source, hardware, disks)
    return Machine(
        name=hardware.name or stem,
        source=source,
        disks=tuple(disks),
        memory=hardware.memory,
        vcpus=hardware.vcpus,
        cores_per_socket=hardware.cores_per_socket,
        firmware=hardware.firmware,
        secure_boot=hardware.secure_boot,
        tpm=hardware.tpm,
        uuid=hardware.uuid,
        guest_os=hardware.guest_os,
        nics=hardware.nics,
        drives=hardware.drives,
        sound=hardware.sound,
        notes=tuple(notes),
    )


def _find_disks(source: Path, hardware: VmxHardware) -> list[_FoundDisk]:
    """Return the file of each disk; judge all names before any is opened."""
    if not hardware.disks:
        raise SourceUnreadableError(
            f"{shown(source)} describes a machine without a hard disk.",
            "Check that this is the right VMX file, or give the disk image itself.",
        )
    found: list[_FoundDisk] = []
    missing: list[str] = []
    for disk in hardware.disks:
        path, note = find_disk_file(disk, source)
        if path is None:
            missing.append(f"{shown(disk.file_name)} ({disk.key})")
        else:
            stat_regular_file(path, wrong_kind=SourceUnsafeError)
            found.append(_FoundDisk(disk, path, (note,) if note else ()))
    if missing:
        raise SourceUnreadableError(
            f"{shown(source)} names disks that are not in {shown(source.parent)}: "
            f"{', '.join(missing)}.",
            "Copy all files of the machine into one folder, or remove the disk from a copy of "
            "the VMX file.",
        )
    return found


def _refuse_shared_files(source: Path, hardware: VmxHardware, disks: list[Disk]) -> None:
    # Disks of different datastores may have one base name; taking one file twice would be wrong.
    owners: dict[Path, str] = {}
    for described, disk in zip(hardware.disks, disks, strict=True):
        other = owners.setdefault(disk.image.path, described.key)
        if other != described.key:
            raise SourceUnreadableError(
                f"{shown(source)} gives {other} and {described.key} the same disk, "
                f"{shown(disk.image.path)}.",
                "If they had equal names in different datastores, rename one, and its name in a "
                "copy of the VMX file.",
            )


def _refuse_unusable_state(source: Path, vmx: VmxValues, hardware: VmxHardware) -> None:
    if hardware.encrypted:
        raise SourceUnreadableError(
            f"{shown(source)} is encrypted by VMware.",
            "Remove the encryption in the machine's settings (this needs its password, and the "
            "virtual TPM to be removed first), or give the disk itself if that is not encrypted.",
        )
    refuse_locked(source)
    state = source.with_suffix(".vmss")
    if hardware.suspended_state is not None:
        name = base_name(hardware.suspended_state)
        state = source.with_name(name) if name not in {"", ".", ".."} else source
    elif "checkpoint.vmstate" in vmx.values:
        return  # set and empty: not suspended, whatever else lies about
    if state != source and exists(state):
        raise SourceUnreadableError(
            f"{shown(source)} is suspended: its memory is kept in {shown(state.name)}, and its "
            "disks are in the middle of work.",
            "Resume the machine in VMware and shut Windows down.",
        )


def _bare_disk(path: Path, disk_format: DiskFormat | None) -> Machine:
    examined = examine_disk_image(path, disk_format)
    assumed = (
        f"Only a disk was given: {ASSUMED_MEMORY} MiB of memory, {ASSUMED_VCPUS} virtual CPUs "
        "and no network card with a MAC address of its own were assumed."
    )
    return Machine(
        name=path.stem,
        source=examined.image.path,
        disks=(Disk(examined.image, Bus.SATA, 0, 0),),
        memory=ASSUMED_MEMORY,
        vcpus=ASSUMED_VCPUS,
        firmware_stated=False,
        notes=(assumed, *examined.notes),
    )


def _only_machine(folder: Path) -> Path:
    """Return the one VMX file in a folder, or where there is none the one OVF or OVA."""
    try:
        # Names that begin with a dot are what macOS leaves on foreign file systems.
        files = sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.is_file()
        )
    except OSError as error:
        raise unreadable(folder, error) from error
    found = [file for file in files if file.suffix.lower() in _VMX_SUFFIXES]
    kind = "VMX files"
    if not found:
        found = [file for file in files if file.suffix.lower() in {_OVF_SUFFIX, _OVA_SUFFIX}]
        kind = "OVF and OVA files"
    if len(found) == 1:
        return found[0]
    candidates = found or [file for file in files if file.suffix.lower() in _IMAGE_SUFFIXES]
    names = ", ".join(shown(file.name) for file in candidates[:_LISTED])
    if len(candidates) > _LISTED:
        names += f" and {len(candidates) - _LISTED} more"
    kind = f"{len(found)} {kind}" if found else "no VMX, OVF or OVA file"
    listed = f": {names}" if found else f", but these images: {names}" if names else ""
    raise SourceUnreadableError(
        f"The folder {shown(folder)} holds {kind}{listed}.",
        "Give one of them." if candidates else "Give the folder of a machine, or a disk image.",
    )
