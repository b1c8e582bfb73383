"""The copy that overlaps the operation: the result is the disk that was operated on."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path

import pytest

from offline_mig.conversion.bulk_copy import BulkCopy, CopyJob
from offline_mig.errors import GuestRefusedError, ToolFailedError
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat

MIB = 1024 * 1024


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> CopyJob:
    """A VMDK with data and holes, the layers over it, and a target of the format asked for."""
    raw = tmp_path / "disk.raw"
    generator = random.Random(1)
    with raw.open("wb") as stream:
        stream.truncate(64 * MIB)
        for at in range(0, 64, 3):
            stream.seek(at * MIB)
            stream.write(generator.randbytes(MIB))
    vmdk = tmp_path / "disk.vmdk"
    subprocess.run(["qemu-img", "convert", "-O", "vmdk", raw, vmdk], check=True)
    source, overlay = tmp_path / "source.qcow2", tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(source, vmdk, DiskFormat.VMDK)
    size = qemu_img.create_overlay(overlay, source, DiskFormat.QCOW2)
    kind = DiskFormat(request.param)
    return CopyJob(source, overlay, tmp_path / f"target.{kind}", kind, size)


def write(overlay: Path, *commands: str) -> None:
    options = [part for command in commands for part in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *options, overlay], check=True, capture_output=True)


def nothing(_disk: int, _disks: int, _percent: float) -> None:
    pass


@pytest.mark.parametrize("job", ["qcow2", "raw"], indirect=True)
def test_result_is_the_operated_disk(job: CopyJob, tmp_path: Path) -> None:
    seen: list[float] = []
    with BulkCopy([job]) as copy:
        write(
            job.overlay,
            "write -P 0xab 0 4k",
            "write -P 0xcd 5243001 100",
            "write -z 9M 2M",
            "discard 30M 1M",
            "write -P 0xef 67100000 8000",
        )
        expected = tmp_path / "expected.raw"
        subprocess.run(
            ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", job.overlay, expected], check=True
        )
        copy.finish(lambda _disk, _disks, percent: seen.append(percent))
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", job.format, expected, job.target], check=False
    )
    assert compared.returncode == 0
    qemu_img.check(job.target, job.format, 64 * MIB)
    assert job.target.stat().st_blocks * 512 < 40 * MIB


@pytest.mark.parametrize("job", ["qcow2"], indirect=True)
def test_refused_operation_ends_the_copy(job: CopyJob) -> None:
    threads = threading.active_count()
    with pytest.raises(GuestRefusedError), BulkCopy([job]):
        raise GuestRefusedError("no")
    assert threading.active_count() == threads


@pytest.mark.parametrize("job", ["qcow2"], indirect=True)
def test_failed_copy_is_told(job: CopyJob) -> None:
    job.source.write_bytes(b"no image")
    with BulkCopy([job]) as copy, pytest.raises(ToolFailedError, match="not in qcow2 format"):
        copy.finish(nothing)
