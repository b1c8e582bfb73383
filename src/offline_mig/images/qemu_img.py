"""qemu-img: overlays, conversion and checks. The format is always stated, never probed."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OutputRefusedError, ToolFailedError, VerificationError
from offline_mig.images.block_node import block_node, image_name
from offline_mig.images.qcow2_header import MAX_HEADER, parse_qcow2_header
from offline_mig.machine import DiskFormat, Window
from offline_mig.processes import Finished, run

#: Seconds for everything that only looks at metadata.
_METADATA_TIMEOUT = 120
#: qemu takes no larger request (BDRV_REQUEST_MAX_BYTES is a little below 2 GiB).
_LARGEST_REQUEST = 1024 * 1024 * 1024
#: Ranges that one call of qemu-io is given, well below the limit for a command line.
_COMMANDS_AT_ONCE = 1000
_PROGRESS = re.compile(r"\((\d+(?:\.\d+)?)/100%\)")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What qemu-img says of an image; sizes in bytes."""

    format: DiskFormat
    virtual_size: int
    actual_size: int


def version() -> str:
    """Return the version of qemu-img, such as "7.2.22"."""
    first = _asked("--version").stdout.splitlines()[0]
    match = re.search(r"version (\S+)", first)
    return match[1] if match else first


def info(path: Path, image_format: DiskFormat, window: Window | None = None) -> ImageInfo:
    """Return format and sizes of an image; raises ToolFailedError when it cannot be opened.

    Of a ``window`` the actual size is that of the whole file.
    """
    name = image_name(path, image_format, window)
    printed = _asked("info", "--output=json", "-f", image_format, name)
    told = json.loads(printed.stdout)
    return ImageInfo(DiskFormat(told["format"]), told["virtual-size"], told["actual-size"])


def measure(path: Path, image_format: DiskFormat, target: DiskFormat) -> int:
    """Return how many bytes a conversion to ``target`` takes on disk at most."""
    printed = _asked("measure", "--output=json", "-f", image_format, "-O", target, path)
    return int(json.loads(printed.stdout)["required"])


def create_overlay(
    overlay: Path, backing: Path, backing_format: DiskFormat, window: Window | None = None
) -> int:
    """Create a qcow2 overlay over ``backing``, which qemu then opens read-only.

    Returns its virtual size in bytes, which is that of ``backing``.
    """
    _writing(
        overlay,
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        image_name(backing, backing_format, window),
        "-F",
        backing_format,
        overlay,
        brief=True,
    )
    return _stated_size(overlay)


def convert(
    source: Path,
    target: Path,
    target_format: DiskFormat,
    on_progress: Callable[[float], None] | None = None,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Convert a qcow2 image with its backing files to a sparse, stand-alone ``target``.

    ``on_progress`` is called with the percentage done; setting ``stop`` ends it early, with
    ToolFailedError. Raises OutputRefusedError when the disk
    is full, ToolFailedError for anything else.
    """

    def watch(piece: str) -> None:
        match = _PROGRESS.search(piece)
        if match and on_progress is not None:
            on_progress(float(match[1]))

    command = ("qemu-img", "convert", "-p", "-f", "qcow2", "-O", target_format, source, target)
    _writing(target, *command, on_output=watch, stop=stop)


def write_zeroes(image: Path, extents: Sequence[tuple[int, int]]) -> None:
    """Make (offset, size) ranges of a qcow2 image zero; whole clusters cost metadata only."""
    for first in range(0, len(extents), _COMMANDS_AT_ONCE):
        commands: list[str] = []
        for offset, size in extents[first : first + _COMMANDS_AT_ONCE]:
            commands += _zero_commands(offset, size)
        _writing(image, "qemu-io", "-t", "unsafe", "-f", "qcow2", *commands, image)


def _zero_commands(offset: int, size: int) -> Iterator[str]:
    end = offset + size
    while offset < end:
        part = min(end - offset, _LARGEST_REQUEST)
        yield "-c"
        yield f"write -z {offset} {part}"
        offset += part


def rebase_onto_name(overlay: Path, name: str, backing_format: DiskFormat) -> None:
    """Name a backing file in ``overlay`` that need not be there yet, relative to its folder."""
    arguments = ("rebase", "-q", "-u", "-f", "qcow2", "-b", name, "-F", backing_format)
    _writing(overlay, "qemu-img", *arguments, overlay, brief=True)


def commit(overlay: Path) -> None:
    """Write what ``overlay`` holds into its backing file; raises as ``convert`` does."""
    _writing(overlay, "qemu-img", "commit", "-q", "-f", "qcow2", "-d", overlay)


def commit_onto(overlay: Path, target: Path, target_format: DiskFormat) -> None:
    """Write what ``overlay`` holds into ``target`` instead of into its backing file.

    The caller vouches that both have the same content, and has ``target`` written out to the
    storage afterwards. Raises as ``convert`` does.
    """
    node = block_node(overlay, DiskFormat.QCOW2, None)
    node["backing"] = block_node(target, target_format, None)
    name = f"json:{json.dumps(node)}"
    # unsafe is the cache mode that leaves out flushing.
    _writing(target, "qemu-img", "commit", "-q", "-t", "unsafe", "-d", name)


def check(path: Path, image_format: DiskFormat, virtual_size: int) -> None:
    """Verify that an image is whole: its metadata is consistent and its size as expected.

    Raises VerificationError.
    """
    remedy = "Nothing was published; see whether the storage is sound, then try again."
    try:
        if image_format is DiskFormat.QCOW2:
            run(["qemu-img", "check", "-q", "-f", image_format, path])
            found = _stated_size(path)
        else:
            found = info(path, image_format).virtual_size
    except ToolFailedError as error:
        raise VerificationError(f"The converted disk is damaged: {error.message}", remedy) from None
    if found != virtual_size:
        raise VerificationError(
            f"The converted disk has {found} bytes instead of {virtual_size}.", remedy
        )


def _stated_size(image: Path) -> int:
    """Return the virtual size in the header of a qcow2 image that qemu wrote."""
    with image.open("rb") as stream:
        return parse_qcow2_header(stream.read(MAX_HEADER), image.name).virtual_size


def _asked(*arguments: str | Path) -> Finished:
    return run(["qemu-img", *arguments], timeout=_METADATA_TIMEOUT, brief=True)


def _writing(
    target: Path,
    *command: str | Path,
    on_output: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    brief: bool = False,
) -> Finished:
    try:
        return run(command, on_output=on_output, stop=stop, brief=brief)
    except ToolFailedError as error:
        if "No space left on device" in error.message or "Disk quota exceeded" in error.message:
            raise OutputRefusedError(
                f"The disk filled up while {target.name} was written in {target.parent}.",
                "Free some space there or work in another folder; nothing was left behind.",
            ) from error
        raise
