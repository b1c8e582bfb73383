"""Running a program for which the time stands still, by libfaketime.

libntfs-3g stamps what it creates and changes with the time of the clock, in several places of the
MFT and of directories' indexes, and has no way to be told another one. libfaketime answers the
program's own calls for the time instead (LD_PRELOAD); the kernel and other programs see nothing of
it. Tried with libfaketime 0.9.10.
"""

from __future__ import annotations

from pathlib import Path

from offline_mig.errors import HostNotReadyError

#: Where Debian and Ubuntu, Fedora, and Arch put it.
_PLACES = (
    "lib/*-linux-gnu*/faketime/libfaketime.so.1",
    "lib64/faketime/libfaketime.so.1",
    "lib/faketime/libfaketime.so.1",
)


def stopped_clock(moment: int) -> list[str]:
    """Return the beginning of a command whose program takes ``moment`` for the time.

    It is in seconds since 1970. Raises HostNotReadyError when libfaketime is not installed.
    """
    found = next((path for place in _PLACES for path in Path("/usr").glob(place)), None)
    if found is None:
        raise HostNotReadyError(
            "The library libfaketime is not installed, without which files in a guest are stamped "
            "with the time of the clock.",
            "Install libfaketime (Debian, Ubuntu, Fedora, Arch), or leave --reproducible out.",
        )
    return [
        "/usr/bin/env",
        f"LD_PRELOAD={found}",
        # A time without the sign @ before it stands still.
        "FAKETIME_FMT=%s",
        f"FAKETIME={moment}",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        # There is no shared memory in the sandbox, and nobody to share it with.
        "FAKETIME_DISABLE_SHM=1",
    ]
