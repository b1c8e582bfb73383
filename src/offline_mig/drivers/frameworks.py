"""The kernel-mode driver framework (KMDF) that each Windows brings, and that drivers want."""

from __future__ import annotations

from offline_mig.drivers.package import DriverPackage
from offline_mig.windows.version import WindowsVersion

#: KMDF in the box, by NT version and the first build that has it (Microsoft, "KMDF Version
#: History"). Windows before Vista has none.
_IN_BOX = (
    ((10, 0, 22000), (1, 33)),
    ((10, 0, 19041), (1, 31)),
    ((10, 0, 18362), (1, 29)),
    ((10, 0, 17763), (1, 27)),
    ((10, 0, 17134), (1, 25)),
    ((10, 0, 16299), (1, 23)),
    ((10, 0, 15063), (1, 21)),
    ((10, 0, 14393), (1, 19)),
    ((10, 0, 10586), (1, 17)),
    ((10, 0, 0), (1, 15)),
    ((6, 3, 0), (1, 13)),
    ((6, 2, 0), (1, 11)),
    ((6, 1, 0), (1, 9)),
    ((6, 0, 6001), (1, 7)),
    ((6, 0, 0), (1, 5)),
)


def framework_problem(package: DriverPackage, windows: WindowsVersion) -> str | None:
    """Return why a package finds no framework on ``windows`` that its drivers run on.

    A framework newer than the guest's comes with the package's own co-installer, or not at all.
    """
    own = (windows.major, windows.minor, windows.build)
    there = next((kmdf for since, kmdf in _IN_BOX if own >= since), None)
    for install in package.installs:
        wanted = _version(install.kmdf_library_version)
        if wanted is None or (there is not None and wanted <= there):
            continue
        if any(f.source.lower().startswith("wdfcoinstaller") for f in install.coinstaller_files):
            continue
        brings = f"brings {there[0]}.{there[1]}" if there else "brings none"
        return (
            f"it needs the driver framework KMDF {install.kmdf_library_version}, this Windows "
            f"{brings}, and the package has no co-installer for it"
        )
    return None


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    if not (major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        return None
    return int(major), int(minor)
