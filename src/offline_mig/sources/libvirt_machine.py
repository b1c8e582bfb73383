"""A machine whose hardware a libvirt domain says, and whose disks lie in a folder.

So come guests of VirtualBox, Xen and Hyper-V, for which virt-install, virsh domxml-from-native or
a text editor makes a domain, and guests that run on KVM already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.machine import Disk, Machine
from offline_mig.sources.based_on import newer_state_notes
from offline_mig.sources.disk_image import examine_disk_image
from offline_mig.sources.file_access import exists, shown, stat_regular_file, unreadable
from offline_mig.sources.libvirt_hardware import DomainDisk, read_hardware
from offline_mig.sources.libvirt_xml import hard_disks, read_domain_element
from offline_mig.sources.named_files import Bounds, find_inside
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.vmx_disk_files import base_name


def read_libvirt_machine(
    given: Path, domain_file: Path, options: SourceOptions, scratch: Path | None
) -> Machine:
    """Return the machine of a domain with the disks that ``given`` leads to.

    ``given`` is a disk image, beside which the domain's other disks are looked for; a folder with
    all of them; or the domain itself. A disk is found by the path that the domain has for it, or
    by its plain name. Raises SourceUnreadableError when something is missing, damaged or in use,
    SourceUnsafeError when a disk lies where it may not.
    """
    try:
        source, domain_path = given.resolve(strict=True), domain_file.resolve(strict=True)
    except OSError as error:
        raise unreadable(Path(error.filename or given), error) from error
    try:
        domain = read_domain_element(domain_path)
        hard_disks(domain_path, domain)
        hardware = read_hardware(domain)
    except OfflineMigError as error:
        where = shown(domain_file)
        message = error.message if where in error.message else f"{where}: {error.message}"
        raise type(error)(message, error.remedy) from error
    image = source if source.is_file() and source != domain_path else None
    folder = source if source.is_dir() else source.parent
    files = _locate(domain_path, hardware.disks, image, options.bounds(folder))
    notes: list[str] = []
    disks: list[Disk] = []
    for described, file in zip(hardware.disks, files, strict=True):
        same = base_name(described.file) == file.name
        # A disk that was converted since has another format than the domain says.
        examined = examine_disk_image(file, described.format if same else None, options, scratch)
        notes += [*examined.notes, *newer_state_notes(file.resolve())]
        disks.append(
            Disk(
                examined.image,
                described.bus,
                described.controller,
                described.unit,
                described.controller_model,
            )
        )
    return Machine(
        name=hardware.name or domain_path.stem,
        source=domain_path if image is None else image,
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
        other_files=(domain_path,),
        notes=tuple(notes),
    )


def _locate(
    domain: Path, disks: Sequence[DomainDisk], image: Path | None, bounds: Bounds
) -> list[Path]:
    """Return the file of each disk; judge all names before any is opened."""
    own = None if image is None else _disk_of_image(domain, disks, image)
    files: list[Path] = []
    missing: list[str] = []
    for number, disk in enumerate(disks):
        found = image if number == own else _find(domain, disk, bounds)
        if found is None:
            missing.append(f"{shown(disk.file)} ({shown(disk.target)})")
        else:
            stat_regular_file(found, wrong_kind=SourceUnsafeError)
            files.append(found)
    if missing:
        raise SourceUnreadableError(
            f"{shown(domain)} names disks that are not in {bounds}: {', '.join(missing)}.",
            "Copy all disks of the machine into one folder, or remove the disk from a copy of the "
            "domain.",
        )
    if len({file.resolve() for file in files}) < len(files):
        raise SourceUnreadableError(
            f"{shown(domain)} gives two disks the same file.",
            "If they had equal names in different folders, rename one, and its name in a copy of "
            "the domain.",
        )
    return files


def _disk_of_image(domain: Path, disks: Sequence[DomainDisk], image: Path) -> int:
    """Return which disk of the domain the image is: its only one, or the one of its name."""
    if len(disks) == 1:
        return 0
    names = [base_name(disk.file) for disk in disks]
    stems = [Path(name).stem for name in names]
    for known, own in ((names, image.name), (stems, image.stem)):
        if known.count(own) == 1:
            return known.index(own)
    raise SourceUnreadableError(
        f"{shown(domain)} has {len(disks)} disks ({', '.join(map(shown, names))}), and none or "
        f"several with the name of {shown(image.name)}.",
        "Give the image the name that the domain has for it, or give the folder with all disks.",
    )


def _find(domain: Path, disk: DomainDisk, bounds: Bounds) -> Path | None:
    """Return the file of a disk: where the domain has it, or one of its name in the folder."""
    named = Path(disk.file)
    if named.is_absolute() and _is_inside(named, bounds):
        return named
    for path in _beside(domain, disk, bounds):
        if exists(path):
            return path
    if named.is_absolute() and exists(named):
        raise SourceUnsafeError(
            f"{shown(domain)} has its disk {shown(disk.target)} in {shown(named)}, outside "
            f"{bounds}.",
            f"If you trust this domain, allow that folder: --allow-outside {shown(named.parent)}",
        )
    return None


def _is_inside(named: Path, bounds: Bounds) -> bool:
    try:
        return bounds.hold(named.resolve(strict=True))
    except (OSError, RuntimeError, ValueError):
        return False


def _beside(domain: Path, disk: DomainDisk, bounds: Bounds) -> Iterator[Path]:
    name = base_name(disk.file)
    for folder in (bounds.folder, *bounds.outside):
        yield find_inside(name, folder=folder, bounds=bounds, namer=domain, role="disk")
