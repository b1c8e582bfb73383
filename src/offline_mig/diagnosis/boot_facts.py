"""What the boot model knows of a guest: gathered once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.hive import RegistryView
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import WindowsVersion

#: The first Windows whose loader is winload, with StartOverride and signatures (Vista).
NT6 = (6, 0)
#: The first one with a DriverDatabase (Windows 8).
WINDOWS_8 = (6, 2)


@dataclass(frozen=True, slots=True)
class DriverFile:
    """A driver's image in the guest.

    ``problem`` says why it cannot be read although it is there, "" when it can. ``imports`` are
    the modules that it imports, in lower case; ``version`` the file's, empty where it has none.
    ``distrust`` says why this Windows would not load it for want of a signature, "" when it would
    or when that was not looked into.
    """

    path: str
    found: bool = True
    problem: str = ""
    architecture: str | None = None
    imports: tuple[str, ...] = ()
    version: tuple[int, ...] = ()
    distrust: str = ""


@dataclass(frozen=True)
class BootFacts:
    """A Windows as its loader and its kernel meet it.

    ``guest`` are the facts of the hives, ``files`` the drivers that matter by their path below
    the Windows directory, in lower case with slashes (``system32/drivers/viostor.sys``).
    """

    guest: GuestFacts
    files: Mapping[str, DriverFile] = field(default_factory=dict)

    @property
    def version(self) -> WindowsVersion:
        """The guest's Windows."""
        return self.guest.version

    @property
    def system(self) -> RegistryView:
        """The hive SYSTEM."""
        return self.guest.system

    @property
    def nt5(self) -> bool:
        """Whether this is Windows 2000, XP or 2003."""
        return self.version.nt < NT6

    @property
    def control_sets(self) -> tuple[str, ...]:
        r"""The control sets that decide about the next start.

        The loader takes ``Select\Default``. An NT 5 like kernel was seen to read Current for
        itself, so that a driver known in only one of the two ended in 0x7B; from Vista on the
        kernel makes its CurrentControlSet of what the loader passes it.
        """
        sets = self.guest.control_sets
        if self.nt5:
            return tuple(dict.fromkeys((sets.default, sets.current)))
        return (sets.default,)

    def file(self, below_windows: str) -> DriverFile:
        """Return what is known of a file, by its path below the Windows directory."""
        path = below_windows.replace("\\", "/")
        known = self.files.get(path.lower())
        return known or DriverFile(f"{self.guest.root}/{path}", found=False)

    def text(self, key: str, name: str) -> str:
        """Return the text of a value of the hive SYSTEM, "" when there is none."""
        value = self.system.value(key, name)
        return (value.as_text() if value else None) or ""

    def number(self, key: str, name: str) -> int | None:
        """Return the number in a value of the hive SYSTEM, None when there is none."""
        value = self.system.value(key, name)
        return value.as_int() if value else None


def terminated(value: RegistryValue) -> bool:
    """Tell whether a text ends with its terminator; an NT 5 loader reads on without one."""
    return value.data.endswith(b"\0\0") and len(value.data) % 2 == 0


def value_evidence(key: str, name: str, value: RegistryValue | None) -> str:
    r"""Return a value as evidence: ``SYSTEM\ControlSet001\Services\viostor: Start = 0x3``."""
    return rf"SYSTEM\{key}: {name or '(default)'} {'is missing' if value is None else f'= {value}'}"
