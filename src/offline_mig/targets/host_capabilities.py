"""What a libvirt host can give a machine, and what a planned one would miss on it.

The facts are libvirt's own (libvirt.org, "Domain capabilities XML format"): for UEFI it looks
through the host's firmware descriptors, as it does when it defines the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offline_mig.machine import Firmware
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.processors import HOST_MODEL, HOST_PASSTHROUGH

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NO_UEFI = (
    "It has no UEFI firmware{}.",
    "Install ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, Arch) on it.",
)


@dataclass(frozen=True, slots=True)
class HostCapabilities:
    """What a host offers by libvirt's words; None is what its libvirt does not speak of.

    ``processors`` are the models that its own processor can stand for, ``secure`` whether there is
    firmware with Secure Boot.
    """

    firmware: frozenset[str] | None = None
    secure: bool | None = None
    graphics: frozenset[str] | None = None
    video: frozenset[str] | None = None
    tpm: frozenset[str] | None = None
    processors: frozenset[str] | None = None
    enlightenments: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Lack:
    """A sentence about what a host lacks, and what to do about it."""

    found: str
    remedy: str


def read_capabilities(text: str) -> HostCapabilities:
    """Read a document of domain capabilities."""
    from defusedxml import ElementTree

    root: Element = ElementTree.fromstring(text)
    secure = _values(root, "os/loader", "secure")
    models = root.findall("cpu/mode[@name='custom']/model[@usable='yes']")
    return HostCapabilities(
        firmware=_values(root, "os", "firmware"),
        secure=None if secure is None else "yes" in secure,
        graphics=_values(root, "devices/graphics", "type"),
        video=_values(root, "devices/video", "modelType"),
        tpm=_values(root, "devices/tpm", "backendModel"),
        processors=frozenset(model.text or "" for model in models) or None,
        enlightenments=_values(root, "features/hyperv", "features") or None,
    )


def lacks(target: TargetMachine, host: HostCapabilities) -> tuple[Lack, ...]:
    """Return what a machine would miss on a host, so that it could not be defined or started."""
    found: list[Lack] = []
    if target.firmware is Firmware.UEFI:
        sentence, remedy = _NO_UEFI
        if host.firmware is not None and "efi" not in host.firmware:
            found.append(Lack(sentence.format(""), remedy))
        elif target.secure_boot and host.secure is False:
            found.append(Lack(sentence.format(" with Secure Boot"), remedy))
    if target.tpm and host.tpm is not None and "emulator" not in host.tpm:
        remedy = "Install swtpm on it (Debian, Ubuntu: with swtpm-tools), or give --no-tpm."
        found.append(Lack("It has no TPM emulator.", remedy))
    if host.graphics is not None and target.graphics not in host.graphics:
        found.append(Lack(f"Its QEMU has no {target.graphics.upper()}.", "Choose --graphics vnc."))
    if host.video is not None and target.video.model not in host.video:
        found.append(Lack(f"Its QEMU has no {target.video.model} card.", "Choose --video vga."))
    own = target.processor in (HOST_MODEL, HOST_PASSTHROUGH)
    if not own and host.processors is not None and target.processor not in host.processors:
        found.append(
            Lack(
                f"Its processor cannot stand for {target.processor}.",
                "Choose --cpu host-model, or one of 'virsh domcapabilities'.",
            )
        )
    return tuple(found)


def doubts(target: TargetMachine, host: HostCapabilities) -> tuple[str, ...]:
    """Return sentences on what a host may lack: libvirt's list depends on what its QEMU tells."""
    if host.enlightenments is None:
        return ()
    missing = [name for name in target.enlightenments if name not in host.enlightenments]
    if not missing:
        return ()
    sentence = (
        "The host's libvirt does not list these Hyper-V enlightenments, which Linux 4.20 and later "
        f"have: {', '.join(missing)}. The machine may not start there with them."
    )
    return (sentence,)


def _values(root: Element, path: str, name: str) -> frozenset[str] | None:
    """Return the values of an enumeration; none where the whole part is not supported."""
    part = root.find(path)
    if part is None:
        return None
    if part.get("supported") == "no":
        return frozenset()
    listed = part.find(f"enum[@name='{name}']")
    if listed is None:
        return None
    return frozenset(value.text or "" for value in listed.findall("value"))
