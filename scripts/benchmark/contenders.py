"""What is measured: each way to get a guest's disk into a qcow2 image."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.guests import Guest
from offline_mig.guest.acceleration import find_acceleration

OFFLINE_MIG = Path(sys.executable).with_name("offline-mig")


@dataclass(frozen=True)
class Contender:
    """A command, and the disk that it leaves in the output folder."""

    name: str
    command: tuple[str | Path, ...]
    result: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drivers:
    """Driver media for a conversion."""

    folder: Path
    iso: Path


def floor(guest: Guest, output: Path) -> Contender:
    """qemu-img alone: it leaves what it writes to the kernel, and nothing is on disk yet."""
    result = output / "floor.qcow2"
    command = ("qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", guest.disk, result)
    return Contender("qemu-img", command, result)


def synced_floor(guest: Guest, output: Path) -> Contender:
    """qemu-img, and then the disk on stable storage, as offline-mig leaves it."""
    result = output / "floor.qcow2"
    script = 'qemu-img convert -f vmdk -O qcow2 "$1" "$2" && sync "$2"'
    return Contender("qemu-img+sync", ("sh", "-c", script, "sh", guest.disk, result), result)


def offline_mig(
    guest: Guest, output: Path, engine: str, drivers: Path, *options: str, name: str | None = None
) -> Contender:
    """The tool itself with one engine."""
    command: tuple[str | Path, ...] = (
        *(OFFLINE_MIG, "convert", "--quiet", "--json", guest.vmx, "-o", output),
        # The drivers are made ones, which nobody has signed.
        *("--drivers", drivers, "--allow-unsigned", "--engine", engine),
        *options,
    )
    return Contender(name or engine, command, output / f"{guest.disk.stem}.qcow2")


def virt_v2v(guest: Guest, output: Path, drivers: Path, work: Path) -> Contender | None:
    """virt-v2v as its users run it; None where it is not installed.

    It wants a rhsrvany.exe, which Debian does not have, to put into the guest: any file will do.
    """
    if shutil.which("virt-v2v") is None:
        return None
    tools = work / "virt-tools"
    tools.mkdir(exist_ok=True)
    (tools / "rhsrvany.exe").write_bytes(b"MZ")
    environment = {
        "VIRT_TOOLS_DATA_DIR": str(tools),
        "VIRTIO_WIN": str(drivers),
        "LIBGUESTFS_BACKEND": "direct",
    }
    if not find_acceleration().kvm:
        environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    command = ("virt-v2v", "-i", "disk", guest.disk, "-o", "local", "-os", output, "-of", "qcow2")
    return Contender("virt-v2v", command, output / f"{guest.disk.stem}-sda", environment)
