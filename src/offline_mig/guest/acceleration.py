"""Whether KVM works on this host, tried once a boot and remembered.

A /dev/kvm that is there proves little: in nested clouds and containers qemu aborts on it
("failed to set MSR 0x10a") or hangs. So an empty appliance is launched on it in a process of its
own, with a time limit; when that fails the appliance is emulated (TCG), which always works and
takes some seconds more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

#: Seconds that an appliance may take to come up on KVM; usually it is two or three.
KVM_TIME_LIMIT = 30
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_PROBE = """
import guestfs
g = guestfs.GuestFS(python_return_dict=True)
g.set_backend("direct")
g.set_network(False)
g.add_drive_scratch(1024 * 1024)
g.launch()
g.shutdown()
"""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How appliances run here. ``reason`` says why KVM is not used, empty when it is.

    ``tried`` is true when KVM was started to find out. ``fresh`` is true when the user has not
    been told yet since this host's boot, see ``remember_told``.
    """

    kvm: bool
    reason: str = ""
    tried: bool = False
    fresh: bool = False


def find_acceleration() -> Acceleration:
    """Return whether KVM works here, from memory when it was tried since this host's boot."""
    if "force_tcg" in os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", ""):
        # The user's own wish is no news.
        return Acceleration(kvm=False, reason="LIBGUESTFS_BACKEND_SETTINGS asks for force_tcg")
    remembered = _recall()
    hindrance = _hindrance()
    if hindrance:
        told = remembered is not None and remembered.reason == hindrance and not remembered.fresh
        return Acceleration(kvm=False, reason=hindrance, fresh=not told)
    # What was remembered while KVM could not be opened says nothing now that it can be.
    if remembered is not None and remembered.tried:
        return remembered
    found = _try_kvm()
    _remember(found)
    return found


def remember_told(found: Acceleration) -> None:
    """Remember until the next boot that the user knows of ``found``."""
    if found.fresh:
        _remember(replace(found, fresh=False))


def give_up_kvm(seconds: float) -> Acceleration:
    """Remember until the next boot that an appliance hung on KVM for so long."""
    found = _given_up(f"no appliance came up on it in {seconds:g} s")
    _remember(found)
    return found


def _hindrance() -> str:
    if not _KVM.exists():
        return "this host has no /dev/kvm"
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened (is this user in the group kvm?)"
    return ""


def _given_up(what: str) -> Acceleration:
    memory = _memory_or_none()
    again = f" (delete {memory} to have it tried again before the next boot)" if memory else ""
    return Acceleration(
        kvm=False, reason=f"/dev/kvm is there, but {what}{again}", tried=True, fresh=True
    )


def _try_kvm() -> Acceleration:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LIBGUESTFS_BACKEND_SETTINGS": ""},
        # Ctrl-C reaches this program only, which then ends the other.
        start_new_session=True,
    )
    try:
        code = process.wait(KVM_TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return _given_up(f"no appliance came up on it in {KVM_TIME_LIMIT} s")
    finally:
        # The recovery process of libguestfs ends qemu as soon as its parent is gone.
        process.kill()
        process.wait()
    if code == 0:
        return Acceleration(kvm=True, tried=True)
    return _given_up("qemu cannot start a machine on it")


def _memory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "offline-mig" / "acceleration.json"


def _recall() -> Acceleration | None:
    try:
        stored = json.loads(_memory().read_text())
        if stored["boot"] != _BOOT_ID.read_text().strip():
            return None
        return Acceleration(
            kvm=bool(stored["kvm"]),
            reason=str(stored["reason"]),
            tried=bool(stored["tried"]),
            fresh=not stored["told"],
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def _remember(found: Acceleration) -> None:
    memory = _memory_or_none()
    if memory is None:
        return
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_suffix(f".{os.getpid()}")
        stored = {
            "boot": _BOOT_ID.read_text().strip(),
            "kvm": found.kvm,
            "reason": found.reason,
            "tried": found.tried,
            "told": not found.fresh,
        }
        partial.write_text(json.dumps(stored))
        partial.replace(memory)
    except OSError:
        # Nowhere to remember it: the next run tries again.
        return


def _memory_or_none() -> Path | None:
    try:
        return _memory()
    except RuntimeError:  # no home directory
        return None
