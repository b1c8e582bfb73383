"""Which Windows this is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Architecture(StrEnum):
    """Processor architectures by the name that INF files and virtio-win use."""

    X86 = "x86"
    AMD64 = "amd64"
    ARM64 = "ARM64"


#: Client releases by NT version; from NT 10.0 on the build decides.
_CLIENTS = {
    (5, 0): "2k",
    (5, 1): "xp",
    (5, 2): "xp",
    (6, 0): "vista",
    (6, 1): "w7",
    (6, 2): "w8",
    (6, 3): "w8.1",
}
_SERVERS = {
    (5, 0): "2k",
    (5, 2): "2k3",
    (6, 0): "2k8",
    (6, 1): "2k8R2",
    (6, 2): "2k12",
    (6, 3): "2k12R2",
}
#: Server releases of NT 10.0 by their build, newest first (Microsoft, "Windows Server release
#: information"): a build at or above the number is that release.
_SERVER_BUILDS = ((26100, "2k25"), (20348, "2k22"), (17763, "2k19"), (0, "2k16"))
#: The first build of Windows 11 (21H2), Microsoft, "Windows 11 release information".
WINDOWS_11_BUILD = 22000


@dataclass(frozen=True, slots=True)
class WindowsVersion:
    """A Windows, exactly enough to choose drivers and hardware for it.

    ``server`` is true for every product type but WinNT (Control\\ProductOptions).
    """

    major: int
    minor: int
    build: int
    architecture: Architecture
    server: bool = False
    service_pack: int = 0
    product_name: str = ""
    edition: str = ""

    @property
    def nt(self) -> tuple[int, int]:
        """The NT version as Windows compares it, such as (5, 1) for XP or (10, 0)."""
        return (self.major, self.minor)

    @property
    def summary(self) -> str:
        """The Windows in a few words. The name in it is the guest's to choose."""
        pack = f" SP{self.service_pack}" if self.service_pack else ""
        return f"{self.product_name}{pack} ({self.architecture}, build {self.build})"

    @property
    def release(self) -> str:
        """The release by its virtio-win name: xp, 2k3, w7, 2k8R2, w10, w11, 2k22, ..."""
        if self.nt >= (10, 0):
            if self.server:
                return next(name for build, name in _SERVER_BUILDS if self.build >= build)
            return "w11" if self.build >= WINDOWS_11_BUILD else "w10"
        known = _SERVERS if self.server else _CLIENTS
        return known.get(self.nt, f"nt{self.major}.{self.minor}")
