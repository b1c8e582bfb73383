"""A qcow2 image as a file on disk: its header judged, its clusters all there."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.images.qcow2_header import MAX_HEADER, Qcow2Header, parse_qcow2_header
from offline_mig.machine import DiskFormat, Window
from offline_mig.sources.file_access import OpenFile, open_file, shown
from offline_mig.sources.layer import Layer, Parent
from offline_mig.sources.named_files import Bounds, check_name

#: Host offset in a table entry: bits 9 to 55, and bit 62 of an L2 entry for a compressed
#: cluster (docs/interop/qcow2.txt, "Cluster mapping").
_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
#: Bit 0 of an L2 entry: the cluster reads as zeros, whatever lies at its offset.
_ZERO = 1 << 0
#: qemu's limit for the first-level table, in bytes (QCOW_MAX_L1_SIZE).
_MAX_L1_BYTES = 32 * 1024 * 1024


def read_qcow2_layer(path: Path, bounds: Bounds, window: Window | None = None) -> Layer:
    """Check the qcow2 image at ``path``; its backing file is only judged by name.

    Raises SourceUnreadableError and SourceUnsafeError.
    """
    with open_file(path, window=window) as file:
        header = parse_qcow2_header(file.read(0, MAX_HEADER), shown(path))
        _check_header(path, header, bounds)
        _verify_complete(file, header)
    notes: list[str] = []
    if header.dirty:
        notes.append(
            f"{shown(path.name)} was not closed properly (dirty bit); its data are read as they "
            "are."
        )
    if header.internal_snapshots:
        notes.append(
            f"{shown(path.name)} holds {header.internal_snapshots} internal snapshots; the "
            "current state is taken."
        )
    return Layer(
        format=DiskFormat.QCOW2,
        kind=DiskFormat.QCOW2.value,
        files=(path,),
        virtual_size=header.virtual_size,
        parent=_parent(path, header),
        notes=tuple(notes),
    )


def _check_header(path: Path, header: Qcow2Header, bounds: Bounds) -> None:
    if header.backing_file is not None:
        check_name(header.backing_file, path, "backing file", bounds)
    if header.data_file is not None:
        # qemu looks for it in the folder it runs in, not beside the image (measured, 7.2): no
        # check here could say which file that will be.
        raise SourceUnsafeError(
            f'{shown(path)} keeps its data in another file ("{shown(header.data_file)}"), which '
            "qemu looks for in the folder that it is started in.",
            "Make a self-contained image first: 'qemu-img convert -O qcow2', run in the folder "
            "of that file.",
        )
    if header.version == 1:
        raise SourceUnreadableError(
            f"{shown(path)} is an image of the old qcow format, version 1.",
            "Convert it first: 'qemu-img convert -f qcow -O qcow2'.",
        )
    if header.unknown_features:
        raise SourceUnreadableError(
            f"{shown(path)} uses qcow2 features that are not known here "
            f"(bits {header.unknown_features:#x}).",
            "Convert it with the program that made it: 'qemu-img convert -O qcow2'.",
        )
    if header.encryption:
        raise SourceUnreadableError(
            f"{shown(path)} is encrypted.",
            "Decrypt it first with 'qemu-img convert' and its secret.",
        )
    if header.corrupt:
        raise SourceUnreadableError(
            f"{shown(path)} is marked as corrupt.",
            "Copy it again, or repair a copy with 'qemu-img check -r all'.",
        )


def _parent(path: Path, header: Qcow2Header) -> Parent | None:
    if header.backing_file is None:
        return None
    if header.backing_format is None:
        return Parent(header.backing_file, None)
    try:
        return Parent(header.backing_file, DiskFormat(header.backing_format))
    except ValueError as error:
        raise SourceUnreadableError(
            f'{shown(path)} is based on an image of the format "{shown(header.backing_format)}"; '
            f"read are {', '.join(DiskFormat)}.",
            "Make a self-contained image first: 'qemu-img convert -O qcow2'.",
        ) from error


def _verify_complete(file: OpenFile, header: Qcow2Header) -> None:
    """Raise SourceUnreadableError unless every cluster lies inside the file.

    qemu reads what lies behind the end of a cut-off image as zeros.
    """
    if 8 * header.l1_size > _MAX_L1_BYTES:
        raise _cut_off(file, header.l1_offset)
    entry_words = 2 if header.extended_l2 else 1
    clusters_per_table = header.cluster_size // (8 * entry_words)
    needed = -(-header.virtual_size // (header.cluster_size * clusters_per_table))
    if header.l1_size < needed:
        raise SourceUnreadableError(
            f"{shown(file.path)} has a damaged qcow2 header: its first table has "
            f"{header.l1_size} entries, but {needed} are needed.",
            "Copy the image again and compare its size and checksum with the original.",
        )
    for number, entry in enumerate(_read_words(file, header.l1_offset, header.l1_size)):
        table = entry & _OFFSET_MASK
        if table == 0:
            continue
        words = _read_words(file, table, header.cluster_size // 8)[::entry_words]
        first = number * clusters_per_table * header.cluster_size
        _verify_table(file, header, words, header.virtual_size - first)


def _verify_table(file: OpenFile, header: Qcow2Header, words: array[int], left: int) -> None:
    """Look at the cluster of a second-level table that ends last in the file.

    ``left`` is how many bytes of the disk there are from the table's first cluster on.
    """
    # Of a compressed cluster's entry the lower bits are a byte offset, the rest a number of
    # sectors; how many bits depends on the cluster size.
    offset_bits = 62 - (header.cluster_size.bit_length() - 1 - 8)
    compressed_offset = (1 << offset_bits) - 1
    sector_count = ((1 << 62) - 1) >> offset_bits
    highest = 0
    for number, word in enumerate(words):
        if word & _COMPRESSED:
            offset = word & compressed_offset
            # The last of its sectors need not be full.
            end = (offset & ~511) + 512 * ((word >> offset_bits) & sector_count) + 1
        elif word & _ZERO or not word & _OFFSET_MASK:
            continue
        else:
            # Of the last cluster only what belongs to the disk has to be there; where clusters
            # have parts, which of them are there is not looked at.
            used = 1 if header.extended_l2 else left - number * header.cluster_size
            end = (word & _OFFSET_MASK) + min(header.cluster_size, used)
        highest = max(highest, end)
    if highest > file.size:
        raise _cut_off(file, highest)


def _read_words(file: OpenFile, offset: int, count: int) -> array[int]:
    data = file.read(offset, 8 * count)
    if len(data) < 8 * count:
        raise _cut_off(file, offset)
    words = array("Q", data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _cut_off(file: OpenFile, offset: int) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"{shown(file.path)} is cut off: it has {file.size} bytes, but its tables need {offset}.",
        "Copy the image again and compare its size and checksum with the original.",
    )
