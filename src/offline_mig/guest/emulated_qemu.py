"""A qemu that starts an emulated appliance in two thirds of the time.

Without KVM every instruction of an appliance is emulated (TCG). Measured by its console, with the
kernel of Debian 12, the kernel takes 3.7 of 14 s to unpack itself, which this program does once in
0.8 s; and with the processor that libguestfs asks for ("max") all programs take their way through
vector instructions, which qemu emulates slower than what they stand for: with the plainest
processor of 64 bits, "qemu64", 1.5 s less.

libguestfs has no setting for either, but for which program is qemu (guestfs_set_hv). That is a
script here, which hands everything over to the real one and adds these two arguments, of which
qemu takes the last it is given. It unpacks nothing itself: a kernel other than the one that was
unpacked is started as it is.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from offline_mig.errors import HostNotReadyError
from offline_mig.guest.kernel_image import unpacked_kernel

_QEMU = "qemu-system-x86_64"
_REFUSED = "refused"
_SCRIPT = """\
#!/bin/sh
# Made by offline-mig for appliances that are emulated; may be deleted at any time.
before= kernel=
for argument do
    if [ "$before" = -kernel ]; then kernel=$argument; fi
    before=$argument
done
if [ -n "$kernel" ]; then
    set -- "$@" -cpu qemu64
    if [ "$(sha256sum <"$kernel")" = "{digest}  -" ]; then
        set -- "$@" -kernel {unpacked}
    fi
fi
exec {qemu} "$@"
"""


def quick_qemu(handle: Any) -> Path | None:
    """Return the program to give libguestfs as qemu, for a handle that was not launched yet.

    None where there is none: on other machines, before the appliance was built, for a kernel that
    cannot be unpacked or was refused, and without a folder that nobody else can write to.
    """
    qemu = Path(handle.get_hv())
    kernel = _appliance_kernel(handle)
    if platform.machine() != "x86_64" or qemu.name != _QEMU or kernel is None:
        return None
    digest = hashlib.sha256(kernel).hexdigest()
    try:
        folder = _folder()
        if _refused(folder) == digest:
            return None
        unpacked = folder / f"vmlinux-{digest[:16]}"
        if not unpacked.exists():
            content = unpacked_kernel(kernel)
            if content is None:
                return None
            for outdated in folder.glob("vmlinux-*"):
                outdated.unlink(missing_ok=True)
            _write(unpacked, content, 0o600)
        script = _SCRIPT.format(
            digest=digest, unpacked=shlex.quote(str(unpacked)), qemu=shlex.quote(str(qemu))
        ).encode()
        program = folder / _QEMU
        # libguestfs remembers what a qemu can do by the time it was written at.
        if not program.exists() or program.read_bytes() != script:
            _write(program, script, 0o700)
    except (OSError, RuntimeError, HostNotReadyError):
        return None
    # Not on a file system that nothing may be started from.
    return program if os.access(program, os.X_OK) else None


def refuse_quick_qemu(handle: Any) -> None:
    """Remember that the appliance does not come up by it, for as long as it has this kernel."""
    kernel = _appliance_kernel(handle)
    if kernel is not None:
        with suppress(OSError, RuntimeError):
            digest = hashlib.sha256(kernel).hexdigest()
            _write(_folder() / _REFUSED, digest.encode(), 0o600)


def _appliance_kernel(handle: Any) -> bytes | None:
    """Return the kernel of the appliance that libguestfs built last."""
    built = Path(handle.get_cachedir()) / f".guestfs-{os.geteuid()}" / "appliance.d" / "kernel"
    try:
        return built.read_bytes()
    except OSError:
        return None


def _folder() -> Path:
    """Return a folder that nobody else can write to; raises OSError, RuntimeError without one."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "offline-mig" / "appliance"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # sudo may keep the home of the user who called it.
    for place in (folder, *folder.parents):
        state = place.stat()
        sticky = state.st_mode & 0o1000
        if state.st_uid not in (0, os.geteuid()) or (state.st_mode & 0o022 and not sticky):
            raise PermissionError(f"{place} can be written to by others")
    return folder


def _refused(folder: Path) -> str:
    try:
        return (folder / _REFUSED).read_text()
    except OSError:
        return ""


def _write(path: Path, content: bytes, mode: int) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(partial).chmod(mode)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise
