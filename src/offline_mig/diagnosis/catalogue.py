"""The catalogue of findings: every id with what it means, what to do, and how that is known.

Ids are stable: scripts may go by them. ``docs/findings`` has a page for each, written from here.
"""

from __future__ import annotations

from offline_mig.diagnosis.finding import FindingKind, Link, Severity

_7B = "0x0000007B INACCESSIBLE_BOOT_DEVICE"
_EXPERIMENTS = (
    "Boots of an NT 5.2 like kernel with the genuine viostor.sys of virtio-win, its hives edited "
    "between them"
)
_SERVICES = 'Microsoft, "HKLM\\SYSTEM\\CurrentControlSet\\Services Registry Tree"'
_REPAIR = "`offline-mig repair` does it"


def _stop(
    identifier: str,
    link: Link,
    title: str,
    explanation: str,
    remedy: str,
    source: str,
    stop: str = _7B,
) -> FindingKind:
    return FindingKind(identifier, Severity.STOP, link, title, explanation, remedy, source, stop)


FIRMWARE_MISMATCH = _stop(
    "BOOT-FIRMWARE-MISMATCH",
    Link.FIRMWARE,
    "The disk is laid out for the other kind of firmware",
    "Windows starts from a GPT disk under UEFI only and from an MBR disk under a BIOS only; the "
    "firmware finds nothing to start, or a boot manager that cannot go on.",
    "Give the machine the firmware that the guest had: UEFI for an EFI system partition, BIOS "
    "otherwise.",
    'Microsoft, "Windows and GPT FAQ"',
    "no bootable device",
)
NO_BOOT_CODE = _stop(
    "BOOT-NO-BOOT-CODE",
    Link.FIRMWARE,
    "The disk has no code that a BIOS could start",
    "A BIOS starts the code in the first sector of the disk. Some conversions lose it, and disks "
    "that never were boot disks have none.",
    "Start a Windows CD of the guest's version and run 'bootrec /fixmbr' ('fixmbr' of XP's "
    "recovery console), or take the first 440 bytes of a disk of the same Windows.",
    'Microsoft, "Bootrec.exe"; adminsyspro/proxcenter-ui issue 292',
    "no bootable device",
)
NO_ACTIVE_PARTITION = _stop(
    "BOOT-NO-ACTIVE-PARTITION",
    Link.FIRMWARE,
    "No single partition is marked as the one to start from",
    "The code of Windows in the first sector goes on with the active partition, and gives up when "
    "there is none, when there are several, or when the table makes no sense.",
    f"Mark the partition with the boot manager as active: {_REPAIR} where it is clear which.",
    'Microsoft, "Master boot record"',
    "Missing operating system, or Invalid partition table",
)
NO_ESP = _stop(
    "BOOT-NO-ESP",
    Link.FIRMWARE,
    "There is no EFI system partition that can be read",
    "UEFI firmware starts a file on a FAT volume that the partition table calls an EFI system "
    "partition.",
    "Make one and run 'bcdboot C:\\Windows /f UEFI' from a Windows CD.",
    "UEFI specification, 13.3",
    "no bootable device",
)
NO_EFI_FALLBACK = _stop(
    "BOOT-NO-EFI-FALLBACK",
    Link.FIRMWARE,
    "The firmware finds no Windows by itself",
    "Which loader to start, UEFI firmware keeps in its own memory, which a new machine has empty. "
    "It then looks for \\EFI\\BOOT\\BOOTX64.EFI on the EFI system partition, and nothing else.",
    f"Copy \\EFI\\Microsoft\\Boot\\bootmgfw.efi there: {_REPAIR}.",
    "UEFI specification, 3.5.1.1; libguestfs/virt-v2v",
    "the firmware's shell, or no bootable device",
)
BOOT_SECTOR = _stop(
    "BOOT-SECTOR",
    Link.BOOT_SECTOR,
    "The boot sector of the volume does not start this Windows",
    "The first sectors of the volume load NTLDR up to Windows 2003 and BOOTMGR from Vista on. "
    "Those of another Windows, or of a volume that was formatted elsewhere, look for the wrong "
    "file.",
    "Start a Windows CD of the guest's version and run 'bootsect /nt60 SYS' or, for XP, 'fixboot'.",
    'Microsoft, "Bootsect command-line options"',
    "NTLDR is missing, or BOOTMGR is missing",
)
HIDDEN_SECTORS = _stop(
    "BOOT-SECTOR-PLACE",
    Link.BOOT_SECTOR,
    "The boot sector believes the volume to be elsewhere on the disk",
    "The code in the boot sector adds the number of hidden sectors to every sector that it reads. "
    "It is wrong after a partition was copied to another place or made by other tools.",
    f"Write the right number into the boot sector: {_REPAIR}.",
    "The NTFS boot code; QEMU bug 586175 and a report on qemu-devel of July 2010",
    "A disk read error occurred",
)
BOOT_GEOMETRY = FindingKind(
    "BOOT-SECTOR-GEOMETRY",
    Severity.WARNING,
    Link.BOOT_SECTOR,
    "The boot sector counts with other heads and tracks than the BIOS",
    "The boot code of Windows 2000 to 2003 reads the beginning of the disk by cylinder, head and "
    "sector, with the numbers that the volume was formatted with. A hypervisor may count others.",
    f"Write the BIOS's numbers into the boot sector: {_REPAIR}.",
    "libguestfs/virt-v2v; Stack Overflow question 17493583; one report says that they are of no "
    "effect",
    "A disk read error occurred",
)
NO_LOADER = _stop(
    "BOOT-NO-LOADER",
    Link.BOOT_MANAGER,
    "A file that starts Windows is missing",
    "Windows up to 2003 is started by ntldr with NTDETECT.COM, later ones by bootmgr or, under "
    "UEFI, bootmgfw.efi.",
    "Restore the file: from the Windows CD, or with 'bcdboot C:\\Windows'.",
    'Microsoft, "BCDBoot command-line options"; KB 314057',
    "NTLDR or BOOTMGR is missing",
)
NO_CONFIGURATION = _stop(
    "BOOT-NO-CONFIGURATION",
    Link.CONFIGURATION,
    "The boot configuration is missing or damaged",
    "The boot manager reads from its store (BCD) which Windows to start and where it is.",
    "Make a new one with 'bcdboot C:\\Windows' from a Windows CD.",
    'Microsoft, "BCDBoot command-line options"',
    "0xC000000F",
)
CONFIGURATION_TARGET = _stop(
    "BOOT-CONFIGURATION-TARGET",
    Link.CONFIGURATION,
    "The boot configuration leads to no Windows",
    "boot.ini names a disk and a partition by their numbers; the BCD store names them by the "
    "disk's signature and the partition's place, or by their GUIDs. Both are wrong after "
    "partitions were moved, copied or put on another disk.",
    f"Let it name the volume with Windows: {_REPAIR} where it is clear which.",
    'VeeamHub/moov issue 9; garloff/Fix_BCD; Microsoft KB 102873 and "BCD reference"',
    "0xC000000E, or Windows could not start because of a hardware configuration problem",
)
NO_KERNEL = _stop(
    "BOOT-NO-KERNEL",
    Link.LOADER,
    "A file that every Windows begins with is missing",
    "The loader reads the kernel, the HAL and the hive SYSTEM from the Windows directory.",
    "Restore the file from the Windows CD or a backup.",
    'Microsoft, "Boot and UEFI"',
    "0xC000000F or 0xC0000225, or hal.dll is missing",
)
NO_SERVICE = _stop(
    "BOOT-NO-SERVICE",
    Link.CONTROLLER,
    "The driver's service is not there",
    "A driver is loaded by its service, a key below Services. Without it nothing is loaded, "
    "whatever files there are and whatever names the service.",
    f"Install the driver: {_REPAIR}, for VirtIO with --drivers.",
    f"{_EXPERIMENTS}; {_SERVICES}",
)
NOT_BOOT_START = _stop(
    "BOOT-NOT-BOOT-START",
    Link.CONTROLLER,
    "The driver is not loaded at boot",
    "Only drivers with Start = 0, a REG_DWORD, are loaded by the boot loader. All others come from "
    "the system volume, which cannot be read yet. Windows sets Start = 3 for many drivers whose "
    "device was absent when they were installed.",
    f"Set Start to 0 in every control set: {_REPAIR}.",
    f'{_EXPERIMENTS}: Start 1, 3, 4, none and a text "0" stopped each; Microsoft KB 922976',
)
START_OVERRIDE = _stop(
    "BOOT-STARTOVERRIDE",
    Link.CONTROLLER,
    "A StartOverride keeps the driver from being loaded at boot",
    "Windows notes drivers whose device was absent at the last start in a key StartOverride below "
    "the service (value 0 = 3), and goes by it instead of by Start. A driver that was installed "
    "while the guest still ran elsewhere is marked so, and so are the in-box drivers for IDE and "
    "AHCI.",
    f"Delete the key StartOverride of the driver: {_REPAIR}.",
    "virtio-win/virtio-win-guest-tools-installer issue 61, kubevirt/containerized-data-importer "
    "issue 4023, and many others; NT 5 does not know the key (" + _EXPERIMENTS + ")",
)
SERVICE_TYPE = _stop(
    "BOOT-SERVICE-TYPE",
    Link.CONTROLLER,
    "The service is not marked as a driver",
    "The boot loader loads services of Type 1 (kernel driver) and 2 (file system driver).",
    f"Set Type to 1: {_REPAIR}.",
    f"{_EXPERIMENTS}: without Type it stopped; {_SERVICES}",
)
IMAGE_PATH = _stop(
    "BOOT-IMAGE-PATH",
    Link.CONTROLLER,
    "The boot loader cannot follow the driver's path",
    "While Windows boots there are no drive letters and no environment: the path of a boot driver "
    "is relative to the Windows directory (system32\\drivers\\x.sys). From Vista on it may begin "
    "with \\SystemRoot\\.",
    f"Write the relative path: {_REPAIR}.",
    f"{_EXPERIMENTS}: \\SystemRoot\\, %SystemRoot%\\ and C:\\ stopped each; in-box services of "
    "Windows 10 for the other two forms",
)
UNTERMINATED = _stop(
    "BOOT-UNTERMINATED-TEXT",
    Link.CONTROLLER,
    "A text in the registry lacks its terminator",
    "An NT 5 loader reads texts up to a zero character. Tools that write the registry offline "
    "sometimes leave it out; the loader then looks for a file such as viostor.syss.",
    f"Write the text anew with its terminator: {_REPAIR}.",
    _EXPERIMENTS,
)
DRIVER_MISSING = _stop(
    "BOOT-DRIVER-MISSING",
    Link.CONTROLLER,
    "The driver's file is missing",
    "The service is registered, but the file that it names is not there.",
    f"Put the file there: {_REPAIR}, for VirtIO with --drivers.",
    f"{_EXPERIMENTS}: stopped with ErrorControl 1 and 3 alike",
)
DRIVER_UNREADABLE = FindingKind(
    "BOOT-DRIVER-UNREADABLE",
    Severity.UNKNOWN,
    Link.CONTROLLER,
    "The driver's file cannot be read from outside",
    "The file is there as a link or compressed by CompactOS (WOF). Windows' own loader reads the "
    "latter; whether the file is right cannot be seen from here.",
    "Where the guest still runs: compact.exe /CompactOS:never, then shut it down completely.",
    'Microsoft, "Compact OS, single-instancing, and image optimization"',
)
DRIVER_ARCHITECTURE = _stop(
    "BOOT-DRIVER-ARCHITECTURE",
    Link.CONTROLLER,
    "The driver is for another processor",
    "A 32-bit Windows loads 32-bit drivers only, a 64-bit one 64-bit drivers only; a file that is "
    "no driver at all is loaded by none.",
    f"Put the file of the right build there: {_REPAIR} with --drivers.",
    f"{_EXPERIMENTS}: the amd64 file on x86 stopped",
)
DRIVER_IMPORTS = _stop(
    "BOOT-DRIVER-IMPORTS",
    Link.CONTROLLER,
    "A module that the driver needs is missing",
    "Drivers import from others, storage drivers from scsiport.sys (XP) or storport.sys (2003 and "
    "later). The loader refuses a driver whose imports it cannot find. A build for another Windows "
    "often shows so.",
    f"Put the module there, or a build for this Windows: {_REPAIR} with --drivers.",
    f"{_EXPERIMENTS}: without scsiport.sys it stopped",
)
DRIVER_UNSIGNED = _stop(
    "BOOT-DRIVER-UNSIGNED",
    Link.CONTROLLER,
    "This Windows will not load the driver for want of a signature",
    "64-bit Windows from Vista on loads boot drivers only with a signature that it trusts. Builds "
    "that are signed for tests alone run with test-signing on.",
    "Put a signed build there: `offline-mig repair` with --drivers of a release that was signed "
    "for this Windows.",
    'Microsoft, "Kernel-Mode Code Signing Requirements"',
    "0xC0000428, the digital signature cannot be verified",
)
NO_DRIVER_RECORD = _stop(
    "BOOT-NO-DRIVER-RECORD",
    Link.CONTROLLER,
    "Windows does not know a driver for the disk controller",
    "A device that appears while Windows boots is looked up in a database: up to Windows 7 the "
    "CriticalDeviceDatabase, from Windows 8 on the DriverDatabase. Without an entry no driver is "
    "bound to the controller, though its file may be loaded.",
    f"Register the driver for the controller: {_REPAIR}, for VirtIO with --drivers.",
    f"{_EXPERIMENTS}; Microsoft KB 314082; lxc/distrobuilder, captures of a real DriverDatabase",
)
WRONG_DRIVER_RECORD = _stop(
    "BOOT-WRONG-DRIVER-RECORD",
    Link.CONTROLLER,
    "The best entry for the disk controller names a driver that cannot drive it",
    "The entry for the most exact id wins, right or wrong. A stale entry that names a service "
    "which is gone or is another device's keeps a good but less exact entry from being used.",
    f"Mend the entry that wins: {_REPAIR}.",
    f"{_EXPERIMENTS}: the full id named a missing service, the short one viostor, and it stopped",
)
RECORD_INCOMPLETE = _stop(
    "BOOT-RECORD-INCOMPLETE",
    Link.CONTROLLER,
    "The entry for the disk controller is incomplete",
    "An entry needs a Service and a ClassGUID. One that lacks either is found all the same and "
    "keeps others from being used.",
    f"Complete the entry: {_REPAIR}.",
    f"{_EXPERIMENTS}: without Service and without ClassGUID it stopped",
)
HALF_PACKAGE = _stop(
    "BOOT-HALF-PACKAGE",
    Link.CONTROLLER,
    "The driver package is registered by half",
    "From Windows 8 on a device id leads to an INF, that to a package, that to a configuration, "
    "and that to a service. Converters that write only some of these records leave a chain that "
    "breaks.",
    f"Register the package wholly: {_REPAIR} with --drivers.",
    "The DriverDatabase of an installed Windows 10; lxc/distrobuilder issue 401",
)
DEVICE_WITHOUT_DRIVER = _stop(
    "BOOT-DEVICE-WITHOUT-DRIVER",
    Link.CONTROLLER,
    "Windows met the disk controller before and has it down as a device without a driver",
    "A device that once appeared gets a key below Enum. If no driver was found then, the key has a "
    "class and no service, and Windows does not consult its database again while it boots.",
    f"Remove that key, so that Windows meets the device anew: {_REPAIR}.",
    _EXPERIMENTS,
)
DEVICE_DISABLED = _stop(
    "BOOT-DEVICE-DISABLED",
    Link.CONTROLLER,
    "The disk controller is disabled",
    "ConfigFlags of the device has bit 0 (CONFIGFLAG_DISABLED): somebody disabled it in the device "
    "manager.",
    f"Clear the bit: {_REPAIR}.",
    "regstr.h; the kernel of the experiments ignored the bit, Windows heeds it",
)
FILTER_MISSING = _stop(
    "BOOT-FILTER-MISSING",
    Link.FILTERS,
    "A filter names a driver that cannot be loaded",
    "UpperFilters and LowerFilters of a device class or of a device name drivers that Windows puts "
    "around the device's own. If one of them is gone, the device does not start. Left-overs of "
    "Xen, Parallels, antivirus and backup programs do this.",
    f"Take the name out of the list: {_REPAIR}.",
    f"{_EXPERIMENTS}: each of the four lists stopped; xcp-ng/xcp issue 547, QubesOS/qubes-issues "
    "issue 1078",
)
CORE_DRIVER = _stop(
    "BOOT-CORE-DRIVER",
    Link.CORE_DRIVERS,
    "A driver that every boot needs is not loaded",
    "Before the disk controller is reached, Windows needs the drivers of ACPI and of the PCI bus; "
    "behind it those of disks, partitions and volumes.",
    f"Where it is only disabled or put off, have it loaded again: {_REPAIR}. A file that is gone "
    "has to be restored from the Windows CD or a backup.",
    "The boot-start services of installed Windows XP, 7 and 10",
)
CONTROL_SET = _stop(
    "BOOT-CONTROL-SET-DIFFERS",
    Link.LOADER,
    "The control sets that Select names do not agree",
    "Select\\Default is the control set that the loader takes, Current the one of the last start. "
    "A driver that is in one of them only is not found by the other part of the boot.",
    f"Register the driver in every control set that Select names: {_REPAIR}.",
    f"{_EXPERIMENTS}: injected in one set of two it stopped in all four combinations",
)
MODERN_DEVICE = _stop(
    "BOOT-MODERN-DEVICE",
    Link.CONTROLLER,
    "The controller shows modern ids only, and the driver knows the legacy ones",
    "Behind a PCI Express port QEMU's VirtIO devices are 1AF4:1041 and up. The drivers for XP and "
    "2003 in virtio-win from 0.1.217 on know 1000 to 1003 only.",
    "Give the guest transitional devices: machine type pc, or a PCI bridge with "
    "virtio-transitional in the domain. Or put in a driver that knows the modern ids: "
    "`offline-mig repair` with --drivers of a release whose INF lists DEV_1042.",
    f"{_EXPERIMENTS}; the INFs of virtio-win",
)
LEGACY_DETECTION = FindingKind(
    "BOOT-LEGACY-DETECTION",
    Severity.WARNING,
    Link.CONTROLLER,
    "The controller is found only because its driver looks for it by itself",
    "A SCSI port driver of NT 5 without the key Parameters\\PnpInterface searches the buses for "
    "its hardware as NT 4 drivers did. It then works without any entry, but as a legacy device "
    "that Windows may lose when it meets the controller by plug and play.",
    f"Register the driver: {_REPAIR} with --drivers.",
    _EXPERIMENTS,
)
DRIVER_GROUP = FindingKind(
    "BOOT-DRIVER-GROUP",
    Severity.WARNING,
    Link.CONTROLLER,
    "The driver's load order group is unknown",
    "Boot drivers are loaded in the order of Control\\ServiceGroupOrder, and those of no group in "
    "the list after all others. The kernel of the experiments did not load such drivers at all; "
    "Windows sorts them to the end.",
    f'Set Group to "SCSI miniport": {_REPAIR}.',
    f"{_EXPERIMENTS}, where it stopped",
)
BUS_TYPE = FindingKind(
    "BOOT-BUS-TYPE",
    Severity.WARNING,
    Link.CONTROLLER,
    "The driver is registered with another driver's bus type",
    "Parameters\\BusType tells Windows' storage port what kind of bus the driver serves: 1 for "
    "viostor, 0x0A for vioscsi. Converters that write viostor's value for both leave a guest that "
    "starts from virtio-blk and stops on virtio-scsi.",
    f"Write the value of the driver's INF: {_REPAIR}.",
    "viostor.inx and vioscsi.inx of virtio-win; PegaProx/project-pegaprox issue 823",
)
PROCESSOR_DRIVER = FindingKind(
    "BOOT-PROCESSOR-DRIVER",
    Severity.WARNING,
    Link.AFTER,
    "A processor driver of the old machine may stop Windows",
    "intelppm, processr and amdk8 of Windows XP and 2003 switch the processor's power states. On a "
    "processor of another make, or one that a hypervisor shows by halves, they fail.",
    f"Disable them (Start = 4): {_REPAIR}. Windows runs without them.",
    "Microsoft KB 953356; libguestfs release notes for 1.36",
    "0x0000007E SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
)
DRIVE_LETTER = FindingKind(
    "BOOT-DRIVE-LETTER",
    Severity.WARNING,
    Link.AFTER,
    "The volume with Windows gets another drive letter",
    "Windows keeps drive letters by the disk's signature and the partition's place, or by GUID. If "
    "its own letter belongs to a volume that is another one or gone, Windows starts under a letter "
    "that no path in the registry has.",
    f"Give the letter back: {_REPAIR}.",
    'Microsoft KB 249321 and "Supporting mount manager requests in a storage class driver"',
    "logged off at once after logging on",
)
INSTALL_POLICY = FindingKind(
    "BOOT-INSTALL-POLICY",
    Severity.WARNING,
    Link.AFTER,
    "A policy forbids the installation of devices",
    "Group policy can keep Windows from installing devices. The entries for the boot controller "
    "are not subject to it, the network card and others may be, and some guests lost their boot "
    "driver after the policy was applied again.",
    "Lift the policy for Red Hat's devices in the domain, or remove it before the move.",
    'Microsoft, "Device Installation Restrictions"; Red Hat bug 1260689',
)
HIBERNATED = _stop(
    "BOOT-HIBERNATED",
    Link.LOADER,
    "The guest is hibernated",
    "hiberfil.sys holds a session. The loader resumes it on hardware that it knows nothing of.",
    "Start the guest where it still runs and shut it down completely; or give the session up: "
    "`offline-mig repair --discard-hibernation`.",
    'Microsoft, "Hibernation"; what resumes differs from what is on the disk',
    "the session cannot be resumed",
)
FAST_STARTUP = FindingKind(
    "BOOT-FAST-STARTUP",
    Severity.WARNING,
    Link.LOADER,
    "The guest was shut down with fast startup",
    "hiberfil.sys holds the session of the kernel, and no user's. The loader resumes it on "
    "hardware that it knows nothing of; some start all the same, since it is thrown away when "
    "resuming fails.",
    "Run 'powercfg /h off' where the guest still runs; or give the kernel's session up, by which "
    "nothing of the users is lost: `offline-mig repair --discard-hibernation`.",
    'Microsoft, "Fast startup"',
)
HIVE_DIRTY = FindingKind(
    "BOOT-HIVE-DIRTY",
    Severity.UNKNOWN,
    Link.LOADER,
    "The registry was not written out",
    "The hive's two sequence numbers differ: changes wait in its logs. Windows replays them when "
    "it starts; without the logs it cannot be told what the hive will say then.",
    "Start the guest where it still runs, and shut it down completely.",
    'msuhanov, "Windows registry file format specification"',
)
HIVE_DAMAGED = _stop(
    "BOOT-HIVE-DAMAGED",
    Link.LOADER,
    "The registry is damaged",
    "A hive that Windows begins with, SYSTEM or SOFTWARE, cannot be read.",
    "Restore it from a backup (System32\\config\\RegBack on older Windows).",
    "Microsoft KB 307545",
    "0xC000014C, or 0xC0000218",
)
BITLOCKER = FindingKind(
    "BOOT-BITLOCKER",
    Severity.UNKNOWN,
    Link.SYSTEM_VOLUME,
    "The volume is encrypted with BitLocker",
    "Nothing can be seen of what is on it.",
    "Turn BitLocker off where the guest still runs (manage-bde -off C:) and wait until it is done.",
    'Microsoft, "BitLocker overview"',
)
VOLUME_DIRTY = FindingKind(
    "BOOT-VOLUME-DIRTY",
    Severity.WARNING,
    Link.SYSTEM_VOLUME,
    "Windows will check the volume first",
    "The volume is marked dirty or was not closed properly. Windows puts that right when it "
    "starts, with chkdsk if need be; it must not be edited from outside before that.",
    "Start the guest where it still runs, let chkdsk finish, and shut it down completely.",
    'Microsoft, "chkdsk" and "chkntfs"',
)
FIRST_BOOT_LOOP = FindingKind(
    "BOOT-FIRST-BOOT-LOOP",
    Severity.WARNING,
    Link.AFTER,
    "A first-boot service of another converter may restart Windows without end",
    "virt-v2v's firstboot service runs its scripts again after each failure and restarts Windows "
    "in between, without a limit.",
    f"Take the service out: {_REPAIR}. What its scripts were to do is left undone.",
    "libguestfs/virt-v2v issues 159 and 178",
)
