"""The machine of a VMX file: its description, with every disk found and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Disk, Machine
from offline_mig.sources.based_on import newer_state_notes
from offline_mig.sources.disk_image import examine_disk_image, refuse_locked
from offline_mig.sources.file_access import exists, shown, stat_regular_file, unreadable
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.vmsd import snapshot_notes
from offline_mig.sources.vmx import VmxValues, parse_vmx
from offline_mig.sources.vmx_disk_files import base_name, find_disk_file, find_lone_flat
from offline_mig.sources.vmx_hardware import VmxDisk, VmxHardware, read_hardware


@dataclass(frozen=True, slots=True)
class _FoundDisk:
    """A disk of a VMX file, and the file that it is."""

    disk: VmxDisk
    path: Path
    notes: tuple[str, ...]


def read_vmx_machine(
    path: Path, data: bytes, options: SourceOptions, scratch: Path | None
) -> Machine:
    """Return the machine of the VMX file at ``path`` with the content ``data``.

    Raises SourceUnreadableError when something is missing, damaged, encrypted, suspended or in
    use, SourceUnsafeError when a file is named that lies where it may not.
    """
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
    return _machine(source, path.stem, hardware, options, scratch)


def _lost_state_notes(hardware: VmxHardware) -> tuple[str, ...]:
    """Return a note for a machine that is suspended, its memory being nowhere to be found."""
    if hardware.suspended_state is None:
        return ()
    note = (
        f"The VMX file says that the machine is suspended, in {shown(hardware.suspended_state)}, "
        "which is not there: what was in its memory is lost, and its file systems may be dirty."
    )
    return (note,)


def _machine(
    source: Path,
    stem: str,
    hardware: VmxHardware,
    options: SourceOptions,
    scratch: Path | None,
) -> Machine:
    disks: list[Disk] = []
    notes = [*hardware.notes, *_lost_state_notes(hardware), *snapshot_notes(source)]
    all_found = _find_disks(source, hardware, options)
    _refuse_shared_files(source, all_found)
    for found in all_found:
        examined = examine_disk_image(found.path, None, options, scratch)
        notes += [*found.notes, *examined.notes, *newer_state_notes(found.path.resolve())]
        disks.append(
            Disk(
                image=examined.image,
                bus=found.disk.bus,
                controller=found.disk.controller,
                unit=found.disk.unit,
                controller_model=found.disk.controller_model,
            )
        )
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


def _find_disks(source: Path, hardware: VmxHardware, options: SourceOptions) -> list[_FoundDisk]:
    """Return the file of each disk; judge all names before any is opened."""
    if not hardware.disks:
        raise SourceUnreadableError(
            f"{shown(source)} describes a machine without a hard disk.",
            "Check that this is the right VMX file, or give the disk image itself.",
        )
    found: list[_FoundDisk] = []
    missing: list[str] = []
    flats: list[str] = []
    bounds = options.bounds(source.parent)
    for disk in hardware.disks:
        path, note = find_disk_file(disk, source, bounds)
        if path is None and (flat := find_lone_flat(disk, source, bounds)) is not None:
            flats.append(shown(flat.name))
            path = flat if options.rebuild_descriptor else None
        if path is None:
            missing.append(f"{shown(disk.file_name)} ({disk.key})")
        else:
            stat_regular_file(path, wrong_kind=SourceUnsafeError)
            _refuse_redo_log(source, disk)
            found.append(_FoundDisk(disk, path, (note,) if note else ()))
    if missing:
        raise SourceUnreadableError(
            f"{shown(source)} names disks that are not in {shown(source.parent)}: "
            f"{', '.join(missing)}.",
            "Copy all files of the machine into one folder, or remove the disk from a copy of "
            "the VMX file."
            + (
                f" The folder holds {', '.join(flats)}: where only the descriptor is lost, "
                "--rebuild-descriptor makes one for this run."
                if flats
                else ""
            ),
        )
    return found


def _refuse_redo_log(source: Path, disk: VmxDisk) -> None:
    name = base_name(disk.redo or "")
    if name not in {"", ".", ".."} and exists(source.with_name(name)):
        raise SourceUnreadableError(
            f"{shown(source)} keeps what was written to {disk.key} apart, in {shown(name)}: the "
            "disk itself is older.",
            "Start the machine in VMware, shut Windows down, and keep or discard the changes when "
            "VMware asks.",
        )


def _refuse_shared_files(source: Path, disks: list[_FoundDisk]) -> None:
    # Disks of different datastores may have one base name; taking one file twice would be wrong.
    owners: dict[Path, str] = {}
    for found in disks:
        path, key = found.path.resolve(), found.disk.key
        other = owners.setdefault(path, key)
        if other != key:
            raise SourceUnreadableError(
                f"{shown(source)} gives {other} and {key} the same disk, {shown(path)}.",
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
