"""Images of other hypervisors: VDI (VirtualBox), VHD and VHDX (Hyper-V, Xen, Azure).

Each is a single file. Those that are based on another one (differencing disks) are refused: they
name it by paths of the machine that they were made on.

Layouts: VirtualBox, VDICore.h; Microsoft, "Virtual Hard Disk Image Format Specification" and
[MS-VHDX].
"""

from __future__ import annotations

import struct
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, ToolFailedError
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat, Window
from offline_mig.sources.file_access import open_file, shown
from offline_mig.sources.layer import Layer

#: VDI: magic behind 64 bytes of text, the image's type behind it and its header size.
VDI_MAGIC, VDI_MAGIC_AT = b"\x7f\x10\xda\xbe", 64
_VDI_TYPE_AT = 0x4C
#: VDI: where the blocks begin (4 bytes), their size, what is extra in each, how many there are.
_VDI_DATA_AT, _VDI_BLOCKS_AT = 0x158, 0x178
_VDI_TYPES = {1: "dynamic", 2: "fixed"}
#: VHD: a footer of 512 bytes, a copy of which begins dynamic ones.
VHD_MAGIC = b"conectix"
VHD_FOOTER = 512
_VHD_CREATOR_AT, _VHD_SIZE_AT, _VHD_TYPE_AT = 28, 48, 60
_VHD_FIXED, _VHD_DYNAMIC = 2, 3
_VHD_TYPES = {_VHD_FIXED: "fixed", _VHD_DYNAMIC: "dynamic"}
#: Virtual PC and Virtual Server, whose guests see what the geometry (cylinders, heads, sectors)
#: makes of the size. All others mean the size itself (qemu, block/vpc.c, vpc_open()).
_VHD_SIZED_BY_GEOMETRY = (b"vpc ", b"vs  ")
VHDX_MAGIC = b"vhdxfile"
#: Everything in a VHDX begins at whole MiB, and so does its end ([MS-VHDX] 2.1).
_VHDX_UNIT = 1024 * 1024

_FLATTEN = (
    "Merge it with its parent where it was made (Hyper-V: Inspect Disk; VirtualBox: delete the "
    "snapshot, or clone the machine), and give the whole disk."
)


def is_fixed_vhd(footer: bytes, size: int) -> bool:
    """Tell whether a file of ``size`` bytes with these last 512 bytes is a fixed VHD.

    The footer must agree with the file, since the end of a raw disk is the guest's to write.
    """
    if len(footer) != VHD_FOOTER or not footer.startswith(VHD_MAGIC):
        return False
    (kind,) = struct.unpack_from(">I", footer, _VHD_TYPE_AT)
    (current,) = struct.unpack_from(">Q", footer, _VHD_SIZE_AT)
    return bool(kind == _VHD_FIXED and current + VHD_FOOTER == size)


def read_hypervisor_layer(
    path: Path, image_format: DiskFormat, window: Window | None = None
) -> Layer:
    """Return the layer of a VDI, VHD or VHDX.

    Raises SourceUnreadableError for a differencing disk or one that is damaged.
    """
    with open_file(path, window=window) as file:
        size = file.size
        head = file.read(0, VHD_FOOTER)
        tail = file.read(max(size - VHD_FOOTER, 0), VHD_FOOTER)
    match image_format:
        case DiskFormat.VDI:
            kind = _kind(path, "VDI", _VDI_TYPES, _number(head, "<I", _VDI_TYPE_AT))
            _require_whole(path, _vdi_end(head), size)
        case DiskFormat.VHD:
            footer = head if head.startswith(VHD_MAGIC) else tail
            kind = _kind(path, "VHD", _VHD_TYPES, _number(footer, ">I", _VHD_TYPE_AT))
            if not tail.startswith(VHD_MAGIC):
                _require_whole(path, size + VHD_FOOTER, size)
        case _:
            # qemu itself refuses those with a parent, and those with an open log.
            kind = "VHDX"
            _require_whole(path, -(-size // _VHDX_UNIT) * _VHDX_UNIT, size)
    try:
        virtual_size = qemu_img.info(path, image_format, window).virtual_size
    except ToolFailedError as error:
        raise SourceUnreadableError(
            f"{shown(path)} begins as a {image_format.value.upper()} image, but qemu-img cannot "
            f"open it: {error.message}",
            "Copy it again from where it came from. A VHDX whose log is to be replayed was not "
            "closed properly: open it once where it was made.",
        ) from error
    if image_format is DiskFormat.VHD:
        _require_all_seen(path, head if head.startswith(VHD_MAGIC) else tail, virtual_size)
    return Layer(image_format, kind, (path,), virtual_size)


def _vdi_end(head: bytes) -> int:
    """Return where the last block of a VDI ends."""
    if len(head) < VHD_FOOTER:
        return VHD_FOOTER
    (data,) = struct.unpack_from("<I", head, _VDI_DATA_AT)
    block, extra, _, allocated = struct.unpack_from("<IIII", head, _VDI_BLOCKS_AT)
    return int(data + (block + extra) * allocated)


def _require_whole(path: Path, expected: int, size: int) -> None:
    """Refuse an image that was cut off: qemu reads zeros where the rest of it should be."""
    if size < expected:
        raise SourceUnreadableError(
            f"{shown(path)} is incomplete: it has {size} bytes and should have {expected} at "
            "least.",
            "Copy it again from where it came from.",
        )


def _require_all_seen(path: Path, footer: bytes, virtual_size: int) -> None:
    """Refuse a VHD whose end qemu does not see.

    It goes by the geometry unless it knows the program that made the image to mean the size; it
    knows neither VirtualBox nor Azure so.
    """
    (current,) = struct.unpack_from(">Q", footer, _VHD_SIZE_AT)
    creator = footer[_VHD_CREATOR_AT : _VHD_CREATOR_AT + 4]
    if virtual_size < current and creator not in _VHD_SIZED_BY_GEOMETRY:
        raise SourceUnreadableError(
            f"{shown(path)} is a disk of {current} bytes, of which qemu sees {virtual_size}: it "
            "goes by the image's geometry, and the end of the disk would be lost.",
            "Convert it by its size and give the result: qemu-img convert --image-opts -O qcow2 "
            "driver=vpc,force_size_calc=current_size,file.filename=NAME.vhd NAME.qcow2",
        )


def _number(data: bytes, form: str, at: int) -> int:
    return int(struct.unpack_from(form, data, at)[0]) if len(data) >= at + 4 else 0


def _kind(path: Path, name: str, known: dict[int, str], number: int) -> str:
    if number in known:
        return f"{known[number]} {name}"
    raise SourceUnreadableError(
        f"{shown(path)} is a {name} that is based on another image, or of a kind that is not "
        f"known (type {number}).",
        _FLATTEN,
    )
