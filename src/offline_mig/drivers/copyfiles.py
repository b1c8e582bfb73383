"""CopyFiles directives: which files a driver brings, and where they go.

The forms: Microsoft, "INF CopyFiles Directive", "INF DestinationDirs Section", "INF
SourceDisksFiles Section", "INF SourceDisksNames Section".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from offline_mig.drivers.addreg import read_number
from offline_mig.drivers.directories import DirId, InfPath
from offline_mig.drivers.inf import InfError, InfFile, InfLine
from offline_mig.windows.version import Architecture

#: What a Windows file name cannot hold; among it everything that would lead elsewhere.
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
#: Characters of a path: MAX_PATH of windef.h, which bounds what SetupAPI copies from and to.
_MAX_PATH = 260


@dataclass(frozen=True, slots=True)
class CopyFile:
    """A file that is copied on installation.

    ``source`` is its name in the package, in ``source_directory`` below the INF ("" for beside
    it). It becomes ``target`` in ``subdirectory`` of the directory with the identifier
    ``directory``. ``flags`` are COPYFLG_* bits.
    """

    source: str
    target: str
    directory: int
    subdirectory: str = ""
    source_directory: str = ""
    flags: int = 0

    @property
    def path(self) -> InfPath:
        """Where the file goes."""
        parts = (self.subdirectory, self.target)
        return InfPath(self.directory, "\\".join(part for part in parts if part))

    @property
    def is_driver(self) -> bool:
        """Whether this is code for the kernel."""
        return self.source.lower().endswith(".sys")

    @property
    def source_path(self) -> str:
        """Where the file comes from, below the INF's directory and with slashes."""
        parts = (*self.source_directory.split("\\"), self.source)
        return "/".join(part for part in parts if part)


def read_copied(
    inf: InfFile, names: Iterable[str], architecture: Architecture
) -> tuple[CopyFile, ...]:
    """Read what CopyFiles names: sections, and single files behind an at sign.

    Raises InfError for a missing section and for file names that are no plain names.
    """
    files: list[CopyFile] = []
    for name in names:
        if name.startswith("@"):
            destination = _destination(inf, "")
            files.append(_copied(inf, destination, name[1:], "", 0, architecture))
            continue
        if not inf.has(name):
            raise InfError(inf.name, f"CopyFiles names the section [{name}], which is not there")
        destination = _destination(inf, name)
        for line in inf.lines(name):
            flags = read_number(inf, line, line.text(3)) & 0xFFFFFFFF
            if line.text(0):
                target, source = line.text(0), line.text(1)
                files.append(_copied(inf, destination, target, source, flags, architecture))
    return tuple(files)


def plain_name(inf: InfFile, name: str) -> str:
    """Return ``name`` when it is a file's name and nothing more, else raise InfError."""
    if not name or name.strip(". ") == "" or _NOT_IN_NAMES.search(name):
        raise InfError(inf.name, f"{name!r} is not the plain name of a file")
    return name


def _copied(
    inf: InfFile,
    destination: tuple[int, str],
    target: str,
    source: str,
    flags: int,
    architecture: Architecture,
) -> CopyFile:
    source = plain_name(inf, source or target)
    return CopyFile(
        source,
        plain_name(inf, target),
        *destination,
        _source_directory(inf, source, architecture),
        flags,
    )


def _destination(inf: InfFile, section: str) -> tuple[int, str]:
    for key in (section, "DefaultDestDir") if section else ("DefaultDestDir",):
        for line in inf.lines_for("DestinationDirs", key):
            return read_number(inf, line, line.text(0)), _relative(inf, line.text(1))
    return DirId.SYSTEM32, ""  # What SetupAPI does without any word about it.


def _source_directory(inf: InfFile, name: str, architecture: Architecture) -> str:
    file = _decorated(inf, "SourceDisksFiles", name, architecture)
    if file is None:
        return ""
    # diskid[,[subdir][,size]] here, and description[,[tag],[unused,path]] for the disk.
    disk = _decorated(inf, "SourceDisksNames", file.text(0), architecture)
    parts = (disk.text(3) if disk else "", file.text(1))
    return "\\".join(part for part in (_relative(inf, part) for part in parts) if part)


def _decorated(inf: InfFile, section: str, key: str, architecture: Architecture) -> InfLine | None:
    for candidate in (f"{section}.{architecture}", section):
        for line in inf.lines_for(candidate, key):
            return line
    return None


def _relative(inf: InfFile, path: str) -> str:
    path = path.strip("\\")
    if len(path) > _MAX_PATH:
        raise InfError(inf.name, f"the path {path[:20]!r}... is longer than Windows allows")
    for part in path.split("\\") if path else ():
        if part != ".":
            plain_name(inf, part)
    return "\\".join(part for part in path.split("\\") if part != ".")
