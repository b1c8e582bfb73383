"""Whether this host can do the work, point by point."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import OfflineMigError
from offline_mig.guest.acceleration import find_acceleration
from offline_mig.guest.appliance import guestfs_version
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.userspace_engine import userspace_problems
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
from offline_mig.windows.cabinet import require_libarchive
from offline_mig.windows.hive import require_hivex


@dataclass(frozen=True, slots=True)
class HostCheck:
    """One point. ``needed`` is false for what only makes things faster."""

    name: str
    passed: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def check_host() -> tuple[HostCheck, ...]:
    """Try everything that a conversion needs, the appliance launched for real."""
    return (
        _check("Python", lambda: f"{sys.version.split()[0]} ({sys.executable})"),
        _check("qemu-img", lambda: f"version {qemu_img.version()}"),
        _check("hivex binding", require_hivex),
        _check("libarchive", require_libarchive),
        _check("libguestfs binding", lambda: f"version {guestfs_version()}"),
        _acceleration(),
        _check("libguestfs appliance", _launch),
        _userspace(),
    )


def _check(name: str, probe: Callable[[], str]) -> HostCheck:
    try:
        return HostCheck(name, passed=True, detail=probe())
    except OfflineMigError as error:
        return HostCheck(name, passed=False, detail=error.message, remedy=error.remedy)


def _acceleration() -> HostCheck:
    try:
        found = find_acceleration()
    except OfflineMigError as error:
        return HostCheck("KVM", passed=False, detail=error.message, needed=False)
    if found.kvm:
        return HostCheck("KVM", passed=True, detail="works", needed=False)
    return HostCheck(
        "KVM",
        passed=False,
        detail=f"not used: {found.reason}",
        remedy="The appliance is emulated instead, which costs some seconds a guest.",
        needed=False,
    )


def _userspace() -> HostCheck:
    problems = userspace_problems()
    if not problems:
        detail = "works, also without KVM (--engine userspace)"
        return HostCheck("userspace engine", passed=True, detail=detail, needed=False)
    return HostCheck(
        "userspace engine",
        passed=False,
        detail="does not work here",
        remedy=" ".join(problems),
        needed=False,
    )


def _launch() -> str:
    kernels = sorted(path.name for path in Path("/boot").glob("vmlinuz*"))
    with tempfile.NamedTemporaryFile(prefix="offline-mig-") as empty:
        # An appliance does not start without a disk.
        empty.truncate(1024 * 1024)
        disk = OpenedDisk(Path(empty.name), DiskFormat.RAW)
        with GuestfsEngine().open((disk,), writable=False) as disks:
            disks.require_ntfs()
    return f"starts and mounts NTFS (kernel {kernels[-1] if kernels else 'of its own'})"
