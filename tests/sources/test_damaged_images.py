"""Damaged and incomplete images, and files that are no images: refused, each in its own words."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from fixtures.source_images import KINDS, SMALL_SIZE, MakeVmdk, qemu_img, same_content
from offline_mig.errors import OfflineMigError, SourceUnreadableError
from offline_mig.sources.disk_image import examine_disk_image, open_disk_image


def data_file(path: Path) -> Path:
    others = [file for file in path.parent.iterdir() if file != path]
    return others[0] if others else path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 3, 78, 511, 513, 5000, 0.02, 0.3, 0.6, 0.9, 0.999, -513, -1])
def test_a_cut_off_disk_is_refused_unless_nothing_is_lost(
    make_vmdk: MakeVmdk, small_raw: Path, kind: str, cut: float
) -> None:
    path = make_vmdk(kind)
    file = data_file(path)
    size = file.stat().st_size
    position = int(cut * size) if isinstance(cut, float) else cut % size
    os.truncate(file, position)
    try:
        open_disk_image(path)
    except SourceUnreadableError as error:
        assert str(file) in error.message
        assert error.remedy
    else:
        assert same_content(path, "vmdk", small_raw)


@pytest.mark.parametrize("cut", [0.01, 0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_cut_off_qcow2_is_refused_unless_nothing_is_lost(
    tmp_path: Path, small_raw: Path, cut: float, compressed: bool
) -> None:
    path = tmp_path / "disk.qcow2"
    options = ["-c"] if compressed else []
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, small_raw, path)
    assert open_disk_image(path).virtual_size == small_raw.stat().st_size
    os.truncate(path, int(cut * path.stat().st_size))
    try:
        open_disk_image(path)
    except SourceUnreadableError as error:
        assert "is cut off" in error.message or "damaged" in error.message
    else:
        # The last cluster belongs to the disk only in part.
        assert same_content(path, "qcow2", small_raw)


def test_all_missing_extents_are_named_at_once(make_vmdk: MakeVmdk, large_raw: Path) -> None:
    path = make_vmdk("twoGbMaxExtentSparse", large_raw)
    for number in (1, 3):
        path.with_name(f"disk-s00{number}.vmdk").unlink()
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(path)
    assert "disk-s001.vmdk, disk-s003.vmdk" in caught.value.message
    assert str(path.parent) in caught.value.message
    assert "Copy every file" in caught.value.remedy


def test_what_is_there_instead_of_a_missing_extent_is_said(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    flat = path.with_name("disk-flat.vmdk")
    upper = flat.rename(flat.with_name("DISK-FLAT.VMDK"))
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(path)
    assert "rename it to disk-flat.vmdk" in caught.value.remedy
    upper.rename(flat.with_name("new-flat.vmdk"))
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(path.rename(path.with_name("new.vmdk")))
    assert "write the new names into new.vmdk" in caught.value.remedy


def test_names_in_a_chinese_encoding_get_their_own_advice(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    path.with_name("disk-flat.vmdk").rename(path.with_name("虚拟机-flat.vmdk"))
    text = path.read_text().replace("disk-flat", "虚拟机-flat")
    path.write_bytes(text.replace("CID=", 'encoding="GBK"\nCID=', 1).encode("gbk"))
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(path)
    assert "iconv -f GBK -t UTF-8" in caught.value.remedy
    path.write_text(text)
    assert open_disk_image(path).files[1].name == "虚拟机-flat.vmdk"


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_part_alone_is_no_disk(make_vmdk: MakeVmdk, kind: str) -> None:
    path = make_vmdk(kind)
    part = data_file(path)
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(part)
    assert "only a part of a disk" in caught.value.message
    assert caught.value.remedy == f"Give {path.resolve()} instead."
    path.unlink()
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(part)
    assert "is not in the folder" in caught.value.remedy


def test_parts_that_are_mixed_up_are_refused(make_vmdk: MakeVmdk, large_raw: Path) -> None:
    path = make_vmdk("twoGbMaxExtentSparse", large_raw)
    path.with_name("disk-s003.vmdk").replace(path.with_name("disk-s001.vmdk"))
    path.with_name("disk-s003.vmdk").write_bytes(path.with_name("disk-s002.vmdk").read_bytes())
    with pytest.raises(SourceUnreadableError, match="by its header"):
        open_disk_image(path)


def test_a_text_mode_transfer_is_recognised(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicSparse")
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    with pytest.raises(SourceUnreadableError, match="text mode"):
        open_disk_image(path)


def patched(path: Path, offset: int, layout: str, value: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, value)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [
        (4, "<I", 4),
        (12, "<Q", 0),
        (12, "<Q", 2**63),
        (20, "<Q", 0),
        (20, "<Q", 2**62),
        (44, "<I", 0),
        (44, "<I", 1 << 20),
        (48, "<Q", 2**40),
        (56, "<Q", 2**40),
        (56, "<Q", 0),
        (77, "<H", 7),
    ],
)
def test_a_header_of_nonsense_is_refused(
    make_vmdk: MakeVmdk, offset: int, layout: str, value: int
) -> None:
    path = make_vmdk("monolithicSparse")
    patched(path, offset, layout, value)
    with pytest.raises(SourceUnreadableError):
        open_disk_image(path)


def test_a_disk_that_was_not_closed_is_noted(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicSparse")
    patched(path, 72, "<B", 1)
    assert "did not close disk.vmdk properly" in examine_disk_image(path).notes[0]


@pytest.mark.parametrize("kind", ["streamOptimized", "monolithicSparse"])
def test_a_wrong_size_in_the_header(make_vmdk: MakeVmdk, kind: str) -> None:
    """qemu goes by the header: what it leaves out would be missing without a word."""
    path = make_vmdk(kind)
    capacity = SMALL_SIZE // 512
    # Whole grains, as some programs round up to; the descriptor has the guest's size.
    patched(path, 12, "<Q", -(-capacity // 128) * 128)
    assert open_disk_image(path).virtual_size == -(-capacity // 128) * 65536
    patched(path, 12, "<Q", capacity - 128)
    with pytest.raises(SourceUnreadableError, match=f"but its descriptor says {capacity}:"):
        open_disk_image(path)
    patched(path, 12, "<Q", 0)
    with pytest.raises(SourceUnreadableError, match="states a size of 0"):
        open_disk_image(path)


def test_what_qemu_cannot_open_is_told_although_it_looks_sound(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    # qemu wants a line with the CID even of a disk without a parent.
    path.write_text(
        path.read_text().replace("\nCID=", "\n#D=", 1).replace("parentCID", "parentDIC")
    )
    with pytest.raises(SourceUnreadableError, match="looks sound, but qemu-img cannot open it"):
        open_disk_image(path)


def add_line(path: Path, line: str) -> None:
    """Put a line behind the extents of a descriptor; qemu-img fills the file up with NULs."""
    path.write_text(path.read_text().replace("\n\n# The Disk", f"\n{line}\n\n# The Disk", 1))
    assert line in path.read_text()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("RW 100 ZERO", "qemu leaves out"),
        ('RDONLY 100 FLAT "disk-flat.vmdk" 0', "qemu leaves out"),
        ('NOACCESS 100 FLAT "disk-flat.vmdk" 0', "qemu leaves out"),
        ('RW 100 VMFSSPARSE "disk-delta.vmdk"', "does not have"),
        ('RW 100 SESPARSE "disk-sesparse.vmdk"', "does not have"),
        ('RW 100 SPARSE "disk-s001.vmdk"', "does not have"),
        ('RW 100 FLAT "disk-flat.vmdk"', "without its offset"),
        ("RW many FLAT", "cannot be understood"),
        ('\nRW 100 FLAT "disk-flat.vmdk" 0', "qemu reads the list as"),
        ('RW 99999999 FLAT "disk-flat.vmdk" 0', "cut off"),
        ('RW 100 FLAT "disk-flat.vmdk" 99999999', "cut off"),
        ('RW 100 FLAT "missing.vmdk" 0', "is incomplete"),
    ],
)
def test_extent_lines_that_cannot_come_out_right(
    make_vmdk: MakeVmdk, line: str, reason: str
) -> None:
    path = make_vmdk("monolithicFlat")
    add_line(path, line)
    with pytest.raises(SourceUnreadableError, match=reason):
        open_disk_image(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("vmfsSparse", "does not have"),
        ("seSparse", "does not have"),
        ("vmfsThin", "does not open"),
        ("2GbMaxExtentFlat", "does not open"),
        ("monolithicSparse", "read are"),
        ("custom", "read are"),
        ("", "without a createType"),
    ],
)
def test_other_kinds_of_vmdk_are_refused_by_name(
    make_vmdk: MakeVmdk, kind: str, reason: str
) -> None:
    path = make_vmdk("monolithicFlat")
    path.write_text(path.read_text().replace('"monolithicFlat"', f'"{kind}"'))
    with pytest.raises(SourceUnreadableError, match=reason):
        open_disk_image(path)


@pytest.mark.parametrize("line", ['encryption.keySafe = "x"', 'ddb.iofilters = "vmwarevmcrypt"'])
def test_encrypted_vmdks_are_refused(make_vmdk: MakeVmdk, line: str) -> None:
    path = make_vmdk("monolithicFlat")
    add_line(path, line)
    with pytest.raises(SourceUnreadableError, match="encrypted"):
        open_disk_image(path)


def test_encrypted_corrupt_and_old_qcow_are_refused(tmp_path: Path) -> None:
    for name, offset, layout, value, reason in (
        ("e", 32, ">I", 2, "is encrypted"),
        ("c", 72, ">Q", 2, "marked as corrupt"),
        ("u", 72, ">Q", 1 << 20, "not known here"),
    ):
        path = tmp_path / f"{name}.qcow2"
        qemu_img("create", "-f", "qcow2", path, "1M")
        patched(path, offset, layout, value)
        with pytest.raises(SourceUnreadableError, match=reason):
            open_disk_image(path)
    qemu_img("create", "-f", "qcow", tmp_path / "o.qcow", "1M")
    with pytest.raises(SourceUnreadableError, match="old qcow format"):
        open_disk_image(tmp_path / "o.qcow")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.vmdk", b"", "is empty"),
        ("a.vmdk", b"<html>404 not found</html>\n", "no VMDK descriptor"),
        ("a.txt", b"Hello there\n", "is a text file"),
        ("a.vmx.bak", b'config.version = "8"\nscsi0.present = "TRUE"\n', "is a VMX file"),
        ("a.ovf", b'<?xml version="1.0"?><Envelope xmlns:ovf="x">', "an OVF description"),
        ("a.vmdk", b"COWD" + bytes(600), "only a part of a disk"),
        ("a.vmdk", bytes.fromhex("bebafeca00000000") + bytes(600), "only a part of a disk"),
        ("a.vhdx", b"vhdxfile" + bytes(2**20 - 8), "VHDX"),
        ("a.vdi", b"<<< Oracle VM VirtualBox".ljust(64) + b"\x7f\x10\xda\xbe", "VDI"),
        ("a.vhd", b"conectix".ljust(60) + b"\0\0\0\3" + bytes(600), "is incomplete"),
        ("a.ova", bytes(257) + b"ustar" + bytes(600), "OVA"),
        ("a.zip", b"PK\x03\x04" + bytes(600), "zip"),
        ("a.bin", b"\0" * 32769 + b"CD001", "CD or DVD"),
        ("a.vmdk", bytes(4096), "only zeros"),
        ("a.vmdk", bytes(range(256)) * 8, "no known kind"),
    ],
)
def test_what_is_no_disk_image_is_told(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceUnreadableError, match=reason) as caught:
        open_disk_image(tmp_path / name)
    assert caught.value.remedy


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path / "missing.vmdk", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "fifo", "is a FIFO"),
        (Path("/dev/null"), "is a character device"),
        (tmp_path / ("x" * 300), "name too long"),
        (tmp_path / "nul\0byte", "not a file name"),
    ):
        with pytest.raises(SourceUnreadableError, match=f"(?i){reason}"):
            open_disk_image(path)


def test_missing_permission_is_a_sentence(
    make_vmdk: MakeVmdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_vmdk("monolithicFlat")
    original = os.open

    def refuse(name: str | Path, *arguments: int) -> int:
        if str(name).endswith("-flat.vmdk"):
            raise PermissionError(13, "Permission denied", str(name))
        return original(name, *arguments)

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, who may read everything
    with pytest.raises(OfflineMigError, match=r"disk-flat\.vmdk may not be read by this user"):
        open_disk_image(path)
