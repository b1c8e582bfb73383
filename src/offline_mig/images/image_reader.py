"""Bytes of a disk image as its guest sees them, read by qemu-img without mounting anything."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from offline_mig.images.block_node import block_node
from offline_mig.machine import DiskFormat, Window
from offline_mig.processes import run

#: Bytes that one call of qemu-img reads at least: metadata tends to be read in small pieces.
_BLOCK = 64 * 1024
_TIMEOUT = 120


class ImageReader:
    """Reads an image, one block at a time and each only once."""

    def __init__(
        self,
        path: Path,
        image_format: DiskFormat,
        virtual_size: int,
        window: Window | None = None,
    ) -> None:
        self.size = virtual_size
        self._node = block_node(path, image_format, window)
        self._blocks: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer at the end; raises ToolFailedError."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        first, last = offset // _BLOCK, (end - 1) // _BLOCK
        missing = [number for number in range(first, last + 1) if number not in self._blocks]
        if missing:
            self._fetch(missing[0], missing[-1])
        data = b"".join(self._blocks[number] for number in range(first, last + 1))
        return data[offset - first * _BLOCK : end - first * _BLOCK]

    def _fetch(self, first: int, last: int) -> None:
        with tempfile.TemporaryDirectory(prefix="offline-mig-") as scratch:
            part = Path(scratch) / "part"
            # qemu-img dd would do, but what its count means has changed between versions.
            part_of_disk = {
                "driver": "raw",
                "offset": first * _BLOCK,
                "size": min((last + 1) * _BLOCK, self.size) - first * _BLOCK,
                "file": self._node,
            }
            run(
                ["qemu-img", "convert", "-O", "raw", f"json:{json.dumps(part_of_disk)}", part],
                timeout=_TIMEOUT,
                brief=True,
            )
            data = part.read_bytes()
        for number in range(first, last + 1):
            start = (number - first) * _BLOCK
            self._blocks[number] = data[start : start + _BLOCK]
