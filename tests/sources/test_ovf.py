"""What is read of OVF descriptors of every kind, and hostile ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.ovf import (
    ENVELOPE_09,
    ENVELOPE_2,
    VIRTUALBOX_ITEMS,
    VIRTUALBOX_MACHINE,
    VMWARE_EFI,
    VMWARE_ITEMS,
    File,
    descriptor,
    disk_item,
    item,
)
from offline_mig.errors import OfflineMigError, SourceUnreadableError
from offline_mig.machine import Bus, Drive, Firmware
from offline_mig.sources.ovf import looks_like_ovf, parse_ovf
from offline_mig.sources.ovf_hardware import OvfHardware, read_hardware
from offline_mig.sources.ovf_units import LARGEST, amount_bytes, unit_bytes


def hardware(text: str) -> OvfHardware:
    return read_hardware(parse_ovf(text.encode()))


def with_items(*items: str) -> OvfHardware:
    return hardware(descriptor(items=items))


def test_a_machine_of_vmware() -> None:
    found = hardware(descriptor(hardware=VMWARE_EFI))
    assert (found.name, found.memory, found.vcpus, found.cores_per_socket) == ("My Box", 2048, 4, 2)
    assert (found.firmware, found.secure_boot) == (Firmware.UEFI, True)
    (disk,) = found.disks
    assert (disk.bus, disk.controller, disk.unit, disk.controller_model) == (
        Bus.SCSI, 0, 0, "lsisas1068",
    )  # fmt: skip
    assert disk.disk.capacity == 4 * 1024**2
    (nic,) = found.nics
    assert (nic.model, nic.mac, nic.network) == ("vmxnet3", "00:50:56:01:02:03", "VM Network")
    assert found.drives == (Drive(Bus.IDE, 1, 0), Drive(Bus.FLOPPY, 0, 0))
    assert found.sound == "hdaudio"
    assert found.guest_os == "windows9_64Guest"
    assert found.notes == ()


def test_a_machine_of_virtualbox() -> None:
    found = hardware(
        descriptor(items=VIRTUALBOX_ITEMS, disk_parent=5, system=VIRTUALBOX_MACHINE, os_section="")
    )
    assert (found.memory, found.vcpus, found.firmware) == (1024, 2, Firmware.UEFI)
    assert found.uuid == "8b7a3c11-2d4e-4f60-9a1b-0c2d3e4f5061"
    assert found.guest_os == "Windows10_64"
    assert [(d.bus, d.controller, d.unit) for d in found.disks] == [(Bus.SATA, 0, 0)]
    (nic,) = found.nics
    assert (nic.model, nic.mac) == ("e1000", "08:00:27:a1:b2:c3")
    assert found.drives == (Drive(Bus.IDE, 1, 0),)
    assert found.sound == "ensoniq1371"


def test_the_sections_of_ovf_0_9_are_known_by_their_type() -> None:
    text = descriptor(namespace=ENVELOPE_09)
    for old in ("DiskSection", "VirtualHardwareSection", "OperatingSystemSection"):
        text = re.sub(f"<{old}", f'<Section xsi:type="ovf:{old}_Type"', text)
        text = text.replace(f"</{old}>", "</Section>")
    text = text.replace("<VirtualSystem ", '<Content xsi:type="ovf:VirtualSystem_Type" ')
    text = text.replace("</VirtualSystem>", "</Content>").replace("ovf:/disk/", "disk/")
    text = text.replace("rasd:InstanceID", "rasd:InstanceId").replace("ElementName", "Caption")
    found, today = hardware(text), hardware(descriptor())
    assert found == today


def test_ovf_2_has_elements_of_its_own_for_disks_and_cards() -> None:
    disk = item(
        30, 31, tag="StorageItem", prefix="sasd", HostResource="ovf:/disk/vmdisk1", Parent="3",
        AddressOnParent="2",
    )  # fmt: skip
    card = item(
        31, 10, tag="EthernetPortItem", prefix="epasd", Address="00-50-56-0A-0B-0C",
        ResourceSubType="E1000e",
    )  # fmt: skip
    found = hardware(
        descriptor(namespace=ENVELOPE_2, items=(*VMWARE_ITEMS[:3], card), disk_items=[disk])
    )
    assert [(d.bus, d.unit) for d in found.disks] == [(Bus.SCSI, 2)]
    assert [(n.model, n.mac) for n in found.nics] == [("e1000e", "00:50:56:0a:0b:0c")]


@pytest.mark.parametrize(
    ("kind", "subtype", "name", "expected"),
    [
        (5, "", "", (Bus.IDE, None)),
        (5, "PIIX4", "", (Bus.IDE, None)),
        (6, "lsilogic", "", (Bus.SCSI, "lsilogic")),
        (6, "LsiLogic", "", (Bus.SCSI, "lsilogic")),
        (6, "lsilogicsas", "", (Bus.SCSI, "lsisas1068")),
        (6, "buslogic", "", (Bus.SCSI, "buslogic")),
        (6, "VirtualSCSI", "", (Bus.SCSI, "pvscsi")),
        (20, "AHCI", "", (Bus.SATA, "ahci")),
        (20, "vmware.sata.ahci", "", (Bus.SATA, "ahci")),
        (20, "", "SATA Controller 0", (Bus.SATA, None)),
        (20, "vmware.nvme.controller", "", (Bus.NVME, "nvme")),
        (1, "vmware.nvme.controller", "", (Bus.NVME, "nvme")),
    ],
)
def test_controllers(kind: int, subtype: str, name: str, expected: tuple[Bus, str | None]) -> None:
    controller = item(3, kind, Address="0", ResourceSubType=subtype, ElementName=name)
    (disk,) = with_items(*VMWARE_ITEMS[:2], controller).disks
    assert (disk.bus, disk.controller_model) == expected


def test_two_items_of_one_number_are_refused() -> None:
    """The second disk would take the place of the first."""
    disks = [disk_item(20, "vmdisk1", 3, 0), disk_item(20, "vmdisk2", 3, 1)]
    text = descriptor([File("a.vmdk"), File("b.vmdk")], disk_items=disks)
    with pytest.raises(SourceUnreadableError, match=r'2 pieces .* InstanceID "20"'):
        hardware(text)


def test_a_disk_that_no_machine_has_is_noted() -> None:
    text = descriptor([File("a.vmdk"), File("b.vmdk")], disk_items=[disk_item(20, "vmdisk1", 3, 0)])
    (note,) = hardware(text).notes
    assert "vmdisk2, b.vmdk" in note


def test_a_disk_on_nothing_known_is_on_sata_and_said_so() -> None:
    found = with_items(*VMWARE_ITEMS[:2], item(3, 20, ResourceSubType="virtio-blk"))
    assert [disk.bus for disk in found.disks] == [Bus.SATA]
    assert "SATA was assumed" in found.notes[0]


@given(st.permutations(range(4)))
def test_controllers_are_counted_by_address_and_disks_sorted(order: list[int]) -> None:
    controllers = [item(40 + n, 6, Address=str(n), ResourceSubType="lsilogic") for n in order]
    disks = [disk_item(60 + n, f"vmdisk{n + 1}", 40 + n, 10 - n) for n in order]
    files = [File(f"d{n}.vmdk") for n in range(4)]
    text = descriptor(files, items=(*VMWARE_ITEMS[:2], *controllers), disk_items=disks)
    found = [(d.disk.id, d.controller, d.unit) for d in hardware(text).disks]
    assert found == [(f"vmdisk{n + 1}", n, 10 - n) for n in range(4)]


def test_places_that_are_missing_or_taken_are_filled_up() -> None:
    disks = [disk_item(60 + n, f"vmdisk{n + 1}", 3, 0).replace(
        "<rasd:AddressOnParent>0</rasd:AddressOnParent>", "" if n == 2 else
        "<rasd:AddressOnParent>0</rasd:AddressOnParent>") for n in range(3)]  # fmt: skip
    text = descriptor([File(f"d{n}.vmdk") for n in range(3)], disk_items=disks)
    assert [disk.unit for disk in hardware(text).disks] == [0, 1, 2]


@pytest.mark.parametrize(
    ("unit", "quantity", "mebibytes"),
    [
        ("byte * 2^20", "512", 512),
        ("byte*2^30", "3", 3072),
        ("byte * 1024 * 1024", "7", 7),
        ("MegaBytes", "512", 512),
        ("Megabytes", "512", 512),
        ("MB", "512", 512),
        ("MiB", "512", 512),
        ("GigaBytes", "2", 2048),
        ("KiloBytes", "524288", 512),
        ("byte", "1073741824", 1024),
        ("", "512", 512),
    ],
)
def test_memory_in_every_unit(unit: str, quantity: str, mebibytes: int) -> None:
    memory = item(2, 4, VirtualQuantity=quantity, AllocationUnits=unit)
    assert with_items(VMWARE_ITEMS[0], memory, VMWARE_ITEMS[2]).memory == mebibytes


@pytest.mark.parametrize(
    ("unit", "quantity"), [("byte * 2^99", "1"), ("apples", "1"), ("byte * 2^20", "-1"),
                           ("byte * 2^20", "0"), ("byte * 2^60", "7"), ("MB", "${memory}")],
)  # fmt: skip
def test_memory_that_makes_no_sense_is_refused(unit: str, quantity: str) -> None:
    memory = item(2, 4, VirtualQuantity=quantity, AllocationUnits=unit)
    with pytest.raises(SourceUnreadableError, match="states a memory of"):
        with_items(VMWARE_ITEMS[0], memory, VMWARE_ITEMS[2])


@given(st.integers(0, 2**40), st.integers(0, 20))
def test_units_multiply(quantity: int, exponent: int) -> None:
    expected = quantity * 2**exponent
    assert amount_bytes(str(quantity), f"byte * 2^{exponent}") == expected
    assert amount_bytes(f" {quantity} ", f"2 ^ {exponent} * byte") == expected


@given(st.text(max_size=40))
def test_any_unit_is_a_sound_number_or_unknown(unit: str) -> None:
    found = unit_bytes(unit)
    assert found is None or 1 <= found <= LARGEST


def test_what_the_ovf_leaves_open_stays_open() -> None:
    found = with_items(item(3, 6, ResourceSubType="lsilogic"))
    assert found.firmware is None
    assert (found.memory, found.vcpus) == (2048, 1)
    assert len(found.notes) == 2


@pytest.mark.parametrize(
    ("settings", "firmware", "secure"),
    [
        ('<vmw:Config ovf:key="firmware" ovf:value="efi"/>', Firmware.UEFI, False),
        ('<vmw:ExtraConfig vmw:key="firmware" vmw:value="EFI"/>', Firmware.UEFI, False),
        ('<vmw:Config vmw:key="firmware" vmw:value="bios"/>', Firmware.BIOS, False),
        (VMWARE_EFI, Firmware.UEFI, True),
        (
            (
                '<vmw:ExtraConfig vmw:key="firmware" vmw:value="efi"/>'
                '<vmw:ExtraConfig vmw:key="uefi.secureBoot.enabled" vmw:value="TRUE"/>'
            ),
            Firmware.UEFI,
            True,
        ),
        ('<vmw:ExtraConfig vmw:key="uefi.secureBoot.enabled" vmw:value="TRUE"/>', None, False),
    ],
)
def test_firmware(settings: str, firmware: Firmware | None, secure: bool) -> None:
    found = hardware(descriptor(hardware=settings))
    assert (found.firmware, found.secure_boot) == (firmware, secure)


def test_the_default_configuration_is_taken() -> None:
    options = (
        '<DeploymentOptionSection><Configuration ovf:id="small"/>'
        '<Configuration ovf:id="large" ovf:default="true"/></DeploymentOptionSection>'
    )
    items = (
        *VMWARE_ITEMS,
        item(2, 4, VirtualQuantity="512", AllocationUnits="MB",
             attributes='ovf:configuration="small"'),
        item(2, 4, VirtualQuantity="8192", AllocationUnits="MB",
             attributes='ovf:configuration="large huge"'),
        item(2, 4, VirtualQuantity="16384", AllocationUnits="MB", attributes='ovf:bound="max"'),
    )  # fmt: skip
    found = hardware(descriptor(items=items, before=options))
    assert found.memory == 8192
    assert '"large", was taken' in found.notes[0]


def test_several_machines_are_listed() -> None:
    text = descriptor()
    second = text[text.index("<VirtualSystem ") : text.index("</Envelope>")]
    second = second.replace("My Box", "Other\x85Box")
    both = text.replace("<VirtualSystem ", '<VirtualSystemCollection ovf:id="c"><VirtualSystem ')
    both = both.replace("</Envelope>", f"{second}</VirtualSystemCollection></Envelope>")
    with pytest.raises(SourceUnreadableError, match=r"2 machines: My Box, Other\\x85Box"):
        hardware(both)


def test_encrypted_ones_are_told() -> None:
    with pytest.raises(SourceUnreadableError, match="encrypted"):
        hardware(descriptor(before="<EncryptedData xmlns='urn:xenc'/>"))
    key = '<vbox:Machine><Property name="CRYPT/KeyStore" value="x"/></vbox:Machine>'
    with pytest.raises(SourceUnreadableError, match="encrypted by VirtualBox"):
        hardware(descriptor(system=key))


def test_a_virtual_tpm_and_ports_are_noted() -> None:
    items = (*VMWARE_ITEMS, item(50, 1, ResourceSubType="vmware.vtpm"), item(51, 21), item(52, 21))
    assert not hardware(descriptor()).tpm
    found = hardware(descriptor(items=items))
    assert found.tpm
    notes = found.notes
    assert any("virtual TPM" in note for note in notes)
    assert "The machine has 2 serial ports, not carried over." in notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no sound XML"),
        ("<Envelope", "no sound XML"),
        ("<domain/>", "no OVF"),
        (descriptor(namespace="http://schemas.dmtf.org/ovf/envelope/9"), "unknown version 9"),
        (descriptor(namespace="urn:else"), "no OVF"),
        (descriptor().replace("<Envelope", "<!DOCTYPE Envelope><Envelope"), "document type"),
        (
            descriptor().replace(
                "<Envelope", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Envelope'
            ),
            "document type",
        ),
        (descriptor().replace("UTF-8", "no-such-code"), "no sound XML"),
        (descriptor([File("a"), File("b")]).replace('"file2"', '"file1"'), "twice"),
        (descriptor(items=[item(1, 3, VirtualQuantity="9999999")]), "virtual CPUs"),
        (descriptor(disk_items=[disk_item(29, "nowhere", 3, 0)]), "not listed"),
        (descriptor(items=[item(n, 21) for n in range(1001)]), "1002 pieces of hardware"),
        (descriptor([File(str(n)) for n in range(1001)]), "among too many others"),
        (
            descriptor()
            .replace("<VirtualSystem ", "<VirtualSystem>" * 20_000 + "<VirtualSystem ")
            .replace("</Envelope>", "</VirtualSystem>" * 20_000 + "</Envelope>"),
            r"20001 machines: \?, \?, .* \.\.\.",
        ),
    ],
)
def test_what_is_no_sound_ovf_is_refused_with_a_remedy(text: str, words: str) -> None:
    with pytest.raises(SourceUnreadableError, match=words) as caught:
        hardware(text)
    assert caught.value.remedy


def test_an_ovf_in_utf_16_is_read_and_known_by_its_content() -> None:
    data = descriptor().replace("UTF-8", "UTF-16").encode("utf-16")
    assert looks_like_ovf(data)
    assert len(parse_ovf(data).disks) == 1


@given(st.lists(st.tuples(st.integers(0, len(descriptor()) - 1), st.sampled_from('<>/"&;:0x '))))
def test_any_descriptor_is_read_or_refused(changes: list[tuple[int, str]]) -> None:
    text = list(descriptor(hardware=VMWARE_EFI))
    for place, character in changes:
        text[place] = character
    try:
        hardware("".join(text))
    except OfflineMigError as error:
        assert error.remedy
