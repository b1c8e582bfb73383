"""Sound images: every kind is opened, measured as qemu measures it, and named as it is."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from fixtures.source_images import KINDS, LARGE_SIZE, MakeVmdk, qemu_img, same_content
from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import DiskFormat
from offline_mig.sources.disk_image import examine_disk_image, open_disk_image


def virtual_size(path: Path, image_format: DiskFormat) -> int:
    told = json.loads(qemu_img("info", "--output=json", "-f", image_format, path))
    size = told["virtual-size"]
    assert isinstance(size, int)
    return size


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_vmdk_is_opened(make_vmdk: MakeVmdk, kind: str) -> None:
    path = make_vmdk(kind)
    image = open_disk_image(path)
    assert (image.path, image.format, image.kind) == (path.resolve(), DiskFormat.VMDK, kind)
    assert image.virtual_size == virtual_size(path, DiskFormat.VMDK)
    assert set(image.files) == set(path.resolve().parent.iterdir())
    assert image.files[0] == image.path


@pytest.mark.parametrize("kind", ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_disk_of_several_extents_has_them_all(
    make_vmdk: MakeVmdk, large_raw: Path, kind: str
) -> None:
    path = make_vmdk(kind, large_raw)
    image = open_disk_image(path)
    assert image.virtual_size == LARGE_SIZE == virtual_size(path, DiskFormat.VMDK)
    assert len(image.files) == 4


def test_vmfs_extents_have_no_offset(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    text = path.read_text().replace("monolithicFlat", "vmfs").replace('flat.vmdk" 0', 'flat.vmdk"')
    path.write_text(text.replace(" FLAT ", " VMFS "))
    image = open_disk_image(path)
    assert image.kind == "vmfs"
    assert image.virtual_size == virtual_size(path, DiskFormat.VMDK)


def add_footer(path: Path) -> None:
    """Turn qemu's stream-optimized VMDK into VMware's form, with the header in a footer."""
    data = bytearray(path.read_bytes())
    data += bytes(-len(data) % 512)
    header = bytes(data[:512])
    struct.pack_into("<Q", data, 56, 0xFFFFFFFFFFFFFFFF)
    marker = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
    path.write_bytes(bytes(data) + marker + header + bytes(512))


def test_a_stream_optimized_disk_may_have_its_header_at_the_end(
    make_vmdk: MakeVmdk, small_raw: Path
) -> None:
    path = make_vmdk("streamOptimized")
    add_footer(path)
    assert same_content(path, "vmdk", small_raw)
    assert open_disk_image(path).virtual_size == small_raw.stat().st_size
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(SourceUnreadableError, match="footer"):
        open_disk_image(path)


def test_a_renamed_sparse_disk_still_names_its_old_file(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicSparse")
    renamed = path.rename(path.with_name("renamed.vmdk"))
    assert open_disk_image(renamed).files == (renamed.resolve(),)


def test_a_link_given_by_the_user_leads_to_the_folder_of_its_target(
    make_vmdk: MakeVmdk, tmp_path: Path
) -> None:
    path = make_vmdk("monolithicFlat")
    link = tmp_path / "link.vmdk"
    link.symlink_to(path)
    assert open_disk_image(link) == open_disk_image(path)


def make_snapshot(base: Path, name: str) -> Path:
    """Put a VMDK on ``base`` as VMware does: parentCID and a hint with a plain name."""
    snapshot = base.with_name(name)
    qemu_img("create", "-f", "vmdk", "-b", base.name, "-F", "vmdk", snapshot.name, cwd=base.parent)
    return snapshot


def test_a_chain_of_snapshots_is_followed(make_vmdk: MakeVmdk) -> None:
    base = make_vmdk("monolithicFlat")
    first = make_snapshot(base, "disk-000001.vmdk")
    second = make_snapshot(first, "disk-000002.vmdk")
    examined = examine_disk_image(second)
    names = [file.name for file in examined.image.files]
    assert names == ["disk-000002.vmdk", "disk-000001.vmdk", "disk.vmdk", "disk-flat.vmdk"]
    assert "disk-000001.vmdk (vmdk), disk.vmdk (vmdk)" in examined.notes[0]


def test_a_parent_that_changed_is_refused(make_vmdk: MakeVmdk) -> None:
    base = make_vmdk("monolithicFlat")
    snapshot = make_snapshot(base, "disk-000001.vmdk")
    base.write_text(base.read_text().replace("\nCID=", "\nCID=0\n#was ", 1))
    with pytest.raises(SourceUnreadableError, match="content id"):
        open_disk_image(snapshot)


def forget_content_id(path: Path) -> None:
    path.write_text(path.read_text().replace("\nCID=", "\nCID=0\n#was ", 1))


def flat_snapshot(base: Path, name: str) -> Path:
    """Put a snapshot on ``base`` whose descriptor is a file of its own."""
    options = ["-o", "subformat=twoGbMaxExtentSparse", "-b", base.name, "-F", "vmdk"]
    qemu_img("create", "-f", "vmdk", *options, name, cwd=base.parent)
    return base.with_name(name)


def test_every_broken_link_of_a_chain_is_named(make_vmdk: MakeVmdk) -> None:
    disk = make_vmdk("monolithicFlat")
    first = flat_snapshot(disk, "disk-000001.vmdk")
    second = flat_snapshot(first, "disk-000002.vmdk")
    third = flat_snapshot(second, "disk-000003.vmdk")
    open_disk_image(third)
    forget_content_id(second)
    forget_content_id(disk)
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(third)
    message = caught.value.message
    chain = "disk-000003.vmdk -> disk-000002.vmdk -> disk-000001.vmdk -> disk.vmdk is broken"
    assert chain in message
    assert message.count("with the content id") == 2
    assert f"{third} is based on {second}" in message
    assert f"{first} is based on {disk}" in message
    # What is missing altogether comes on top; nobody knows what lay below it.
    first.unlink()
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(third)
    message = caught.value.message
    assert "disk-000003.vmdk -> disk-000002.vmdk -> disk-000001.vmdk is broken" in message
    assert f"{third} is based on {second} with the content id" in message
    assert f"{first} does not exist" in message
    assert "disk-000002.vmdk is based on it: copy it" in caught.value.remedy


def test_a_damaged_link_does_not_hide_a_broken_one(make_vmdk: MakeVmdk) -> None:
    disk = make_vmdk("monolithicFlat")
    first = flat_snapshot(disk, "disk-000001.vmdk")
    second = flat_snapshot(first, "disk-000002.vmdk")
    forget_content_id(first)
    disk.with_name("disk-flat.vmdk").unlink()
    with pytest.raises(SourceUnreadableError) as caught:
        open_disk_image(second)
    assert f"{second} is based on {first} with the content id" in caught.value.message
    assert "Besides: " in caught.value.message
    assert "disk-flat.vmdk" in caught.value.message


def test_a_snapshot_that_does_not_name_its_parent_is_refused(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    path.write_text(path.read_text().replace("parentCID=ffffffff", "parentCID=12345678"))
    with pytest.raises(SourceUnreadableError, match="does not name its parent"):
        open_disk_image(path)


def test_a_chain_that_bites_its_tail_is_refused(make_vmdk: MakeVmdk) -> None:
    base = make_vmdk("monolithicFlat")
    text = base.read_text()
    cid = text.partition("\nCID=")[2][:8]
    hint = f'parentCID={cid}\nparentFileNameHint="other.vmdk"'
    base.write_text(text.replace("parentCID=ffffffff", hint))
    shutil.copy(base, base.with_name("other.vmdk"))
    with pytest.raises(SourceUnreadableError, match="based on itself"):
        open_disk_image(base)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_qcow2_is_opened_with_its_backing_file(tmp_path: Path, version: str) -> None:
    qemu_img("create", "-f", "qcow2", "base.qcow2", "10M", cwd=tmp_path)
    options = ["-o", f"compat={version}", "-b", "base.qcow2", "-F", "qcow2"]
    qemu_img("create", "-f", "qcow2", *options, "top.qcow2", cwd=tmp_path)
    image = open_disk_image(tmp_path / "top.qcow2")
    assert [file.name for file in image.files] == ["top.qcow2", "base.qcow2"]
    assert image.virtual_size == 10 * 1024 * 1024


def forget_backing_format(path: Path) -> None:
    """Turn the header extension into one that nobody knows, as old images have none."""
    path.write_bytes(path.read_bytes().replace(bytes.fromhex("e2792aca"), b"none", 1))


def test_an_unstated_backing_format_must_be_beyond_doubt(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(1024 * 1024))
    qemu_img("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "t.qcow2", cwd=tmp_path)
    assert open_disk_image(tmp_path / "t.qcow2").files[1].name == "base.raw"
    forget_backing_format(tmp_path / "t.qcow2")
    with pytest.raises(SourceUnreadableError, match="does not state the format"):
        open_disk_image(tmp_path / "t.qcow2")
    qemu_img("create", "-f", "qcow2", "base.qcow2", "1M", cwd=tmp_path)
    qemu_img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "t.qcow2", cwd=tmp_path)
    forget_backing_format(tmp_path / "t.qcow2")
    assert open_disk_image(tmp_path / "t.qcow2").files[1].name == "base.qcow2"


def test_raw_is_told_by_name_boot_signature_or_gpt(tmp_path: Path) -> None:
    plain = bytes(range(1, 256)) * 20
    signed = plain[:510] + b"\x55\xaa" + plain[512:]
    gpt = plain[:512] + b"EFI PART" + plain[520:]
    for name, content in (("a.raw", plain), ("b.IMG", plain), ("c", signed), ("d.disk", gpt)):
        (tmp_path / name).write_bytes(content)
        image = open_disk_image(tmp_path / name)
        assert image.format is DiskFormat.RAW
        assert image.virtual_size == virtual_size(tmp_path / name, DiskFormat.RAW)
    (tmp_path / "e").write_bytes(plain)
    with pytest.raises(SourceUnreadableError, match="no known kind"):
        open_disk_image(tmp_path / "e")
    assert open_disk_image(tmp_path / "e", DiskFormat.RAW).kind == "raw"


def test_a_format_that_is_stated_must_be_the_right_one(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicSparse")
    assert open_disk_image(path, DiskFormat.VMDK).format is DiskFormat.VMDK
    with pytest.raises(SourceUnreadableError, match="should be a qcow2 image"):
        open_disk_image(path, DiskFormat.QCOW2)


def test_a_lock_means_that_the_machine_runs(make_vmdk: MakeVmdk) -> None:
    path = make_vmdk("monolithicFlat")
    lock = path.with_name("disk.vmdk.lck")
    lock.mkdir()
    open_disk_image(path)
    (lock / "M12345.lck").touch()
    with pytest.raises(SourceUnreadableError, match="in use by a running machine"):
        open_disk_image(path)
