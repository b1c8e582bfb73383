"""Directory identifiers: how an INF names the guest's directories.

Source: Microsoft, "Using Dirids".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class DirId(IntEnum):
    """The directory identifiers that drivers use."""

    ABSOLUTE = -1
    SOURCE = 1
    WINDOWS = 10
    SYSTEM32 = 11
    DRIVERS = 12
    DRIVER_STORE = 13
    INF = 17
    HELP = 18
    FONTS = 20
    VIEWERS = 21
    COLOR = 23
    SYSTEM = 50
    SPOOL = 51
    SPOOL_DRIVERS = 52


#: Directories by their identifiers, as paths below the Windows directory.
BELOW_WINDOWS: Mapping[int, str] = {
    DirId.WINDOWS: "",
    DirId.SYSTEM32: r"system32",
    DirId.DRIVERS: r"system32\drivers",
    DirId.INF: r"inf",
    DirId.HELP: r"help",
    DirId.FONTS: r"fonts",
    DirId.VIEWERS: r"system32\viewers",
    DirId.COLOR: r"system32\spool\drivers\color",
    DirId.SYSTEM: r"system",
    DirId.SPOOL: r"system32\spool",
    DirId.SPOOL_DRIVERS: r"system32\spool\drivers",
}
_IDENTIFIER = re.compile("%(-?[0-9]{1,5})%")


@dataclass(frozen=True, slots=True)
class InfPath:
    r"""A path as an INF gives it: ``%12%\viostor.sys`` is directory 12 and ``viostor.sys``.

    ``directory`` is None for a path that does not start with an identifier. ``relative`` may go
    on with a service's arguments.
    """

    directory: int | None
    relative: str

    @classmethod
    def parse(cls, text: str) -> InfPath:
        """Take a path apart."""
        match = _IDENTIFIER.match(text)
        if not match:
            return cls(None, text)
        return cls(int(match[1]), text[match.end() :].lstrip("\\"))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.relative.rpartition("\\")[2]

    @property
    def below_windows(self) -> str | None:
        r"""The path below the Windows directory (``system32\drivers\viostor.sys``).

        None when it is not below it or when that is not known here: the driver store's directory
        (13) depends on the package.
        """
        if self.directory is None or self.directory not in BELOW_WINDOWS:
            return None
        return "\\".join(part for part in (BELOW_WINDOWS[self.directory], self.relative) if part)


def directory_path(identifier: int, windows_directory: str) -> str | None:
    """Return the path that an identifier stands for in values; None if it has no fixed place."""
    below = BELOW_WINDOWS.get(identifier)
    if below is None:
        return None
    return f"{windows_directory}\\{below}" if below else windows_directory
