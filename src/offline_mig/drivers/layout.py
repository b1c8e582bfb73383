"""How driver media name Windows releases and processors in their directories.

virtio-win's ISO has ``<driver>/<release>/<architecture>/``, its RPM also
``by-os/<architecture>/<release>/``, its floppies ``<architecture>/<Release>`` and its builds
``<Release>/<architecture>``; virtio-win/virtio-win-pkg-scripts, util/filemap.py. ISOs of 2010 to
2014 had ``<release>/<architecture>`` with all drivers together, under the names of builds (wnet,
wlh, win7) or of releases (xp, vista). Plain ISO 9660 has no dots in names of directories (W8_1).
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.windows.version import Architecture, WindowsVersion

#: Directory names (in lower case) by the names of releases in WindowsVersion.release.
_RELEASES = {
    "xp": ("xp", "winxp", "wxp"),
    "2k3": ("2k3", "w2k3", "win2003", "wnet"),
    "vista": ("vista", "winvista"),
    "2k8": ("2k8", "w2k8", "win2008", "wlh"),
    "w7": ("w7", "win7"),
    "2k8R2": ("2k8r2", "w2k8r2", "win2008r2"),
    "w8": ("w8", "win8"),
    "2k12": ("2k12", "w2k12", "win2012"),
    "w8.1": ("w8.1", "win8.1", "w8_1", "win8_1"),
    "2k12R2": ("2k12r2", "w2k12r2", "win2012r2"),
    "w10": ("w10", "win10"),
    "2k16": ("2k16", "w2k16", "win2016"),
    "2k19": ("2k19", "w2k19", "win2019"),
    "2k22": ("2k22", "w2k22", "win2022"),
    "w11": ("w11", "win11"),
    "2k25": ("2k25", "w2k25", "win2025"),
}
_RELEASE_OF = {name: release for release, names in _RELEASES.items() for name in names}
_ARCHITECTURE_OF = {
    "x86": Architecture.X86,
    "i386": Architecture.X86,
    "amd64": Architecture.AMD64,
    "x64": Architecture.AMD64,
    "arm64": Architecture.ARM64,
}

#: How the directories of the floppies that virtio-win came with until 2025 were spelled.
_ON_FLOPPIES = {
    "xp": "WinXP",
    "2k3": "Win2003",
    "vista": "WinVista",
    "2k8": "Win2008",
    "w7": "Win7",
    "2k8R2": "Win2008R2",
    "w8": "Win8",
    "2k12": "Win2012",
    "w8.1": "Win8.1",
    "2k12R2": "Win2012R2",
    "w10": "Win10",
    "2k16": "Win2016",
    "2k19": "Win2019",
    "2k22": "Win2022",
    "w11": "Win11",
    "2k25": "Win2025",
}
#: Below which directories Windows' set-up looks for drivers by itself, on any medium
#: (virtio-win/virtio-win-pkg-scripts, pull request 16 and issue 27).
_OF_PROCESSOR = {
    Architecture.X86: "i386",
    Architecture.AMD64: "amd64",
    Architecture.ARM64: "ARM64",
}

#: Releases that one build serves: w10, 2k16, 2k19 and 2k22; w11 and 2k25; w7 and 2k8R2; w8 and
#: 2k12; w8.1 and 2k12R2 (filemap.py). Vista has no directory of its own on virtio-win's media.
_SIBLINGS = {
    "vista": ("2k8",),
    "2k8": ("vista",),
    "w7": ("2k8R2",),
    "2k8R2": ("w7",),
    "w8": ("2k12",),
    "2k12": ("w8",),
    "w8.1": ("2k12R2",),
    "2k12R2": ("w8.1",),
    "w10": ("2k16", "2k19", "2k22"),
    "2k16": ("w10",),
    "2k19": ("2k16", "w10"),
    "2k22": ("2k19", "2k16", "w10"),
    "w11": ("2k25",),
    "2k25": ("w11",),
}
#: XP x64 is the client twin of Server 2003 x64, and one build serves both.
_SIBLINGS_64 = {"xp": ("2k3",), "2k3": ("xp",)}
#: Builds for an older Windows of the same driver model run on a newer one as well. An x86 XP
#: build, for SCSIPORT.SYS, runs on nothing but XP. Until 0.1.248 w11 was the w10 build; that of
#: 2k8R2 is what users of 8.1 and 2012 R2 fall back to where their own is signed for tests only
#: (virtio-win/virtio-win-pkg-scripts issues 65 and 116).
_OLDER = {
    "w7": ("2k8", "vista"),
    "2k8R2": ("2k8", "vista"),
    "w8": ("w7", "2k8R2"),
    "2k12": ("2k8R2", "w7"),
    "w8.1": ("w8", "2k12", "w7", "2k8R2"),
    "2k12R2": ("2k12", "w8", "2k8R2", "w7"),
    "w10": ("w8.1", "2k12R2", "w8", "2k12"),
    "2k16": ("2k12R2", "w8.1", "2k12", "w8"),
    "2k19": ("2k12R2", "w8.1", "2k12", "w8"),
    "2k22": ("2k12R2", "w8.1", "2k12", "w8"),
    "w11": ("w10", "2k22", "2k19", "2k16"),
    "2k25": ("2k22", "2k19", "2k16", "w10"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a package's directory says that it is for; None where it does not say."""

    release: str | None
    architecture: Architecture | None

    def __str__(self) -> str:
        return f"{self.release or 'any release'} {self.architecture or 'any processor'}"


def place_of(path: str) -> Place:
    """Read a path on a medium. Of several names of a kind the one nearest the file counts."""
    directories = path.lower().split("/")[-2::-1]
    return Place(
        next((_RELEASE_OF[name] for name in directories if name in _RELEASE_OF), None),
        next((_ARCHITECTURE_OF[name] for name in directories if name in _ARCHITECTURE_OF), None),
    )


def processor_directory(architecture: Architecture) -> str:
    """Return the directory for a processor on a medium that is made."""
    return _OF_PROCESSOR[architecture]


def directory_on_disc(windows: WindowsVersion) -> str:
    """Return the directory for a Windows' drivers on a disc that is made, such as amd64/w10."""
    return f"{processor_directory(windows.architecture)}/{windows.release}"


def directory_on_floppy(windows: WindowsVersion) -> str:
    """Return the directory for a Windows' drivers on a floppy that is made, such as i386/WinXP."""
    release = _ON_FLOPPIES.get(windows.release, windows.release)
    return f"{processor_directory(windows.architecture)}/{release}"


def own_releases(windows: WindowsVersion) -> tuple[str, ...]:
    """Return the releases whose builds are meant for ``windows``, its own first."""
    release = windows.release
    wide = windows.architecture is not Architecture.X86
    siblings = (_SIBLINGS_64.get(release) if wide else None) or _SIBLINGS.get(release, ())
    return (release, *siblings)


def older_releases(windows: WindowsVersion) -> tuple[str, ...]:
    """Return the releases whose builds serve ``windows`` for want of its own, the best first."""
    return _OLDER.get(windows.release, ())
