"""The target machine as a libvirt domain (libvirt.org, "Domain XML format").

PCI addresses are written for those network cards alone that Windows expects in one place (see
``nic_places``), in slots that libvirt leaves free. All others it chooses when the domain is
defined: it knows which slots the chipset takes and adds the bridges and root ports that are needed,
so that no two devices can clash.

Firmware paths are never written: with ``firmware='efi'`` libvirt itself looks through the host's
firmware descriptors (/usr/share/qemu/firmware) for one with the features that are asked for, and
makes the file of its variables. Paths out of the descriptors of the host that converts would be
another host's guess; ``--define`` asks the host that will run the machine.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

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
    UsbController,
    VideoModel,
)
from offline_mig.targets.hardware import SPINLOCK_RETRIES, TargetMachine
from offline_mig.targets.processors import HOST_MODEL, HOST_PASSTHROUGH
from offline_mig.targets.video import VideoCard

_OSINFO_NAMESPACE = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
#: The disk buses by libvirt's names.
_BUSES = {DiskBus.VIRTIO: "virtio", DiskBus.VIRTIO_SCSI: "scsi", DiskBus.IDE: "ide"}
#: Where osinfo-db's short id differs from the release's virtio-win name in lower case.
_OSINFO_IDS = {"w7": "7", "w8": "8", "w8.1": "8.1", "w10": "10", "w11": "11"}
#: Everything else that osinfo-db lists under http://microsoft.com/win/.
_OSINFO_SAME = frozenset(
    "2k xp 2k3 vista 2k8 2k8r2 2k12 2k12r2 2k16 2k19 2k22 2k25".split()  # noqa: SIM905
)
#: The ports of an AHCI controller as q35 has it (ICH9 datasheet).
_AHCI_PORTS = 6
#: libvirt's own number of ports for qemu-xhci; QEMU's default of 4 is soon used up.
_XHCI_PORTS = 15
#: The UHCI companions of ich9-ehci1 and the first port that each of them serves (ICH9 datasheet).
_EHCI_COMPANIONS = (("ich9-uhci1", 0), ("ich9-uhci2", 2), ("ich9-uhci3", 4))
#: XML 1.0, production 2: characters that no document may contain.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def domain_xml(target: TargetMachine) -> str:
    """Return the document that ``virsh define`` takes, ending with a line feed.

    Raises OutputRefusedError when a path or a network's name has characters that XML cannot hold.
    """
    domain = ET.Element("domain", type="kvm")
    _add(domain, "name", target.name)
    if target.uuid is not None:
        _add(domain, "uuid", target.uuid)
    _metadata(domain, target)
    _add(domain, "memory", str(target.memory), unit="MiB")
    _add(domain, "vcpu", str(target.processors.count))
    _os(domain, target)
    _features(domain, target)
    _cpu(domain, target)
    _clock(domain, target)
    _add(domain, "on_poweroff", "destroy")
    _add(domain, "on_reboot", "restart")
    # A guest that stops with a blue screen must stay stopped, not start over and over.
    _add(domain, "on_crash", "destroy")
    power = _add(domain, "pm")
    # A sleeping guest is mistaken for a hung one, and QEMU wakes few devices up properly.
    _add(power, "suspend-to-mem", enabled="no")
    _add(power, "suspend-to-disk", enabled="no")
    _devices(domain, target)
    refuse_unwritable(domain)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def osinfo_id(release: str) -> str | None:
    """Return osinfo-db's id for a Windows release by its virtio-win name, None if it has none."""
    name = _OSINFO_IDS.get(release, release.lower())
    if release not in _OSINFO_IDS and name not in _OSINFO_SAME:
        return None
    return f"http://microsoft.com/win/{name}"


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _metadata(domain: ET.Element, target: TargetMachine) -> None:
    """Name the Windows for virt-manager and others that go by it."""
    number = osinfo_id(target.windows.release)
    if number is None:
        return
    metadata = _add(domain, "metadata")
    # The prefix is written out: registering it would change ElementTree for the whole process.
    osinfo = ET.SubElement(metadata, "libosinfo:libosinfo", {"xmlns:libosinfo": _OSINFO_NAMESPACE})
    _add(osinfo, "libosinfo:os", id=number)


def _os(domain: ET.Element, target: TargetMachine) -> None:
    system = _add(domain, "os")
    # x86_64 for 32-bit Windows too: it runs there, and few hosts have an emulator for i686.
    _add(system, "type", "hvm", arch="x86_64", machine=str(target.machine_type))
    if target.firmware is Firmware.UEFI:
        system.set("firmware", "efi")
        firmware = _add(system, "firmware")
        # Both are written out, or a host might choose firmware with Microsoft's keys enrolled.
        for feature in ("secure-boot", "enrolled-keys"):
            _add(firmware, "feature", enabled=_yes_no(target.secure_boot), name=feature)


def _features(domain: ET.Element, target: TargetMachine) -> None:
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if target.pae:
        _add(features, "pae")
    if target.enlightenments:
        hyperv = _add(features, "hyperv")
        for name in target.enlightenments:
            element = _add(hyperv, name, state="on")
            if name == "spinlocks":
                element.set("retries", str(SPINLOCK_RETRIES))
    _add(features, "vmport", state="on" if target.vmport else "off")
    if target.secure_boot:
        # Only code in system management mode may write the variables that Secure Boot rests on.
        _add(features, "smm", state="on")


def _cpu(domain: ET.Element, target: TargetMachine) -> None:
    # host-model: Windows 8 and later stop on QEMU's own models for want of instructions, and NT 5
    # does not mind instructions that it does not know. Unlike host-passthrough it can be migrated.
    # "partial" is libvirt's own check for it: "full" fails over features that QEMU adds unasked.
    if target.processor == HOST_MODEL:
        cpu = _add(domain, "cpu", mode="host-model", check="partial")
    elif target.processor == HOST_PASSTHROUGH:
        cpu = _add(domain, "cpu", mode="host-passthrough", check="none", migratable="on")
    else:
        cpu = _add(domain, "cpu", mode="custom", match="exact", check="partial")
        # Another model than the one that was asked for would surprise, and cost an activation.
        _add(cpu, "model", target.processor, fallback="forbid")
    processors = target.processors
    _add(
        cpu,
        "topology",
        sockets=str(processors.sockets),
        cores=str(processors.cores),
        threads="1",
    )


def _clock(domain: ET.Element, target: TargetMachine) -> None:
    clock = _add(domain, "clock", offset="localtime" if target.local_time else "utc")
    for timer in target.timers:
        element = _add(clock, "timer", name=timer.name)
        if timer.tick_policy is not None:
            element.set("tickpolicy", timer.tick_policy)
        if timer.present is not None:
            element.set("present", _yes_no(timer.present))


def _devices(domain: ET.Element, target: TargetMachine) -> None:
    devices = _add(domain, "devices")
    # libvirt takes "virtio-transitional" wherever it takes "virtio".
    virtio = "virtio-transitional" if target.transitional else "virtio"
    for index, disk in enumerate(target.disks):
        _disk(devices, disk, index, target)
    for index, cdrom in enumerate(target.cdroms):
        _cdrom(devices, cdrom, index)
    _controllers(devices, target)
    _interfaces(devices, target, virtio)
    _add(devices, "input", type="tablet", bus="usb")
    if target.tpm:
        # The command response buffer is TPM 2.0's own interface; the other one, tpm-tis, is 1.2's.
        tpm = _add(devices, "tpm", model="tpm-crb")
        _add(tpm, "backend", type="emulator", version="2.0")
    _console(devices, target)
    if target.sound is not None:
        _add(devices, "sound", model=str(target.sound))
    # "none" is written out: libvirt adds a balloon to a domain that does not mention one.
    _add(devices, "memballoon", model=virtio if target.balloon else "none")
    if target.rng:
        rng = _add(devices, "rng", model=virtio)
        _add(rng, "backend", "/dev/urandom", model="random")


def _disk(devices: ET.Element, disk: DiskDevice, index: int, target: TargetMachine) -> None:
    element = _add(devices, "disk", type="file", device="disk")
    if target.transitional and target.disk_bus is DiskBus.VIRTIO:
        element.set("model", "virtio-transitional")
    # No cache mode: QEMU's writeback honours every flush of NTFS and works on every file system,
    # where "none" fails without O_DIRECT. discard keeps a sparse image sparse as Windows trims it.
    _add(element, "driver", name="qemu", type=str(disk.format), discard="unmap")
    _add(element, "source", file=str(disk.path))
    _add(element, "target", dev=disk.target, bus=_BUSES[target.disk_bus])
    _add(element, "serial", disk.serial)
    _add(element, "boot", order=str(disk.boot_order))
    if target.disk_bus is DiskBus.VIRTIO_SCSI:
        # Left to itself libvirt puts seven disks on a controller and adds LSI ones for the rest.
        _drive_address(element, controller=0, unit=index)


def _cdrom(devices: ET.Element, cdrom: CdromDrive, index: int) -> None:
    element = _add(devices, "disk", type="file", device="cdrom")
    _add(element, "driver", name="qemu", type="raw")
    _add(element, "target", dev=cdrom.target, bus=str(cdrom.bus))
    _add(element, "readonly")
    if cdrom.bus is Bus.SATA:
        # Its name may start behind those of SCSI disks, and libvirt goes by the name.
        controller, port = divmod(index, _AHCI_PORTS)
        _drive_address(element, controller, port)


def _drive_address(disk: ET.Element, controller: int, unit: int) -> None:
    place = {"controller": controller, "bus": 0, "target": 0, "unit": unit}
    _add(disk, "address", type="drive", **{name: str(number) for name, number in place.items()})


def _controllers(devices: ET.Element, target: TargetMachine) -> None:
    if target.disk_bus is DiskBus.VIRTIO_SCSI:
        model = "virtio-transitional" if target.transitional else "virtio-scsi"
        _add(devices, "controller", type="scsi", index="0", model=model)
    _usb_controller(devices, target.usb)
    if target.serial:
        serial = _add(devices, "controller", type="virtio-serial", index="0")
        if target.transitional:
            serial.set("model", "virtio-transitional")


def _usb_controller(devices: ET.Element, usb: UsbController) -> None:
    controller = _add(devices, "controller", type="usb", index="0", model=str(usb))
    if usb is UsbController.XHCI:
        controller.set("ports", str(_XHCI_PORTS))
    if usb is UsbController.EHCI:
        for model, port in _EHCI_COMPANIONS:
            companion = _add(devices, "controller", type="usb", index="0", model=model)
            _add(companion, "master", startport=str(port))


def _interfaces(devices: ET.Element, target: TargetMachine, virtio: str) -> None:
    """Add the network cards; those with a slot on q35 get a port in it, which is a bus."""
    bus = 0
    for nic in target.nics:
        interface = _interface(devices, nic, virtio)
        if nic.slot is None:
            continue
        if target.machine_type is MachineType.Q35:
            bus += 1
            port = _add(devices, "controller", type="pci", index=str(bus), model="pcie-root-port")
            _add(port, "model", name="pcie-root-port")
            _pci_address(port, 0, nic.slot)
            _pci_address(interface, bus, 0)
        else:
            _pci_address(interface, 0, nic.slot)


def _interface(devices: ET.Element, nic: NicDevice, virtio: str) -> ET.Element:
    kind = str(nic.attachment.kind)
    interface = _add(devices, "interface", type=kind)
    if nic.mac is not None:
        _add(interface, "mac", address=nic.mac)
    ET.SubElement(interface, "source", {kind: nic.attachment.name})
    _add(interface, "model", type=virtio if nic.model is NicModel.VIRTIO else str(nic.model))
    if not nic.connected:
        _add(interface, "link", state="down")
    return interface


def _pci_address(device: ET.Element, bus: int, slot: int) -> None:
    _add(
        device,
        "address",
        type="pci",
        domain="0x0000",
        bus=f"0x{bus:02x}",
        slot=f"0x{slot:02x}",
        function="0x0",
    )


def _console(devices: ET.Element, target: TargetMachine) -> None:
    """Add the screen, and the channels of the agents in the guest."""
    graphics = _add(devices, "graphics", type=str(target.graphics), autoport="yes")
    # Without an address the host's own setting holds, which is the loopback unless changed.
    _add(graphics, "listen", type="address")
    video = _add(devices, "video")
    _video_model(video, target.video)
    if not target.serial:
        return
    agent = _add(devices, "channel", type="unix")
    _add(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    if target.graphics is Graphics.SPICE:
        vdagent = _add(devices, "channel", type="spicevmc")
        _add(vdagent, "target", type="virtio", name="com.redhat.spice.0")


def _video_model(video: ET.Element, card: VideoCard) -> None:
    model = _add(video, "model", type=str(card.model))
    if card.model is VideoModel.QXL:
        model.set("ram", str(card.ram))
        model.set("vram", str(card.vram))
        model.set("vgamem", str(card.framebuffer))
    elif card.model is not VideoModel.VIRTIO:
        model.set("vram", str(card.framebuffer))
    model.set("heads", "1")
    model.set("primary", "yes")


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def refuse_unwritable(whole: ET.Element) -> None:
    """Raise OutputRefusedError when an element holds characters that XML cannot."""
    for element in whole.iter():
        for text in (element.text or "", *element.attrib.values()):
            if _NOT_XML.search(text):
                raise OutputRefusedError(
                    f"{text!r} has characters that a libvirt domain cannot hold.",
                    "Choose an output path and network names without control characters and in "
                    "valid UTF-8.",
                )
