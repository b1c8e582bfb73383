r"""VMware Tools for Windows, from those of XP's time to the newest.

Names come from: the hives of a Windows 7 SP1 and a Windows 10 2004 that were installed on VMware
and published as test data; the lists of virtio-win/vmwremover and of kubev2v/forklift's
9100_cleanup_vmware.ps1; Broadcom KB 315629 on removing VMware Tools by hand. Those of XP's time
that neither has are told of by logs of the time, and the programs of VMware CAF by listings of
services. That cblauncher runs a file of its own name is taken for granted.
``docs/vmware-tools.md`` says which is from where.

Left out on purpose: pvscsi and vmscsi, which disks may hang on today. Without their controller
they do nothing, and with it they are the way back.
"""

from __future__ import annotations

from offline_mig.windows.guest_tools import GuestTools, Place, ToolsFolder

#: Programs that run as services; vmvss runs inside a process of COM+ (dllhost.exe).
_PROGRAMS = {
    "vmtools": ("vmtoolsd.exe", "vmwareservice.exe"),
    "vgauthservice": ("vgauthservice.exe",),
    "vm3dservice": ("vm3dservice.exe",),
    "vmvss": ("dllhost.exe",),
    "gisvc": ("gisvc.exe",),
    "vmupgradehelper": ("vmupgradehelper.exe",),
    "vmware physical disk helper service": ("vmacthlp.exe",),
    "vmwarecafcommamqplistener": ("commamqplistener.exe",),
    "vmwarecafmanagementagenthost": ("managementagenthost.exe",),
    "cblauncher": ("cblauncher.exe",),
}
#: Kernel drivers whose file is called as they are, but for the network cards.
_DRIVERS = {
    name: (f"{name}.sys",)
    for name in (
        "giappdef",
        "glxgi",
        "hgfs",
        "vm3dmp",
        "vm3dmp-debug",
        "vm3dmp-stats",
        "vm3dmp_loader",
        "vmaudio",
        "vmci",
        "vmdebug",
        "vmdesched",
        "vmhgfs",
        "vmkbd",
        "vmmemctl",
        "vmmouse",
        "vmparport",
        "vmrawdsk",
        "vmusbmouse",
        "vmwefifw",
        "vmx_svga",
        "vnetflt",
        "vnetwfp",
        "vsepflt",
        "vsock",
    )
} | {
    "vmxnet": ("vmxnet*.sys",),
    "vmxnet3": ("vmxnet3*.sys",),
    "vmxnet3ndis5": ("vmxnet3*.sys",),
    "vmxnet3ndis6": ("vmxnet3*.sys",),
}
_SVGA = frozenset(
    f"vm3d{part}{variant}.dll"
    for part in ("devapi64", "devapi", "um64", "um", "um64_10", "um_10")
    for variant in ("", "-debug", "-release", "-stats", "_loader")
)
_CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"

VMWARE_TOOLS = GuestTools(
    name="VMware Tools",
    products=frozenset({"vmware tools"}),
    services=_PROGRAMS | _DRIVERS,
    hardware=(
        "acpi\\vmw*",
        "hid\\vid_0e0f&*",
        "pci\\ven_15ad&*",
        "root\\vmwvmcihostdev\\*",
        "usb\\vid_0e0f&*",
    ),
    kept_services=frozenset({"pvscsi", "vmscsi"}),
    # VMware Workstation and Player, which can be installed in a guest too, have them as well.
    shared_services={"vmx86": frozenset({"vmci", "vmkbd", "vsock"})},
    system_files=_SVGA
    | {
        "hgfs1.dll",
        "vm3dc003.dll",
        "vm3dco.dll",
        "vm3dgl.dll",
        "vm3dgl64.dll",
        "vm3dglhelper.dll",
        "vm3dglhelper64.dll",
        "vm3dservice.exe",
        "vm3dver.dll",
        "vmgina.dll",
        "vmguestlib.dll",
        "vmguestlibjava.dll",
        "vmhgfs.dll",
        "vmupgradeatshutdownwxp.dll",
        "vmwsu.dll",
        "vmx_fb.dll",
        "vmx_mode.dll",
        "vmxnet3ver.dll",
        "vsocklib.dll",
    },
    folders=(
        ToolsFolder(Place.PROGRAM_FILES, "VMware", ("vmware tools",)),
        ToolsFolder(Place.COMMON_FILES, "VMware", ("drivers", "installercache")),
        ToolsFolder(
            Place.APPLICATION_DATA,
            "VMware",
            ("compatibility", "rawdskcompatibility", "vmware caf", "vmware tools", "vmware vgauth"),
        ),
        ToolsFolder(Place.START_MENU, "VMware", ("vmware tools",)),
    ),
    own_keys={
        root: frozenset(
            {
                "cblauncher",
                "vmware drivers",
                "vmware tools",
                "vmware vgauth",
                "vmwarehostopen",
            }
        )
        for root in ("VMware, Inc.", r"WOW6432Node\VMware, Inc.")
    },
    registrations=(
        r"Classes\Applications\VMwareHostOpen.exe",
        r"Classes\CLSID\{C73DA087-EDDB-4a7c-B216-8EF8A3B92C7B}",
        r"Classes\VMwareHostOpen.AssocFile",
        r"Classes\VMwareHostOpen.AssocURL",
        r"Clients\StartMenuInternet\VMWAREHOSTOPEN.EXE",
    ),
    values={
        rf"{_CURRENT_VERSION}\Run": frozenset(
            {"vmware tools", "vmware user process", "vmware vm3dservice process"}
        ),
        "RegisteredApplications": frozenset({"vmware host open"}),
    },
    event_sources=frozenset(
        {
            "vgauth",
            "vmci",
            "vmstatsprovider",
            "vmtools",
            "vmupgradehelper",
            "vmware tools",
            "vnetflt",
            "vnetwfp",
            "vsepflt",
        }
    ),
    time_providers=frozenset({"vmwtimeprovider"}),
    snapshot_providers=frozenset({"vmware snapshot provider"}),
    print_monitors=frozenset({"thinprint print port monitor for vmware"}),
    infs=frozenset(
        {
            "efifw.inf",
            "glxgi.inf",
            "vm3d.inf",
            "vmaudio.inf",
            "vmci.inf",
            "vmhgfs.inf",
            "vmmemctl.inf",
            "vmmouse.inf",
            "vmrawdsk.inf",
            "vmusbmouse.inf",
            "vmwefifw.inf",
            "vmx_svga.inf",
            "vmxnet.inf",
            "vmxnet3.inf",
            "vnetwfp.inf",
            "vsepflt.inf",
            "vsock.inf",
        }
    ),
    providers=frozenset({"vmware, inc.", "vmware, inc", "vmware"}),
)
