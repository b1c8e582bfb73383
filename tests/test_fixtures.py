"""The guest builder, checked by programs that know nothing of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import libarchive
import pefile
import pytest

from fixtures import catalogue, ntfs_dirt, windows7_registry, windows10_registry, xp_registry
from fixtures.appliance import launched
from fixtures.base_images import base_images
from fixtures.cabinets import lzx_cabinet, mszip_cabinet
from fixtures.catalogue import WINDOWS_7 as W7
from fixtures.catalogue import WINDOWS_10 as W10
from fixtures.catalogue import XP
from fixtures.disk import DiskPlan, plan_disk
from fixtures.disk_layout import DISK_SIZE, SYSTEM_VOLUME_OFFSET
from fixtures.guest_spec import GuestKind, GuestSpec, Variant
from fixtures.guests import BuildGuest
from fixtures.hive_bytes import damaged, dirty
from fixtures.hives import Keys, build_hive
from fixtures.pe import MACHINE_AMD64, MACHINE_ARM64, MACHINE_I386, minimal_pe
from fixtures.virtio_win import ALL_RELEASES, driver_files, drivers_of
from fixtures.virtio_win_infs import XP_X86, DeviceDriver, Release
from fixtures.vmware import VmdkKind, write_vmdk
from fixtures.windows_tree import system_volume

SYSTEM_HIVES: dict[str, Keys] = {
    "xp": xp_registry.system(Variant()),
    "w7": windows7_registry.system(W7),
    "w10": windows10_registry.system(Variant()),
}
SOFTWARE_HIVES: dict[str, Keys] = {
    "Microsoft Windows XP": xp_registry.software(Variant()),
    "Windows 7 Professional": windows7_registry.software(W7),
    "Windows 10 Pro": windows10_registry.software(Variant()),
}


def _output(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("machine", [MACHINE_I386, MACHINE_AMD64, MACHINE_ARM64])
def test_pefile_and_file_take_the_images(machine: int, tmp_path: Path) -> None:
    image = minimal_pe(
        machine, imports=("SCSIPORT.SYS", "ntoskrnl.exe"), version=(5, 1, 2600, 5512)
    )
    parsed = pefile.PE(data=image)
    assert parsed.FILE_HEADER.Machine == machine
    assert parsed.verify_checksum()
    assert [entry.dll for entry in parsed.DIRECTORY_ENTRY_IMPORT] == [
        b"SCSIPORT.SYS",
        b"ntoskrnl.exe",
    ]
    assert parsed.DIRECTORY_ENTRY_IMPORT[0].imports[0].name == b"ScsiPortInitialize"
    assert parsed.FileInfo[0][0].StringTable[0].entries == {b"FileVersion": b"5.1.2600.5512"}
    # That most of a driver without code is zeros is the one thing that pefile may say.
    assert all(warning.startswith("Byte 0x00") for warning in parsed.get_warnings())
    path = tmp_path / "driver.sys"
    path.write_bytes(image)
    assert "(native)" in _output("file", "--brief", path)


@pytest.mark.parametrize("name", SYSTEM_HIVES)
def test_reglookup_reads_the_system_hives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "SYSTEM"
    path.write_bytes(build_hive("SYSTEM", SYSTEM_HIVES[name]))
    result = subprocess.run(["reglookup", path], check=True, capture_output=True, text=True)
    assert result.stderr == ""
    lines = {line.lower() for line in result.stdout.splitlines()}
    assert "/select/current,dword,0x00000001," in lines
    assert "/controlset001/services/disk/start,dword,0x00000000," in lines
    keys = [line for line in result.stdout.splitlines() if ",KEY," in line]
    assert len(keys) > len(SYSTEM_HIVES[name])


@pytest.mark.parametrize("product", SOFTWARE_HIVES)
def test_hivexget_reads_the_product_name(product: str, tmp_path: Path) -> None:
    path = tmp_path / "SOFTWARE"
    path.write_bytes(build_hive("SOFTWARE", SOFTWARE_HIVES[product]))
    key = "Microsoft\\Windows NT\\CurrentVersion"
    assert _output("hivexget", path, key, "ProductName").strip() == product


def test_a_declaration_always_gives_the_same_hive() -> None:
    keys = SYSTEM_HIVES["xp"]
    assert build_hive("SYSTEM", keys) == build_hive("SYSTEM", keys)


def test_what_is_dirty_and_damaged(tmp_path: Path) -> None:
    hive = build_hive("SYSTEM", SYSTEM_HIVES["xp"])
    path = tmp_path / "SYSTEM"
    path.write_bytes(dirty(hive))
    first, second = (int.from_bytes(path.read_bytes()[at : at + 4], "little") for at in (4, 8))
    assert first == second + 1
    # Dirty, yet readable: hivexget does not look at the sequence numbers.
    assert _output("hivexget", path, "Select", "Current").strip() == "1"
    path.write_bytes(damaged(hive))
    refused = subprocess.run(["hivexget", path, "Select", "Current"], capture_output=True)
    assert refused.returncode != 0


FILES = {"atapi.sys": bytes(range(256)) * 300 + b"!", "intelide.sys": b"MZ small", "empty": b""}


@pytest.mark.parametrize("write", [mszip_cabinet, lzx_cabinet])
def test_cabextract_and_libarchive_unpack_the_cabinets(
    write: Callable[[Mapping[str, bytes]], bytes], tmp_path: Path
) -> None:
    content = write(FILES)
    path = tmp_path / "driver.cab"
    path.write_bytes(content)
    _output("cabextract", "--test", path)
    _output("cabextract", "--quiet", "--directory", tmp_path / "out", path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == FILES
    with libarchive.memory_reader(content) as archive:
        assert {entry.pathname: b"".join(entry.get_blocks()) for entry in archive} == FILES


def test_the_lzx_cabinet_says_so(tmp_path: Path) -> None:
    path = tmp_path / "driver.cab"
    path.write_bytes(lzx_cabinet(FILES))
    assert "LZX:21" in _output("file", path) or path.read_bytes()[42:44] == b"\x03\x15"


@pytest.mark.parametrize("release", ALL_RELEASES, ids=lambda r: f"{r.folder}-{r.architecture}")
def test_driver_folders_hold_what_their_inf_names(release: Release) -> None:
    for driver in drivers_of(release):
        files = driver_files(driver, release)
        inf = next(content for name, content in files.items() if name.endswith(".inf")).decode()
        assert all(line.endswith("\r") for line in inf.split("\n")[:-1])
        assert all(name in inf for name in files if name.endswith((".sys", ".dll")))
        assert f"DriverVer = {release.version}" in inf or driver.value.startswith("qxl")


def test_xp_storage_driver_needs_scsiport() -> None:
    image = pefile.PE(data=driver_files(DeviceDriver.VIOSTOR, XP_X86)["viostor.sys"])
    assert image.DIRECTORY_ENTRY_IMPORT[0].dll == b"SCSIPORT.SYS"
    assert DeviceDriver.VIOSCSI not in drivers_of(XP_X86)


def test_the_iso_has_the_same_files(drivers_dir: Path, drivers_iso: Path) -> None:
    with libarchive.file_reader(str(drivers_iso)) as archive:
        on_iso = {entry.pathname: b"".join(entry.get_blocks()) for entry in archive if entry.isfile}
    on_disk = {
        str(path.relative_to(drivers_dir)): path.read_bytes()
        for path in drivers_dir.rglob("*")
        if path.is_file()
    }
    assert on_iso == on_disk
    assert "viostor/xp/x86/viostor.sys" in on_iso


def test_a_scsi_only_xp_has_its_ide_drivers_in_cabinets_only() -> None:
    files = system_volume(XP)
    drivers = {path.rsplit("/", 1)[1] for path in files if "/drivers/" in path}
    assert {"vmscsi.sys", "symmpi.sys", "scsiport.sys", "disk.sys"} <= drivers
    assert not drivers & {"atapi.sys", "intelide.sys", "pciide.sys", "pciidex.sys"}
    with libarchive.memory_reader(files["WINDOWS/Driver Cache/i386/driver.cab"]) as archive:
        names = {entry.pathname for entry in archive}
    assert {"atapi.sys", "intelide.sys", "pciide.sys", "pciidex.sys"} <= names


@pytest.mark.parametrize("spec", [XP, W7, W10], ids=lambda spec: spec.kind.value)
def test_sfdisk_reads_the_partition_table(spec: GuestSpec, tmp_path: Path) -> None:
    plan = plan_disk(spec)
    path = tmp_path / "disk.raw"
    with path.open("wb") as image:
        image.truncate(plan.size)
        for offset, data in plan.raw.items():
            image.seek(offset)
            image.write(data)
    verified = subprocess.run(["sfdisk", "--verify", path], capture_output=True, text=True)
    assert verified.returncode == 0
    table = json.loads(_output("sfdisk", "--json", path))["partitiontable"]
    partitions = table["partitions"]
    offsets = [partition["start"] * 512 for partition in partitions]
    assert SYSTEM_VOLUME_OFFSET[spec.kind] == offsets[-1]
    for before, after in pairwise(partitions):
        assert before["start"] + before["size"] <= after["start"]
    if spec.kind is GuestKind.WINDOWS_10:
        assert table["label"] == "gpt"
    else:
        assert partitions[0]["bootable"]


def test_plans_tell_guests_apart() -> None:
    digests = {
        plan_disk(spec).digest()
        for spec in (
            XP,
            W7,
            W10,
            GuestSpec(GuestKind.XP, Variant(dirty_volume=True)),
            GuestSpec(GuestKind.XP, Variant(dirty_hive=True)),
            GuestSpec(GuestKind.XP, Variant(two_windows=True)),
            GuestSpec(GuestKind.WINDOWS_7, Variant(bitlocker=True)),
        )
    }
    assert len(digests) == 7
    assert plan_disk(XP).digest() == plan_disk(XP).digest()


def test_a_base_image_is_built_once_and_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFLINE_MIG_FIXTURES", str(tmp_path))
    plan = DiskPlan(1024 * 1024, {0: b"first sector"})
    (path,) = base_images([("empty", plan)])
    before = path.stat()
    assert path.read_bytes()[:12] == b"first sector"
    assert not path.stat().st_mode & 0o222
    assert base_images([("empty", plan)]) == [path]
    assert path.stat().st_ino == before.st_ino
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "lock"}


@pytest.mark.parametrize("kind", VmdkKind)
def test_qemu_img_takes_every_kind_of_vmdk(kind: VmdkKind, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as image:
        image.truncate(8 * 1024 * 1024)
        image.seek(63 * 512)
        image.write(b"NTFS" * 1000)
    vmdk = write_vmdk(raw, tmp_path / "disk.vmdk", kind)
    information = json.loads(_output("qemu-img", "info", "--output=json", vmdk))
    assert information["format-specific"]["data"]["create-type"] == kind.value
    if kind in {VmdkKind.MONOLITHIC_SPARSE, VmdkKind.STREAM_OPTIMIZED}:
        _output("qemu-img", "check", vmdk)
    assert "identical" in _output("qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, vmdk)


def test_a_disk_beyond_two_gigabytes_is_split(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(1024 * 1024))
    vmdk = write_vmdk(raw, tmp_path / "disk.vmdk", VmdkKind.SPLIT_SPARSE, virtual_size=5 * 1024**3)
    extents = json.loads(_output("qemu-img", "info", "--output=json", vmdk))["format-specific"]
    assert len(extents["data"]["extents"]) == 3
    assert len(list(tmp_path.glob("disk-s*.vmdk"))) == 3


@pytest.mark.appliance
def test_independent_inspection_knows_the_plain_guests(
    base_image: Callable[[GuestSpec], Path],
) -> None:
    images = [base_image(spec) for spec in (XP, W7, W10)]
    appliance = launched(*images, readonly=True)
    try:
        found = {
            appliance.inspect_get_product_name(root): (
                appliance.inspect_get_major_version(root),
                appliance.inspect_get_minor_version(root),
                appliance.inspect_get_arch(root),
                appliance.inspect_get_windows_systemroot(root),
                appliance.inspect_get_drive_mappings(root) == {"C": root},
            )
            for root in appliance.inspect_os()
        }
        assert found == {
            "Microsoft Windows XP": (5, 1, "i386", "/WINDOWS", True),
            "Windows 7 Professional": (6, 1, "x86_64", "/Windows", True),
            "Windows 10 Pro": (10, 0, "x86_64", "/Windows", True),
        }
        appliance.mount_ro("/dev/sda1", "/")
        assert appliance.is_file("/WINDOWS/system32/config/system")
        assert appliance.read_file("/boot.ini").startswith(b"[boot loader]")
        expected = {f"/{path}" for path in system_volume(XP) if not path.endswith("/")}
        assert {path for path in expected if not appliance.is_file(path)} == set()
        appliance.umount_all()
        appliance.mount_ro("/dev/sdc1", "/")
        assert appliance.is_file("/EFI/Microsoft/Boot/bootmgfw.efi")
    finally:
        appliance.close()


@pytest.mark.appliance
def test_states_that_must_be_refused_are_really_there(
    base_image: Callable[[GuestSpec], Path],
) -> None:
    hibernated = base_image(catalogue.XP_HIBERNATED)
    unclean = base_image(catalogue.XP_DIRTY_VOLUME)
    two = base_image(catalogue.TWO_WINDOWS)
    without = base_image(catalogue.WITHOUT_WINDOWS)
    appliance = launched(hibernated, unclean, two, without, readonly=True)
    try:
        appliance.mount_ro("/dev/sda1", "/")
        assert appliance.pread("/hiberfil.sys", 4, 0) == b"hibr"
        appliance.umount_all()
        # ntfs-3g compares the first records of the table with their mirror when it mounts.
        appliance.mount_ro("/dev/sdb1", "/")
        appliance.umount_all()
        windows = {}
        for device in ("/dev/sdc1", "/dev/sdc2", "/dev/sdd1"):
            appliance.mount_ro(device, "/")
            windows[device] = [name for name in appliance.ls("/") if name.startswith("W")]
            windows[device] += [name for name in appliance.ls("/") if name == "Documents"]
            appliance.umount_all()
        assert windows == {
            "/dev/sdc1": ["WINDOWS"],
            "/dev/sdc2": ["Windows"],
            "/dev/sdd1": ["Documents"],
        }
    finally:
        appliance.close()
    volume = SYSTEM_VOLUME_OFFSET[GuestKind.XP]
    assert _volume_is_dirty(unclean, volume)
    assert not _volume_is_dirty(base_image(XP), volume)


def _volume_is_dirty(image: Path, offset: int) -> bool:
    with image.open("rb") as file:
        file.seek(offset + 48)
        cluster = int.from_bytes(file.read(8), "little")
        at = offset + cluster * 4096 + 3 * 1024
        file.seek(at)
        record = file.read(1024)
    return bool(record[ntfs_dirt.flags_offset(record)] & 1)


def test_encrypted_and_dynamic_disks_show_it() -> None:
    encrypted = plan_disk(GuestSpec(GuestKind.WINDOWS_7, Variant(bitlocker=True)))
    boot_sector = encrypted.raw[SYSTEM_VOLUME_OFFSET[GuestKind.WINDOWS_7]]
    assert boot_sector[3:11] == b"-FVE-FS-"
    assert len(boot_sector) == 512
    dynamic = plan_disk(GuestSpec(GuestKind.WINDOWS_7, Variant(dynamic_disk=True)))
    assert {dynamic.raw[0][446 + 16 * n + 4] for n in range(2)} == {0x42}


@pytest.mark.appliance
def test_a_guest_is_a_machine_that_qemu_img_can_read(
    base_image: Callable[[GuestSpec], Path], guest: BuildGuest
) -> None:
    image = base_image(XP)
    built = guest(XP, vmdk_kind=VmdkKind.SPLIT_SPARSE)
    assert built.base_image == image
    vmx = dict(line.split(" = ", 1) for line in built.vmx.read_text().splitlines())
    assert vmx["scsi0.virtualDev"] == '"buslogic"'
    assert vmx["ethernet0.address"] == '"00:50:56:1a:2b:3c"'
    assert vmx["scsi0:0.fileName"] == f'"{built.disk.name}"'
    assert "identical" in _output("qemu-img", "compare", "-F", "vmdk", image, built.disk)
    assert image.stat().st_size == DISK_SIZE[GuestKind.XP]


@pytest.mark.data
@pytest.mark.appliance
def test_real_hives_take_the_place_of_made_ones(
    shared_data: Path, base_image: Callable[[GuestSpec], Path]
) -> None:
    appliance = launched(base_image(catalogue.REAL_WINDOWS_7), readonly=True)
    try:
        (root,) = appliance.inspect_os()
        assert appliance.inspect_get_product_name(root) == "Windows 7 Ultimate"
        assert appliance.inspect_get_arch(root) == "i386"
    finally:
        appliance.close()
