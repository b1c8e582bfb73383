"""Floppies and discs as elements of a libvirt domain, to be put among its devices.

The forms: libvirt.org, "Domain XML format", "Hard drives, floppy disks, CDROMs".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from offline_mig.targets.libvirt import refuse_unwritable
from offline_mig.windows.version import WindowsVersion

#: Windows before Vista is given a machine of type pc, whose drives are IDE; q35 has AHCI.
_FIRST_AHCI = (6, 0)
#: The last places on the controllers that both machines have anyway: a domain fills them from the
#: other end, and a name beyond would have libvirt add a controller.
_LAST_IDE, _LAST_AHCI = "hdd", "sdf"


def floppy_element(path: Path) -> str:
    """Return the ``disk`` element of a floppy. Raises OutputRefusedError as ``domain_xml`` does.

    On q35, which has no floppy controller of its own, libvirt adds one for it.
    """
    return _element(path, "floppy", "fda", "fdc")


def cdrom_element(path: Path, windows: Iterable[WindowsVersion]) -> str:
    """Return the ``disk`` element of a disc for machines of the given Windows."""
    ahci = all(version.nt >= _FIRST_AHCI for version in windows)
    return _element(path, "cdrom", *((_LAST_AHCI, "sata") if ahci else (_LAST_IDE, "ide")))


def _element(path: Path, device: str, target: str, bus: str) -> str:
    disk = ET.Element("disk", type="file", device=device)
    ET.SubElement(disk, "driver", name="qemu", type="raw")
    ET.SubElement(disk, "source", file=str(path))
    ET.SubElement(disk, "target", dev=target, bus=bus)
    ET.SubElement(disk, "readonly")
    refuse_unwritable(disk)
    ET.indent(disk)
    return ET.tostring(disk, encoding="unicode")
