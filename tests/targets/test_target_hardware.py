"""Which hardware a Windows gets, and what the user is told about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.target_machines import (
    AMD64,
    BRIDGE,
    LAN,
    NT5_DRIVERS,
    SAMPLES,
    SERVER_2003,
    SERVER_2022,
    VISTA,
    WINDOWS_7,
    WINDOWS_10,
    WINDOWS_11,
    X86,
    XP,
    Sample,
    machine,
    target_disk,
)
from offline_mig.errors import NoDriverError
from offline_mig.machine import Bus, DiskFormat, Drive, Firmware, Nic
from offline_mig.targets.devices import (
    Attachment,
    AttachmentKind,
    NicModel,
    SoundModel,
    UsbController,
    VideoModel,
)
from offline_mig.targets.hardware import (
    ENLIGHTENMENTS,
    DiskBus,
    DriversInPlace,
    Graphics,
    MachineType,
    TargetDisk,
    TargetMachine,
    TargetOptions,
)
from offline_mig.targets.network import parse_attachment, parse_mapping
from offline_mig.targets.processors import parse_model
from offline_mig.targets.storage import device_name
from offline_mig.windows.version import WindowsVersion

WINDOWS_8 = WindowsVersion(6, 2, 9200, X86)
UEFI: dict[str, Any] = {"firmware": Firmware.UEFI}
Q35, PC = TargetOptions(machine_type=MachineType.Q35), TargetOptions(machine_type=MachineType.PC)


def plan(
    windows: WindowsVersion = WINDOWS_10,
    options: TargetOptions | None = None,
    drivers: DriversInPlace | None = None,
    disks: tuple[TargetDisk, ...] = (target_disk("disk"),),
    **source: Any,
) -> TargetMachine:
    return Sample(
        machine(source.pop("name", "guest"), **source),
        windows,
        disks,
        options or TargetOptions(),
        drivers or DriversInPlace(),
    ).plan()


def has_note(target: TargetMachine, words: str) -> bool:
    return any(words in note for note in target.notes)


@pytest.mark.parametrize(
    ("windows", "machine_type", "usb", "enlightened"),
    [
        (XP, MachineType.PC, UsbController.UHCI, False),
        (SERVER_2003, MachineType.PC, UsbController.UHCI, False),
        (VISTA, MachineType.Q35, UsbController.EHCI, True),
        (WINDOWS_7, MachineType.Q35, UsbController.EHCI, True),
        (WINDOWS_8, MachineType.Q35, UsbController.XHCI, True),
        (SERVER_2022, MachineType.Q35, UsbController.XHCI, True),
    ],
)
def test_windows_decides_the_chipset_and_what_it_has_drivers_for(
    windows: WindowsVersion, machine_type: MachineType, usb: UsbController, enlightened: bool
) -> None:
    target = plan(windows)
    assert target.machine_type is machine_type
    assert target.usb is usb
    assert target.enlightenments == (ENLIGHTENMENTS if enlightened else ())
    assert any(timer.name == "hypervclock" for timer in target.timers) == enlightened
    assert target.pae == (windows.architecture is X86)


@pytest.mark.parametrize("windows", [VISTA, WINDOWS_7, WINDOWS_8])
def test_windows_before_8_has_no_enlightenments_under_uefi(windows: WindowsVersion) -> None:
    target = plan(windows, firmware=Firmware.UEFI)
    enlightened = windows is WINDOWS_8
    assert target.enlightenments == (ENLIGHTENMENTS if enlightened else ())
    assert any(timer.name == "hypervclock" for timer in target.timers) == enlightened
    assert has_note(target, "bug 1185253") != enlightened


def test_risky_enlightenments_stay_off() -> None:
    assert not {"reset", "reenlightenment", "evmcs", "passthrough"} & set(ENLIGHTENMENTS)
    needs = {"synic": "vpindex", "stimer": "synic", "tlbflush": "vpindex", "ipi": "vpindex"}
    for feature, needed in needs.items():  # QEMU, docs/system/i386/hyperv.rst
        assert ENLIGHTENMENTS.index(needed) < ENLIGHTENMENTS.index(feature)


@pytest.mark.parametrize(
    ("windows", "options", "drivers", "transitional"),
    [
        (XP, None, NT5_DRIVERS, False),
        (XP, Q35, NT5_DRIVERS, True),
        (XP, Q35, DriversInPlace(), True),
        (WINDOWS_10, None, None, False),
        (WINDOWS_10, PC, None, False),
        (WINDOWS_7, None, DriversInPlace(modern=False), True),
        (WINDOWS_7, PC, DriversInPlace(modern=False), False),
    ],
)
def test_legacy_ids_where_drivers_know_no_others(
    windows: WindowsVersion,
    options: TargetOptions | None,
    drivers: DriversInPlace | None,
    transitional: bool,
) -> None:
    assert plan(windows, options, drivers).transitional is transitional


@pytest.mark.parametrize(
    ("bus", "drivers", "remedy"),
    [
        (DiskBus.VIRTIO, DriversInPlace(block=False), "virtio-scsi"),
        (DiskBus.VIRTIO_SCSI, NT5_DRIVERS, "disk bus virtio,"),
        (DiskBus.VIRTIO, DriversInPlace(block=False, scsi=False), "driver source"),
    ],
)
def test_disk_bus_without_a_driver_is_refused(
    bus: DiskBus, drivers: DriversInPlace, remedy: str
) -> None:
    with pytest.raises(NoDriverError, match="0x0000007B") as caught:
        plan(options=TargetOptions(disk_bus=bus), drivers=drivers)
    assert remedy in caught.value.remedy


def test_devices_without_a_driver_are_left_out_or_replaced() -> None:
    missing = DriversInPlace(network=False, balloon=False, serial=False, rng=False, video=False)
    target = plan(drivers=missing, nics=(Nic(0),))
    assert (target.balloon, target.rng, target.serial) == (False, False, False)
    assert target.nics[0].model is NicModel.E1000E
    assert target.video.model is VideoModel.VGA
    for words in ("balloon", "random number", "serial controller", "e1000e", "no QXL driver"):
        assert has_note(target, words)


@pytest.mark.parametrize(
    ("windows", "model"),
    [
        (XP, NicModel.RTL8139),
        (VISTA, NicModel.E1000),
        (WINDOWS_7, NicModel.E1000E),
    ],
)
def test_emulated_card_is_one_that_windows_knows(windows: WindowsVersion, model: NicModel) -> None:
    target = plan(windows, drivers=DriversInPlace(network=False), nics=(Nic(0),))
    assert target.nics[0].model is model


@pytest.mark.parametrize("graphics", Graphics)
def test_screen_before_vista_without_qxl_is_one_that_windows_knows(graphics: Graphics) -> None:
    """NT 5 drives any other card as a VGA of 1987, with 16 colours."""
    target = plan(XP, options=TargetOptions(graphics=graphics), drivers=DriversInPlace(video=False))
    assert target.video.model is VideoModel.CIRRUS
    assert has_note(target, "Cirrus Logic")


def test_cards_keep_their_addresses_and_take_the_network_asked_for() -> None:
    nics = (Nic(0, mac="00:0c:29:aa:bb:cc", network="VM Network"), Nic(1), Nic(2, mac="01:00:5e:1"))
    target = plan(options=TargetOptions(networks=(LAN,)), nics=nics)
    assert [nic.mac for nic in target.nics] == ["00:0c:29:aa:bb:cc", None, None]
    assert {(nic.attachment, nic.model) for nic in target.nics} == {(LAN, NicModel.VIRTIO)}
    assert has_note(target, 'from "VM Network" to the network "lan"')
    assert has_note(target, 'unusable MAC address "01:00:5e:1"')
    assert [nic.attachment.name for nic in plan(nics=nics).nics] == ["default"] * 3


def test_cards_are_plugged_in_by_the_sources_network_or_in_order() -> None:
    nics = (Nic(0, network="Office"), Nic(1, network="office"), Nic(2), Nic(3), Nic(4))
    dmz = Attachment(AttachmentKind.BRIDGE, "dmz")
    options = TargetOptions(networks=(BRIDGE, LAN), network_map=(("OFFICE", dmz), ("gone", dmz)))
    target = plan(options=options, nics=nics)
    assert [nic.attachment for nic in target.nics] == [dmz, dmz, BRIDGE, LAN, LAN]
    assert has_note(target, 'No network card of the source is on "gone"')
    alone = plan(options=TargetOptions(networks=(BRIDGE, LAN)), nics=nics[:1])
    assert has_note(alone, 'No network card is left for the network "lan"')
    assert not has_note(plan(nics=()), "No network card")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VM Network=bridge=br0", ("VM Network", BRIDGE)),
        ("a=b=network=lan", ("a=b", LAN)),
        ("bridge=network=lan", ("bridge", LAN)),
    ],
)
def test_networks_of_the_source_are_told_from_those_of_the_target(
    text: str, expected: tuple[str, Attachment]
) -> None:
    assert parse_mapping(text) == expected


@pytest.mark.parametrize("text", ["", "br0", "network=", "Bridge=br0", "a=b"])
def test_what_names_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="network=NAME"):
        parse_attachment(text)
    with pytest.raises(ValueError, match="SOURCE"):
        parse_mapping(text)


def test_boot_disk_comes_first_and_the_others_keep_their_order() -> None:
    disks = (target_disk("a"), target_disk("b"), target_disk("c", boot=True), target_disk("d"))
    target = plan(disks=disks)
    assert [(disk.target, disk.boot_order) for disk in target.disks] == [
        ("vda", 2),
        ("vdb", 3),
        ("vdc", 1),
        ("vdd", 4),
    ]
    assert has_note(target, "starts from disk 3")
    unmarked = plan(disks=disks[:2])
    assert [disk.boot_order for disk in unmarked.disks] == [1, 2]


@pytest.mark.parametrize(
    ("index", "name"), [(0, "vda"), (25, "vdz"), (26, "vdaa"), (51, "vdaz"), (52, "vdba")]
)
def test_device_names_run_on_behind_z(index: int, name: str) -> None:
    assert device_name("vd", index) == name


def test_device_names_differ() -> None:
    assert len({device_name("sd", index) for index in range(2000)}) == 2000


def test_every_disk_has_a_serial_number_of_its_own_and_keeps_it() -> None:
    disks = (target_disk("a"), target_disk("b"), target_disk("c"))
    serials = [disk.serial for disk in plan(disks=disks).disks]
    assert len(set(serials)) == 3
    assert all(0 < len(serial) <= 20 for serial in serials)
    assert serials == [disk.serial for disk in plan(disks=disks).disks]
    assert not set(serials) & {disk.serial for disk in plan(disks=disks, name="other").disks}


def test_relative_disk_path_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="absolute"):
        TargetDisk(Path("disk.raw"), DiskFormat.RAW, 1)


def test_cdrom_drives_take_names_that_are_free() -> None:
    drives = (Drive(Bus.IDE, 1, 0), Drive(Bus.SATA, 0, 0, "/iso/x.iso"), Drive(Bus.FLOPPY, 0, 0))
    scsi = TargetOptions(disk_bus=DiskBus.VIRTIO_SCSI)
    target = plan(options=scsi, drives=drives)
    assert [(drive.target, drive.bus) for drive in target.cdroms] == [
        ("sdb", Bus.SATA),
        ("sdc", Bus.SATA),
    ]
    assert has_note(target, "floppy")
    assert has_note(target, "medium")
    assert [drive.target for drive in plan(drives=drives).cdroms] == ["sda", "sdb"]
    assert [drive.bus for drive in plan(XP, drives=drives).cdroms] == [Bus.IDE, Bus.IDE]


def test_ide_takes_four_cdrom_drives() -> None:
    target = plan(XP, drives=tuple(Drive(Bus.SCSI, 0, unit) for unit in range(6)))
    assert [drive.target for drive in target.cdroms] == ["hda", "hdb", "hdc", "hdd"]
    assert has_note(target, "Only 4 of 6")


@pytest.mark.parametrize(
    ("windows", "options", "model"),
    [
        (XP, None, SoundModel.AC97),
        (XP, Q35, SoundModel.AC97),
        (WINDOWS_7, None, SoundModel.ICH9),
        (WINDOWS_7, PC, SoundModel.ICH6),
    ],
)
def test_sound_only_if_the_source_has_it(
    windows: WindowsVersion, options: TargetOptions | None, model: SoundModel
) -> None:
    assert plan(windows, options).sound is None
    assert plan(windows, options, sound="es1371").sound is model


@pytest.mark.parametrize(
    ("source", "options", "secure_boot", "words"),
    [
        ({"secure_boot": True}, None, False, ""),
        (UEFI, None, False, "BOOTX64.EFI"),
        (UEFI | {"secure_boot": True}, None, True, "Microsoft signed"),
        (UEFI | {"secure_boot": True}, PC, False, "switched off"),
        (UEFI, PC, False, "q35 is the sound choice"),
    ],
)
def test_firmware_is_the_sources(
    source: dict[str, Any], options: TargetOptions | None, secure_boot: bool, words: str
) -> None:
    target = plan(options=options, **source)
    assert target.firmware is source.get("firmware", Firmware.BIOS)
    assert target.secure_boot is secure_boot
    assert not words or has_note(target, words)


@pytest.mark.parametrize(
    ("windows", "words"), [(VISTA, "32-bit UEFI"), (WINDOWS_7, "VGA BIOS"), (XP, "VGA BIOS")]
)
def test_uefi_that_windows_may_not_start_from_is_pointed_out(
    windows: WindowsVersion, words: str
) -> None:
    assert has_note(plan(windows, **UEFI), words)


def test_clock_keeps_what_windows_expects() -> None:
    sample = SAMPLES["2022-bios"]
    assert replace(sample, realtime_is_universal=False).plan().local_time
    universal = replace(sample, realtime_is_universal=True).plan()
    assert not universal.local_time
    assert has_note(universal, "RealTimeIsUniversal")


def test_odd_numbers_are_mended_and_told() -> None:
    target = plan(memory=0, vcpus=0, cores_per_socket=0, uuid="not one", name="  a/b\n")
    assert (target.memory, target.processors.count, target.uuid) == (2048, 1, None)
    assert target.name == "a-b-"
    for words in ("memory", "processors", "UUID"):
        assert has_note(target, words)


def test_uuid_is_kept_and_told() -> None:
    number = "564d0f3c-9a1b-4c2d-8e3f-001122334455"
    target = plan(uuid=number.upper())
    assert target.uuid == number
    assert has_note(target, "keeps its UUID")


def test_vmware_backdoor_is_closed_and_vnc_has_no_qxl() -> None:
    target = plan(options=TargetOptions(graphics=Graphics.VNC))
    assert not target.vmport
    assert target.video.model == "vga"
    assert has_note(target, "VGA over VNC")


def test_asking_for_q35_under_xp_is_warned_of() -> None:
    assert has_note(plan(XP, Q35), "0x000000A5")
    assert plan(WindowsVersion(5, 2, 3790, AMD64), PC).machine_type is MachineType.PC


def test_a_screen_beyond_the_video_memory_is_told() -> None:
    def told(width: int, height: int) -> bool:
        notes = plan(options=TargetOptions(resolution=(width, height))).notes
        return any(f"{width} x {height}" in note and "256 MiB" in note for note in notes)

    assert told(20000, 20000)
    assert not told(3840, 2160)


@pytest.mark.parametrize(
    ("windows", "source", "wish", "tpm", "words"),
    [
        (WINDOWS_11, UEFI | {"tpm": True}, None, True, "new and empty"),
        (WINDOWS_11, UEFI, None, False, "--tpm"),
        (WINDOWS_11, UEFI, True, True, "new and empty"),
        (WINDOWS_11, UEFI | {"tpm": True}, False, False, "--tpm"),
        (WINDOWS_11, {"tpm": True}, None, False, "left out"),
        (WINDOWS_7, UEFI | {"tpm": True}, None, False, "left out"),
        (SERVER_2022, UEFI | {"tpm": True}, None, True, "new and empty"),
        (SERVER_2022, UEFI, None, False, ""),
    ],
)
def test_tpm_is_the_sources_or_as_wished(
    windows: WindowsVersion, source: dict[str, Any], wish: bool | None, tpm: bool, words: str
) -> None:
    target = plan(windows, TargetOptions(tpm=wish), **source)
    assert target.tpm is tpm
    assert has_note(target, "TPM") is bool(words)
    assert has_note(target, words)


def test_secure_boot_that_would_stop_windows_is_switched_off() -> None:
    source = UEFI | {"secure_boot": True}
    target = plan(drivers=DriversInPlace(secure_boot=False), **source)
    assert target.firmware is Firmware.UEFI and not target.secure_boot
    assert has_note(target, "Secure Boot was switched off")


@pytest.mark.parametrize(
    ("windows", "video", "drivers", "words"),
    [
        (WINDOWS_10, VideoModel.VIRTIO, DriversInPlace(), "virtio-gpu over SPICE"),
        (WINDOWS_10, VideoModel.VIRTIO, DriversInPlace(gpu=False), "no driver for it"),
        (WINDOWS_10, VideoModel.VGA, DriversInPlace(), "standard VGA over SPICE"),
        (XP, VideoModel.QXL, DriversInPlace(video=False), "16 colours"),
        (XP, VideoModel.VGA, NT5_DRIVERS, "16 colours"),
    ],
)
def test_card_that_was_asked_for_is_given_and_its_price_told(
    windows: WindowsVersion, video: VideoModel, drivers: DriversInPlace, words: str
) -> None:
    target = plan(windows, TargetOptions(video=video), drivers)
    assert target.video.model is video
    assert has_note(target, words)


@pytest.mark.parametrize("name", ["host-model", "host-passthrough", "Skylake-Server-IBRS", "486"])
def test_processor_is_the_one_asked_for(name: str) -> None:
    assert plan(options=TargetOptions(processor=parse_model(name))).processor == name


@pytest.mark.parametrize("name", ["", "-a", "a,b", "a b", "x" * 65])
def test_what_is_no_name_of_a_processor_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="processor"):
        parse_model(name)
