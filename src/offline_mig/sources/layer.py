"""One layer of a disk: the files of a single image, and the image that it is based on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.machine import DiskFormat


@dataclass(frozen=True, slots=True)
class Parent:
    """The image that a layer is based on, as the layer names it.

    ``format`` is None where the layer does not state it. ``cid`` is the content identifier that
    the parent had when a VMDK layer was put on it.
    """

    name: str
    format: DiskFormat | None
    cid: int | None = None


@dataclass(frozen=True, slots=True)
class LocatedExtent:
    """An extent of a VMDK as a descriptor lists it; ``sectors`` and ``offset`` count 512 bytes."""

    sectors: int
    type: str
    file: Path
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """An image on its own: checked files (the one to open first), virtual size in bytes.

    ``extents`` are where the data of a VMDK lie. ``rebuilt`` says that its own descriptor is
    missing or does not name them, so that it takes another one to open it.
    """

    format: DiskFormat
    kind: str
    files: tuple[Path, ...]
    virtual_size: int
    parent: Parent | None = None
    cid: int | None = None
    notes: tuple[str, ...] = ()
    extents: tuple[LocatedExtent, ...] = ()
    rebuilt: bool = False
