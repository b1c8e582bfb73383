"""Images of other hypervisors, made by qemu-img: their kind, size and content."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from offline_mig.errors import SourceUnreadableError
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
from offline_mig.sources.disk_image import open_disk_image

MIB = 1024 * 1024


def made(path: Path, image_format: str, *options: str) -> Path:
    raw = path.with_name("content.raw")
    with raw.open("wb") as stream:
        stream.truncate(8 * MIB)
        stream.seek(510)
        stream.write(b"\x55\xaa")
    command = ["qemu-img", "convert", "-f", "raw", "-O", image_format, *options, raw, path]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize(
    ("name", "image_format", "options", "kind"),
    [
        ("a.vdi", "vdi", (), "dynamic VDI"),
        ("a.vdi", "vdi", ("-o", "static=on"), "fixed VDI"),
        ("a.vhd", "vpc", (), "dynamic VHD"),
        ("a.vhd", "vpc", ("-o", "subformat=fixed"), "fixed VHD"),
        ("a.VHD", "vpc", ("-o", "subformat=fixed,force_size=on"), "fixed VHD"),
        ("a.vhdx", "vhdx", (), "VHDX"),
        # The name does not matter where the content tells.
        ("a.img", "vhdx", (), "VHDX"),
        ("a.disk", "vpc", (), "dynamic VHD"),
    ],
)
def test_what_qemu_makes(
    tmp_path: Path, name: str, image_format: str, options: tuple[str, ...], kind: str
) -> None:
    path = made(tmp_path / name, image_format, *options)
    found = open_disk_image(path)
    assert (found.format, found.kind, found.files) == (DiskFormat(image_format), kind, (path,))
    assert found.virtual_size == qemu_img.info(path, found.format).virtual_size >= 8 * MIB


def patched(path: Path, at: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("creator", "whole"), [(b"vbox", False), (b"wa\0\0", False), (b"vpc ", True)]
)
def test_a_vhd_whose_end_qemu_does_not_see_is_refused(
    tmp_path: Path, creator: bytes, whole: bool
) -> None:
    path = made(tmp_path / "a.vhd", "vpc", "-o", "subformat=fixed,force_size=on")
    content = bytearray(path.read_bytes())
    footer = content[-512:]
    footer[28:32] = creator
    footer[56:60] = struct.pack(">HBB", 240, 4, 17)  # 64 sectors less than there are
    footer[64:68] = bytes(4)
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    path.write_bytes(content[:-512] + footer)
    seen = qemu_img.info(path, DiskFormat.VHD).virtual_size
    assert seen < 8 * MIB
    if whole:
        assert open_disk_image(path).virtual_size == seen
        return
    with pytest.raises(SourceUnreadableError, match="the end of the disk would be lost") as caught:
        open_disk_image(path)
    assert "force_size_calc=current_size" in caught.value.remedy


def test_differencing_disks_are_refused(tmp_path: Path) -> None:
    vdi = patched(made(tmp_path / "a.vdi", "vdi"), 0x4C, struct.pack("<I", 4))
    vhd = patched(made(tmp_path / "a.vhd", "vpc"), 60, struct.pack(">I", 4))
    for path in (vdi, vhd):
        with pytest.raises(SourceUnreadableError, match="based on another image") as caught:
            open_disk_image(path)
        assert "Merge it with its parent" in caught.value.remedy


def test_a_raw_disk_does_not_become_a_vhd_by_what_its_guest_writes(tmp_path: Path) -> None:
    footer = made(tmp_path / "a.vhd", "vpc", "-o", "subformat=fixed").read_bytes()[-512:]
    raw = tmp_path / "b.img"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + bytes(8 * MIB) + footer)
    assert open_disk_image(raw).format is DiskFormat.RAW
    # And not even under the name of one, unless the footer fits the file.
    other = raw.rename(tmp_path / "b.vhd")
    assert open_disk_image(other).format is DiskFormat.RAW


@pytest.mark.parametrize("image_format", ["vdi", "vpc", "vhdx"])
@pytest.mark.parametrize("missing", [1, 4096, -600], ids=["a byte", "a page", "all but the head"])
def test_cut_off(tmp_path: Path, image_format: str, missing: int) -> None:
    """qemu would read zeros where the rest of it should be."""
    path = made(tmp_path / f"a.{image_format}", image_format)
    content = path.read_bytes()
    kept = -missing if missing < 0 else len(content) - missing
    path.write_bytes(content[:kept])
    with pytest.raises(SourceUnreadableError, match=r"cannot open it|is incomplete"):
        open_disk_image(path)
