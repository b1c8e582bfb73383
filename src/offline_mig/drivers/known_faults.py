"""Driver builds that are known to be bad for some Windows: data, each with its source.

virtio-win numbers its builds in the last part of the version: 62.93.104.24000 is build 240, as
released in 0.1.240. The first part tells what a build is for: 51 XP, 52 Server 2003, 60 Vista,
61 Windows 7, 62 Windows 8, 63 Windows 8.1, 100 Windows 10 and later.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.drivers.package import DriverPackage
from offline_mig.drivers.signer import SignerClass
from offline_mig.windows.version import WindowsVersion

_BUILD = 100
_LATEST = 10_000
_WINDOWS_7 = frozenset({"w7", "2k8R2"})
_WINDOWS_8 = frozenset({"w8", "2k12", "w8.1", "2k12R2"})
_WINDOWS_10 = frozenset({"w10", "2k16", "2k19", "2k22"})


@dataclass(frozen=True, slots=True)
class KnownFault:
    """Builds ``first`` to ``last`` of ``driver`` ("" for all) that are bad for ``releases``.

    ``series`` are the first parts of their versions. A ``fatal`` one is never taken, another only
    where there is nothing better. Packages signed by ``not_signed_by`` are not meant.
    """

    driver: str
    releases: frozenset[str]
    series: frozenset[int]
    first: int
    last: int
    fatal: bool
    reason: str
    source: str
    not_signed_by: SignerClass | None = None


KNOWN_FAULTS = (
    KnownFault(
        "",
        _WINDOWS_8,
        frozenset({62, 63}),
        217,
        _LATEST,
        fatal=True,
        reason="builds for Windows 8 and 8.1 are signed for tests only from 0.1.217 on",
        source="virtio-win/virtio-win-pkg-scripts issues 61, 65 and 116",
        not_signed_by=SignerClass.MICROSOFT,
    ),
    KnownFault(
        "",
        _WINDOWS_7,
        frozenset({61}),
        174,
        189,
        fatal=False,
        reason="0.1.185 to 0.1.189 are signed with SHA-256 alone, which Windows 7 and 2008 R2 "
        "know with update KB3033929 or KB4474419 only",
        source="virtio-win/kvm-guest-drivers-windows issues 485 and 678",
        not_signed_by=SignerClass.MICROSOFT,
    ),
    KnownFault(
        "vioscsi",
        _WINDOWS_10,
        frozenset({62, 63, 100}),
        208,
        229,
        fatal=False,
        reason="several users of these builds saw the disk reset under load (event 129)",
        source="virtio-win/kvm-guest-drivers-windows issues 623 and 756",
    ),
    KnownFault(
        "",
        frozenset({"2k25"}),
        frozenset({62, 63, 100}),
        0,
        261,
        fatal=False,
        reason="Server 2025 is supported from 0.1.262 on",
        source="virtio-win/kvm-guest-drivers-windows issues 1037 and 1100",
    ),
    KnownFault(
        "smbus",
        frozenset({"2k22", "2k25"}),
        frozenset({100}),
        285,
        285,
        fatal=True,
        reason="smbus.inf of 0.1.285 is not covered by its signature",
        source="virtio-win/virtio-win-pkg-scripts issue 122",
    ),
)


def known_fault(driver: str, package: DriverPackage, windows: WindowsVersion) -> KnownFault | None:
    """Return what is known to be wrong with a package for ``windows``, the worst first.

    ``driver`` is its name in virtio-win, in lower case.
    """
    series, *_, last = package.driver_version
    build = last // _BUILD
    signer = package.signing.signer_class if package.signing else None
    found = [
        fault
        for fault in KNOWN_FAULTS
        if fault.driver in ("", driver)
        and windows.release in fault.releases
        and series in fault.series
        and fault.first <= build <= fault.last
        and (fault.not_signed_by is None or signer is not fault.not_signed_by)
    ]
    return max(found, key=lambda fault: fault.fatal, default=None)
