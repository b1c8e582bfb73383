"""What VirtualBox adds to an OVF: its own settings file of the machine, as ``vbox:Machine``.

Source: VirtualBox's Main/xml/Settings.cpp and the files that it exports. The elements of the
settings file may or may not carry a namespace in there, so they are known by their local names.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

# Elements are only looked at here; defusedxml has parsed them.
from xml.etree.ElementTree import Element

from offline_mig.machine import Firmware


@dataclass(frozen=True, slots=True)
class VirtualBoxMachine:
    """A machine's own settings. ``macs`` are those of the enabled network cards, in order.

    ``firmware`` is None where it is not stated, which means BIOS. ``sound`` is None for none.
    """

    uuid: str | None
    os_type: str | None
    firmware: Firmware | None
    macs: tuple[str | None, ...]
    sound: str | None
    has_tpm: bool
    encrypted: bool


def read_virtualbox(machine: Element) -> VirtualBoxMachine:
    """Return what a ``vbox:Machine`` element says beside the OVF's own hardware."""
    firmware = next(_named(machine, "Firmware"), None)
    sound = next(_named(machine, "AudioAdapter"), None)
    tpm = next(_named(machine, "TrustedPlatformModule"), None)
    return VirtualBoxMachine(
        uuid=_uuid(machine.get("uuid")),
        os_type=machine.get("OSType"),
        firmware=None if firmware is None else _firmware(firmware.get("type", "")),
        macs=tuple(
            _mac(adapter.get("MACAddress"))
            for adapter in _named(machine, "Adapter")
            if _is_true(adapter.get("enabled"))
        ),
        sound=None
        if sound is None or not _is_true(sound.get("enabled"))
        else sound.get("controller", "AC97"),
        has_tpm=tpm is not None and tpm.get("type", "None") != "None",
        encrypted=any(prop.get("name") == "CRYPT/KeyStore" for prop in _named(machine, "Property")),
    )


def _named(machine: Element, name: str) -> Iterator[Element]:
    return (
        element
        for element in machine.iter()
        if isinstance(element.tag, str) and element.tag.rpartition("}")[2] == name
    )


def _firmware(word: str) -> Firmware:
    # EFI, EFI32, EFI64 and EFIDUAL.
    return Firmware.UEFI if word.upper().startswith("EFI") else Firmware.BIOS


def _is_true(word: str | None) -> bool:
    return (word or "").lower() in {"true", "1"}


def _mac(digits: str | None) -> str | None:
    if digits is None or not re.fullmatch(r"[0-9A-Fa-f]{12}", digits):
        return None
    return ":".join(re.findall("..", digits.lower()))


def _uuid(text: str | None) -> str | None:
    try:
        return str(uuid.UUID(text or ""))
    except ValueError:
        return None
