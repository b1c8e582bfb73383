"""The machine that a converted Windows runs on, decided once for every kind of target."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from offline_mig.machine import Firmware, Machine
from offline_mig.targets.devices import (
    CdromDrive,
    DiskBus,
    DiskDevice,
    Graphics,
    MachineType,
    NicDevice,
    SoundModel,
    TargetDisk,
    Timer,
    UsbController,
)
from offline_mig.targets.identity import (
    activation_note,
    machine_name,
    machine_uuid,
    unicast_mac,
)
from offline_mig.targets.network import plan_nics
from offline_mig.targets.options import DriversInPlace, TargetOptions
from offline_mig.targets.processors import Processors, plan_processors
from offline_mig.targets.storage import plan_cdroms, plan_disks, require_driver
from offline_mig.targets.video import VideoCard, choose_video
from offline_mig.windows.hal import Hal
from offline_mig.windows.version import Architecture, WindowsVersion

__all__ = [
    "ENLIGHTENMENTS",
    "SPINLOCK_RETRIES",
    "DiskBus",
    "DriversInPlace",
    "Graphics",
    "MachineType",
    "TargetDisk",
    "TargetMachine",
    "TargetOptions",
    "plan_hardware",
]

#: Hyper-V enlightenments that Windows Vista, 2008 and later make use of, by libvirt's names
#: (QEMU's are the same after "hv-"); every one needs Linux 4.20 at most on the host. Each is
#: named: all that a host can do, "passthrough", freezes Windows under SeaBIOS on some hosts.
#: Left out are reset (Windows resets by ACPI), reenlightenment and evmcs (for Hyper-V inside the
#: guest, and they stop live migration) and direct mode of stimer (for the same nested use).
ENLIGHTENMENTS = (
    "relaxed",
    "vapic",
    "spinlocks",
    "vpindex",
    "runtime",
    "synic",
    "stimer",
    "frequencies",
    "tlbflush",
    "ipi",
)
#: How often a spinlock is tried before the hypervisor is told: 0x1fff, the value of Microsoft's
#: own Hyper-V and of every published Windows guest definition.
SPINLOCK_RETRIES = 8191

#: Windows XP is the first that virtio-win has drivers for.
_FIRST_VIRTIO = (5, 1)
_NT6 = (6, 0)
_WINDOWS_8 = (6, 2)
#: The first Windows that knows TPM 2.0 by itself (Microsoft, "TPM recommendations").
_FIRST_TPM = (10, 0)
#: Memory in MiB where the source names none, or less than any Windows starts in (and than Proxmox
#: VE takes).
_DEFAULT_MEMORY = 2048
_LEAST_MEMORY = 16


@dataclass(frozen=True, slots=True)
class TargetMachine:
    """A machine as every target writes it down; parts that are None or false are left out.

    ``memory`` is in MiB. ``processor`` is as in TargetOptions. ``transitional`` says that virtio
    devices must show their legacy ids (1AF4:1000 to 1005) although they would not by themselves.
    ``serial`` is a virtio-serial controller with the guest agent's channel and, under SPICE, that
    of vdagent. ``local_time`` says that the clock keeps local time and not UTC. ``vmport`` is
    VMware's backdoor port, by which remains of VMware Tools would take the machine for one of
    VMware's. ``tpm`` is an empty TPM 2.0. ``notes`` are sentences for the user about decisions that
    may surprise.
    """

    name: str
    uuid: str | None
    windows: WindowsVersion
    memory: int
    processor: str
    processors: Processors
    machine_type: MachineType
    firmware: Firmware
    secure_boot: bool
    pae: bool
    enlightenments: tuple[str, ...]
    local_time: bool
    timers: tuple[Timer, ...]
    transitional: bool
    disk_bus: DiskBus
    disks: tuple[DiskDevice, ...]
    cdroms: tuple[CdromDrive, ...]
    nics: tuple[NicDevice, ...]
    balloon: bool
    rng: bool
    serial: bool
    graphics: Graphics
    video: VideoCard
    usb: UsbController
    sound: SoundModel | None
    vmport: bool = False
    tpm: bool = False
    notes: tuple[str, ...] = ()


def plan_chipset(
    machine: Machine, windows: WindowsVersion, options: TargetOptions, drivers: DriversInPlace
) -> tuple[MachineType, bool]:
    """Return the machine type, and whether VirtIO devices must be told to show legacy ids."""
    machine_type = _machine_type(machine, windows, options, [])
    return machine_type, _transitional(machine_type, drivers, [], nt5=windows.nt < _NT6)


def plan_hardware(
    machine: Machine,
    windows: WindowsVersion,
    disks: Sequence[TargetDisk],
    *,
    options: TargetOptions,
    realtime_is_universal: bool,
    drivers: DriversInPlace,
    placed_nics: Collection[int] = (),
    hal: Hal | None = None,
) -> TargetMachine:
    """Decide the hardware for a converted guest.

    ``placed_nics`` are the positions of network cards that Windows expects in the places of
    ``nic_places``. ``hal`` is what a Windows before Vista was set up with, None where that is not
    known. Odd values in ``machine`` are mended with a note, never refused. Raises NoDriverError
    when the guest has no driver for the disk bus that was chosen: such a machine stops with
    0x0000007B.
    """
    disk_bus = _disk_bus(windows, options)
    require_driver(disk_bus, drivers)
    nt5 = windows.nt < _NT6
    notes: list[str] = []
    enlightened = _enlightened(machine, windows, notes)
    machine_type = _machine_type(machine, windows, options, notes)
    memory, processors = _resources(machine, windows, hal, notes)
    name, uuid = machine_name(machine.name), _uuid(machine, notes)
    devices = plan_disks(disks, disk_bus, uuid or name, notes)
    if nt5:
        notes.append(activation_note(keeps_mac=any(unicast_mac(nic.mac) for nic in machine.nics)))
    return TargetMachine(
        name=name,
        uuid=uuid,
        windows=windows,
        memory=memory,
        processor=options.processor,
        processors=processors,
        machine_type=machine_type,
        firmware=machine.firmware,
        secure_boot=_secure_boot(machine, windows, machine_type, drivers, notes),
        pae=windows.architecture is Architecture.X86,
        enlightenments=ENLIGHTENMENTS if enlightened else (),
        local_time=_local_time(realtime_is_universal, notes),
        timers=_timers(enlightened=enlightened),
        transitional=_transitional(machine_type, drivers, notes, nt5=nt5),
        disk_bus=disk_bus,
        disks=devices,
        cdroms=plan_cdroms(machine.drives, machine_type, devices, notes),
        nics=plan_nics(machine.nics, windows, options, drivers, notes, placed=placed_nics),
        balloon=_wanted(drivers.balloon, "memory balloon", notes),
        rng=_wanted(drivers.rng, "random number generator", notes),
        serial=_wanted(drivers.serial, "serial controller for the guest agents", notes),
        graphics=options.graphics,
        video=choose_video(windows, options, drivers, notes),
        usb=_usb(windows),
        sound=_sound(machine, machine_type, notes, nt5=nt5),
        tpm=_tpm(machine, windows, options, notes),
        notes=tuple(notes),
    )


def _disk_bus(windows: WindowsVersion, options: TargetOptions) -> DiskBus:
    # Nobody ever made a VirtIO driver for Windows 2000; what drives its disks is in the box.
    return DiskBus.IDE if windows.nt < _FIRST_VIRTIO else options.disk_bus


def _uuid(machine: Machine, notes: list[str]) -> str | None:
    number = machine_uuid(machine.uuid)
    if number is not None:
        notes.append(
            "The machine keeps its UUID, which licences and agents go by; give a copy of it a new "
            "one."
        )
    elif machine.uuid:
        notes.append(f'The UUID "{machine.uuid}" of the source is unusable and was left out.')
    return number


def _resources(
    machine: Machine, windows: WindowsVersion, hal: Hal | None, notes: list[str]
) -> tuple[int, Processors]:
    memory = machine.memory
    if memory < _LEAST_MEMORY:
        memory = _DEFAULT_MEMORY
        notes.append(f"The source names no usable amount of memory; {memory} MiB were taken.")
    if hal is not None and not hal.acpi:
        notes.append(
            f'This Windows was set up as "{hal.name}", without ACPI: it does not switch the '
            "machine off when it is shut down, and finds its devices as an old BIOS reports them."
        )
    if hal is not None and not hal.multiprocessor:
        if machine.vcpus > 1:
            notes.append(
                f"The {machine.vcpus} processors became one: this Windows was set up as "
                f'"{hal.name}" and uses one only. Its HAL is not exchanged from outside; to use '
                "more, have the guest change it where it still runs (device manager, Computer)."
            )
        return memory, Processors(1, 1)
    processors = plan_processors(machine.vcpus, machine.cores_per_socket, windows)
    if processors.count != machine.vcpus:
        notes.append("The source names no usable number of processors; one was taken.")
    elif processors.cores != (machine.cores_per_socket or 1):
        notes.append(
            f"The {processors.count} processors became {processors.sockets} socket(s) of "
            f"{processors.cores} core(s): this Windows uses all of them that way."
        )
    return memory, processors


def _machine_type(
    machine: Machine, windows: WindowsVersion, options: TargetOptions, notes: list[str]
) -> MachineType:
    nt5 = windows.nt < _NT6
    if options.machine_type is None:
        if nt5:
            notes.append(
                "The machine type is pc (i440fx): Windows before Vista has no driver for q35's "
                "AHCI, and its ACPI tables stop some with 0x000000A5."
            )
        return MachineType.PC if nt5 else MachineType.Q35
    if windows.nt < _FIRST_VIRTIO and options.machine_type is MachineType.Q35:
        notes.append("The machine type stayed pc: q35 has no IDE controller for Windows 2000.")
        return MachineType.PC
    if nt5 and options.machine_type is MachineType.Q35:
        notes.append(
            "The machine type q35 was asked for: this Windows may stop with 0x000000A5 on it, and "
            "sees no SATA CD-ROM drive."
        )
    if machine.firmware is Firmware.UEFI and options.machine_type is MachineType.PC:
        notes.append(
            "The machine type pc was asked for: UEFI firmware for it is untested with Windows and "
            "missing on many hosts; q35 is the sound choice."
        )
    return options.machine_type


def _secure_boot(
    machine: Machine,
    windows: WindowsVersion,
    machine_type: MachineType,
    drivers: DriversInPlace,
    notes: list[str],
) -> bool:
    """Decide on Secure Boot, and say what UEFI means for this Windows."""
    if machine.firmware is not Firmware.UEFI:
        return False
    notes.append(
        "The firmware's variables start afresh: it finds Windows by \\EFI\\BOOT\\BOOTX64.EFI on "
        "the EFI system partition, which is there or is put there; other entries of the old "
        "firmware's boot menu are gone."
    )
    if windows.architecture is Architecture.X86:
        notes.append(
            "A 32-bit Windows starts from 32-bit UEFI firmware only, which most hosts lack."
        )
    if windows.nt < _WINDOWS_8:
        notes.append(
            "Windows before 8 may stay at its logo under UEFI: it wants the VGA BIOS that this "
            "firmware does not have."
        )
    if machine.secure_boot and machine_type is MachineType.PC:
        notes.append("Secure Boot was switched off: it needs the machine type q35.")
        return False
    if machine.secure_boot and not drivers.secure_boot:
        notes.append(
            "Secure Boot was switched off: with it this Windows would refuse the driver of its own "
            "disk, which Microsoft did not sign. Give a driver source that it signed to keep it."
        )
        return False
    if machine.secure_boot:
        notes.append(
            "Secure Boot is on, as in the source: Windows loads only drivers that Microsoft signed."
        )
    return machine.secure_boot


def _tpm(
    machine: Machine, windows: WindowsVersion, options: TargetOptions, notes: list[str]
) -> bool:
    """Decide on a TPM: the machine has one if its source had, or as the user wishes.

    What was sealed in the source's TPM is not to be had, so a new one is empty. Windows takes one
    of version 2.0 from 10 on, and under UEFI only (Microsoft, "TPM recommendations").
    """
    usable = machine.firmware is Firmware.UEFI and windows.nt >= _FIRST_TPM
    wanted = machine.tpm if options.tpm is None else options.tpm
    if wanted and not usable:
        notes.append("The TPM was left out: Windows 10 and later have a use for it, under UEFI.")
    elif wanted:
        notes.append("The TPM is new and empty.")
    elif usable and windows.release == "w11":
        notes.append(
            "The machine has no TPM. Windows 11 starts without one, but asks for it when it is "
            "upgraded; --tpm adds one."
        )
    return wanted and usable


def _transitional(
    machine_type: MachineType, drivers: DriversInPlace, notes: list[str], *, nt5: bool
) -> bool:
    """Decide whether virtio devices must be told to show their legacy ids.

    QEMU's virtio devices are transitional on a conventional PCI bus, the only kind that i440fx
    has, and modern-only on a PCI Express port. Drivers for XP and 2003 list 1000 to 1003 only.
    """
    if machine_type is MachineType.PC or (drivers.modern and not nt5):
        return False
    notes.append(
        "The VirtIO devices are transitional ones behind a PCI bridge: the guest's drivers do not "
        "know the ids of modern ones."
    )
    return True


def _local_time(realtime_is_universal: bool, notes: list[str]) -> bool:
    if realtime_is_universal:
        notes.append("The clock keeps UTC: this guest has RealTimeIsUniversal set.")
    return not realtime_is_universal


def _enlightened(machine: Machine, windows: WindowsVersion, notes: list[str]) -> bool:
    """Decide on Hyper-V's enlightenments and clock.

    Under UEFI Windows before 8 does not start with them (Red Hat bug 1185253); virt-manager
    and Proxmox VE leave them out as well.
    """
    if windows.nt < _NT6:
        return False
    if machine.firmware is Firmware.UEFI and windows.nt < _WINDOWS_8:
        notes.append(
            "Hyper-V's enlightenments were left out: Windows before 8 does not start with them "
            "under UEFI (Red Hat bug 1185253)."
        )
        return False
    return True


def _timers(*, enlightened: bool) -> tuple[Timer, ...]:
    """Return the timers: Windows loses time when ticks are merged, so the RTC catches up.

    The HPET is left out because Windows prefers it to better timers and it is slow to emulate.
    With enlightenments Windows reads Hyper-V's reference clock, which the synthetic timers need.
    """
    common = (
        Timer("rtc", tick_policy="catchup"),
        Timer("pit", tick_policy="delay"),
        Timer("hpet", present=False),
    )
    return (*common, Timer("hypervclock", present=True)) if enlightened else common


def _wanted(driver: bool, device: str, notes: list[str]) -> bool:
    """Decide on a device that is of no use without its driver and raises a wizard besides."""
    if not driver:
        notes.append(f"The VirtIO {device} was left out: the guest has no driver for it.")
    return driver


def _usb(windows: WindowsVersion) -> UsbController:
    """Return the best USB controller with a driver in Windows itself.

    Windows has a driver for xHCI since 8, for EHCI since XP SP1 and 2000 SP4, for UHCI always.
    The tablet on it gives absolute positions, without which the pointer drifts.
    """
    if windows.nt < _NT6:
        return UsbController.UHCI
    return UsbController.EHCI if windows.nt < _WINDOWS_8 else UsbController.XHCI


def _sound(
    machine: Machine, machine_type: MachineType, notes: list[str], *, nt5: bool
) -> SoundModel | None:
    """Return a card with a driver in Windows itself, if the source has sound at all.

    AC'97 has one before Vista, Intel HD Audio since; ich9 is the HD Audio of q35's own chipset.
    """
    if not machine.sound:
        return None
    hd_audio = SoundModel.ICH9 if machine_type is MachineType.Q35 else SoundModel.ICH6
    model = SoundModel.AC97 if nt5 else hd_audio
    notes.append(
        f'The sound card "{machine.sound}" became {model}, which Windows has a driver for.'
    )
    return model
