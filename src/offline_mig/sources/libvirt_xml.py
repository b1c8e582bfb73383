"""A libvirt domain as XML, and what several readers of it ask.

Source: https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

from pathlib import Path

# Elements are only looked at here; defusedxml has parsed them.
from xml.etree.ElementTree import Element, ParseError

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import open_file, shown

#: Bytes. Domains have some kilobytes.
MAX_DOMAIN = 4 * 1024 * 1024
_REMEDY = "Give the output of 'virsh dumpxml NAME'."


def looks_like_domain(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a libvirt domain, whatever its name."""
    # Longer comments than this stand in no file of libvirt's.
    start = head[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") and (b"<domain" in start or b"<domstatus" in start)


def read_domain_element(path: Path) -> Element:
    """Return the ``domain`` element of a file. Raises SourceUnreadableError for anything else."""
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    with open_file(path) as file:
        if file.size > MAX_DOMAIN:
            raise SourceUnreadableError(
                f"{shown(path)} has {file.size} bytes, too many for a libvirt domain.", _REMEDY
            )
        text = file.read(0, file.size)
    try:
        root: Element = ElementTree.fromstring(text)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SourceUnreadableError(f"{shown(path)} is no sound XML: {error}.", _REMEDY) from error
    # What is kept of a running domain is wrapped (domstatus).
    domain = root if root.tag == "domain" else root.find("domain")
    if domain is None:
        raise SourceUnreadableError(
            f"{shown(path)} is no libvirt domain: its first element is <{shown(root.tag)}>.",
            _REMEDY,
        )
    return domain


def hard_disks(path: Path, domain: Element) -> list[Element]:
    """Return the hard disks of a domain. Raises SourceUnreadableError where there is none."""
    disks = [
        disk
        for disk in domain.findall("devices/disk")
        if disk.get("device", "disk") in {"disk", "lun"}
    ]
    if not disks:
        raise SourceUnreadableError(f"The domain {shown(path)} has no hard disk.", _REMEDY)
    return disks


def starts_by_uefi(domain: Element) -> bool:
    """Tell whether the domain's firmware is UEFI, chosen by libvirt or named."""
    system = domain.find("os")
    if system is None:
        return False
    if system.get("firmware") == "efi":
        return True
    loader = system.find("loader")
    return loader is not None and loader.get("type") == "pflash"


def has_secure_boot(domain: Element) -> bool:
    """Tell whether the domain's firmware insists on signatures."""
    system = domain.find("os")
    if system is None:
        return False
    loader = system.find("loader")
    if loader is not None and loader.get("secure") == "yes":
        return True
    return any(
        feature.get("name") == "secure-boot" and feature.get("enabled") == "yes"
        for feature in system.findall("firmware/feature")
    )
