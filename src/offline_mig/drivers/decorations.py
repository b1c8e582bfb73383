"""Which decorated sections of an INF are meant for a Windows.

The rules: Microsoft, "INF Manufacturer Section" (TargetOSVersion) and "INF DDInstall Section".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from offline_mig.drivers.inf import InfFile
from offline_mig.windows.version import Architecture, WindowsVersion

#: VER_NT_WORKSTATION and VER_NT_SERVER of winnt.h. A decoration for domain controllers (2) is
#: taken for none of ours: whether a server is one is not known here.
_WORKSTATION = 1
_SERVER = 3

_ARCHITECTURES = {
    # Before 2003 SP1 a decoration without an architecture stood for all of them, since then
    # for x86 alone.
    "": Architecture.X86,
    "x86": Architecture.X86,
    "amd64": Architecture.AMD64,
    "arm64": Architecture.ARM64,
}
_HEAD = re.compile(r"nt([a-z0-9]*)", re.IGNORECASE)
_NUMBER = re.compile(r"(?:0x[0-9a-f]{1,8}|[0-9]{1,10})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Decoration:
    """``NT[arch][.[major][.[minor][.[product type][.[suite mask][.[build]]]]]]``, understood."""

    architecture: Architecture
    major: int = 0
    minor: int = 0
    product_type: int = 0
    suite_mask: int = 0
    build: int = 0

    @classmethod
    def parse(cls, text: str) -> Decoration | None:
        """Read a decoration; None for an architecture or a form that is not known."""
        head, *numbers = text.strip().split(".")
        match = _HEAD.fullmatch(head)
        if not match or match[1].lower() not in _ARCHITECTURES or len(numbers) > 5:
            return None
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            return None
        values = [int(number or "0", 16 if "x" in number.lower() else 10) for number in numbers]
        return cls(_ARCHITECTURES[match[1].lower()], *values)

    def fits(self, windows: WindowsVersion) -> bool:
        """Tell whether sections decorated so may be used by ``windows``."""
        if self.architecture is not windows.architecture or self.suite_mask:
            return False
        if self.product_type not in (0, _SERVER if windows.server else _WORKSTATION):
            return False
        nt = (self.major, self.minor)
        if nt > windows.nt:
            return False
        # A build counts within its own version of Windows only.
        return not self.build or nt not in ((0, 0), windows.nt) or self.build <= windows.build

    @property
    def closeness(self) -> tuple[int, ...]:
        """How narrowly this describes a Windows that it fits: the greatest is used."""
        return (self.major, self.minor, self.build, self.product_type)


def best_decoration(decorations: Iterable[str], windows: WindowsVersion) -> str | None:
    """Return the decoration that ``windows`` goes by, as it was written.

    That is the one for the highest Windows that is not above it. Without one, x86 goes by the
    undecorated section (""), and no other architecture by any (None).
    """
    best: tuple[tuple[int, ...], str] | None = None
    for text in decorations:
        decoration = Decoration.parse(text)
        if decoration is None or not decoration.fits(windows):
            continue
        if best is None or decoration.closeness > best[0]:
            best = (decoration.closeness, text.strip())
    if best is not None:
        return best[1]
    return "" if windows.architecture is Architecture.X86 else None


def effective_section(inf: InfFile, section: str, architecture: Architecture) -> str | None:
    """Return the install section that is used for ``section``: .NTamd64, else .NT, else itself.

    None when the INF has none of them.
    """
    for candidate in (f"{section}.NT{architecture}", f"{section}.NT", section):
        if inf.has(candidate):
            return candidate
    return None
