"""Disks and CD-ROM drives of the target: their names, their order, their drivers."""

from __future__ import annotations

from collections.abc import Sequence

from offline_mig.errors import NoDriverError
from offline_mig.machine import Bus, Drive
from offline_mig.targets.devices import CdromDrive, DiskBus, DiskDevice, MachineType, TargetDisk
from offline_mig.targets.identity import new_serial
from offline_mig.targets.options import DriversInPlace

#: The IDE controller of i440fx: two channels of two drives.
_IDE_DRIVES = 4
#: How libvirt's names of disks begin, which say the bus.
_PREFIXES = {DiskBus.VIRTIO: "vd", DiskBus.VIRTIO_SCSI: "sd", DiskBus.IDE: "hd"}


def require_driver(bus: DiskBus, drivers: DriversInPlace) -> None:
    """Raise NoDriverError if the guest cannot read its disks on the bus."""
    if bus is DiskBus.IDE:
        return
    in_place = {DiskBus.VIRTIO: drivers.block, DiskBus.VIRTIO_SCSI: drivers.scsi}
    if in_place[bus]:
        return
    others = [other for other, present in in_place.items() if present]
    raise NoDriverError(
        f"The guest has no driver for {bus} disks; it would stop with 0x0000007B.",
        f"Choose the disk bus {others[0]}, whose driver is in place."
        if others
        else "Give a driver source that suits this Windows.",
    )


def device_name(prefix: str, index: int) -> str:
    """Return the name of a disk counted from 0: vda, vdb, ..., vdz, vdaa, ..."""
    letters = ""
    number = index + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return prefix + letters


def plan_disks(
    disks: Sequence[TargetDisk], bus: DiskBus, owner: str, notes: list[str]
) -> tuple[DiskDevice, ...]:
    """Name the disks in their order and let the machine start from the boot disk.

    The other disks follow it in the boot order. Each has a serial number of its own, without which
    Windows cannot tell them apart, made of the machine's UUID or name, ``owner``. What
    may surprise is added to ``notes``. Raises NoDriverError for more disks than the bus takes.
    """
    prefix = _PREFIXES[bus]
    if bus is DiskBus.IDE and len(disks) > _IDE_DRIVES:
        raise NoDriverError(
            f"The machine has {len(disks)} disks, an IDE controller takes {_IDE_DRIVES}, and this "
            "Windows has no driver for any other that QEMU offers.",
            "Convert it without some of its data disks.",
        )
    boot = next((index for index, disk in enumerate(disks) if disk.boot), 0)
    if boot:
        notes.append(
            f"Windows starts from disk {boot + 1}, so that one is first in the boot order."
        )
    devices: list[DiskDevice] = []
    for index, disk in enumerate(disks):
        serial = new_serial(owner, index)
        order = 1 if index == boot else index + 1 + (index < boot)
        target = device_name(prefix, index)
        devices.append(DiskDevice(disk.path, disk.format, disk.size, target, order, serial))
    return tuple(devices)


def plan_cdroms(
    drives: Sequence[Drive],
    machine_type: MachineType,
    taken: Sequence[DiskDevice],
    notes: list[str],
) -> tuple[CdromDrive, ...]:
    """Return an empty CD-ROM drive for each of the source, under names that are not ``taken``.

    They hang on the chipset's own controller, which Windows has a driver for. Floppy drives are
    left out. What may surprise is added to ``notes``.
    """
    cdroms = [drive for drive in drives if drive.bus is not Bus.FLOPPY]
    if len(cdroms) < len(drives):
        notes.append("The floppy drive was left out.")
    if any(drive.medium for drive in cdroms):
        notes.append("The CD-ROM drive is empty: its medium was not carried over.")
    if machine_type is MachineType.PC:
        disks = sum(disk.target.startswith("hd") for disk in taken)
        last = min(disks + len(cdroms), _IDE_DRIVES)
        if last - disks < len(cdroms):
            notes.append(
                f"Only {last - disks} of {len(cdroms)} CD-ROM drives fit on the IDE controller."
            )
        return tuple(CdromDrive(device_name("hd", index), Bus.IDE) for index in range(disks, last))
    # SATA and SCSI share the names sda, sdb, ..., and libvirt takes each once only.
    first = sum(disk.target.startswith("sd") for disk in taken)
    return tuple(
        CdromDrive(device_name("sd", index), Bus.SATA)
        for index in range(first, first + len(cdroms))
    )
