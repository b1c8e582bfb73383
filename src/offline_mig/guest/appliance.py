"""libguestfs' appliance: its binding, and how it is launched."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from offline_mig.errors import HostNotReadyError
from offline_mig.guest.emulated_qemu import quick_qemu, refuse_quick_qemu
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_volume import first_line


def load_binding() -> Any:
    """Return the guestfs module; raises HostNotReadyError when it is not installed."""
    try:
        import guestfs
    except ImportError as error:
        raise HostNotReadyError(
            "The Python binding of libguestfs is not installed for this Python.",
            "Install it from the distribution: apt install python3-guestfs (Debian, Ubuntu), "
            "dnf install python3-libguestfs (Fedora), pacman -S libguestfs (Arch); a virtual "
            "environment must be made with --system-site-packages.",
        ) from error
    return guestfs


def guestfs_version() -> str:
    """Return the version of libguestfs; raises HostNotReadyError when it is not installed."""
    handle = load_binding().GuestFS(python_return_dict=True)
    try:
        found = handle.version()
    finally:
        handle.close()
    return f"{found['major']}.{found['minor']}.{found['release']}"


def device_name(number: int) -> str:
    """Return what libguestfs calls a disk, from 0 on (guestfs(3), "Block devices")."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return f"/dev/sd{letters}"


def emulated(binding: Any, disks: tuple[OpenedDisk, ...], *, writable: bool) -> Any:
    """Launch an appliance without KVM, in the quickest way that works here; see ``launched``."""
    unlaunched = binding.GuestFS(python_return_dict=True)
    qemu = quick_qemu(unlaunched)
    unlaunched.close()
    if qemu is not None:
        with suppress(HostNotReadyError):
            return launched(binding, disks, writable=writable, kvm=False, qemu=qemu)
    handle = launched(binding, disks, writable=writable, kvm=False)
    if qemu is not None:
        # It was not the disks.
        refuse_quick_qemu(handle)
    return handle


def launched(
    binding: Any,
    disks: tuple[OpenedDisk, ...],
    *,
    writable: bool,
    kvm: bool,
    qemu: Path | None = None,
) -> Any:
    """Return the handle of an appliance that came up with ``disks``; the caller closes it.

    ``qemu`` is the program to take for qemu. Raises HostNotReadyError.
    """
    handle = binding.GuestFS(python_return_dict=True, close_on_exit=True)
    try:
        # The direct backend needs no libvirt daemon and behaves alike on all distributions.
        handle.set_backend("direct")
        if not kvm:
            handle.set_backend_setting("force_tcg", "1")
            # A second processor takes a tenth off a launch and off most of what comes after it.
            handle.set_smp(min(2, len(os.sched_getaffinity(0))))
        if qemu is not None:
            handle.set_hv(os.fspath(qemu))
        handle.set_network(False)
        handle.set_identifier("offline-mig")
        # It would look at TMPDIR by itself, and leave there what a killed run cannot remove.
        handle.set_tmpdir(tempfile.gettempdir())
        # Ctrl-C in a terminal goes to a whole process group: it must reach this program only,
        # which then ends the appliance in order.
        handle.set_pgroup(True)
        for disk in disks:
            # An overlay is thrown away unless everything succeeds: it needs no flushing.
            handle.add_drive_opts(
                os.fspath(disk.path.absolute()),
                format=disk.format.value,
                readonly=not writable,
                cachemode="unsafe" if writable else "writeback",
            )
        handle.launch()
    except RuntimeError as error:
        with suppress(RuntimeError):
            handle.close()
        raise HostNotReadyError(
            f"The libguestfs appliance did not start: {first_line(error)}",
            "Run 'offline-mig check'; libguestfs-test-tool shows the details.",
        ) from error
    except BaseException:
        with suppress(RuntimeError):
            handle.close()
        raise
    return handle
