"""An image without the contents of its free clusters, so that deleted files do not travel.

Whole pieces of 64 KiB are left out; what a piece that is partly in use still holds, stays.

The image itself is not touched. A qcow2 overlay over it says that the free space is zero, which
costs metadata only; whatever is copied from the overlay leaves the free space out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from offline_mig.guest.ntfs import VolumeKind, free_extents, read_state, volume_kind
from offline_mig.guest.partition_table import Partition, read_partition_table
from offline_mig.images import qemu_img
from offline_mig.images.image_reader import ImageReader
from offline_mig.machine import DiskFormat, Window

#: qcow2's default cluster: only whole ones can be zero without being allocated.
_CLUSTER = 64 * 1024


@dataclass(frozen=True, slots=True)
class TrimmedImage:
    """The overlay, and how many bytes of free space it leaves out."""

    path: Path
    left_out: int


def create_trimmed(
    overlay: Path, image: Path, image_format: DiskFormat, window: Window | None = None
) -> TrimmedImage:
    """Create ``overlay`` over an image with the free clusters of its NTFS volumes as zeros.

    Volumes that are dirty, whose journal is open or whose metadata makes no sense are left as
    they are: there it is not sure what is free. Raises ToolFailedError.
    """
    size = qemu_img.create_overlay(overlay, image, image_format, window)
    extents = list(_free_clusters(ImageReader(image, image_format, size, window)))
    qemu_img.write_zeroes(overlay, extents)
    return TrimmedImage(overlay, sum(length for _, length in extents))


def _free_clusters(reader: ImageReader) -> Iterator[tuple[int, int]]:
    partitions = read_partition_table(reader.read, reader.size).partitions
    # Most of the time passes in qemu-img, which is started for each piece that is read.
    with ThreadPoolExecutor(max_workers=4) as threads:
        for extents in threads.map(partial(_free_clusters_of, reader), partitions):
            yield from extents


def _free_clusters_of(reader: ImageReader, partition: Partition) -> list[tuple[int, int]]:
    if partition.dynamic:
        return []
    if volume_kind(reader.read(partition.start, 512)) is not VolumeKind.NTFS:
        return []
    read = partial(_shifted, reader, partition.start)
    state = read_state(read)
    if not state.readable or state.dirty or state.journal_open:
        return []
    return list(_whole_clusters(partition.start, free_extents(read, _CLUSTER)))


def _shifted(reader: ImageReader, start: int, offset: int, size: int) -> bytes:
    return reader.read(start + offset, size)


def _whole_clusters(start: int, extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for offset, size in extents:
        first = -(-(start + offset) // _CLUSTER) * _CLUSTER
        end = (start + offset + size) // _CLUSTER * _CLUSTER
        if end > first:
            yield first, end - first
