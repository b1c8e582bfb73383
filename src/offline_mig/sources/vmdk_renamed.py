"""Extents of a VMDK that are there, but not by the name that the descriptor has for them.

Whoever renames the files of a disk rarely changes the descriptor; a Windows host does not heed
case, and a descriptor may be written in another encoding than the names of the file system.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.sources.file_access import shown
from offline_mig.sources.vmdk import Descriptor
from offline_mig.sources.vmdk_kinds import descriptor_beside

_COPY_ALL = "Copy every file of the disk, with its name unchanged, into the folder."
_REBUILD = "--rebuild-descriptor does without that: it makes a descriptor for this run alone."


@dataclass(frozen=True, slots=True)
class Renamed:
    """An extent by its ``name`` in the descriptor, and the ``file`` that it is now.

    ``remedy`` is how to set the names right by hand.
    """

    name: str
    file: Path
    remedy: str


def find_renamed(path: Path, descriptor: Descriptor, missing: Sequence[str]) -> tuple[Renamed, ...]:
    """Return what lies beside the descriptor ``path`` in place of the missing extents.

    Names are looked at, not contents; no file stands for two extents, for one that is there, or
    for one of another disk.
    """
    try:
        present = {entry.name for entry in path.parent.iterdir()}
    except OSError:
        return ()
    used = {extent.name for extent in descriptor.extents}
    free = {
        name for name in present - used - {path.name} if _owner(name) not in present - {path.name}
    }
    found: list[Renamed] = []
    for name in missing:
        if (renamed := _find(path, descriptor, name, free)) is not None:
            free.discard(renamed.file.name)
            found.append(renamed)
    return tuple(found)


def how_to_complete(path: Path, missing: Sequence[str], renamed: Sequence[Renamed]) -> str:
    """Return the remedy for missing extents."""
    if not renamed:
        return _COPY_ALL
    if len(renamed) == len(missing):
        return f"{renamed[0].remedy} {_REBUILD}"
    there = {one.name for one in renamed}
    lost = ", ".join(shown(name) for name in missing if name not in there)
    return f"{renamed[0].remedy} Copy what is missing altogether into {shown(path.parent)}: {lost}."


def _find(path: Path, descriptor: Descriptor, name: str, free: set[str]) -> Renamed | None:
    folder = path.parent
    alike = [other for other in free if other.casefold() == name.casefold()]
    if len(alike) == 1:
        (other,) = alike
        remedy = f"The folder holds {shown(other)}: rename it to {shown(name)}, letter by letter."
        return Renamed(name, folder / other, remedy)
    if not name.isascii():
        decoded = _decoded(name, descriptor.encoding)
        if decoded is not None and decoded in free:
            encoding = shown(descriptor.encoding)
            remedy = (
                f"The files are there, but the descriptor writes their names in {encoding}: "
                f"convert it with 'iconv -f {encoding} -t UTF-8'."
            )
            return Renamed(name, folder / decoded, remedy)
    part = re.search(r"-[A-Za-z]+\d*\.vmdk$", name, re.IGNORECASE)
    if part is None:
        return None
    # The name of the descriptor goes before any other.
    named = f"{path.stem}{part[0]}"
    others = [other for other in free if other.casefold().endswith(part[0].casefold())]
    other = named if named in free else others[0] if len(others) == 1 else ""
    if not other:
        return None
    remedy = (
        f"The folder holds {shown(other)}: if the disk was renamed, write the new names into "
        f"{shown(path.name)}."
    )
    return Renamed(name, folder / other, remedy)


def _owner(name: str) -> str | None:
    """Return the name of the descriptor that a file belongs to by its own name."""
    descriptor = descriptor_beside(Path(name))
    return None if descriptor is None else descriptor.name


def _decoded(name: str, encoding: str) -> str | None:
    try:
        codecs.lookup(encoding)
        return name.encode("utf-8", "surrogateescape").decode(encoding)
    except (LookupError, UnicodeError):
        return None
