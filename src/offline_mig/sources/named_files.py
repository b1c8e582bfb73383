"""Files that a source names: which names are safe, and where they lead.

A descriptor, a header or a VMX file can come from anywhere. Whatever it names is opened later by
qemu, possibly as root, and ends up in the converted disk. So a name may lead only to a regular
file inside the folder of the image, or inside a folder that the user allows by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.sources.file_access import shown

_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SEPARATORS = re.compile(r"[\\/]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

REMEDY = (
    "If you trust this source, copy every file of the disk into one folder and make the names "
    "plain file names, or allow the folder where they are with --allow-outside; otherwise do not "
    "convert it."
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The folders that nothing a source names may lead out of, resolved.

    ``folder`` is the source's own, ``outside`` are those that the user allows besides.
    """

    folder: Path
    outside: tuple[Path, ...] = ()

    def hold(self, path: Path) -> bool:
        """Tell whether a resolved path lies inside."""
        return any(path.is_relative_to(folder) for folder in (self.folder, *self.outside))

    def __str__(self) -> str:
        return " and ".join(shown(folder) for folder in (self.folder, *self.outside))


def check_name(name: str, namer: Path, role: str, bounds: Bounds) -> None:
    """Raise SourceUnsafeError unless ``name`` is a plain name relative to its own folder.

    ``namer`` is the file that names it, ``role`` what it is named as ("extent", "parent"). Where
    the user allows other folders a name may be absolute or climb: find_inside() sees where to.
    A colon before the first slash is refused as well: qemu takes what stands before it for a
    protocol (path_has_protocol() in its block.c), as in ``nbd:``, ``http:``, ``json:``.
    """

    def refuse(reason: str) -> SourceUnsafeError:
        return SourceUnsafeError(
            f'{shown(namer)} names "{shown(name)}" as its {role}, which {reason}.', REMEDY
        )

    if not name.strip():
        raise SourceUnreadableError(
            f"{shown(namer)} names an empty {role}.",
            "Repair the file or copy it again from where it came from.",
        )
    if _CONTROL.search(name):
        raise refuse("holds control characters")
    if name.startswith("\\") or _WINDOWS_DRIVE.match(name):
        raise refuse("is an absolute path of Windows")
    if name.startswith("/") and not bounds.outside:
        raise refuse("is an absolute path")
    if not bounds.outside and ".." in _SEPARATORS.split(name):
        raise refuse("climbs out of its folder")
    if ":" in name.split("/", maxsplit=1)[0]:
        raise refuse("qemu would take for a protocol, not for a file")


def find_inside(name: str, *, folder: Path, bounds: Bounds, namer: Path, role: str) -> Path:
    """Return ``folder/name`` after checking the name and where it leads; it may not exist.

    Nothing is opened. Raises SourceUnsafeError.
    """
    check_name(name, namer, role, bounds)
    path = folder / name
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise SourceUnsafeError(
            f'{shown(namer)} names "{shown(name)}" as its {role}, a link that leads nowhere.',
            REMEDY,
        ) from error
    if not bounds.hold(resolved):
        raise SourceUnsafeError(
            f'{shown(namer)} names "{shown(name)}" as its {role}, which leads to '
            f"{shown(resolved)}, outside {bounds}.",
            REMEDY,
        )
    return path
