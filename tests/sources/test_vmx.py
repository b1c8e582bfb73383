"""The VMX file: its syntax, its encodings, and the machine that it describes."""

from __future__ import annotations

import pytest

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import Bus, Drive, Firmware, Nic
from offline_mig.sources.vmx import parse_vmx
from offline_mig.sources.vmx_hardware import VmxDisk, VmxHardware, read_hardware


def hardware(text: str) -> VmxHardware:
    return read_hardware(parse_vmx(text.encode()))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'displayName = "Plain"', "Plain"),
        (b'#!/usr/bin/vmware\nDISPLAYNAME="No spaces"\r\n', "No spaces"),
        (b"displayName = Without quotes\n", "Without quotes"),
        (b'# displayName = "a"\ndisplayName = "b" # remark', "b"),
        (b'displayName = "first"\ndisplayname = "last"', "last"),
        (b'  displayName\t=\t"x"  ', "x"),
        (b'displayName = "a |22quoted|22 |7C name"', 'a "quoted" | name'),
        (b'displayName = "no escape: |zz"', "no escape: |zz"),
        (b'displayName = "a = b"', "a = b"),
        (b'\xef\xbb\xbfdisplayName = "BOM"', "BOM"),
        ('\ufeffdisplayName = "wide"'.encode("utf-16-le"), "wide"),
        (b'displayName = "Mac\rdisplayName = "line ends"\r', "line ends"),
        ('.encoding = "UTF-8"\ndisplayName = "Überwachung"'.encode(), "Überwachung"),
        ('.encoding = "windows-1252"\ndisplayName = "Büro"'.encode("cp1252"), "Büro"),
        ('.encoding = "Shift_JIS"\ndisplayName = "表計算ソ"'.encode("shift_jis"), "表計算ソ"),
        ('.encoding = "GBK"\ndisplayName = "虚拟机"'.encode("gbk"), "虚拟机"),
        (b'.encoding = "GBK"\ndisplayName = "|D0|E9|C4|E2"', "虚拟"),
    ],
)
def test_values_are_read_as_they_were_meant(data: bytes, expected: str) -> None:
    vmx = parse_vmx(data)
    assert vmx.text("displayName") == expected
    assert not vmx.notes


@pytest.mark.parametrize(
    ("data", "expected", "note"),
    [
        ('displayName = "Büro"'.encode("cp1252"), "Büro", "does not say its encoding"),
        ('.encoding = "UTF-8"\ndisplayName = "é"'.encode("cp1252"), "é", "written in UTF-8"),
        ('.encoding = "klingon"\ndisplayName = "é"'.encode(), "é", "written in klingon"),
        (b'.encoding = "rot13"\ndisplayName = "x"', "x", "written in rot13"),
        (b'.encoding = "utf-16"\ndisplayName = "x"', "x", "written in utf-16"),
    ],
)
def test_a_wrong_encoding_is_made_up_for_and_noted(data: bytes, expected: str, note: str) -> None:
    vmx = parse_vmx(data)
    assert vmx.text("displayName") == expected
    assert note in vmx.notes[0]


@pytest.mark.parametrize("data", [b"", b"\0\1\2", b"just text\n", b'= "no key"'])
def test_what_has_no_assignment_is_no_vmx(data: bytes) -> None:
    with pytest.raises(SourceUnreadableError, match="no VMX file"):
        parse_vmx(data)


@pytest.mark.parametrize(
    "line",
    [
        'memsize = "lots"',
        'memsize = "999999999999"',
        'numvcpus = "-2"',
        'numvcpus = "4097"',
        'scsi0:0.present = "perhaps"',
    ],
)
def test_nonsense_is_named(line: str) -> None:
    with pytest.raises(SourceUnreadableError, match=line.partition(" ")[0]):
        hardware(line)


WORKSTATION_XP = """
.encoding = "windows-1252"
config.version = "8"
virtualHW.version = "10"
displayName = "Windows XP Professional"
guestOS = "winxppro"
memsize = "512"
numvcpus = "2"
cpuid.coresPerSocket = "2"
ide0:0.present = "TRUE"
ide0:0.fileName = "Windows XP Professional.vmdk"
ide1:0.present = "TRUE"
ide1:0.fileName = "auto detect"
ide1:0.deviceType = "cdrom-raw"
floppy0.fileType = "file"
floppy0.fileName = "autoinst.flp"
floppy0.present = "TRUE"
ethernet0.present = "TRUE"
ethernet0.connectionType = "nat"
ethernet0.wakeOnPcktRcv = "FALSE"
ethernet0.addressType = "static"
ethernet0.address = "00:50:56:3A-BB-CC"
ethernet0.generatedAddress = "00:0c:29:00:00:01"
sound.present = "TRUE"
uuid.bios = "56 4d 3e 1f 5a 2b 4c 7d-9e 8f 10 21 32 43 54 65"
checkpoint.vmState = ""
serial0.present = "TRUE"
"""


def test_the_form_that_workstation_writes() -> None:
    """A hard disk without deviceType, a MAC set by hand: what virt-v2v loses."""
    found = hardware(WORKSTATION_XP)
    assert found == VmxHardware(
        name="Windows XP Professional",
        disks=(VmxDisk("ide0:0", Bus.IDE, 0, 0, "Windows XP Professional.vmdk"),),
        memory=512,
        vcpus=2,
        cores_per_socket=2,
        uuid="564d3e1f-5a2b-4c7d-9e8f-102132435465",
        guest_os="winxppro",
        nics=(Nic(0, mac="00:50:56:3a:bb:cc", attachment="nat"),),
        drives=(Drive(Bus.IDE, 1, 0), Drive(Bus.FLOPPY, 0, 0, "autoinst.flp")),
        sound="es1371",
        notes=("The machine has 1 serial port, not carried over.",),
    )


def test_modern_hardware() -> None:
    found = hardware("""
        firmware = "efi"
        uefi.secureBoot.enabled = "TRUE"
        memsize = "8192"
        nvme0.present = "TRUE"
        nvme0:0.present = "TRUE"
        nvme0:0.fileName = "Eleven.vmdk"
        sata0.present = "TRUE"
        sata0:1.present = "TRUE"
        sata0:1.deviceType = "cdrom-image"
        sata0:1.fileName = "Win11.iso"
        sata0:0.present = "TRUE"
        sata0:0.fileName = "Data.VMDK"
        scsi0.present = "TRUE"
        scsi0.virtualDev = "PVSCSI"
        scsi0:12.present = "TRUE"
        scsi0:12.fileName = "more.vmdk"
        scsi0:12.mode = "independent-nonpersistent"
        ethernet10.present = "TRUE"
        ethernet10.virtualDev = "VMXNET3"
        ethernet2.present = "TRUE"
        ethernet2.connectionType = "custom"
        ethernet2.vnet = "VMnet8"
        ethernet2.generatedAddress = "00:0C:29:00:00:01"
        managedVM.autoAddVTPM = "software"
        sound.present = "TRUE"
        sound.virtualDev = "hdaudio"
    """)
    assert (found.firmware, found.secure_boot, found.sound) == (Firmware.UEFI, True, "hdaudio")
    assert [(d.bus, d.unit, d.controller_model) for d in found.disks] == [
        (Bus.SCSI, 12, "pvscsi"),
        (Bus.SATA, 0, None),
        (Bus.NVME, 0, None),
    ]
    assert found.drives == (Drive(Bus.SATA, 0, 1, "Win11.iso"),)
    assert found.nics == (
        Nic(2, mac="00:0c:29:00:00:01", attachment="custom", network="VMnet8"),
        Nic(10, model="vmxnet3"),
    )
    assert found.tpm
    notes = "\n".join(found.notes)
    for words in ("nonpersistent", "virtual TPM", "ethernet10 has no MAC"):
        assert words in notes


def test_what_is_left_out_is_noted() -> None:
    found = hardware("""
        scsi0:0.present = "TRUE"
        scsi0:0.fileName = "orphan.vmdk"
        ide0:0.present = "TRUE"
        ide1:0.present = "TRUE"
        ide1:0.deviceType = "scsi-passthru"
        ide1:1.present = "FALSE"
        ide1:1.fileName = "absent.vmdk"
        uuid.bios = "56 4d"
        numvcpus = "3"
        cpuid.coresPerSocket = "2"
        firmware = "coreboot"
        ethernet0.present = "TRUE"
        ethernet0.address = "not a mac"
        pciPassthru0.present = "TRUE"
    """)
    assert not found.disks
    assert not found.tpm
    assert found.memory == 32
    for words in (
        "scsi0, which is not present",
        "ide0:0 is a disk without a file",
        'ide1:0 is of type "scsi-passthru"',
        "invalid uuid.bios",
        "sockets of 2 cores",
        'firmware "coreboot"',
        "invalid MAC",
        "PCI devices",
        "no memory",
    ):
        assert any(words in note for note in found.notes), words
    assert not any("absent.vmdk" in note for note in found.notes)


def test_a_card_that_is_unplugged_at_the_start_stays_so() -> None:
    found = hardware('ethernet0.present = "TRUE"\nethernet0.startConnected = "FALSE"\n')
    assert [nic.connected for nic in found.nics] == [False]


def test_control_characters_do_not_reach_the_name() -> None:
    assert hardware('displayName = "a|0A|1B[31mb"').name == "a[31mb"
    assert hardware('displayName = "|0A"').name is None


@pytest.mark.parametrize(
    ("number", "slot"), [("192", 192), ("1184", 1184), ("-1", None), ("0", None), ("x", None)]
)
def test_the_slot_of_a_network_card(number: str, slot: int | None) -> None:
    found = hardware(f'ethernet0.present = "TRUE"\nethernet0.pciSlotNumber = "{number}"\n')
    assert [nic.pci_slot for nic in found.nics] == [slot]
