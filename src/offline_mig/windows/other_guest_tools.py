r"""Guest tools of other hypervisors, as far as there are facts about them.

VirtualBox Guest Additions: what their installer writes and its uninstaller takes away
(src/VBox/Additions/WINNT/Installer/VBoxGuestAdditionsW2KXP.nsh and -Vista.nsh, VirtualBox 3 to 7).
Xen: xcp-ng/win-pv-drivers, XenBootFix and XenCleanup.cs, which names the services and the filters
that end in 0x7B once their driver is gone. Parallels: what virt-v2v and others take out
(prl_strg is a filter of disks). Nutanix: the services of its guest tools; its VirtIO drivers have
the very names of virtio-win's, which take their place.

Hyper-V has none: all that it needs in a guest is part of Windows and stays.
"""

from __future__ import annotations

from offline_mig.windows.guest_tools import GuestTools, Place, ToolsFolder

#: What their services run is not known for every version. Nothing of theirs is deleted.
_ANY_FILE = ("*",)
_CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"

VIRTUALBOX_ADDITIONS = GuestTools(
    name="VirtualBox Guest Additions",
    products=frozenset(
        {
            "oracle vm virtualbox guest additions",
            "oracle virtualbox guest additions",
            "sun virtualbox guest additions",
        }
    ),
    services={
        "vboxguest": ("vboxguest.sys",),
        "vboxmouse": ("vboxmouse.sys",),
        "vboxservice": ("vboxservice.exe",),
        "vboxsf": ("vboxsf.sys",),
        "vboxvideo": ("vboxvideo.sys",),
        "vboxvideowddm": ("vboxvideowddm.sys",),
        "vboxwddm": ("vboxwddm.sys", "vboxvideo.sys"),
    },
    hardware=("pci\\ven_80ee&*",),
    system_files=frozenset(
        {
            "vboxcontrol.exe",
            "vboxcredprov.dll",
            "vboxd3d8.dll",
            "vboxd3d9.dll",
            "vboxd3d9wddm.dll",
            "vboxdisp.dll",
            "vboxdispd3d.dll",
            "vboxdx.dll",
            "vboxgina.dll",
            "vboxgl.dll",
            "vboxhook.dll",
            "vboxicd.dll",
            "vboxmrxnp.dll",
            "vboxnine.dll",
            "vboxogl.dll",
            "vboxoglarrayspu.dll",
            "vboxoglcrutil.dll",
            "vboxoglerrorspu.dll",
            "vboxoglfeedbackspu.dll",
            "vboxoglpackspu.dll",
            "vboxoglpassthroughspu.dll",
            "vboxservice.exe",
            "vboxsvga.dll",
            "vboxtray.exe",
        }
    ),
    folders=(ToolsFolder(Place.PROGRAM_FILES, "Oracle", ("virtualbox guest additions",)),),
    own_keys={
        "Oracle": frozenset({"virtualbox guest additions"}),
        r"WOW6432Node\Oracle": frozenset({"virtualbox guest additions"}),
    },
    registrations=tuple(
        rf"{root}Microsoft\Windows NT\CurrentVersion\OpenGLDrivers\VBoxOGL"
        for root in ("", "WOW6432Node\\")
    ),
    values={rf"{_CURRENT_VERSION}\Run": frozenset({"vboxtray", "vboxservice"})},
    providers=frozenset({"oracle corporation", "sun microsystems, inc."}),
    infs=frozenset({"vboxguest.inf", "vboxmouse.inf", "vboxvideo.inf", "vboxwddm.inf"}),
)

#: Storage drivers of Xen are disabled with the rest: without its bus they drive nothing.
XEN_DRIVERS = GuestTools(
    name="Xen PV drivers",
    products=frozenset(),
    thoroughly=False,
    services=dict.fromkeys(
        (
            "rhelscsi",
            "scsifilt",
            "xenagent",
            "xenbus",
            "xenbus_monitor",
            "xencons",
            "xencons_monitor",
            "xendisk",
            "xenfilt",
            "xenhid",
            "xeniface",
            "xeninstall",
            "xennet",
            "xensvc",
            "xenvbd",
            "xenvif",
            "xenvkbd",
        ),
        _ANY_FILE,
    ),
)

PARALLELS_TOOLS = GuestTools(
    name="Parallels Tools",
    products=frozenset(),
    thoroughly=False,
    services=dict.fromkeys(
        (
            "parallels tools service",
            "prl_boot",
            "prl_dd",
            "prl_eth5",
            "prl_fs",
            "prl_memdev",
            "prl_mouf",
            "prl_pv32",
            "prl_pv64",
            "prl_scsi",
            "prl_sound",
            "prl_strg",
            "prl_tg",
            "prl_time",
        ),
        _ANY_FILE,
    ),
)

NUTANIX_TOOLS = GuestTools(
    name="Nutanix Guest Tools",
    products=frozenset(),
    thoroughly=False,
    services=dict.fromkeys(
        ("ngtservice", "nutanix guest agent", "nutanixguestagent", "nutanixguesttools"), _ANY_FILE
    ),
)
