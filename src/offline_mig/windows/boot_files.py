r"""The files that a Windows is started from, in the order in which they are read.

Sources: Microsoft, "Windows XP Professional resource kit", Troubleshooting startup (NT 5), and
"Boot and UEFI" with the pages on BCDBoot and on troubleshooting boot problems (NT 6 and later); the
UEFI specification, 3.5.1.1, for the file that firmware starts when it has no boot entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from offline_mig.windows.version import Architecture, WindowsVersion

#: The first NT that comes with the boot manager and its configuration instead of NTLDR.
_VISTA = (6, 0)
#: What the fallback is called for each processor (UEFI specification, table 3-2).
_FALLBACK = {
    Architecture.X86: "BOOTIA32.EFI",
    Architecture.AMD64: "BOOTX64.EFI",
    Architecture.ARM64: "BOOTAA64.EFI",
}


class BootVolumeRole(StrEnum):
    """Which volume a file is on: what Microsoft calls the system volume and the boot volume."""

    #: The one that the firmware starts from: the active partition, or the EFI system partition.
    STARTED = "started"
    #: The one with the Windows directory.
    WINDOWS = "windows"


class Need(StrEnum):
    """What happens without a file."""

    #: Windows does not start.
    REQUIRED = "required"
    #: Something else is taken, or it is needed only where the text says so.
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class BootFile:
    r"""A file, by its path from the root of its volume with slashes, and what it is for.

    On the volume with Windows, the path is from the Windows directory.
    """

    path: str
    role: BootVolumeRole
    need: Need
    purpose: str


def boot_files(version: WindowsVersion, *, uefi: bool) -> tuple[BootFile, ...]:
    """Return the files that a Windows is started from under a BIOS or under UEFI.

    NT 5 knows no UEFI on the processors that there are virtual machines for; ``uefi`` is of no
    account for it.
    """
    if version.nt < _VISTA:
        return (*_NTLDR, *_kernel())
    if uefi:
        return (*_uefi(version.architecture), _loader("winload.efi"), *_kernel())
    return (*_BOOTMGR, _loader("winload.exe"), *_kernel())


def _started(path: str, purpose: str, need: Need = Need.REQUIRED) -> BootFile:
    return BootFile(path, BootVolumeRole.STARTED, need, purpose)


def _of_windows(path: str, purpose: str) -> BootFile:
    return BootFile(path, BootVolumeRole.WINDOWS, Need.REQUIRED, purpose)


def _loader(name: str) -> BootFile:
    return _of_windows(f"System32/{name}", "the loader of Windows, which the boot manager starts")


def _kernel() -> tuple[BootFile, ...]:
    return (
        _of_windows("System32/ntoskrnl.exe", "the kernel"),
        _of_windows("System32/hal.dll", "what the kernel reaches the hardware through"),
        _of_windows("System32/config/SYSTEM", "the hive that says which drivers to load"),
    )


def _uefi(architecture: Architecture) -> tuple[BootFile, ...]:
    return (
        _started(
            f"EFI/BOOT/{_FALLBACK[architecture]}",
            "what firmware starts that has no boot entry, as that of a new virtual machine",
            Need.OPTIONAL,
        ),
        _started("EFI/Microsoft/Boot/bootmgfw.efi", "the boot manager"),
        _started("EFI/Microsoft/Boot/BCD", "the boot configuration"),
    )


_NTLDR = (
    _started("ntldr", "the loader, which the boot sector starts"),
    _started("boot.ini", "says where Windows is; else it is looked for on the first partition",
             Need.OPTIONAL),
    _started("NTDETECT.COM", "finds out about the hardware for the loader"),
    _started("ntbootdd.sys", "the driver for disks that boot.ini names by scsi() or signature()",
             Need.OPTIONAL),
)  # fmt: skip
_BOOTMGR = (
    _started("bootmgr", "the boot manager, which the boot sector starts"),
    _started("Boot/BCD", "the boot configuration"),
)
