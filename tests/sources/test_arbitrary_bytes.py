"""Whatever the bytes are, the readers return something or raise an OfflineMigError."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.esx_snapshots import cowd, sesparse, write_snapshot, write_vmfs
from offline_mig.errors import OfflineMigError
from offline_mig.images.qcow2_header import MAGIC, parse_qcow2_header
from offline_mig.sources.disk_format import recognise
from offline_mig.sources.disk_image import open_disk_image
from offline_mig.sources.libvirt_hardware import read_hardware as read_domain_hardware
from offline_mig.sources.vmdk import parse_descriptor, parse_sparse_header
from offline_mig.sources.vmdk_as_qemu_reads import extents, parent_name
from offline_mig.sources.vmx import parse_vmx
from offline_mig.sources.vmx_hardware import read_hardware

_VMX_KEYS = st.sampled_from(
    [
        *("displayName", "memsize", "numvcpus", "cpuid.coresPerSocket", "firmware", "uuid.bios"),
        *("scsi0.present", "scsi0:0.present", "scsi0:0.fileName", "scsi0:0.deviceType"),
        *("ide0:0.present", "ide0:0.fileName", "nvme0:1.present", "floppy0.present"),
        *("ethernet0.present", "ethernet0.address", "ethernet0.addressType", ".encoding"),
        *("sound.present", "checkpoint.vmState", "serial0.present", "vtpm.present"),
    ]
)
_VMX_VALUES = st.sampled_from(["TRUE", "FALSE", "GBK", "rot13", "idna", "x.vmdk", "-1", "static"])
_VMX_LINES = st.lists(st.tuples(_VMX_KEYS, _VMX_VALUES | st.text(max_size=20)), max_size=12)


@given(st.binary(max_size=300))
@example(b'.encoding = "utf-16"\ndisplayName = "x"')
@example(b'.encoding = "punycode"\n\xff = "\xff|FF|"')
@example(b"\xff\xfe\x00")
def test_any_bytes_as_vmx(data: bytes) -> None:
    with contextlib.suppress(OfflineMigError):
        read_hardware(parse_vmx(data))


@given(_VMX_LINES)
def test_any_values_in_a_vmx(lines: list[tuple[str, str]]) -> None:
    text = "\n".join(f'{key} = "{value}"' for key, value in lines)
    with contextlib.suppress(OfflineMigError):
        read_hardware(parse_vmx(text.encode("utf-8", "surrogatepass")))


@given(st.binary(max_size=600))
@example(b"RW 99999999999999999999999 FLAT")
@example(b"CID=zz")
def test_any_bytes_as_descriptor(data: bytes) -> None:
    extents(data)
    parent_name(data)
    with contextlib.suppress(OfflineMigError):
        parse_descriptor(data, "x.vmdk")


def test_a_megabyte_of_line_feeds_takes_no_time() -> None:
    assert extents(b"\n" * ((1 << 20) - 1)) == ()
    assert len(extents(b"\n" * 1000 + b'RW 1 VMFS "x"')) == 1001


@given(st.binary(max_size=100))
def test_any_bytes_as_sparse_header(data: bytes) -> None:
    for content in (data, b"KDMV\1\0\0\0" + data):
        with contextlib.suppress(OfflineMigError):
            header = parse_sparse_header(content, "x.vmdk")
            assert header.table_count >= 0


@given(st.sampled_from([1, 2, 3, 4]), st.binary(max_size=200))
def test_any_bytes_as_qcow2_header(version: int, data: bytes) -> None:
    with contextlib.suppress(OfflineMigError):
        parse_qcow2_header(MAGIC + struct.pack(">I", version) + data, "x.qcow2")


@given(st.binary(max_size=1200))
def test_any_bytes_as_disk(data: bytes) -> None:
    with contextlib.suppress(OfflineMigError):
        recognise(Path("x.vmdk"), data, len(data))


_LINES = st.sampled_from(
    [
        "",
        "   ",
        "# RW 8 FLAT",
        'RW 8 FLAT "a-flat.vmdk" 0',
        'RW 8 FLAT "a-flat.vmdk" 8',
        '  RW\t16  FLAT "a-flat.vmdk" 0 ',
        'RW 8 VMFS "a-flat.vmdk"',
        'rw 8 FLAT "a-flat.vmdk" 0',
        "RW 8 ZERO",
        "RW",
        'RDONLY 8 FLAT "a-flat.vmdk" 0',
        'RW 8 FLAT "a-flat.vmdk" 0 tail',
        'RW 8FLAT "a-flat.vmdk" 0',
        "ddb.x = \"RW 8 FLAT 'a' 0\"",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_LINES, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_an_accepted_descriptor_is_as_large_to_qemu(lines: list[str], line_end: str) -> None:
    head = ["# Disk DescriptorFile", "version=1", "CID=1", "parentCID=ffffffff"]
    text = line_end.join([*head, 'createType="vmfs"', *lines, ""])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.vmdk"
        path.write_bytes(text.encode())
        path.with_name("a-flat.vmdk").write_bytes(bytes(16 * 512))
        try:
            image = open_disk_image(path)
        except OfflineMigError as error:
            # Not for want of an opinion of our own.
            assert "qemu-img" not in error.message
            return
        command = ["qemu-img", "info", "--output=json", "-f", "vmdk", str(path)]
        told = subprocess.run(command, check=True, capture_output=True).stdout
        assert image.virtual_size == json.loads(told)["virtual-size"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["vmfsSparse", "seSparse"]),
    st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=8)), max_size=3),
)
def test_an_accepted_snapshot_of_esx_is_readable_to_qemu(
    kind: str, patches: list[tuple[int, bytes]]
) -> None:
    """qemu looks at the tables only when it reads, and then fails in the middle of a copy."""
    make = cowd if kind == "vmfsSparse" else sesparse
    extent = bytearray(make(2048, {0: b"a", 100: b"b", 200: b"c"}))
    for offset, data in patches:
        extent[offset : offset + len(data)] = data
    with tempfile.TemporaryDirectory() as name:
        base = write_vmfs(Path(name), bytes(2048 * 512))
        top = write_snapshot(base, "top", kind, bytes(extent), 2048)
        try:
            open_disk_image(top)
        except OfflineMigError as error:
            assert "qemu-img" not in error.message
            return
        command = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", top, Path(name) / "out"]
        subprocess.run(command, check=True, capture_output=True)


_ELEMENTS = st.sampled_from(
    [
        "<name>x</name>",
        "<memory>1048576</memory>",
        '<memory unit="{}">{}</memory>',
        "<vcpu>{}</vcpu>",
        "<uuid>{}</uuid>",
        '<os firmware="efi"/>',
        '<cpu><topology sockets="{}" cores="{}"/></cpu>',
        "<devices/>",
        '<devices><disk><source file="{}"/><target dev="{}"/></disk></devices>',
        '<devices><disk device="cdrom"><target dev="{}" bus="{}"/></disk></devices>',
        '<devices><disk><target dev="a"/><address type="drive" unit="{}"/></disk></devices>',
        '<devices><interface type="{}"><mac address="{}"/></interface></devices>',
    ]
)
_WORDS = st.sampled_from(["", "0", "-1", "1e9", "hdaaaa", "xvdb", "scsi", "GiB", "..", "99999999"])


@given(st.lists(st.tuples(_ELEMENTS, _WORDS | st.text("a0&<'", max_size=9)), max_size=6))
def test_any_elements_in_a_domain(elements: list[tuple[str, str]]) -> None:
    inner = "".join(form.replace("{}", word) for form, word in elements)
    try:
        domain = ElementTree.fromstring(f"<domain>{inner}</domain>")
    except ElementTree.ParseError:
        return
    with contextlib.suppress(OfflineMigError):
        read_domain_hardware(domain)
