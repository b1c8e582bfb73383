"""Which format an image has, told from its first bytes and its name.

qemu's own probing is not used: the first sector of a raw disk is written by the guest, which
could make it look like an image that names files of the host.
"""

from __future__ import annotations

from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.images.qcow2_header import MAGIC as QCOW2_MAGIC
from offline_mig.machine import DiskFormat
from offline_mig.sources.file_access import shown
from offline_mig.sources.hypervisor_layer import (
    VDI_MAGIC,
    VDI_MAGIC_AT,
    VHD_MAGIC,
    VHDX_MAGIC,
    is_fixed_vhd,
)
from offline_mig.sources.vmdk import (
    COWD_MAGIC,
    SESPARSE_MAGIC,
    SPARSE_MAGIC,
    is_descriptor,
)
from offline_mig.sources.vmdk_kinds import is_part_name, part_of_disk

#: How much of a file recognise() wants to see: up to the volume descriptor of a CD image.
HEAD = 40 * 1024
_RAW_SUFFIXES = {".raw", ".img", ".dd", ".bin"}
_BOOT_SIGNATURE = b"\x55\xaa"
_BOOT_SIGNATURE_OFFSET = 510
_GPT_SIGNATURE = b"EFI PART"
#: The GPT header is in the second sector, of 512 or of 4096 bytes.
_GPT_OFFSETS = (512, 4096)

_TO_QCOW2 = "Convert it first: 'qemu-img convert -O qcow2'."
#: Offset, magic and format of single-file images of other hypervisors, see hypervisor_layer.
_HYPERVISOR_IMAGES = (
    (0, VHDX_MAGIC, DiskFormat.VHDX),
    (0, VHD_MAGIC, DiskFormat.VHD),
    (VDI_MAGIC_AT, VDI_MAGIC, DiskFormat.VDI),
)
_FIXED_VHD_SUFFIXES = {".vhd", ".vpc"}
_UNPACK = "Unpack it, then give the disk or the VMX file inside."
#: ustar's magic, after the name, the numbers and the checksum of the first member.
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
#: Offset, magic, what it is, what to do. QED: docs/interop/qed_spec.txt; LUKS: cryptsetup's
#: on-disk format; ustar: POSIX pax; ISO 9660: 8.4.2.
_OTHER_KINDS = (
    (0, b"QED\0", "a QED image", _TO_QCOW2),
    (0, b"LUKS\xba\xbe", "a LUKS encrypted volume", "Decrypt it first."),
    (_TAR_MAGIC_AT, _TAR_MAGIC, "a tar archive, perhaps an OVA", _UNPACK),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x1f\x8b\x08", "a gzip archive", _UNPACK),
    (0, b"MSWIM\0\0\0", "a Windows installation image (WIM)", "Give a disk image."),
    (32769, b"CD001", "a CD or DVD image", "Give a disk image."),
)
_VMX_WORDS = (b"config.version", b"virtualhw.version", b".encoding")
_GIVE_DISK = "Give a VMDK, qcow2, VDI, VHD, VHDX or raw disk image, a VMX or OVF file, or an OVA."


def looks_like_tar(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a tar archive, whatever its name."""
    return head.startswith(_TAR_MAGIC, _TAR_MAGIC_AT)


def looks_like_vmx(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a VMX file, whatever its name."""
    if is_descriptor(head) or b"\0" in head[:512]:
        return False
    lines = [line.strip().lower() for line in head.splitlines()]
    return any(line.startswith(_VMX_WORDS) for line in lines)


def recognise(path: Path, head: bytes, size: int, tail: bytes = b"") -> DiskFormat:
    """Return the format of the image ``path`` that begins with ``head``, HEAD bytes or all.

    ``size`` is that of the file in bytes, ``tail`` are its last 512 bytes. Raises
    SourceUnreadableError with a sentence of its own for each kind of file that is no disk image.
    """
    if size == 0:
        raise SourceUnreadableError(
            f"{shown(path)} is empty.", "Copy it again from where it came from."
        )
    if head.startswith(QCOW2_MAGIC):
        return DiskFormat.QCOW2
    if head.startswith(SPARSE_MAGIC) or is_descriptor(head):
        return DiskFormat.VMDK
    if head.startswith((COWD_MAGIC, SESPARSE_MAGIC)):
        raise part_of_disk(path)
    for offset, magic, image_format in _HYPERVISOR_IMAGES:
        if head[offset : offset + len(magic)] == magic:
            return image_format
    if path.suffix.lower() in _FIXED_VHD_SUFFIXES and is_fixed_vhd(tail, size):
        return DiskFormat.VHD
    for offset, magic, words, remedy in _OTHER_KINDS:
        if head[offset : offset + len(magic)] == magic:
            raise SourceUnreadableError(f"{shown(path)} is {words}, which is not read.", remedy)
    if is_part_name(path):
        raise part_of_disk(path)
    if path.suffix.lower() in _RAW_SUFFIXES or _has_partition_table(head):
        return DiskFormat.RAW
    raise _unknown(path, head)


def _has_partition_table(head: bytes) -> bool:
    if head[_BOOT_SIGNATURE_OFFSET : _BOOT_SIGNATURE_OFFSET + 2] == _BOOT_SIGNATURE:
        return True
    return any(head[offset : offset + 8] == _GPT_SIGNATURE for offset in _GPT_OFFSETS)


def _unknown(path: Path, head: bytes) -> SourceUnreadableError:
    if looks_like_vmx(head):
        return SourceUnreadableError(
            f"{shown(path)} is a VMX file, not a disk image.",
            "Give it as the machine, with the ending .vmx.",
        )
    if b"\0" not in head and _is_text(head):
        what = "an OVF description" if b"ovf:" in head or b"<Envelope" in head else "a text file"
        if path.suffix.lower() == ".vmdk":
            return SourceUnreadableError(
                f"{shown(path)} is a text file, but no VMDK descriptor: its first line is not "
                f'"# Disk DescriptorFile".',
                "Copy the disk again; a web page or a pointer file may have been saved instead.",
            )
        remedy = _GIVE_DISK if what == "a text file" else "Give the disk image that it names."
        return SourceUnreadableError(f"{shown(path)} is {what}, not a disk image.", remedy)
    if not any(head):
        return SourceUnreadableError(
            f"{shown(path)} holds only zeros where a disk has its partition table.",
            "Copy it again; if it is an empty raw disk, give it the ending .raw.",
        )
    return SourceUnreadableError(
        f"{shown(path)} is of no known kind: neither VMDK nor qcow2, and without the boot "
        "signature of a raw disk.",
        _GIVE_DISK + " A raw image without a partition table needs the ending .raw.",
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "ignore")
    except UnicodeError:  # pragma: no cover
        return False
    printable = sum(1 for character in text if character.isprintable() or character in "\r\n\t")
    # Latin-1 text loses its accented letters here, binary data most of its bytes.
    return printable >= 0.9 * len(head)
