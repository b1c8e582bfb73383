"""What a guest agent consists of, before it is known which guest it goes into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from offline_mig.windows.known_folders import KnownFolder
from offline_mig.windows.pe import PeImage
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture


class AgentKind(StrEnum):
    """The agents that there are, by what people call them."""

    SPICE = "SPICE agent"
    """Clipboard, screen size and mouse: vdservice.exe, which starts vdagent.exe."""
    QEMU = "QEMU guest agent"
    """Shutdown, freezing of file systems, addresses: qemu-ga.exe."""


#: The services under which each is known, however it was installed: spice-agent by SPICE's own
#: MSI, vdservice by ``vdservice install`` and by all other installers.
SERVICES = {
    AgentKind.SPICE: ("vdservice", "spice-agent"),
    AgentKind.QEMU: ("QEMU-GA",),
}


@dataclass(frozen=True, slots=True)
class AgentPath:
    r"""A place in the guest: ``relative`` (``Qemu-ga\qemu-ga.exe``) below a known folder."""

    folder: KnownFolder
    relative: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.relative.rpartition("\\")[2]


#: A text in which the guest's own paths are still to be filled in.
AgentText = tuple[str | AgentPath, ...]


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A file and where it belongs."""

    path: AgentPath
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AgentService:
    """The service as the agent's own installer registers it; numbers as in winsvc.h.

    ``program`` is what it runs, with ``arguments``. A ``group`` that is empty is not written.
    """

    name: str
    display_name: str
    description: str
    service_type: int
    start_type: int
    error_control: int
    program: AgentPath
    arguments: AgentText = ()
    group: str = ""
    dependencies: tuple[str, ...] = ()
    account: str = "LocalSystem"


@dataclass(frozen=True, slots=True)
class AgentRegistryValue:
    r"""A value that the installer puts below ``HKLM\SOFTWARE``; without ``name`` only the key.

    ``value`` is a text of ``type`` whose paths are to be filled in, or the value as it is.
    ``narrow`` is one that a 64-bit Windows keeps for 32-bit programs (WOW6432Node).
    """

    key: str
    name: str | None
    value: AgentText | RegistryValue
    type: RegistryType = RegistryType.SZ
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, ready to be put into a guest of its ``architecture``.

    ``source`` is what the user named, ``location`` the place within it ("" for the source
    itself); ``product`` is what its installer calls it. ``given`` is what the source has of it, by
    name: the installer, or the programs themselves. ``images`` is what its programs and
    libraries, by lower-case name, say of the Windows that they run on. ``installer`` is whether
    it comes from an MSI, and ``product_code`` the GUID in braces by which Windows records what that
    installs, "" where it says none. ``notes`` are about what of it is left out.
    """

    kind: AgentKind
    version: str
    architecture: Architecture | None
    source: str
    location: str
    product: str
    files: tuple[AgentFile, ...]
    service: AgentService
    images: Mapping[str, PeImage]
    given: Mapping[str, bytes] = field(repr=False)
    registry: tuple[AgentRegistryValue, ...] = ()
    installer: bool = False
    product_code: str = ""
    notes: tuple[str, ...] = ()

    @property
    def program_version(self) -> tuple[int, ...]:
        """The four numbers of what the service runs, none when it has no version."""
        image = self.images.get(self.service.program.name.lower())
        return image.file_version if image else ()

    @property
    def origin(self) -> str:
        """Where it was found, for people."""
        return f"{self.source}: {self.location}" if self.location else self.source
