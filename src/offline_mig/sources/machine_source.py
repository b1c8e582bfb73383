"""A machine as the user gives it: VMX, OVF, OVA, libvirt domain, disk image, or a folder."""

from __future__ import annotations

from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import Bus, Disk, DiskFormat, Machine
from offline_mig.sources.assumed_hardware import UNKNOWN, hardware_like
from offline_mig.sources.based_on import newer_state_notes
from offline_mig.sources.disk_format import HEAD, looks_like_tar, looks_like_vmx
from offline_mig.sources.disk_image import examine_disk_image
from offline_mig.sources.file_access import open_file, shown, unreadable
from offline_mig.sources.libvirt_machine import read_libvirt_machine
from offline_mig.sources.libvirt_xml import looks_like_domain
from offline_mig.sources.machine_folder import OVF_SUFFIX, VMX_SUFFIXES, only_machine
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.ovf import looks_like_ovf
from offline_mig.sources.vmx import MAX_VMX
from offline_mig.sources.vmx_machine import read_vmx_machine


def read_machine(
    path: Path,
    disk_format: DiskFormat | None = None,
    scratch: Path | None = None,
    options: SourceOptions = SourceOptions(),  # noqa: B008 - frozen
) -> Machine:
    """Return the machine at ``path``, with every file of its disks checked.

    ``path`` is a VMX or OVF file, an OVA or a libvirt domain (by its ending or its content), a
    disk image, or a folder with one machine; ``disk_format`` states the format of a disk image
    where its content does not tell. For a bare disk the firmware is left at BIOS: only the
    partition table knows. What has to be unpacked or made for the time of the run goes into
    ``scratch``; without it such a source is refused.

    Raises SourceUnreadableError when something is missing, damaged, encrypted, suspended or in
    use, SourceUnsafeError when a file is named that lies where it may not.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError:  # a NUL character; open_file() has the sentence
        is_folder = False
    if is_folder:
        if options.domain is not None:
            return read_libvirt_machine(path, options.domain, options, scratch)
        path = only_machine(path)
    with open_file(path) as file:
        head = file.read(0, HEAD) if disk_format is None else b""
        size = file.size
    suffix = path.suffix.lower()
    named_vmx = suffix in VMX_SUFFIXES
    # An OVA is told by its content alone: what is no tar archive has a sentence elsewhere.
    archive = looks_like_tar(head)
    if not named_vmx and (archive or suffix == OVF_SUFFIX or looks_like_ovf(head)):
        _refuse_other_hardware(path, "an OVF", options)
        # Loading it takes 0.01 s, which other sources do without.
        from offline_mig.sources.ovf_machine import read_ovf_machine

        return read_ovf_machine(path, options, scratch, archive=archive)
    if named_vmx or looks_like_vmx(head):
        _refuse_other_hardware(path, "a VMX file", options)
        return read_vmx_machine(path, _vmx_content(path, size), options, scratch)
    if looks_like_domain(head):
        _refuse_other_hardware(path, "a libvirt domain", options)
        return read_libvirt_machine(path, path, options, scratch)
    if options.domain is not None:
        return read_libvirt_machine(path, options.domain, options, scratch)
    return _bare_disk(path, disk_format, options, scratch)


def _vmx_content(path: Path, size: int) -> bytes:
    if size > MAX_VMX:
        raise SourceUnreadableError(
            f"{shown(path)} has {size} bytes, too many for a VMX file.",
            "Give the .vmx file of the machine, or a disk image.",
        )
    with open_file(path) as file:
        return file.read(0, size)


def _refuse_other_hardware(path: Path, what: str, options: SourceOptions) -> None:
    if options.domain is not None or options.like is not None:
        raise SourceUnreadableError(
            f"{shown(path)} is {what} and says itself what hardware the machine has.",
            "Leave --xml and --os-like out, or give the disk image alone.",
        )


def _bare_disk(
    path: Path, disk_format: DiskFormat | None, options: SourceOptions, scratch: Path | None
) -> Machine:
    examined = examine_disk_image(path, disk_format, options, scratch)
    source = path.resolve()
    hardware = UNKNOWN if options.like is None else hardware_like(options.like)
    assumed = (
        f"Only a disk was given: {hardware.memory} MiB of memory, {hardware.vcpus} virtual "
        f"CPU{'s' if hardware.vcpus > 1 else ''} and no network card with a MAC address of its own "
        "were assumed. --xml states the hardware."
    )
    return Machine(
        # That of a descriptor, where one was made for a flat file.
        name=examined.image.path.stem if examined.image.temporary else path.stem,
        source=source,
        disks=(Disk(examined.image, Bus.SATA, 0, 0),),
        memory=hardware.memory,
        vcpus=hardware.vcpus,
        tpm=hardware.tpm,
        sound=hardware.sound,
        firmware_stated=False,
        notes=(assumed, *examined.notes, *newer_state_notes(source)),
    )
