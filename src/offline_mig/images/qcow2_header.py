"""The header of qcow2 images, and of the older qcow images, from bytes.

Source: qemu, docs/interop/qcow2.txt, sections "Header", "Header extensions" and "L1/L2 tables";
for version 1, block/qcow.c.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.errors import SourceUnreadableError

MAGIC = b"QFI\xfb"
#: Everything that this module looks at lies in the first cluster, of 2 MiB at most.
MAX_HEADER = 2 * 1024 * 1024
#: The longest backing file name that qemu accepts.
_MAX_BACKING_NAME = 1023

_VERSION_1 = struct.Struct(">4sIQIIQBBHIQ")
_VERSION_2 = struct.Struct(">4sIQIIQIIQQIIQ")
#: incompatible, compatible, autoclear features, refcount order, header length.
_VERSION_3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_EXTENSION_END = 0
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_EXTENSION_DATA_FILE = 0x44415441

_DIRTY = 1 << 0
_CORRUPT = 1 << 1
_DATA_FILE = 1 << 2
_COMPRESSION_TYPE = 1 << 3
_EXTENDED_L2 = 1 << 4
_KNOWN = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION_TYPE | _EXTENDED_L2

_COPY_AGAIN = "Copy the image again and compare its size and checksum with the original."


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What a header says. Sizes and offsets are in bytes.

    ``data_file`` is the name of an external data file, "" where the header has one without
    saying its name. ``encryption`` is the method, 0 for none. ``l1_size`` counts entries of the
    first-level table; it is 0 for version 1, whose tables nobody needs here.
    """

    version: int
    virtual_size: int
    cluster_size: int
    backing_file: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    encryption: int = 0
    dirty: bool = False
    corrupt: bool = False
    extended_l2: bool = False
    unknown_features: int = 0
    l1_offset: int = 0
    l1_size: int = 0
    internal_snapshots: int = 0


def parse_qcow2_header(data: bytes, where: str) -> Qcow2Header:
    """Read the header from the first bytes of an image, MAX_HEADER of them or the whole file.

    ``where`` names the image in messages. Raises SourceUnreadableError when the header is cut
    off, damaged or of an unknown version.
    """
    if len(data) < 8 or not data.startswith(MAGIC):
        raise SourceUnreadableError(f"{where} does not begin like a qcow2 image.", _COPY_AGAIN)
    version = int.from_bytes(data[4:8], "big")
    if version == 1:
        return _version_1(data, where)
    if version not in {2, 3}:
        raise SourceUnreadableError(
            f"{where} is a qcow2 image of version {version}; versions 2 and 3 can be read.",
            "Convert it with the program that made it.",
        )
    return _version_2_or_3(data, version, where)


def _version_1(data: bytes, where: str) -> Qcow2Header:
    _need(data, _VERSION_1.size, where)
    _, _, offset, length, _, size, cluster_bits, _, _, encryption, _ = _VERSION_1.unpack_from(data)
    if not 9 <= cluster_bits <= 16:
        raise _damaged(where, f"clusters of 2^{cluster_bits} bytes")
    return Qcow2Header(
        version=1,
        virtual_size=size,
        cluster_size=1 << cluster_bits,
        backing_file=_backing_name(data, offset, length, where),
        encryption=encryption,
    )


def _version_2_or_3(data: bytes, version: int, where: str) -> Qcow2Header:
    _need(data, _VERSION_2.size, where)
    (
        _,
        _,
        backing_offset,
        backing_length,
        cluster_bits,
        size,
        encryption,
        l1_size,
        l1_offset,
        _,
        _,
        snapshots,
        _,
    ) = _VERSION_2.unpack_from(data)
    if not 9 <= cluster_bits <= 21:
        raise _damaged(where, f"clusters of 2^{cluster_bits} bytes")
    incompatible = 0
    header_length = _VERSION_2.size
    if version == 3:
        _need(data, _VERSION_2.size + _VERSION_3.size, where)
        incompatible, _, _, _, header_length = _VERSION_3.unpack_from(data, _VERSION_2.size)
        if not 104 <= header_length <= 1 << cluster_bits:
            raise _damaged(where, f"a header of {header_length} bytes")
    # Extensions end where the backing file's name begins, or with the first cluster.
    end = backing_offset if backing_offset else 1 << cluster_bits
    backing_format: str | None = None
    data_file = "" if incompatible & _DATA_FILE else None
    for kind, content in _extensions(data[: min(end, len(data))], header_length, where):
        if kind == _EXTENSION_BACKING_FORMAT:
            backing_format = content.decode("ascii", "backslashreplace")
        elif kind == _EXTENSION_DATA_FILE:
            data_file = os.fsdecode(content)
    return Qcow2Header(
        version=version,
        virtual_size=size,
        cluster_size=1 << cluster_bits,
        backing_file=_backing_name(data, backing_offset, backing_length, where),
        backing_format=backing_format,
        data_file=data_file,
        encryption=encryption,
        dirty=bool(incompatible & _DIRTY),
        corrupt=bool(incompatible & _CORRUPT),
        extended_l2=bool(incompatible & _EXTENDED_L2),
        unknown_features=incompatible & ~_KNOWN,
        l1_offset=l1_offset,
        l1_size=l1_size,
        internal_snapshots=snapshots,
    )


def _extensions(data: bytes, position: int, where: str) -> Iterator[tuple[int, bytes]]:
    while position + _EXTENSION.size <= len(data):
        kind, length = _EXTENSION.unpack_from(data, position)
        position += _EXTENSION.size
        if kind == _EXTENSION_END:
            return
        if position + length > len(data):
            raise _damaged(where, f"an extension of {length} bytes")
        yield kind, data[position : position + length]
        position += (length + 7) & ~7


def _backing_name(data: bytes, offset: int, length: int, where: str) -> str | None:
    if offset == 0 or length == 0:
        return None
    if length > _MAX_BACKING_NAME:
        raise _damaged(where, f"a backing file name of {length} bytes")
    name = data[offset : offset + length]
    if len(name) < length:
        raise _damaged(where, f"a backing file name at byte {offset}")
    return os.fsdecode(name)


def _need(data: bytes, length: int, where: str) -> None:
    if len(data) < length:
        raise _damaged(where, f"{length} bytes, but the file has {len(data)}")


def _damaged(where: str, stated: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{where} has a damaged qcow2 header: it states {stated}.", _COPY_AGAIN
    )
