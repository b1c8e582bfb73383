"""Free clusters are left out: every file is still there, and nothing deleted is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from offline_mig.images import qemu_img
from offline_mig.images.image_reader import ImageReader
from offline_mig.images.trimmed_image import create_trimmed
from offline_mig.machine import DiskFormat

MIB = 1024 * 1024
#: Windows XP put its partitions at sector 63, out of step with every cluster.
START = 63 * 512
SIZE = 96 * MIB
SECRET = b"the deleted file was about this "


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An XP-like disk with a file that stays, and the content of one that was deleted."""
    volume = tmp_path / "volume.raw"
    with volume.open("wb") as stream:
        stream.truncate(SIZE)
    subprocess.run(["/sbin/mkntfs", "-q", "-F", "-f", volume], check=True, capture_output=True)
    kept = tmp_path / "kept"
    kept.write_bytes(bytes(range(256)) * 20_000)
    subprocess.run(["ntfscp", "-f", volume, kept, "/kept"], check=True, capture_output=True)
    data = bytearray(volume.read_bytes())
    for at in range(60 * MIB, 70 * MIB, len(SECRET)):
        assert not data[at : at + len(SECRET)].strip(b"\0")
        data[at : at + len(SECRET)] = SECRET
    whole = tmp_path / "disk.raw"
    with whole.open("wb") as stream:
        stream.write(b"\0" * START + data)
    table = "label: dos\nstart=63, type=7, bootable\n"
    subprocess.run(["/sbin/sfdisk", "-q", whole], input=table, text=True, check=True)
    vmdk = tmp_path / "disk.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", whole, vmdk], check=True)
    return vmdk


def test_files_stay_and_deleted_content_goes(disk: Path, tmp_path: Path) -> None:
    before = disk.read_bytes()
    trimmed = create_trimmed(tmp_path / "trimmed.qcow2", disk, DiskFormat.VMDK)
    assert disk.read_bytes() == before
    assert trimmed.left_out > 70 * MIB

    copy = tmp_path / "copy.raw"
    qemu_img.convert(trimmed.path, copy, DiskFormat.RAW)
    content = copy.read_bytes()
    assert SECRET not in content
    volume = tmp_path / "copied-volume.raw"
    volume.write_bytes(content[START:])
    told = subprocess.run(["ntfscat", "-f", volume, "/kept"], check=True, capture_output=True)
    assert told.stdout == (tmp_path / "kept").read_bytes()
    # ntfsfix -n checks the copy without changing it.
    subprocess.run(["ntfsfix", "-n", volume], check=True, capture_output=True)


def test_dirty_volume_is_copied_whole(disk: Path, tmp_path: Path) -> None:
    raw = tmp_path / "dirty.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, raw], check=True)
    data = bytearray(raw.read_bytes())
    at = data.find("$Volume".encode("utf-16-le"), START)
    while at >= 0:
        version = data.find(b"\x03\x01", at, at + 1024)
        if version >= 0:
            data[version + 2] |= 1
        at = data.find("$Volume".encode("utf-16-le"), at + 1)
    raw.write_bytes(data)
    trimmed = create_trimmed(tmp_path / "trimmed.qcow2", raw, DiskFormat.RAW)
    assert trimmed.left_out == 0


def test_reader_gives_the_bytes_of_the_disk(tmp_path: Path) -> None:
    content = bytes(index * 7 % 251 for index in range(300_001)).ljust(300_032, b"\0")
    raw = tmp_path / "odd, name: x.raw"
    raw.write_bytes(content)
    reader = ImageReader(raw, DiskFormat.RAW, len(content))
    for offset, size in ((0, 10), (65_530, 20), (299_990, 100), (131_072, 70_000), (400_000, 5)):
        assert reader.read(offset, size) == content[offset : offset + size]
