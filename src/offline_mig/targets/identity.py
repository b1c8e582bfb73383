"""Names and numbers by which a machine is known, made fit for every hypervisor."""

from __future__ import annotations

import re
import unicodedata
import uuid

#: The name of a machine whose own name holds nothing usable.
FALLBACK_NAME = "windows"
#: Hypervisors make file names of the machine's name, with endings such as "_VARS.fd.new" and
#: directories of their own; file systems take 255 bytes.
_NAME_BYTES = 200
#: RFC 1035, section 2.3.4.
_LABEL_LENGTH = 63
#: The name space of the serial numbers that are made here, itself made up once.
_SERIALS = uuid.UUID("6f1c2f4e-6d0a-4f0e-9a53-0b6d1d7f3c11")
_NOT_LABEL = re.compile(r"[^a-z0-9]+")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def machine_name(text: str) -> str:
    """Return a name that is a sound file name and can be written into XML.

    Slashes (which libvirt rejects), line breaks, control characters and lone surrogates become
    hyphens, the ends lose their spaces, and what exceeds 200 bytes of UTF-8 is cut.
    """
    name = "".join("-" if _is_unfit(character) else character for character in text)
    name = name.encode()[:_NAME_BYTES].decode(errors="ignore").strip()
    return name if name.strip(".-") else FALLBACK_NAME


def result_name(text: str) -> str:
    """Return the name that everything made of a machine gets: ``machine_name``, fit for a shell.

    Results must not be hidden files, nor look like options.
    """
    return machine_name(text).lstrip(".-").strip() or FALLBACK_NAME


def dns_label(text: str) -> str:
    """Return a name that is a label of the DNS (RFC 1123), as Kubernetes and Proxmox VE ask for.

    Letters lose their accents and become small, whatever else there is becomes hyphens.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    label = _NOT_LABEL.sub("-", plain)[:_LABEL_LENGTH].strip("-")
    return label or FALLBACK_NAME


def machine_uuid(text: str | None) -> str | None:
    """Return a UUID in its canonical form; None for none, for a malformed one and for all zeros."""
    try:
        number = uuid.UUID(text or "")
    except ValueError:
        return None
    return str(number) if number.int else None


def unicast_mac(text: str | None) -> str | None:
    """Return a MAC address in lower case; None for none, a malformed, zero or multicast one.

    The lowest bit of the first octet marks multicast (IEEE 802), which no card may have and
    libvirt rejects.
    """
    mac = (text or "").strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or not mac.strip("0:"):
        return None
    return mac


def new_serial(owner: str, index: int) -> str:
    """Return a serial number for a disk, always the same for the same machine and place.

    It has 20 characters: what a virtio-blk device can show (VIRTIO_BLK_ID_BYTES, virtio_blk.h).
    """
    return uuid.uuid5(_SERIALS, f"{owner}/{index}").hex[:20]


def activation_note(*, keeps_mac: bool) -> str:
    """Return what the move means for the activation of Windows XP and 2003.

    They hash ten things of the machine, of which seven points must be as they were: the network
    card's address counts three, everything else one (Microsoft, "Technical Details on Microsoft
    Product Activation for Windows XP", 2001). A BIOS-locked one of a manufacturer (SLP) looks for
    its BIOS, and volume licences for nothing.
    """
    kept = "the volume's serial number and the amount of memory are kept"
    if keeps_mac:
        kept = f"the network card's address, {kept}"
    return (
        f"Activation: {kept}; the controllers of disks, the disk itself, the CD-ROM drive, the "
        "screen's adapter and the processor are others. A Windows without a volume licence may "
        "want to be activated again within days."
    )


def _is_unfit(character: str) -> bool:
    # Cc are controls, Cs lone surrogates, Zl and Zp line and paragraph separators; U+FFFE and
    # U+FFFF are no characters of XML 1.0.
    return character in "/\ufffe\uffff" or unicodedata.category(character) in (
        "Cc",
        "Cs",
        "Zl",
        "Zp",
    )
