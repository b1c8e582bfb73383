"""Files that go, as texts in the registry name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from offline_mig.surgery.tools_facts import FoundTools
from offline_mig.windows.known_folders import KnownFolders

#: A name in a path or in a command line that can be one of a program or a library.
_NAME = re.compile(r'[^\\/:*?"<>|,;%\s]+\.(?:cpl|dll|exe|sys)\b')


@dataclass(frozen=True, slots=True)
class RemovedFiles:
    r"""Folders and files that go, in lower case.

    ``folders`` are their paths without the drive, ``\program files\vmware\``; ``names`` are files
    of the Windows directory, whose names nothing else has.
    """

    folders: tuple[str, ...]
    names: frozenset[str]

    def named_in(self, text: str) -> bool:
        """Tell whether a text, such as a command line, names one of them."""
        lowered = text.lower().replace("/", "\\")
        if any(folder in f"{lowered}\\" for folder in self.folders):
            return True
        return any(name in self.names for name in _NAME.findall(lowered))


def removed_files(found: FoundTools, deleted_drivers: frozenset[str]) -> RemovedFiles:
    """Return the files of guest tools that go or are gone; of drivers only ``deleted_drivers``."""
    places = (*found.places, *(folder.path for folder in found.folders))
    folders = [place.lower().replace("/", "\\") + "\\" for place in dict.fromkeys(places)]
    folders += [short for folder in folders if (short := _shortened(folder))]
    names = {file.path.rpartition("/")[2].lower() for file in found.files}
    names |= found.tools.system_files | deleted_drivers
    return RemovedFiles(tuple(folders), frozenset(names))


def _shortened(folder: str) -> str:
    r"""Return a path as MS-DOS names it, which installers of XP's time liked to write.

    The numbers are those that a fresh Windows gives: ``\progra~1\vmware\vmware~1\``.
    """
    parts = folder.strip("\\").split("\\")
    short = [
        part if len(part) <= 8 and " " not in part else f"{part.replace(' ', '')[:6]}~1"
        for part in parts
    ]
    return "\\" + "\\".join(short) + "\\" if short != parts else ""


def volume_path(known: KnownFolders, text: str) -> str | None:
    r"""Return a path of Windows, such as ``%SystemRoot%\x.dll``, as one on the volume."""
    return known.on_volume(known.expand(text))
