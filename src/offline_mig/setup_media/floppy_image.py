"""Images of floppies: written file by file onto an empty one, and read back."""

from __future__ import annotations

import binascii
import datetime
import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offline_mig.errors import OutputRefusedError
from offline_mig.guest.fat_directory import dos_time
from offline_mig.guest.fat_floppy import FloppyDensity, empty_floppy
from offline_mig.guest.fat_volume import FatVolume

#: Shown by Windows beside the drive's letter.
_LABEL = "DRIVERS"


@dataclass(frozen=True, slots=True)
class FloppyImage:
    """A floppy as bytes."""

    density: FloppyDensity
    data: bytes


class _Memory:
    """A disk in memory."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Return; there is nothing else to write to."""


def floppy_image(
    files: Mapping[str, bytes], densities: Sequence[FloppyDensity], moment: datetime.datetime
) -> FloppyImage:
    """Return a floppy with ``files``, of the first of ``densities`` that holds them.

    The same files and ``moment``, in UTC, give the same bytes. Raises OutputRefusedError when no
    density holds them.
    """
    for density in densities:
        try:
            return FloppyImage(density, _written(files, density, moment))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    need = sum(map(len, files.values()))
    raise OutputRefusedError(
        f"The drivers have {need} bytes, which do not fit on a floppy of {densities[-1].name} MB.",
        "Choose fewer of them with --driver, make a floppy for each Windows, or make an ISO with "
        "'offline-mig media iso'.",
    )


def read_floppy(data: bytes) -> dict[str, bytes]:
    """Return the files of a floppy by their paths. Raises OSError for what is none."""
    volume = FatVolume(_Memory(bytearray(data)), writable=False)
    return {
        path: volume.read(reference, 0, volume.size(reference))
        for path, reference in _walk(volume, volume.root, "")
    }


def _walk(volume: FatVolume, directory: int, prefix: str) -> Iterator[tuple[str, int]]:
    for name, reference, is_directory in volume.entries(directory):
        if is_directory:
            yield from _walk(volume, reference, f"{prefix}{name}/")
        else:
            yield prefix + name, reference


def _written(
    files: Mapping[str, bytes], density: FloppyDensity, moment: datetime.datetime
) -> bytes:
    now = dos_time(*moment.timetuple()[:6])
    # The number tells disks apart; one that is made of the same files is the same disk.
    serial = 0
    for path, content in files.items():
        serial = binascii.crc32(content, binascii.crc32(path.encode(), serial))
    disk = _Memory(empty_floppy(density, _LABEL, serial, now))
    volume = FatVolume(disk, writable=True, now=now)
    directories = {"": volume.root}
    for path, content in files.items():
        folder, _, name = path.rpartition("/")
        parts = folder.split("/") if folder else []
        for depth in range(1, len(parts) + 1):
            below, inner = "/".join(parts[: depth - 1]), "/".join(parts[:depth])
            if inner not in directories:
                directories[inner] = _created(
                    volume, directories[below], parts[depth - 1], is_directory=True
                )
        file = _created(volume, directories[folder], name, is_directory=False)
        volume.write(file, 0, content, last=True)
    volume.close()
    return bytes(disk.data)


def _created(volume: FatVolume, directory: int, name: str, *, is_directory: bool) -> int:
    volume.create(directory, name, is_directory=is_directory)
    return next(place for found, place, _ in volume.entries(directory) if found == name)
