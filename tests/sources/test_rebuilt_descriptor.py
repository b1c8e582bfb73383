"""Disks without a descriptor, or with one that names other files: read by one made for the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.esx_snapshots import sesparse, write_snapshot, write_vmfs
from fixtures.ovf import File, descriptor, manifest, pack, write_ova
from fixtures.source_images import LARGE_SIZE, SMALL_SIZE, MakeVmdk, qemu_img, same_content
from offline_mig.conversion.machine_record import machine_record
from offline_mig.errors import OfflineMigError, SourceUnreadableError, SourceUnsafeError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat, DiskImage, Machine
from offline_mig.sources.disk_image import examine_disk_image
from offline_mig.sources.machine_source import read_machine
from offline_mig.sources.options import SourceOptions

REBUILD = SourceOptions(rebuild_descriptor=True)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is in a folder; disks of 5 GiB are not hashed for it."""
    return {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir()}


def read(path: Path, scratch: Path) -> Machine:
    """Read a machine with a descriptor made anew; nothing beside it changes."""
    before = state(path.parent)
    machine = read_machine(path, scratch=scratch, options=REBUILD)
    assert state(path.parent) == before
    for disk in machine.disks:
        for file in disk.image.temporary:
            assert file.is_relative_to(scratch)
        assert disk.image.path == disk.image.files[0]
    assert not any(file.is_relative_to(scratch) for file in machine.files)
    return machine


def served(image: DiskImage, offset: int, size: int) -> bytes:
    """Return bytes as the userspace engine reads them, which sees the image's files alone."""
    disk = OpenedDisk(image.path, image.format, image.files, image.window)
    with UserspaceEngine().open((disk,), writable=False) as disks:
        return disks.read(0, offset, size)


def refused(path: Path, remedy: str) -> SourceUnreadableError:
    with pytest.raises(SourceUnreadableError) as caught:
        read_machine(path)
    assert remedy in caught.value.remedy
    return caught.value


@pytest.mark.usefixtures("userspace")
def test_a_flat_file_alone(make_vmdk: MakeVmdk, small_raw: Path, scratch: Path) -> None:
    descriptor = make_vmdk("monolithicFlat")
    flat = descriptor.with_name("disk-flat.vmdk")
    descriptor.unlink()
    assert "only a part of a disk" in refused(flat, "--rebuild-descriptor").message
    machine = read(flat, scratch)
    image = machine.disks[0].image
    assert (machine.name, machine.source, machine.files) == ("disk", flat, (flat,))
    assert (image.format, image.kind) == (DiskFormat.VMDK, "monolithicFlat")
    assert image.virtual_size == SMALL_SIZE
    assert same_content(image.path, "vmdk", small_raw)
    assert served(image, 1024**2, 4096) == small_raw.read_bytes()[1024**2 :][:4096]
    assert any("has no descriptor" in note for note in machine.notes)


def test_a_flat_file_is_not_torn_from_its_descriptor(make_vmdk: MakeVmdk, scratch: Path) -> None:
    path = make_vmdk("monolithicFlat")
    with pytest.raises(SourceUnreadableError) as caught:
        read_machine(path.with_name("disk-flat.vmdk"), scratch=scratch, options=REBUILD)
    assert caught.value.remedy == f"Give {path} instead."


def test_a_flat_file_that_is_cut_off(make_vmdk: MakeVmdk, scratch: Path) -> None:
    path = make_vmdk("monolithicFlat")
    path.unlink()
    flat = path.with_name("disk-flat.vmdk")
    os.truncate(flat, SMALL_SIZE - 1)
    with pytest.raises(SourceUnreadableError, match="no whole sectors"):
        read_machine(flat, scratch=scratch, options=REBUILD)


def test_a_machine_whose_descriptor_is_lost(
    make_vmdk: MakeVmdk, small_raw: Path, scratch: Path
) -> None:
    path = make_vmdk("monolithicFlat")
    vmx = path.with_name("box.vmx")
    vmx.write_text(
        'displayName = "Box"\nmemsize = "512"\nscsi0.present = "TRUE"\n'
        'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "disk.vmdk"\n'
    )
    path.unlink()
    assert "disk.vmdk (scsi0:0)" in refused(vmx, "--rebuild-descriptor").message
    machine = read(vmx, scratch)
    assert same_content(machine.disks[0].image.path, "vmdk", small_raw)
    assert set(machine.files) == {vmx, path.with_name("disk-flat.vmdk")}


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
@pytest.mark.parametrize("whole", [True, False], ids=["all renamed", "extents only"])
def test_renamed_extents(
    make_vmdk: MakeVmdk, large_raw: Path, small_raw: Path, scratch: Path, kind: str, whole: bool
) -> None:
    raw = small_raw if kind == "monolithicFlat" else large_raw
    path = make_vmdk(kind, raw)
    for file in list(path.parent.iterdir()):
        if whole or file != path:
            file.rename(file.with_name(file.name.replace("disk", "new")))
    path = path.with_name("new.vmdk") if whole else path
    error = refused(path, "--rebuild-descriptor")
    assert "is incomplete" in error.message
    assert f"write the new names into {path.name}" in error.remedy
    machine = read(path, scratch)
    image = machine.disks[0].image
    assert image.kind == kind
    assert same_content(image.path, "vmdk", raw)
    assert served(image, raw.stat().st_size - 4096, 4096) == last_bytes(raw)
    assert len(machine.files) == len(list(path.parent.iterdir()))
    assert any("was taken for it" in note for note in machine.notes)


def last_bytes(raw: Path) -> bytes:
    with raw.open("rb") as file:
        file.seek(-4096, os.SEEK_END)
        return file.read()


def test_names_in_another_case_or_encoding(
    make_vmdk: MakeVmdk, small_raw: Path, scratch: Path
) -> None:
    path = make_vmdk("monolithicFlat")
    flat = path.with_name("disk-flat.vmdk").rename(path.with_name("DISK-FLAT.VMDK"))
    assert same_content(read(path, scratch).disks[0].image.path, "vmdk", small_raw)
    flat.rename(path.with_name("虚拟机-flat.vmdk"))
    text = path.read_text().replace("disk-flat", "虚拟机-flat")
    path.write_bytes(text.replace("CID=", 'encoding="GBK"\nCID=', 1).encode("gbk"))
    assert same_content(read(path, scratch).disks[0].image.path, "vmdk", small_raw)


@pytest.mark.parametrize(
    ("kind", "word"),
    [("monolithicFlat", "vmfsThin"), ("twoGbMaxExtentSparse", "2GbMaxExtentSparse")],
)
def test_words_that_qemu_does_not_know(
    make_vmdk: MakeVmdk, small_raw: Path, scratch: Path, kind: str, word: str
) -> None:
    path = make_vmdk(kind)
    path.write_text(path.read_text().replace(f'"{kind}"', f'"{word}"'))
    assert "does not open" in refused(path, "--rebuild-descriptor").message
    assert same_content(read(path, scratch).disks[0].image.path, "vmdk", small_raw)


def test_files_of_other_disks_are_never_taken(make_vmdk: MakeVmdk, scratch: Path) -> None:
    path = make_vmdk("monolithicFlat", name="one.vmdk")
    make_vmdk("monolithicFlat", name="two.vmdk")
    path.with_name("one-flat.vmdk").unlink()
    with pytest.raises(SourceUnreadableError, match="is incomplete") as caught:
        read_machine(path, scratch=scratch, options=REBUILD)
    assert "two-flat" not in caught.value.remedy
    assert "Copy every file" in caught.value.remedy


def test_a_renamed_extent_of_the_wrong_size_is_refused(make_vmdk: MakeVmdk, scratch: Path) -> None:
    path = make_vmdk("monolithicFlat")
    flat = path.with_name("disk-flat.vmdk").rename(path.with_name("other-flat.vmdk"))
    os.truncate(flat, 4096)
    with pytest.raises(SourceUnreadableError, match="cut off"):
        read_machine(path, scratch=scratch, options=REBUILD)


def test_some_renamed_and_some_lost(make_vmdk: MakeVmdk, large_raw: Path, scratch: Path) -> None:
    path = make_vmdk("twoGbMaxExtentSparse", large_raw)
    path.with_name("disk-s001.vmdk").rename(path.with_name("new-s001.vmdk"))
    path.with_name("disk-s002.vmdk").unlink()
    with pytest.raises(SourceUnreadableError, match=r"disk-s001\.vmdk, disk-s002") as caught:
        read_machine(path, scratch=scratch, options=REBUILD)
    assert "The folder holds new-s001.vmdk" in caught.value.remedy
    assert "missing altogether" in caught.value.remedy
    assert caught.value.remedy.endswith("disk-s002.vmdk.")


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("kind", ["monolithicSparse", "twoGbMaxExtentSparse", "seSparse"])
def test_a_snapshot_on_a_disk_whose_names_are_lost(
    tmp_path: Path, scratch: Path, kind: str
) -> None:
    """The snapshot names its parent, and so gets a descriptor of its own as well."""
    folder = tmp_path / "vm"
    folder.mkdir()
    base = write_vmfs(folder, bytes(range(256)) * 4096)
    expected = tmp_path / "expected.raw"
    content = bytearray(bytes(range(256)) * 4096)
    if kind == "seSparse":
        content[8192:12288] = b"n" * 4096
        top = write_snapshot(base, "disk-000001", kind, sesparse(2048, {2: b"n" * 4096}), 2048)
    else:
        top = folder / "disk-000001.vmdk"
        options = ["-o", f"subformat={kind}", "-b", base.name, "-F", "vmdk"]
        qemu_img("create", "-f", "vmdk", *options, top.name, cwd=folder)
    expected.write_bytes(content)
    base.unlink()
    error = refused(top, "--rebuild-descriptor")
    assert "disk.vmdk does not exist" in error.message
    image = read(top, scratch).disks[0].image
    assert same_content(image.path, "vmdk", expected)
    assert served(image, 8192, 4096) == content[8192:12288]


def test_a_qcow2_cannot_be_given_another_parent(tmp_path: Path, scratch: Path) -> None:
    base = write_vmfs(tmp_path, bytes(1024 * 1024))
    qemu_img("create", "-f", "qcow2", "-b", base.name, "-F", "vmdk", "t.qcow2", cwd=tmp_path)
    (tmp_path / "disk-flat.vmdk").rename(tmp_path / "other-flat.vmdk")
    with pytest.raises(SourceUnreadableError, match="whose descriptor does not fit"):
        examine_disk_image(tmp_path / "t.qcow2", None, REBUILD, scratch)


def test_a_path_that_no_descriptor_can_hold(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / 'the "best" one'
    folder.mkdir()
    write_vmfs(folder, bytes(1024 * 1024)).unlink()
    with pytest.raises(SourceUnreadableError, match="No VMDK descriptor can name"):
        read_machine(folder / "disk-flat.vmdk", scratch=scratch, options=REBUILD)


def flat_ova(tmp_path: Path, vmdk: Path, *, signed: bool = True) -> Path:
    files = {path.name: path for path in sorted(vmdk.parent.iterdir())}
    return write_ova(tmp_path / "x", descriptor([File(vmdk.name)]), files, signed=signed)[0]


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentFlat"])
def test_flat_disks_are_read_inside_of_an_ova(
    tmp_path: Path, make_vmdk: MakeVmdk, small_raw: Path, scratch: Path, kind: str
) -> None:
    ova = flat_ova(tmp_path, make_vmdk(kind))
    machine = read_machine(ova, scratch=scratch)
    image = machine.disks[0].image
    assert (image.kind, image.member, image.virtual_size) == (kind, "disk.vmdk", SMALL_SIZE)
    assert machine.files == (ova,)
    assert same_content(image.path, "vmdk", small_raw)
    assert served(image, 1024**2, 4096) == small_raw.read_bytes()[1024**2 :][:4096]


def test_a_flat_disk_in_an_ova_is_compared_with_the_manifest(
    tmp_path: Path, make_vmdk: MakeVmdk, scratch: Path
) -> None:
    vmdk = make_vmdk("monolithicFlat")
    flat_ova(tmp_path, vmdk)
    loose = tmp_path / "x" / "ovf"
    files = [loose / name for name in ("box.ovf", "box.mf", "disk.vmdk", "disk-flat.vmdk")]
    with (loose / "disk-flat.vmdk").open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(SourceUnreadableError, match=r"disk-flat\.vmdk is not what box\.mf says"):
        read_machine(pack(tmp_path / "changed.ova", files), scratch=scratch)
    files[1].write_text(manifest([files[0], *files[2:]]))
    read_machine(pack(tmp_path / "changed.ova", files), scratch=scratch)


@pytest.mark.parametrize(
    ("kind", "change", "error", "reason"),
    [
        ("monolithicFlat", ('"disk-flat.vmdk" 0', '"gone.vmdk" 0'), SourceUnreadableError, "gone"),
        ("monolithicFlat", ('flat.vmdk" 0', 'flat.vmdk" 64'), SourceUnreadableError, "cut off"),
        ("monolithicFlat", ('"disk-flat', '"../disk-flat'), SourceUnsafeError, "climbs out"),
        ("monolithicFlat", ('"disk-flat', '"/etc/passwd'), SourceUnsafeError, "absolute path"),
        ("twoGbMaxExtentSparse", ("", ""), SourceUnreadableError, "sparse files of their own"),
    ],
)
def test_other_descriptors_in_an_ova_are_refused(
    tmp_path: Path,
    make_vmdk: MakeVmdk,
    scratch: Path,
    kind: str,
    change: tuple[str, str],
    error: type[OfflineMigError],
    reason: str,
) -> None:
    vmdk = make_vmdk(kind)
    vmdk.write_text(vmdk.read_text().replace(*change, 1))
    with pytest.raises(error, match=reason) as caught:
        read_machine(flat_ova(tmp_path, vmdk, signed=False), scratch=scratch)
    assert caught.value.remedy
    assert not list(scratch.iterdir())


def test_extents_may_be_of_any_size(large_raw: Path, make_vmdk: MakeVmdk, scratch: Path) -> None:
    path = make_vmdk("twoGbMaxExtentFlat", large_raw)
    for file in list(path.parent.iterdir()):
        file.rename(file.with_name(file.name.replace("disk", "new")))
    image = read(path.with_name("new.vmdk"), scratch).disks[0].image
    assert image.virtual_size == LARGE_SIZE
    assert len(image.files) == 4


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("kind", ["monolithicSparse", "twoGbMaxExtentSparse"])
@pytest.mark.parametrize(
    "hint", ["/vmfs/volumes/ds1/box/base.vmdk", "C:\\VMs\\base.vmdk", "old.vmdk", "../x/old.vmdk"]
)
def test_a_parent_is_found_by_its_content_id(
    tmp_path: Path, scratch: Path, kind: str, hint: str
) -> None:
    folder = tmp_path / "vm"
    folder.mkdir()
    base = write_vmfs(folder, bytes(range(256)) * 4096, "base")
    other = write_vmfs(folder, bytes(1024 * 1024), "other")
    other.write_text(other.read_text().replace("CID=0000cafe", "CID=11111111"))
    top = folder / "top.vmdk"
    placeholder = "b" * len(hint)
    (folder / placeholder).write_bytes(base.read_bytes())
    options = ["-o", f"subformat={kind}", "-b", placeholder, "-F", "vmdk"]
    qemu_img("create", "-f", "vmdk", *options, top.name, cwd=folder)
    (folder / placeholder).unlink()
    top.write_bytes(top.read_bytes().replace(placeholder.encode(), hint.encode()))
    expected = tmp_path / "expected.raw"
    expected.write_bytes(bytes(range(256)) * 4096)
    with pytest.raises(OfflineMigError) as caught:
        read_machine(top)
    assert "--rebuild-descriptor" in caught.value.remedy
    machine = read(top, scratch)
    image = machine.disks[0].image
    assert same_content(image.path, "vmdk", expected)
    assert served(image, 0, 4096) == expected.read_bytes()[:4096]
    assert any(f"names {hint}" in note and "base.vmdk" in note for note in machine.notes)
    # Two with that id: which is the right one nobody can tell.
    other.write_text(other.read_text().replace("CID=11111111", "CID=0000cafe"))
    base.rename(folder / "renamed.vmdk")
    with pytest.raises(OfflineMigError, match=r"parent|does not exist"):
        read_machine(top, scratch=scratch, options=REBUILD)


def test_a_new_disk_is_no_parent_by_its_content_id(tmp_path: Path, scratch: Path) -> None:
    """VMware gives all new disks the same id."""
    folder = tmp_path / "vm"
    folder.mkdir()
    base = write_vmfs(folder, bytes(1024 * 1024), "base")
    base.write_text(base.read_text().replace("CID=0000cafe", "CID=fffffffe"))
    top = write_snapshot(base, "top", "seSparse", sesparse(2048, {}), 2048, cid="fffffffe")
    assert len(read(top, scratch).files) == 4
    base.rename(folder / "other.vmdk")
    with pytest.raises(SourceUnreadableError, match="does not exist"):
        read_machine(top, scratch=scratch, options=REBUILD)


def test_what_was_made_for_the_run_leaves_no_path_in_the_report(
    tmp_path: Path, make_vmdk: MakeVmdk
) -> None:
    """Two runs say the same, and nothing that is gone."""
    path = make_vmdk("monolithicFlat")
    path.unlink()
    records = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        flat = path.with_name("disk-flat.vmdk")
        records.append(machine_record(read_machine(flat, scratch=folder, options=REBUILD)))
    assert records[0] == records[1]
    image = records[0]["disks"][0]["image"]
    assert image["path"] == "disk.vmdk"
    assert image["files"] == ["disk.vmdk", str(path.with_name("disk-flat.vmdk"))]
