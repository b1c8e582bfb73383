r"""Folders of an installed Windows by what they are for, as its own registry has them.

They are not where one expects them: "Program Files" is "Programme" in a German XP, and a Windows
may call its volume anything but C:.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.windows.hive import RegistryView
from offline_mig.windows.version import Architecture

_KEY = r"Microsoft\Windows\CurrentVersion"
_NT_KEY = r"Microsoft\Windows NT\CurrentVersion"
#: A full path whose parts are plain names; nothing in the registry is trusted to be one.
_PLAIN_PATH = re.compile(r'([A-Za-z]:)((?:\\[^\\/:*?"<>|\x00-\x1f]{1,255})+)\\?')


class KnownFolder(StrEnum):
    """Folders by the names of their environment variables, where they have one."""

    PROGRAM_FILES = "ProgramFiles"
    PROGRAM_FILES_X86 = "ProgramFiles(x86)"
    COMMON_FILES = "CommonProgramFiles"
    COMMON_FILES_X86 = "CommonProgramFiles(x86)"
    WINDOWS = "SystemRoot"


#: The value that names a folder and the name that Windows gives it in English.
_VALUES = {
    KnownFolder.PROGRAM_FILES: ("ProgramFilesDir", "Program Files"),
    KnownFolder.PROGRAM_FILES_X86: ("ProgramFilesDir (x86)", "Program Files (x86)"),
    KnownFolder.COMMON_FILES: ("CommonFilesDir", r"Program Files\Common Files"),
    KnownFolder.COMMON_FILES_X86: ("CommonFilesDir (x86)", r"Program Files (x86)\Common Files"),
}
_NATIVE = {
    KnownFolder.PROGRAM_FILES_X86: KnownFolder.PROGRAM_FILES,
    KnownFolder.COMMON_FILES_X86: KnownFolder.COMMON_FILES,
}


@dataclass(frozen=True, slots=True)
class KnownFolders:
    r"""The folders of one Windows, as it sees them (``C:\Program Files``), without a last ``\``.

    All of them lie on its own volume, ``drive``. ``notes`` say where they had to be assumed.
    """

    drive: str
    paths: Mapping[KnownFolder, str]
    notes: Mapping[KnownFolder, str]

    def expand(self, text: str) -> str:
        """Replace the variables in a path that a service's ImagePath may have."""
        known = {
            "systemroot": self.paths[KnownFolder.WINDOWS],
            "windir": self.paths[KnownFolder.WINDOWS],
            "systemdrive": self.drive,
            "programfiles": self.paths[KnownFolder.PROGRAM_FILES],
            "programfiles(x86)": self.paths[KnownFolder.PROGRAM_FILES_X86],
        }
        return re.sub("%([^%]+)%", lambda match: known.get(match[1].casefold(), match[0]), text)

    def on_volume(self, path: str) -> str | None:
        r"""Return a full Windows path as one on the system volume (``/Program Files/x.exe``).

        None for a path on another drive and for one that is not plain.
        """
        match = _PLAIN_PATH.fullmatch(path)
        if match is None or match[1].casefold() != self.drive.casefold():
            return None
        parts = match[2].strip("\\").split("\\")
        if any(part.strip(" .") == "" for part in parts):
            return None
        return "/" + "/".join(parts)


def read_known_folders(
    software: RegistryView, root: str, architecture: Architecture
) -> KnownFolders:
    """Return the folders of the Windows in ``root`` (its directory on the volume).

    What the registry does not name, or names on another volume, gets the English name on this
    one.
    """
    named = _text(software, _NT_KEY, "SystemRoot")
    tail = root.strip("/").replace("/", "\\")
    drive = named[:2].upper() if _PLAIN_PATH.fullmatch(named) else "C:"
    paths = {KnownFolder.WINDOWS: rf"{drive}\{tail}"}
    bare = KnownFolders(drive, paths, {})
    notes = {}
    for folder, (value, english) in _VALUES.items():
        if architecture is Architecture.X86 and folder in _NATIVE:
            paths[folder] = paths[_NATIVE[folder]]
            continue
        text = _text(software, _KEY, value)
        if bare.on_volume(text) is not None:
            paths[folder] = text.rstrip("\\")
            continue
        paths[folder] = rf"{drive}\{english}"
        notes[folder] = (
            f"SOFTWARE\\{_KEY} says {text!r} for {value}, which is not on the volume of Windows; "
            f"{paths[folder]} was taken."
            if text
            else f"SOFTWARE\\{_KEY} has no {value}; {paths[folder]} was taken."
        )
    return KnownFolders(drive, paths, notes)


def _text(software: RegistryView, key: str, name: str) -> str:
    value = software.value(key, name)
    return (value.as_text() if value else None) or ""
