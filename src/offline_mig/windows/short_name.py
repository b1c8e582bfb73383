"""Short names of Windows versions, as people type them: xp-x86, w10-19045-amd64, 2k25-amd64."""

from __future__ import annotations

import functools
import re

from offline_mig.windows.version import Architecture, WindowsVersion

#: NT version, build and kind of each release: the last build of those that are finished, the
#: first of the current servers and a much used one of Windows 10 and 11 (Microsoft, "Windows
#: release health" and "Windows Server release information").
_RELEASES = {
    "2k": (5, 0, 2195, False),
    "xp": (5, 1, 2600, False),
    "2k3": (5, 2, 3790, True),
    "vista": (6, 0, 6002, False),
    "2k8": (6, 0, 6002, True),
    "w7": (6, 1, 7601, False),
    "2k8R2": (6, 1, 7601, True),
    "w8": (6, 2, 9200, False),
    "2k12": (6, 2, 9200, True),
    "w8.1": (6, 3, 9600, False),
    "2k12R2": (6, 3, 9600, True),
    "w10": (10, 0, 19045, False),
    "2k16": (10, 0, 14393, True),
    "2k19": (10, 0, 17763, True),
    "2k22": (10, 0, 20348, True),
    "w11": (10, 0, 22631, False),
    "2k25": (10, 0, 26100, True),
}
#: XP for x64 was made of Server 2003.
_XP_X64 = (5, 2, 3790, False)
_BY_LOWER_CASE = {name.lower(): name for name in _RELEASES}
_ARCHITECTURES = {architecture.lower(): architecture for architecture in Architecture}
_BUILD = re.compile(r"[1-9]\d{2,5}", re.ASCII)


def parse_short_name(text: str) -> WindowsVersion:
    """Return the Windows of a short name: RELEASE-ARCHITECTURE or RELEASE-BUILD-ARCHITECTURE.

    Raises ValueError, whose text says what is known, for what is none.
    """
    release_text, *rest = text.strip().split("-")
    *middle, architecture_text = rest or [""]
    release = _BY_LOWER_CASE.get(release_text.lower())
    architecture = _ARCHITECTURES.get(architecture_text.lower())
    well_formed = len(middle) <= 1 and all(_BUILD.fullmatch(build) for build in middle)
    if release is None or architecture is None or not well_formed:
        raise ValueError(
            f"{text!r} is no Windows; give one such as xp-x86 or w10-19045-amd64, of "
            f"{', '.join(_RELEASES)} with {', '.join(Architecture)}."
        )
    wide_xp = release == "xp" and architecture is not Architecture.X86
    major, minor, build, server = _XP_X64 if wide_xp else _RELEASES[release]
    if middle:
        build = int(middle[0])
    found = WindowsVersion(major, minor, build, architecture, server)
    if found.release != release:
        raise ValueError(f"{text!r} is no Windows: build {build} is {found.release}.")
    return found


@functools.cache
def every_windows() -> tuple[WindowsVersion, ...]:
    """Return each release on each processor that it is known for, in its usual build."""
    return tuple(
        parse_short_name(f"{release}-{architecture}")
        for release in _RELEASES
        for architecture in Architecture
    )
