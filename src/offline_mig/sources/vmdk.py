"""VMDK descriptors and sparse extent headers, from bytes.

Sources: VMware, "Virtual Disk Format 5.0" (2011), sections "The Descriptor File" and "Hosted
Sparse Extents"; qemu's block/vmdk.c for what is met in the field.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, replace

from offline_mig.errors import SourceUnreadableError

SECTOR = 512
#: First four bytes of a hosted sparse extent, of the older ESX sparse extent, and of an
#: seSparse extent (little endian 0xcafebabe in eight bytes).
SPARSE_MAGIC = b"KDMV"
COWD_MAGIC = b"COWD"
SESPARSE_MAGIC = bytes.fromhex("bebafeca00000000")
#: How a descriptor begins; VMware writes exactly this, others vary the case.
DESCRIPTOR_SIGNATURE = b"# disk descriptorfile"
#: The parentCID of a disk that has no parent.
NO_PARENT = 0xFFFFFFFF
#: The most that qemu reads of a descriptor (vmdk_read_desc()).
MAX_DESCRIPTOR = (1 << 20) - 1
#: gdOffset of a stream-optimized extent whose real header is in its footer.
GRAIN_DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF

_FLAG_REDUNDANT_DIRECTORY = 1 << 1
_FLAG_ZERO_GRAINS = 1 << 2
_FLAG_COMPRESSED = 1 << 16
_FLAG_MARKERS = 1 << 17
_DEFLATE = 1
#: Limits of qemu (vmdk_open_vmdk4(), vmdk_add_extent()).
_MAX_VERSION = 3
_MAX_TABLE_ENTRIES = 512
_MAX_GRAIN_SECTORS = 0x200000
_MAX_DIRECTORY_ENTRIES = 32 * 1024 * 1024
#: singleEndLineChar, nonEndLineChar, doubleEndLineChar1, doubleEndLineChar2: a transfer in text
#: mode changes them.
_LINE_END_CHECK = b"\n \r\n"
#: magic .. compressAlgorithm of SparseExtentHeader, packed.
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")

_EXTENT = re.compile(
    rb"(RW|RDONLY|NOACCESS)[ \t]+(\d{1,19})[ \t]+(\w+)"
    rb'(?:[ \t]*"([^"\r\n]*)"(?:[ \t]+(\d{1,19}))?)?(.*)',
    re.IGNORECASE,
)
_EXTENT_ACCESS = re.compile(rb"(?:RW|RDONLY|NOACCESS)\s", re.IGNORECASE)
_ASSIGNMENT = re.compile(rb"([\w.:]+)[ \t]*=[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Extent:
    """One line of the extent table. ``sectors`` and ``offset`` count 512 bytes."""

    access: str
    sectors: int
    type: str
    name: str | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a descriptor says. Names are as the file system has them (surrogateescape)."""

    create_type: str
    cid: int | None
    parent_cid: int
    parent_hint: str | None
    extents: tuple[Extent, ...]
    encoding: str
    encrypted: bool


@dataclass(frozen=True, slots=True)
class SparseHeader:
    """The header of a hosted sparse extent; sizes and offsets in sectors of 512 bytes.

    ``directory`` is the sector of the grain directory, ``overhead`` that of the first grain.
    """

    version: int
    capacity: int
    grain_size: int
    descriptor_offset: int
    descriptor_size: int
    entries_per_table: int
    redundant_directory: int | None
    directory: int
    overhead: int
    zero_grains: bool
    compressed: bool
    markers: bool
    unclean: bool

    @property
    def table_count(self) -> int:
        """How many grain tables the directory lists."""
        return -(-self.capacity // (self.entries_per_table * self.grain_size))

    @property
    def grain_count(self) -> int:
        """How many grains the extent is divided into."""
        return -(-self.capacity // self.grain_size)


def is_descriptor(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a text descriptor."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[: len(DESCRIPTOR_SIGNATURE)].lower() == DESCRIPTOR_SIGNATURE


def parse_descriptor(data: bytes, where: str) -> Descriptor:
    """Read a descriptor; ``where`` is the file's name for messages.

    Of keys that occur twice the last one counts. Raises SourceUnreadableError when an extent
    line or a number cannot be understood.
    """
    values: dict[str, bytes] = {}
    extents: list[Extent] = []
    for raw in data.removeprefix(b"\xef\xbb\xbf").split(b"\0", 1)[0].splitlines():
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        if _EXTENT_ACCESS.match(line):
            extents.append(_parse_extent(line, where))
        elif assignment := _ASSIGNMENT.fullmatch(line):
            key = assignment[1].decode("ascii", "replace").lower()
            values[key] = assignment[2].strip().strip(b'"')
    hint = values.get("parentfilenamehint")
    return Descriptor(
        create_type=values.get("createtype", b"").decode("ascii", "replace"),
        cid=_content_id(values.get("cid"), "CID", where),
        parent_cid=NO_PARENT
        if (cid := _content_id(values.get("parentcid"), "parentCID", where)) is None
        else cid,
        parent_hint=os.fsdecode(hint) if hint else None,
        extents=tuple(extents),
        encoding=values.get("encoding", b"UTF-8").decode("ascii", "replace"),
        # Workstation encrypts the descriptor itself and leaves encryption.keySafe; vSphere
        # names the I/O filter that encrypts the extents.
        encrypted=any(key.startswith("encryption.") for key in values)
        or b"vmwarevmcrypt" in values.get("ddb.iofilters", b"") + values.get("iofilters", b""),
    )


def _parse_extent(line: bytes, where: str) -> Extent:
    match = _EXTENT.fullmatch(line)
    if match is None:
        raise SourceUnreadableError(
            f"{where} has an extent line that cannot be understood: "
            f"{line[:120].decode('ascii', 'backslashreplace')}",
            "Copy the descriptor again from where it came from.",
        )
    access, sectors, kind, name, offset, _ = match.groups()
    return Extent(
        access=access.decode("ascii"),
        sectors=int(sectors),
        type=kind.decode("ascii", "replace"),
        name=None if name is None else os.fsdecode(name),
        offset=None if offset is None else int(offset),
    )


def _content_id(value: bytes | None, key: str, where: str) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", value):
        raise SourceUnreadableError(
            f"{where} has a {key} that is no hexadecimal number: "
            f"{value[:40].decode('ascii', 'backslashreplace')}",
            "Copy the descriptor again from where it came from.",
        )
    return int(value, 16)


def parse_sparse_header(data: bytes, where: str) -> SparseHeader:
    """Read the header of a hosted sparse extent from its first 512 bytes.

    A capacity of 0 is returned as it is; the caller decides. Raises SourceUnreadableError when
    the header is cut off, damaged or of a kind that qemu does not read.
    """

    def damaged(what: str) -> SourceUnreadableError:
        return SourceUnreadableError(
            f"{where} has a damaged VMDK header: {what}.",
            "Copy the file again, in binary mode, and compare its size with the original.",
        )

    if len(data) < _HEADER.size:
        raise damaged(f"the file ends after {len(data)} bytes")
    (
        magic,
        version,
        flags,
        capacity,
        grain_size,
        descriptor_offset,
        descriptor_size,
        entries_per_table,
        redundant_directory,
        directory,
        overhead,
        unclean,
        line_ends,
        compression,
    ) = _HEADER.unpack_from(data)
    if magic != SPARSE_MAGIC:
        raise damaged("it does not begin with KDMV")
    if not 1 <= version <= _MAX_VERSION:
        raise SourceUnreadableError(
            f"{where} is a VMDK of version {version}; versions 1 to {_MAX_VERSION} can be read.",
            "Convert the disk in VMware to a plain one, such as with 'vmkfstools -i'.",
        )
    if line_ends != _LINE_END_CHECK:
        raise damaged("its line end marks are changed, as by a transfer in text mode")
    if not 1 <= entries_per_table <= _MAX_TABLE_ENTRIES:
        raise damaged(f"it states {entries_per_table} entries for each grain table")
    if not 1 <= grain_size <= _MAX_GRAIN_SECTORS:
        raise damaged(f"it states grains of {grain_size} sectors")
    if compression not in {0, _DEFLATE}:
        raise damaged(f"it states the unknown compression {compression}")
    header = SparseHeader(
        version=version,
        capacity=capacity,
        grain_size=grain_size,
        descriptor_offset=descriptor_offset,
        descriptor_size=descriptor_size,
        entries_per_table=entries_per_table,
        redundant_directory=redundant_directory if flags & _FLAG_REDUNDANT_DIRECTORY else None,
        directory=directory,
        overhead=overhead,
        zero_grains=bool(flags & _FLAG_ZERO_GRAINS),
        compressed=bool(flags & _FLAG_COMPRESSED) or compression == _DEFLATE,
        markers=bool(flags & _FLAG_MARKERS),
        unclean=bool(unclean),
    )
    if header.table_count > _MAX_DIRECTORY_ENTRIES:
        raise damaged(f"it states a size of {capacity} sectors")
    return header


def with_footer(header: SparseHeader, footer: SparseHeader) -> SparseHeader:
    """Return the header of a stream-optimized extent with what its footer corrects."""
    return replace(
        header, directory=footer.directory, redundant_directory=footer.redundant_directory
    )
