"""The target machine for QEMU alone: a shell script that runs it (qemu(1), "QEMU User Manual").

The script is POSIX sh. What only the host knows it finds out there: whether KVM works, whether
this QEMU has SPICE, where the firmware lies, whether there is a TPM emulator.
"""

from __future__ import annotations

import re
import shlex

from offline_mig.errors import OutputRefusedError
from offline_mig.machine import Bus, Firmware
from offline_mig.targets.devices import (
    CdromDrive,
    DiskBus,
    DiskDevice,
    Graphics,
    MachineType,
    NicDevice,
    NicModel,
    SoundModel,
    UsbController,
    VideoModel,
)
from offline_mig.targets.hardware import SPINLOCK_RETRIES, TargetMachine
from offline_mig.targets.processors import HOST_MODEL, HOST_PASSTHROUGH
from offline_mig.targets.qemu_firmware import firmware_lines
from offline_mig.targets.qemu_slots import virtio_slots
from offline_mig.targets.video import VideoCard

#: Units of an IDE channel, and ports of an AHCI controller (ICH9 datasheet).
_IDE_UNITS = 2
_AHCI_PORTS = 6
#: Devices of the sound cards, by QEMU's names.
_SOUND = {
    SoundModel.AC97: ("AC97,audiodev=sound",),
    SoundModel.ICH6: ("intel-hda", "hda-duplex,audiodev=sound"),
    SoundModel.ICH9: ("ich9-intel-hda", "hda-duplex,audiodev=sound"),
}
#: USB controllers; the UHCI companions of ich9-ehci1 share its slot, each serves two of its ports
#: (ICH9 datasheet). 15 ports of each speed are qemu-xhci's most.
_USB = {
    UsbController.UHCI: ("piix3-usb-uhci,id=usb",),
    UsbController.EHCI: (
        "ich9-usb-ehci1,id=usb,addr=0x1d.0x7,multifunction=on",
        "ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x1d.0x0,multifunction=on",
        "ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x1d.0x1,multifunction=on",
        "ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x1d.0x2,multifunction=on",
    ),
    UsbController.XHCI: ("qemu-xhci,id=usb,p2=15,p3=15",),
}
#: The first number of the chassis of network cards' own ports; a chassis has eight bits.
_CHASSIS = 0x80
_AGENT = "org.qemu.guest_agent.0"
_SPICE_AGENT = "com.redhat.spice.0"
#: Control characters, which could end a line of the script, and lone surrogates, no UTF-8.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def qemu_script(target: TargetMachine) -> str:
    """Return a POSIX shell script that runs the machine until it is switched off.

    It looks for the disks in its own folder. Raises OutputRefusedError for a name that a shell
    script cannot hold.
    """
    for text in (
        *(disk.path.name for disk in target.disks),
        *(n.bridge or "" for n in target.nics),
    ):
        if _UNWRITABLE.search(text):
            raise OutputRefusedError(
                f"{text!r} has characters that a shell script cannot hold.",
                "Choose a --name and a --network without control characters and in valid UTF-8.",
            )
    # What was given to the script stays last, so that it can add to the machine.
    command = ('"$QEMU"', *_board(target), *_backends(target), *_devices(target), '"$@"')
    lines = (
        *_head(target),
        *_acceleration(target),
        *_screen(target),
        *(_firmware(target) if target.firmware is Firmware.UEFI else ()),
        *(_tpm(target) if target.tpm else ()),
        "",
        " \\\n    ".join(command),
    )
    return "\n".join(lines) + "\n"


def _head(target: TargetMachine) -> tuple[str, ...]:
    """Return the beginning of the script: what can be chosen, and where the disks are."""
    lines = [
        "#!/bin/sh",
        f"# Runs {target.name}, converted by offline-mig, under QEMU. What is given to this script",
        "# is given to QEMU, after everything else. Environment variables:",
        "#   QEMU        the program (qemu-system-x86_64)",
        "#   ACCEL       kvm or tcg (kvm where it works)",
        "#   CPU         the processor, with its features",
        "#   MEMORY      in MiB",
        "#   DISK1       the first disk, DISK2 the second and so on",
    ]
    if target.nics:
        lines.append("#   NET1        what the first network card is on, as for -netdev, NET2 ...")
    if target.graphics is Graphics.SPICE:
        lines.append("#   SPICE_PORT  on this host only (5930)")
    lines.append("#   VNC         number of the display, on this host only (0)")
    if target.serial:
        lines.append("#   AGENT       socket of the QEMU guest agent")
    if target.firmware is Firmware.UEFI:
        lines += [
            "#   OVMF_CODE, OVMF_VARS  the firmware, and its empty variables",
            "#   VARS        this machine's own variables",
        ]
    if target.tpm:
        lines.append("#   TPM         folder with the state of the TPM, 'none' for no TPM")
    lines += [
        "set -eu",
        "",
        "fail() {",
        "    printf '%s\\n' \"$0: $1\" >&2",
        "    exit 1",
        "}",
        "# QEMU takes a comma for the end of a value, and two for one.",
        "escaped() {",
        "    printf '%s' \"$1\" | sed 's/,/,,/g'",
        "}",
        'here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)',
        "QEMU=${QEMU:-qemu-system-x86_64}",
        (
            'command -v "$QEMU" >/dev/null || fail "$QEMU is missing: install QEMU, or name '
            'it with QEMU."'
        ),
        f"MEMORY=${{MEMORY:-{target.memory}}}",
    ]
    for number, disk in enumerate(target.disks, start=1):
        lines += [
            f'[ -n "${{DISK{number}-}}" ] || DISK{number}=$here/{shlex.quote(disk.path.name)}',
            (
                f'[ -r "$DISK{number}" ] || fail "$DISK{number} cannot be read: name it with '
                f'DISK{number}."'
            ),
        ]
    for number, nic in enumerate(target.nics, start=1):
        backend = "user" if nic.bridge is None else f"bridge,br={nic.bridge.replace(',', ',,')}"
        lines.append(f'[ -n "${{NET{number}-}}" ] || NET{number}={shlex.quote(backend)}')
    lines += [
        "# For sockets, whose paths must be short.",
        'run=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/guest.XXXXXX")',
        "trap 'rm -rf -- \"$run\"' EXIT",
        "trap 'exit 130' INT",
        "trap 'exit 143' TERM",
    ]
    if target.serial:
        lines.append('[ -n "${AGENT-}" ] || AGENT=$run/agent.sock')
    return tuple(lines)


def _acceleration(target: TargetMachine) -> tuple[str, ...]:
    """Return lines that set ACCEL and CPU."""
    enlightened = "".join(f",hv-{name}={_hyperv_value(name)}" for name in target.enlightenments)
    if any(timer.name == "hypervclock" and timer.present for timer in target.timers):
        enlightened += ",hv-time=on"
    own = target.processor in (HOST_MODEL, HOST_PASSTHROUGH)
    processor = "" if own else target.processor
    delayed = [timer for timer in target.timers if timer.name == "pit" and timer.tick_policy]
    settings = "".join(
        f" -global kvm-pit.lost_tick_policy={timer.tick_policy}" for timer in delayed
    )
    return (
        "",
        "# A device node alone does not say that KVM works.",
        'if [ -z "${ACCEL-}" ]; then',
        "    ACCEL=tcg",
        f'    if [ -w /dev/kvm ] && echo quit | "$QEMU" -machine {target.machine_type} \\',
        "        -accel kvm -cpu host -m 16 -S -nodefaults -display none -monitor stdio \\",
        "        >/dev/null 2>&1",
        "    then",
        "        ACCEL=kvm",
        "    else",
        "        printf '%s\\n' \"$0: KVM does not work here; this will be slow.\" >&2",
        "    fi",
        "fi",
        "# The enlightenments are KVM's.",
        'if [ "$ACCEL" = kvm ]; then',
        f"    CPU=${{CPU:-{processor or 'host,migratable=on'}{enlightened}}}",
        *((f'    set --{settings} "$@"',) if settings else ()),
        "else",
        f"    CPU=${{CPU:-{processor or 'max'}}}",
        "fi",
    )


def _hyperv_value(name: str) -> str:
    return str(SPINLOCK_RETRIES) if name == "spinlocks" else "on"


def _screen(target: TargetMachine) -> tuple[str, ...]:
    """Return lines that set ``video`` and add the screen, and the sound that it carries."""
    sound = " -audiodev none,id=sound" if target.sound is not None else ""
    vnc = f'set -- -vnc "127.0.0.1:${{VNC:-0}}"{sound} "$@"'
    if target.graphics is not Graphics.SPICE:
        return ("", *_card(target.video), vnc)
    agent = ""
    if target.serial:
        agent = (
            " -chardev spicevmc,id=vdagent,name=vdagent \\\n        "
            f"-device virtserialport,bus=serial.0,nr=2,chardev=vdagent,name={_SPICE_AGENT}"
        )
    return (
        "",
        *_card(target.video),
        "# QXL and SPICE come and go together.",
        f"if {_has_device('qxl-vga')}; then",
        '    set -- -spice "addr=127.0.0.1,port=${SPICE_PORT:-5930},disable-ticketing=on" \\',
        f'       {sound.replace("none", "spice")}{agent} "$@"',
        "else",
        f"    {vnc}",
        "fi",
    )


def _card(card: VideoCard) -> tuple[str, ...]:
    """Return lines that set ``video``, to standard VGA where QEMU lacks the card."""
    size = card.framebuffer // 1024
    plain = f"VGA,vgamem_mb={size}"
    cards = {
        VideoModel.QXL: (
            f"qxl-vga,vgamem_mb={size},ram_size_mb={card.ram // 1024},"
            f"vram_size_mb={card.vram // 1024}"
        ),
        VideoModel.VIRTIO: "virtio-vga",
        VideoModel.CIRRUS: f"cirrus-vga,vgamem_mb={size}",
        VideoModel.VGA: plain,
    }
    video = f"video={cards[card.model]}"
    if card.model not in (VideoModel.QXL, VideoModel.VIRTIO):
        return (video,)
    device = cards[card.model].partition(",")[0]
    return (video, "# Not every QEMU has this card.", f"{_has_device(device)} || video={plain}")


def _has_device(name: str) -> str:
    """Return a command that succeeds where QEMU has a device."""
    return f'"$QEMU" -device help 2>/dev/null | grep -q \'"{name}"\''


def _firmware(target: TargetMachine) -> tuple[str, ...]:
    return ("", *firmware_lines(target.name, secure_boot=target.secure_boot))


def _tpm(target: TargetMachine) -> tuple[str, ...]:
    """Return lines that start a TPM emulator, which ends with QEMU."""
    return (
        "",
        f'[ -n "${{TPM-}}" ] || TPM=$here/{shlex.quote(f"{target.name}.tpm")}',
        'if [ "$TPM" != none ] && command -v swtpm >/dev/null; then',
        '    mkdir -p -- "$TPM"',
        '    swtpm socket --tpm2 --tpmstate "dir=$TPM" --ctrl "type=unixio,path=$run/tpm.sock" \\',
        "        --terminate --daemon",
        '    set -- -chardev "socket,id=tpm,path=$(escaped "$run/tpm.sock")" \\',
        '        -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 "$@"',
        "fi",
    )


def _board(target: TargetMachine) -> tuple[str, ...]:
    """Return the arguments for all that is no device."""
    machine = f"{target.machine_type},hpet=off,vmport={'on' if target.vmport else 'off'}"
    if target.secure_boot:
        # Only code in system management mode may write the variables that Secure Boot rests on.
        machine += ",smm=on"
    processors = target.processors
    name = target.name.replace(",", ",,")
    clock = "localtime" if target.local_time else "utc"
    drift = ",driftfix=slew" if any(t.tick_policy == "catchup" for t in target.timers) else ""
    power = "ICH9-LPC" if target.machine_type is MachineType.Q35 else "PIIX4_PM"
    arguments = [
        f"-name {shlex.quote(f'guest={name}')}",
        "-nodefaults -no-user-config -boot strict=on",
        f'-machine {machine} -accel "$ACCEL" -cpu "$CPU"',
        (
            f'-m "$MEMORY" -smp {processors.count},sockets={processors.sockets},'
            f"cores={processors.cores},threads=1"
        ),
        f"-rtc base={clock}{drift}",
        # A sleeping guest is mistaken for a hung one.
        f"-global {power}.disable_s3=1 -global {power}.disable_s4=1",
    ]
    if target.uuid is not None:
        arguments.append(f"-uuid {target.uuid}")
    if target.firmware is Firmware.UEFI:
        arguments += [
            '-drive "if=pflash,unit=0,format=raw,readonly=on,file=$(escaped "$OVMF_CODE")"',
            '-drive "if=pflash,unit=1,format=raw,file=$(escaped "$VARS")"',
        ]
    if target.secure_boot:
        arguments.append("-global driver=cfi.pflash01,property=secure,value=on")
    return tuple(arguments)


def _backends(target: TargetMachine) -> tuple[str, ...]:
    """Return the arguments for the host's side of the devices."""
    arguments = [
        f'-drive "if=none,id=disk{number},format={disk.format},discard=unmap,'
        f'file=$(escaped "$DISK{number}")"'
        for number, disk in enumerate(target.disks, start=1)
    ]
    arguments += [
        f'-netdev "$NET{number},id=net{number}"' for number in range(1, len(target.nics) + 1)
    ]
    if target.serial:
        arguments.append('-chardev "socket,id=agent,server=on,wait=off,path=$(escaped "$AGENT")"')
    if target.rng:
        arguments.append("-object rng-random,id=random,filename=/dev/urandom")
    return tuple(arguments)


def _devices(target: TargetMachine) -> tuple[str, ...]:
    """Return the arguments for the devices, each behind what it hangs on."""
    virtio = _virtio(target)
    slots = virtio_slots(target.machine_type, len(virtio), transitional=target.transitional)
    # The card's own place on either chipset.
    place = "pcie.0,addr=0x1" if target.machine_type is MachineType.Q35 else "pci.0,addr=0x2"
    devices = [
        *_placed_nics(target),
        *slots.controllers,
        *(f"{device},bus={bus}" for device, bus in zip(virtio, slots.buses, strict=True)),
        *_emulated_nics(target),
        *_drives(target),
        *_USB[target.usb],
        "usb-tablet,bus=usb.0",
    ]
    if target.serial:
        devices.append(f"virtserialport,bus=serial.0,nr=1,chardev=agent,name={_AGENT}")
    if target.sound is not None:
        devices += _SOUND[target.sound]
    arguments = [f"-device {shlex.quote(device)}" for device in devices]
    return (f'-device "$video,bus={place}"', *arguments)


def _virtio(target: TargetMachine) -> tuple[str, ...]:
    """Return the VirtIO devices, still without a bus."""
    suffix = "-pci-transitional" if target.transitional else "-pci"
    devices: list[str] = []
    if target.disk_bus is DiskBus.VIRTIO:
        devices += (f"virtio-blk{suffix},{disk}" for disk in _disks(target))
    if target.disk_bus is DiskBus.VIRTIO_SCSI:
        devices.append(f"virtio-scsi{suffix},id=scsi")
    devices += (
        f"virtio-net{suffix},{options}"
        for nic, options in _nics(target)
        if nic.model is NicModel.VIRTIO and nic.slot is None
    )
    if target.serial:
        devices.append(f"virtio-serial{suffix},id=serial")
    if target.balloon:
        devices.append(f"virtio-balloon{suffix}")
    if target.rng:
        devices.append(f"virtio-rng{suffix},rng=random")
    return tuple(devices)


def _nics(target: TargetMachine) -> tuple[tuple[NicDevice, str], ...]:
    return tuple(
        (nic, f"netdev=net{number}" + (f",mac={nic.mac}" if nic.mac else ""))
        for number, nic in enumerate(target.nics, start=1)
    )


def _placed_nics(target: TargetMachine) -> tuple[str, ...]:
    """Return the network cards that Windows expects in one place, before QEMU places others."""
    devices: list[str] = []
    for nic, options in _nics(target):
        if nic.slot is None:
            continue
        bus, address = "pci.0", f"0x{nic.slot:x}"
        if target.machine_type is MachineType.Q35:
            # Numbers of chassis that the ports of other devices do not come to.
            bus = f"slot{nic.slot}"
            devices.append(
                f"pcie-root-port,id={bus},chassis={_CHASSIS + nic.slot},bus=pcie.0,addr={address}"
            )
            address = "0x0"
        devices.append(f"virtio-net-pci,{options},bus={bus},addr={address}")
    return tuple(devices)


def _emulated_nics(target: TargetMachine) -> tuple[str, ...]:
    return tuple(
        f"{nic.model},{options}"
        for nic, options in _nics(target)
        if nic.model is not NicModel.VIRTIO
    )


def _disks(target: TargetMachine) -> tuple[str, ...]:
    """Return what all buses say of the disks."""
    return tuple(_disk(disk, number) for number, disk in enumerate(target.disks, start=1))


def _disk(disk: DiskDevice, number: int) -> str:
    return f"drive=disk{number},bootindex={disk.boot_order},serial={disk.serial}"


def _drives(target: TargetMachine) -> tuple[str, ...]:
    """Return the disks that hang on a controller, and the CD-ROM drives."""
    drives: list[str] = []
    if target.disk_bus is DiskBus.VIRTIO_SCSI:
        # One target for each disk: all can be told apart and started from.
        drives += (
            f"scsi-hd,bus=scsi.0,scsi-id={index},{disk}"
            for index, disk in enumerate(_disks(target))
        )
    if target.disk_bus is DiskBus.IDE:
        drives += (
            f"ide-hd,{_ide_place(index)},{disk}" for index, disk in enumerate(_disks(target))
        )
    taken = len(drives) if target.disk_bus is DiskBus.IDE else 0
    sata = sum(cdrom.bus is Bus.SATA for cdrom in target.cdroms)
    controllers = range(1, -(-sata // _AHCI_PORTS))
    drives += (f"ahci,id=sata{number}" for number in controllers)
    drives += (f"ide-cd,{_cdrom_place(c, taken + i)}" for i, c in enumerate(target.cdroms))
    return tuple(drives)


def _ide_place(index: int) -> str:
    channel, unit = divmod(index, _IDE_UNITS)
    return f"bus=ide.{channel},unit={unit}"


def _cdrom_place(cdrom: CdromDrive, index: int) -> str:
    if cdrom.bus is not Bus.SATA:
        return _ide_place(index)
    controller, port = divmod(index, _AHCI_PORTS)
    # The chipset's own controller calls its ports IDE channels.
    return f"bus={f'sata{controller}' if controller else 'ide'}.{port}"
