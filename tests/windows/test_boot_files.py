"""The files that a Windows is started from, looked for in the made guests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures import windows_tree
from fixtures.guest_spec import GuestKind, GuestSpec
from offline_mig.windows.boot_files import BootVolumeRole, Need, boot_files
from offline_mig.windows.short_name import every_windows, parse_short_name

STARTED_VOLUMES: Mapping[GuestKind, Mapping[str, bytes]] = {
    GuestKind.XP: windows_tree.system_volume(GuestSpec(GuestKind.XP)),
    GuestKind.WINDOWS_7: windows_tree.system_reserved(),
    GuestKind.WINDOWS_10: windows_tree.efi_system_partition(),
}


@pytest.mark.parametrize(
    ("kind", "name", "uefi"),
    [
        (GuestKind.XP, "xp-x86", False),
        (GuestKind.WINDOWS_7, "w7-amd64", False),
        (GuestKind.WINDOWS_10, "w10-amd64", True),
    ],
)
def test_made_guests_have_all_that_is_required(kind: GuestKind, name: str, uefi: bool) -> None:
    spec = GuestSpec(kind)
    started = {path.lower() for path in STARTED_VOLUMES[kind]}
    windows = {path.lower() for path in windows_tree.system_volume(spec)}
    root = windows_tree.windows_folder(spec)
    for file in boot_files(parse_short_name(name), uefi=uefi):
        if file.need is Need.OPTIONAL:
            continue
        if file.role is BootVolumeRole.STARTED:
            assert file.path.lower() in started, file.path
        else:
            assert f"{root}/{file.path}".lower() in windows, file.path


@pytest.mark.parametrize(
    ("name", "uefi", "loader"),
    [
        ("2k-x86", False, "ntldr"),
        ("2k3-amd64", True, "ntldr"),
        ("vista-x86", False, "winload.exe"),
        ("w7-amd64", True, "winload.efi"),
        ("2k25-amd64", False, "winload.exe"),
        ("w11-ARM64", True, "winload.efi"),
    ],
)
def test_each_windows_has_one_loader(name: str, uefi: bool, loader: str) -> None:
    names = [file.path.rpartition("/")[2] for file in boot_files(parse_short_name(name), uefi=uefi)]
    assert [n for n in names if n == "ntldr" or n.startswith("winload")] == [loader]


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        ("w10-x86", "EFI/BOOT/BOOTIA32.EFI"),
        ("w10-amd64", "EFI/BOOT/BOOTX64.EFI"),
        ("w11-ARM64", "EFI/BOOT/BOOTAA64.EFI"),
    ],
)
def test_the_fallback_of_firmware_is_named_for_the_processor(name: str, fallback: str) -> None:
    first = boot_files(parse_short_name(name), uefi=True)[0]
    assert (first.path, first.need) == (fallback, Need.OPTIONAL)


def test_every_windows_has_a_way_to_its_kernel() -> None:
    for version in every_windows():
        for uefi in (False, True):
            files = boot_files(version, uefi=uefi)
            assert files[-3].path == "System32/ntoskrnl.exe"
            assert any(file.role is BootVolumeRole.STARTED for file in files)
