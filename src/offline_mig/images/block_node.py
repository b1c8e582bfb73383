"""How qemu is told of an image that is only a part of a file.

An archive's member that is stored as it is can be read where it lies: qemu's raw driver with an
offset and a size stands between the file and the format. qemu-img, backing references of qcow2
images and qemu-storage-daemon all take that (measured with 7.2).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import DiskFormat, Window

#: Bytes; a backing reference of a qcow2 image may have no more (qemu, docs/interop/qcow2.txt).
_LONGEST_REFERENCE = 1023


def block_node(path: Path, image_format: DiskFormat, window: Window | None) -> dict[str, object]:
    """Return qemu's options for an image, as blockdev-add has them."""
    file: dict[str, object] = {"driver": "file", "filename": os.fspath(path.absolute())}
    if window is not None:
        file = {"driver": "raw", "offset": window.offset, "size": window.size, "file": file}
    return {"driver": image_format.value, "file": file}


def image_name(path: Path, image_format: DiskFormat, window: Window | None) -> str:
    """Return the name by which programs of qemu open an image: its path, or ``json:`` options.

    Raises SourceUnreadableError for the path of an archive that these options cannot hold.
    """
    if window is None:
        return os.fspath(path.absolute())
    options = json.dumps(
        block_node(path, image_format, window), separators=(",", ":"), ensure_ascii=False
    )
    name = f"json:{options}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise SourceUnreadableError(
            f"The path of the archive is not valid UTF-8: {os.fsencode(path)!r}.",
            "Rename the folder that is not, or move the archive.",
        ) from error
    if length > _LONGEST_REFERENCE:
        raise SourceUnreadableError(
            f"The path of the archive is too long, with {len(os.fspath(path))} characters: {path}.",
            "Move the archive to a folder with a shorter path, or unpack it.",
        )
    return name
