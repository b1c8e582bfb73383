"""OVFs and OVAs as machines: disks read where they lie or unpacked, and what is refused."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.ovf import File, descriptor, disk_item, pack, write_ova
from fixtures.source_images import SMALL_SIZE, MakeVmdk, qemu_img
from offline_mig.errors import OutputRefusedError, SourceUnreadableError, SourceUnsafeError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine, as_whole_file
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.images import qemu_img as images
from offline_mig.images.image_reader import ImageReader
from offline_mig.images.trimmed_image import create_trimmed
from offline_mig.machine import Bus, DiskFormat, DiskImage, Machine
from offline_mig.sources import packed_disk
from offline_mig.sources.machine_source import read_machine


def read(path: Path, tmp_path: Path) -> Machine:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return read_machine(path, scratch=scratch)


def opened(image: DiskImage) -> OpenedDisk:
    return OpenedDisk(image.path, image.format, image.files, image.window)


def test_an_ova_is_the_machine_of_its_ovf(ova: Path, ovf: Path) -> None:
    packed, loose = read_machine(ova), read_machine(ovf)
    assert (packed.name, packed.memory, packed.nics) == (loose.name, loose.memory, loose.nics)
    assert [(d.bus, d.controller, d.unit) for d in packed.disks] == [(Bus.SCSI, 0, 0)]
    (image,) = (disk.image for disk in packed.disks)
    assert (image.path, image.files, image.member) == (ova, (ova,), "disk1.vmdk")
    assert (image.kind, image.virtual_size) == ("streamOptimized", SMALL_SIZE)
    assert packed.files == (ova,)
    assert loose.files == (ovf.with_name("disk1.vmdk"), ovf)
    assert packed.notes == loose.notes == ()
    assert not packed.firmware_stated


def test_a_folder_with_one_is_enough_and_content_tells_without_endings(
    ova: Path, ovf: Path, tmp_path: Path
) -> None:
    assert read_machine(ovf.parent).source == ovf
    assert read_machine(ova.parent).source == ova
    shutil.copy(ova, ova.with_name("copy.tar"))
    assert read_machine(ova.with_name("copy.tar")).name == "My Box"
    ovf.with_name("box.mf").unlink()
    ovf.rename(ovf.with_name("box.xml"))
    assert len(read_machine(ovf.with_name("box.xml")).disks) == 1
    shutil.copy(ova, ova.with_name("second.ova"))
    with pytest.raises(SourceUnreadableError, match=r"2 OVF and OVA files: box\.ova, second\.ova"):
        read_machine(ova.parent)


@pytest.mark.usefixtures("userspace")
@pytest.mark.parametrize("form", ["vmdk", "raw", "qcow2", "vpc", "vdi"])
def test_disks_are_read_inside_of_the_archive(
    tmp_path: Path, small_raw: Path, stream: Path, form: str
) -> None:
    disk = stream
    if form != "vmdk":
        disk = tmp_path / f"disk.{form}"
        qemu_img("convert", "-f", "raw", "-O", form, small_raw, disk)
    name = f"disk1.{'vhd' if form == 'vpc' else form}"
    ova, _ = write_ova(tmp_path / "y", descriptor([File(name)]), {name: disk})
    image = read_machine(ova).disks[0].image
    assert image.format.value == form
    assert image.window is not None
    overlay = tmp_path / "overlay.qcow2"
    images.create_overlay(overlay, image.path, image.format, image.window)
    shown = qemu_img("compare", "-p", "-f", "qcow2", "-F", "raw", overlay, small_raw)
    assert "Images are identical." in shown
    content = small_raw.read_bytes()
    with UserspaceEngine().open((opened(image),), writable=False) as disks:
        assert disks.read(0, 0, SMALL_SIZE)[:SMALL_SIZE] == content
    below = OpenedDisk(overlay, DiskFormat.QCOW2, image.files)
    with UserspaceEngine().open((below,), writable=True) as disks:
        assert disks.read(0, 1024**2, 300_000) == content[1024**2 :][:300_000]
    with as_whole_file(opened(image)) as whole:
        assert whole.window is None
        compared = qemu_img("compare", "-f", "qcow2", "-F", "raw", whole.path, small_raw)
        assert "identical" in compared
    reader = ImageReader(image.path, image.format, SMALL_SIZE, image.window)
    assert reader.read(1024**2 - 100, 5000) == content[1024**2 - 100 :][:5000]


@pytest.mark.appliance
def test_the_appliance_reads_inside_of_the_archive(ova: Path, small_raw: Path) -> None:
    content = small_raw.read_bytes()
    image = read_machine(ova).disks[0].image
    with GuestfsEngine().open((opened(image),), writable=False) as disks:
        assert disks.read(0, 0, SMALL_SIZE) == content


@pytest.mark.usefixtures("userspace")
def test_several_disks_in_one_archive_keep_apart(
    tmp_path: Path, small_raw: Path, stream: Path
) -> None:
    other_raw = tmp_path / "other.raw"
    other_raw.write_bytes(small_raw.read_bytes()[::-1])
    text = descriptor([File("disk1.vmdk"), File("disk2.raw")])
    ova, _ = write_ova(tmp_path / "y", text, {"disk1.vmdk": stream, "disk2.raw": other_raw})
    machine = read_machine(ova)
    assert machine.files == (ova,)
    for number, (disk, raw) in enumerate(zip(machine.disks, (small_raw, other_raw), strict=True)):
        trimmed = tmp_path / f"t{number}.qcow2"
        image = disk.image
        create_trimmed(trimmed, image.path, image.format, image.window)
        assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", trimmed, raw)
    disks = tuple(opened(disk.image) for disk in machine.disks)
    with UserspaceEngine().open(disks, writable=False) as served:
        assert served.read(1, 0, 4096) == other_raw.read_bytes()[:4096]


def test_the_ovf_may_come_last_and_in_a_folder(tmp_path: Path, ovf: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(ovf.parent, folder)
    ova = pack(tmp_path / "late.ova", [folder / n for n in ("disk1.vmdk", "box.mf", "box.ovf")])
    assert read_machine(ova).disks[0].image.member == "disk1.vmdk"
    subprocess.run(["tar", "-cf", ova, "-C", tmp_path, "export"], check=True)
    assert read_machine(ova).disks[0].image.member == "export/disk1.vmdk"


def test_names_with_percent_signs_are_found(tmp_path: Path, stream: Path) -> None:
    text = descriptor([File("my%20disk.vmdk")])
    ova, ovf = write_ova(tmp_path / "y", text, {"my disk.vmdk": stream})
    assert read_machine(ova).disks[0].image.member == "my disk.vmdk"
    assert read_machine(ovf).disks[0].image.path.name == "my disk.vmdk"


@pytest.mark.parametrize("in_archive", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_compressed_disks_are_unpacked(
    tmp_path: Path, stream: Path, small_raw: Path, in_archive: bool, chunked: bool
) -> None:
    packed = tmp_path / "disk1.vmdk.gz"
    packed.write_bytes(gzip.compress(stream.read_bytes()[:5000]) + gzip.compress(
        stream.read_bytes()[5000:]))  # fmt: skip
    data = packed.read_bytes()
    attributes = f'ovf:compression="gzip" ovf:size="{len(data)}"'
    files = {"disk1.vmdk.gz": packed}
    if chunked:
        attributes += ' ovf:chunkSize="100000"'
        files = {}
        for number in range(0, len(data), 100_000):
            chunk = tmp_path / f"c{number}"
            chunk.write_bytes(data[number : number + 100_000])
            files[f"disk1.vmdk.gz.{number // 100_000:09}"] = chunk
        assert len(files) > 2
    text = descriptor([File("disk1.vmdk.gz", attributes)])
    ova, ovf = write_ova(tmp_path / "y", text, files)
    machine = read(ova if in_archive else ovf, tmp_path)
    image = machine.disks[0].image
    assert image.path.read_bytes() == stream.read_bytes()
    assert "was unpacked for the time of this run" in machine.notes[0]
    # The user's files are those that are watched for changes.
    assert image.path not in machine.files
    assert set(machine.files) == (
        {ova} if in_archive else {ovf, *(ovf.parent / name for name in files)}
    )


def test_chunks_that_are_not_compressed_are_joined(tmp_path: Path, small_raw: Path) -> None:
    content = small_raw.read_bytes()
    size = 1024**2
    files = {}
    for number in range(-(-len(content) // size)):
        chunk = tmp_path / f"c{number}"
        chunk.write_bytes(content[number * size : (number + 1) * size])
        files[f"disk1.raw.{number:09}"] = chunk
    attributes = f'ovf:chunkSize="{size}" ovf:size="{len(content)}"'
    _, ovf = write_ova(tmp_path / "y", descriptor([File("disk1.raw", attributes)]), files)
    path = read(ovf, tmp_path).disks[0].image.path
    assert path.read_bytes() == content
    assert path.stat().st_blocks * 512 < len(content)
    ovf.with_name(f"disk1.raw.{len(files) - 1:09}").unlink()
    with pytest.raises(SourceUnreadableError, match=r"disk1\.raw is incomplete: its 4 chunks"):
        read(ovf, tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-20], "ends in the middle"),
        (lambda data: b"", "ends in the middle"),
        (lambda data: b"plain", "no sound gzip file"),
        (lambda data: data[:-8] + bytes(8), "no sound gzip file"),
    ],
)
def test_damaged_compressed_disks_are_told(
    tmp_path: Path, stream: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    packed = tmp_path / "p"
    packed.write_bytes(damage(gzip.compress(stream.read_bytes())))
    text = descriptor([File("disk1.vmdk.gz", 'ovf:compression="gzip"')])
    _, ovf = write_ova(tmp_path / "y", text, {"disk1.vmdk.gz": packed})
    with pytest.raises(SourceUnreadableError, match=words):
        read(ovf, tmp_path)


def test_a_disk_without_room_to_unpack_is_refused(
    tmp_path: Path, stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "p"
    packed.write_bytes(gzip.compress(stream.read_bytes()))
    text = descriptor([File("disk1.vmdk.gz", 'ovf:compression="gzip"')])
    _, ovf = write_ova(tmp_path / "y", text, {"disk1.vmdk.gz": packed})
    monkeypatch.setattr(packed_disk, "_KEPT_FREE", 2**60)
    with pytest.raises(OutputRefusedError, match="too little space") as caught:
        read(ovf, tmp_path)
    assert "TMPDIR" in caught.value.remedy


def test_the_disk_is_right_about_its_size(tmp_path: Path, stream: Path) -> None:
    text = descriptor([File("disk1.vmdk", disk='ovf:capacity="40000000"')])
    ova, _ = write_ova(tmp_path / "y", text, {"disk1.vmdk": stream})
    (note,) = read_machine(ova).notes
    assert f"40000000 bytes, but it has {SMALL_SIZE}; the disk is right" in note
    rounded = 'ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30"'
    text = descriptor([File("disk1.vmdk", disk=rounded)])
    ova, _ = write_ova(tmp_path / "z", text, {"disk1.vmdk": stream})
    assert read_machine(ova).notes == ()


def test_the_stated_size_of_a_file_is_compared(
    tmp_path: Path, small_raw: Path, stream: Path
) -> None:
    longer = f'ovf:size="{SMALL_SIZE + 512}"'
    ova, _ = write_ova(tmp_path / "y", descriptor([File("d.raw", longer)]), {"d.raw": small_raw})
    with pytest.raises(SourceUnreadableError, match=r"d\.raw is cut off"):
        read_machine(ova)
    # A VMDK shows by itself whether it is whole.
    text = descriptor([File("disk1.vmdk", longer)])
    ova, _ = write_ova(tmp_path / "z", text, {"disk1.vmdk": stream})
    assert f"should have {SMALL_SIZE + 512} bytes" in read_machine(ova).notes[0]


def test_other_archives_called_ova_are_told_what_they_are(ova: Path) -> None:
    ova.write_bytes(gzip.compress(ova.read_bytes()))
    with pytest.raises(SourceUnreadableError, match="a gzip archive"):
        read_machine(ova)


def test_empty_disks_are_left_out_unless_there_are_no_others(tmp_path: Path, stream: Path) -> None:
    text = descriptor([File("disk1.vmdk"), File("none")]).replace('ovf:fileRef="file2"', "")
    ova, _ = write_ova(tmp_path / "y", text, {"disk1.vmdk": stream})
    machine = read_machine(ova)
    assert len(machine.disks) == 1
    assert "vmdisk2 has no file: it is empty" in machine.notes[0]
    text = descriptor([File("none")]).replace('ovf:fileRef="file1"', "")
    ova, _ = write_ova(tmp_path / "z", text, {})
    with pytest.raises(SourceUnreadableError, match="all of whose disks are empty"):
        read_machine(ova)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (descriptor([]), SourceUnreadableError, "without a hard disk"),
        (descriptor([File("gone.vmdk")]), SourceUnreadableError, r"not in .*: gone\.vmdk"),
        (descriptor([File("../disk1.vmdk")]), SourceUnsafeError, "climbs out"),
        (descriptor([File("..%2fdisk1.vmdk")]), SourceUnsafeError, "climbs out"),
        (descriptor([File("/etc/passwd")]), SourceUnsafeError, "absolute path"),
        (descriptor([File("file:///etc/passwd")]), SourceUnsafeError, "protocol"),
        (descriptor([File("https://x/disk1.vmdk")]), SourceUnsafeError, "on the network"),
        (descriptor([File("nbd:unix:/x")]), SourceUnsafeError, "protocol"),
        (
            descriptor([File("disk1.vmdk", 'ovf:compression="bzip2"')]),
            SourceUnreadableError,
            "compressed by bzip2",
        ),
        (
            descriptor([File("disk1.vmdk", disk='ovf:parentRef="vmdisk0"')]),
            SourceUnreadableError,
            "changes to another",
        ),
        (
            descriptor(disk_items=[disk_item(n, "vmdisk1", 3, n) for n in (20, 21)]),
            SourceUnreadableError,
            "on two places",
        ),
        (
            descriptor().replace('ovf:fileRef="file1"', 'ovf:fileRef="file7"'),
            SourceUnreadableError,
            'in the file "file7", which is not',
        ),
    ],
)
@pytest.mark.parametrize("in_archive", [True, False])
def test_disks_that_cannot_be_had(
    tmp_path: Path,
    stream: Path,
    text: str,
    error: type[SourceUnreadableError],
    words: str,
    in_archive: bool,
) -> None:
    ova, ovf = write_ova(tmp_path / "y", text, {"disk1.vmdk": stream})
    with pytest.raises(error, match=words) as caught:
        read_machine(ova if in_archive else ovf)
    assert caught.value.remedy


def test_archives_without_one_ovf_say_what_they_hold(tmp_path: Path, stream: Path) -> None:
    ova = pack(tmp_path / "a.ova", [stream])
    with pytest.raises(SourceUnreadableError, match=r"no OVF file, but disk\.vmdk"):
        read_machine(ova)
    for name in ("a.ovf", "b.ovf"):
        (stream.parent / name).write_text(descriptor())
    pack(ova, [stream.parent / "a.ovf", stream.parent / "b.ovf"])
    with pytest.raises(SourceUnreadableError, match=r"2 OVF files: a\.ovf, b\.ovf"):
        read_machine(ova)


def test_a_disk_of_several_files_has_no_place_in_an_ova(
    tmp_path: Path, make_vmdk: MakeVmdk
) -> None:
    flat = make_vmdk("monolithicFlat", name="flat.vmdk")
    ova, ovf = write_ova(
        tmp_path / "y",
        descriptor([File("flat.vmdk")]),
        {"flat.vmdk": flat, "flat-flat.vmdk": flat.with_name("flat-flat.vmdk")},
    )
    with pytest.raises(SourceUnreadableError, match=r"flat\.vmdk in .* a VMDK descriptor"):
        read_machine(ova)
    assert len(read_machine(ovf).disks[0].image.files) == 2


def test_images_in_an_ova_may_not_be_based_on_others(tmp_path: Path, small_raw: Path) -> None:
    shutil.copy(small_raw, tmp_path / "base.raw")
    top = tmp_path / "top.qcow2"
    qemu_img(
        "create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top, cwd=tmp_path
    )  # fmt: skip
    ova, _ = write_ova(tmp_path / "y", descriptor([File("top.qcow2")]), {"top.qcow2": top})
    shutil.copy(small_raw, ova.with_name("base.raw"))
    with pytest.raises(SourceUnreadableError, match="based on another"):
        read_machine(ova)


def test_a_disk_that_is_cut_off_in_its_archive_is_told(tmp_path: Path, stream: Path) -> None:
    cut = tmp_path / "cut.vmdk"
    cut.write_bytes(stream.read_bytes()[: 1024 * 200])
    ova, _ = write_ova(tmp_path / "y", descriptor(), {"disk1.vmdk": cut})
    with pytest.raises(SourceUnreadableError, match=r"disk1\.vmdk in .*box\.ova is cut off"):
        read_machine(ova)
