"""The domain of a converted guest, started by a real libvirtd, with a Linux that looks about it."""

from __future__ import annotations

import hashlib
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.console_linux import END, ConsoleLinux, build_console_linux
from fixtures.conversion_run import Case, Converted
from fixtures.guests import GuestKind, GuestSpec
from fixtures.session_libvirtd import SessionLibvirtd, emulate, give
from fixtures.vmware import MACHINES

pytestmark = pytest.mark.conversion

#: Seconds for the emulated machine to start Linux and tell: some ten on an idle host, many times
#: that on a busy one.
_PATIENCE = 300


@pytest.fixture(scope="module")
def linux(libvirtd: SessionLibvirtd) -> ConsoleLinux:
    return build_console_linux(libvirtd.root)


def for_the_test(document: Path, disk: Path, console: Path, linux: ConsoleLinux) -> str:
    """Return the emitted domain, emulated, with a Linux to start and a serial port into a file."""
    domain = ET.parse(document).getroot()
    emulate(domain, [disk])
    system, devices = domain.find("os"), domain.find("devices")
    assert system is not None and devices is not None
    ET.SubElement(system, "kernel").text = str(linux.kernel)
    ET.SubElement(system, "initrd").text = str(linux.initramfs)
    ET.SubElement(system, "cmdline").text = "console=ttyS0 quiet panic=-1"
    ET.SubElement(ET.SubElement(devices, "serial", type="file"), "source", path=str(console))
    return ET.tostring(domain, encoding="unicode")


def told(libvirtd: SessionLibvirtd, name: str, console: Path) -> list[str]:
    """Return what the machine says until it switches itself off."""
    until = time.monotonic() + _PATIENCE
    while libvirtd.virsh("domstate", name) != "shut off":
        said = console.read_text(errors="replace") if console.exists() else ""
        assert time.monotonic() < until, said
        time.sleep(0.3)
    lines = console.read_text(errors="replace").splitlines()
    assert END in lines, "\n".join(lines)
    return lines


@pytest.mark.parametrize("kind", [GuestKind.XP, GuestKind.WINDOWS_10])
def test_hardware_is_what_was_planned(
    converted: Callable[[Case], Converted],
    libvirtd: SessionLibvirtd,
    linux: ConsoleLinux,
    kind: GuestKind,
) -> None:
    """i440fx with SeaBIOS and VirtIO's legacy ids; q35 with the host's UEFI and the modern ones."""
    done = converted(Case(GuestSpec(kind)))
    disk = Path(shutil.copy(done.disk, libvirtd.root / f"{kind}.qcow2"))
    console, document = libvirtd.root / f"{kind}.console", libvirtd.root / f"{kind}.xml"
    document.write_text(for_the_test(done.domain, disk, console, linux))
    for path in (disk, document):
        give(path)
    libvirtd.virsh("define", "--validate", document)
    name = ET.parse(document).getroot().findtext("name", "")
    libvirtd.virsh("start", name)
    lines = told(libvirtd, name, console)
    drivers = {line.split()[1] for line in lines if line.startswith("virtio ")}
    assert drivers >= {"virtio_blk", "virtio_net", "virtio_balloon", "virtio_console"}
    assert f"card {MACHINES[kind].mac} virtio_net" in lines
    assert {"port org.qemu.guest_agent.0", "port com.redhat.spice.0"} <= set(lines)
    pci = {line.removeprefix("pci ") for line in lines if line.startswith("pci ")}
    assert "0x1b36 0x0100" in pci, "QXL"
    # virtio-win has no viorng for XP, which gets legacy ids besides (VirtIO 1.2, section 5).
    nt5 = kind is GuestKind.XP
    assert any(line.startswith("random virtio_rng") for line in lines) is not nt5
    assert ("0x1af4 0x1001" if nt5 else "0x1af4 0x1042") in pci
    serial = ET.parse(done.domain).getroot().findtext("devices/disk/serial")
    assert any(line.startswith("disk vda ") and line.endswith(f" {serial}") for line in lines)
    with done.volume.volume.open("rb") as volume:
        beginning = hashlib.md5(volume.read(1 << 20)).hexdigest()
    assert f"volume NTFS {beginning}" in lines
