"""Whether a converted disk is right: whole, bootable from VirtIO, and with the guest's data."""

from __future__ import annotations

import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from benchmark.guests import Shape, expected_data
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.partition_table import read_partition_table
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
from offline_mig.windows.hive import Hive, HiveName

_SERVICE = r"ControlSet001\Services\viostor"


class WrongResultError(Exception):
    """A conversion ended well and its result is wrong."""


def require_right(disk: Path, shape: Shape, *, converted: bool = True) -> None:
    """Raise WrongResultError unless the image is what the guest should have become.

    ``converted`` false is for a plain copy: then only the data is looked at.
    """
    checked = subprocess.run(
        ["qemu-img", "check", "-q", "-f", "qcow2", disk],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        raise WrongResultError(f"{disk.name}: {checked.stderr or checked.stdout}")
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        UserspaceEngine().open((OpenedDisk(disk, DiskFormat.QCOW2),), writable=False) as disks,
    ):
        if disks.size(0) != shape.size:
            raise WrongResultError(f"{disk.name} has {disks.size(0)} bytes instead of {shape.size}")
        table = read_partition_table(lambda offset, size: disks.read(0, offset, size), shape.size)
        with disks.mount(0, table.partitions[1], writable=False) as volume:
            for path, digest in expected_data(shape).items():
                if sha256(volume.read(path)).hexdigest() != digest:
                    raise WrongResultError(f"{disk.name}: {path} is not what it was")
            if not converted:
                return
            if not volume.exists("/Windows/System32/drivers/viostor.sys"):
                raise WrongResultError(f"{disk.name} has no viostor.sys")
            local = Path(scratch) / "SYSTEM"
            local.write_bytes(volume.read("/Windows/System32/config/SYSTEM"))
            start = Hive(local, HiveName.SYSTEM).value(_SERVICE, "Start")
            if start is None or start.as_int() != 0:
                raise WrongResultError(f"{disk.name}: viostor does not start at boot")
