"""Disks and snapshots of ESX: read where qemu reads them, refused with the reason where not."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from fixtures.esx_snapshots import cowd, descriptor, sesparse, write_snapshot, write_vmfs
from fixtures.source_images import qemu_img, same_content
from offline_mig.errors import OutputRefusedError, SourceUnreadableError
from offline_mig.images import qemu_img as images
from offline_mig.machine import DiskFormat
from offline_mig.sources.disk_image import examine_disk_image, open_disk_image
from offline_mig.sources.editable_image import examine_for_editing

#: Two grain tables of an seSparse extent, and a last grain of 3 sectors in both forms.
SECTORS = 33_000 + 3
NOISE = random.Random(3).randbytes(64 * 1024)


def base(folder: Path) -> Path:
    raw = bytearray(SECTORS * 512)
    raw[0:4096] = NOISE[:4096]
    raw[510:512] = b"\x55\xaa"
    raw[20_000_000 - 20_000_000 % 512 :][:4096] = NOISE[4096:8192]
    (folder / "expected.raw").write_bytes(raw)
    return write_vmfs(folder, bytes(raw))


def change(folder: Path, sector: int, data: bytes) -> None:
    """Write into what the current state of the disk should be."""
    with (folder / "expected.raw").open("r+b") as raw:
        raw.seek(sector * 512)
        raw.write(data)


def snapshot(folder: Path, kind: str, on: Path, name: str, cid: str = "0000cafe") -> Path:
    """Put a snapshot on a disk that changes its start, both tables and the last sector."""
    grain = 8 if kind == "seSparse" else 1
    last = (SECTORS - 1) // grain
    grains = {
        2: NOISE[: grain * 512],
        32_800 // grain: NOISE[8192:][: grain * 512],
        last: NOISE[100:][: (SECTORS - last * grain) * 512],
    }
    for number, data in grains.items():
        change(folder, number * grain, data)
    if kind == "vmfsSparse":
        extent = cowd(SECTORS, grains)
    else:
        extent = sesparse(SECTORS, grains, zeroed=(0,), unmapped=(4,))
        change(folder, 0, bytes(4096))
        change(folder, 4 * 8, bytes(4096))
    return write_snapshot(on, name, kind, extent, SECTORS, cid)


@pytest.mark.parametrize("kind", ["vmfsSparse", "seSparse"])
def test_snapshots_of_esx_are_read(tmp_path: Path, kind: str) -> None:
    top = snapshot(tmp_path, kind, base(tmp_path), "disk-000001")
    assert same_content(top, "vmdk", tmp_path / "expected.raw")
    examined = examine_disk_image(top)
    image = examined.image
    assert (image.format, image.kind, image.virtual_size) == (DiskFormat.VMDK, kind, SECTORS * 512)
    assert images.info(top, DiskFormat.VMDK).virtual_size == image.virtual_size
    assert [file.suffix for file in image.files] == [".vmdk"] * 4
    assert {file.name for file in image.files} == {
        path.name for path in tmp_path.iterdir() if path.suffix == ".vmdk"
    }
    assert "is based on disk.vmdk (vmdk)" in examined.notes[0]


def test_a_chain_of_both_kinds_is_read(tmp_path: Path) -> None:
    first = snapshot(tmp_path, "vmfsSparse", base(tmp_path), "disk-000001")
    second = snapshot(tmp_path, "seSparse", first, "disk-000002", cid="0000beef")
    assert same_content(second, "vmdk", tmp_path / "expected.raw")
    assert len(open_disk_image(second).files) == 6


def test_larger_grains_of_a_cowd_extent(tmp_path: Path) -> None:
    disk = base(tmp_path)
    change(tmp_path, 16 * 2050, NOISE[: 16 * 512])
    extent = cowd(SECTORS, {2050: NOISE[: 16 * 512]}, grain_size=16)
    top = write_snapshot(disk, "disk-000001", "vmfsSparse", extent, SECTORS)
    assert same_content(top, "vmdk", tmp_path / "expected.raw")
    assert open_disk_image(top).virtual_size == SECTORS * 512


@pytest.mark.parametrize("kind", ["vmfsSparse", "seSparse"])
@pytest.mark.parametrize("cut", [0, 3, 31, 600, 2048, 5000, 0.3, 0.7, -5000, -513, -1])
def test_a_cut_off_snapshot_is_refused_unless_nothing_is_lost(
    tmp_path: Path, kind: str, cut: float
) -> None:
    top = snapshot(tmp_path, kind, base(tmp_path), "disk-000001")
    data = next(path for path in tmp_path.iterdir() if path.stem.startswith("disk-000001-"))
    size = data.stat().st_size
    os.truncate(data, int(cut * size) if isinstance(cut, float) else int(cut) % size)
    try:
        open_disk_image(top)
    except SourceUnreadableError as error:
        assert str(data) in error.message
        assert error.remedy
    else:
        assert same_content(top, "vmdk", tmp_path / "expected.raw")


def patched(path: Path, offset: int, layout: str, value: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "reason"),
    [
        (4, "<I", 2, "version 2"),
        (12, "<I", 5, "expects"),
        (16, "<I", 0, "grains of 0 sectors"),
        (16, "<I", 1 << 30, "grains of"),
        (20, "<I", 1 << 31, "grain directory"),
        (24, "<I", 1, "has 1 entries, not 9"),
        (24, "<I", 1 << 31, "a directory of"),
        (4 * 512, "<I", 1 << 31, "grain table"),
        (5 * 512, "<I", 1 << 31, "cut off"),
        (5 * 512, "<I", 3, "points into the header"),
    ],
)
def test_a_cowd_extent_of_nonsense_is_refused(
    tmp_path: Path, offset: int, layout: str, value: int, reason: str
) -> None:
    top = snapshot(tmp_path, "vmfsSparse", base(tmp_path), "disk-000001")
    patched(tmp_path / "disk-000001-delta.vmdk", offset, layout, value)
    with pytest.raises(SourceUnreadableError, match=reason):
        open_disk_image(top)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, 0xCAFECAFE, "begins with 0xcafecafe"),
        (8, 0x3_0000_0001, "version 0x300000001"),
        (16, 8, "expects"),
        (16, 1 << 60, "its directory has"),
        (24, 16, "grains of 16 sectors"),
        (40, 1, "flags 0x1"),
        (48, 1, "does not read"),
        (400, 1, "does not read"),
        (80, 1 << 40, "second header lies behind"),
        (512, 1, "second header begins with 0x1"),
        (512 + 24, 1, "was not closed properly by ESX"),
        (128, 1 << 40, "grain directory"),
        (136, 0, "its directory has 0"),
        (8 * 512, 1 << 63, "entry 0 of its directory"),
        (8 * 512, (0x1000_0000 << 32) + (1 << 30), "cut off"),
        (9 * 512, 4 << 60, "a grain table has the entry 0x4000"),
        (9 * 512, 1, "a grain table has the entry"),
        (9 * 512, 3 << 60 | 1 << 40, "cut off"),
        (9 * 512, 3 << 60 | 5 << 48, "cut off"),
    ],
)
def test_an_sesparse_extent_of_nonsense_is_refused(
    tmp_path: Path, offset: int, value: int, reason: str
) -> None:
    top = snapshot(tmp_path, "seSparse", base(tmp_path), "disk-000001")
    patched(tmp_path / "disk-000001-sesparse.vmdk", offset, "<Q", value)
    with pytest.raises(SourceUnreadableError, match=reason):
        open_disk_image(top)


@pytest.mark.parametrize("kind", ["vmfsSparse", "seSparse"])
def test_snapshots_of_esx_are_not_edited_in_place(tmp_path: Path, kind: str) -> None:
    top = snapshot(tmp_path, kind, base(tmp_path), "disk-000001")
    with pytest.raises(OutputRefusedError, match=f"is a {kind} VMDK"):
        examine_for_editing(top)
    with pytest.raises(OutputRefusedError, match=r"disk-000001\.vmdk is based on disk\.vmdk"):
        examine_for_editing(tmp_path / "disk.vmdk")


def test_the_kinds_of_extents_are_not_mixed_up(tmp_path: Path) -> None:
    top = snapshot(tmp_path, "seSparse", base(tmp_path), "disk-000001")
    text = top.read_text()
    top.write_text(text.replace("seSparse", "vmfsSparse").replace("SESPARSE", "VMFSSPARSE"))
    with pytest.raises(SourceUnreadableError, match="does not begin with COWD"):
        open_disk_image(top)
    (tmp_path / "disk-000001-sesparse.vmdk").write_bytes(cowd(SECTORS, {}))
    top.write_text(text)
    with pytest.raises(SourceUnreadableError, match="no sound ESX snapshot extent"):
        open_disk_image(top)


def test_several_extents_of_a_kind(tmp_path: Path) -> None:
    """Disks beyond 2 TB have several; here two of 4 MiB."""
    one, two = cowd(8192, {1: NOISE[:512]}), cowd(8192, {8191: NOISE[512:1024]})
    (tmp_path / "d-000001-delta.vmdk").write_bytes(one)
    (tmp_path / "d-000001-delta2.vmdk").write_bytes(two)
    raw = bytearray(2 * 8192 * 512)
    base = write_vmfs(tmp_path, bytes(raw), "d")
    raw[512:1024] = NOISE[:512]
    raw[-512:] = NOISE[512:1024]
    (tmp_path / "expected.raw").write_bytes(raw)
    top = tmp_path / "d-000001.vmdk"
    extents = [f'RW 8192 VMFSSPARSE "d-000001-delta{n}.vmdk"' for n in ("", "2")]
    top.write_text(
        descriptor("vmfsSparse", *extents, cid="1", parent_cid="0000cafe", parent=base.name)
    )
    assert same_content(top, "vmdk", tmp_path / "expected.raw")
    assert open_disk_image(top).virtual_size == len(raw)
    assert qemu_img("info", "-f", "vmdk", top)
