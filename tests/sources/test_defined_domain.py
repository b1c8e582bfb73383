"""What a domain's XML says of the way to its system disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.defined_domain import read_domain

GOLDEN = Path(__file__).parents[1] / "targets" / "golden"


def domain(
    tmp_path: Path, devices: str, system: str = '<type machine="pc-q35-7.2">hvm</type>'
) -> Path:
    path = tmp_path / "domain.xml"
    path.write_text(
        f"<domain type='kvm'><name>guest</name><os>{system}</os>"
        f"<devices>{devices}</devices></domain>"
    )
    return path


DISK = (
    "<disk type='file'{model}><source file='/a.qcow2'/>"
    "<target dev='{dev}' bus='{bus}'/>{more}</disk>"
)


def disk(bus: str = "virtio", dev: str = "vda", model: str = "", more: str = "") -> str:
    return DISK.format(bus=bus, dev=dev, model=f" model='{model}'" if model else "", more=more)


@pytest.mark.parametrize(
    ("name", "bus", "modern", "uefi"),
    [
        ("10-uefi", "virtio", True, True),
        ("xp-sp3-x86", "virtio", False, False),
        ("xp-on-q35", "virtio", False, False),
        ("2022-bios", "virtio", True, False),
    ],
)
def test_own_domains(name: str, bus: str, modern: bool, uefi: bool) -> None:
    found = read_domain(GOLDEN / f"{name}.xml")
    assert (found.disk_bus, found.modern, found.uefi) == (bus, modern, uefi)


def test_secure_boot() -> None:
    assert read_domain(GOLDEN / "11-uefi-secure-boot.xml").secure_boot
    assert not read_domain(GOLDEN / "10-uefi.xml").secure_boot


PORT = "<controller type='pci' index='1' model='{model}'/>"
ON_BUS_1 = "<address type='pci' domain='0x0' bus='0x01' slot='0x00' function='0x0'/>"


@pytest.mark.parametrize(
    ("model", "bridge", "modern"),
    [
        ("", "pcie-root-port", True),
        ("", "pcie-to-pci-bridge", False),
        ("virtio-transitional", "pcie-root-port", False),
        ("virtio-non-transitional", "pcie-to-pci-bridge", True),
    ],
)
def test_where_the_device_sits(tmp_path: Path, model: str, bridge: str, modern: bool) -> None:
    path = domain(tmp_path, PORT.format(model=bridge) + disk(model=model, more=ON_BUS_1))
    assert read_domain(path).modern is modern


def test_the_disk_that_boots(tmp_path: Path) -> None:
    devices = disk("sata", "sda", more="<boot order='2'/>") + disk(more="<boot order='1'/>")
    assert read_domain(domain(tmp_path, devices)).disk_bus == "virtio"
    cdrom = disk("ide", "hda").replace("<disk ", "<disk device='cdrom' ")
    assert read_domain(domain(tmp_path, cdrom + disk("ide", "hdb") + disk())).disk_bus == "ide"


def test_scsi_controller(tmp_path: Path) -> None:
    controllers = "".join(
        f"<controller type='scsi' index='{index}' model='{model}'/>"
        for index, model in enumerate(("lsilogic", "virtio-scsi"))
    )
    at = "<address type='drive' controller='{}' bus='0' target='0' unit='0'/>"
    for number, model in (("0", "lsilogic"), ("1", "virtio-scsi")):
        path = domain(tmp_path, controllers + disk("scsi", "sda", more=at.format(number)))
        assert read_domain(path).controller_model == model


BOMB = """<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<domain><name>&b;</name></domain>"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no sound XML"),
        ("<domain>", "no sound XML"),
        ("<network/>", "first element is <network>"),
        ("<domain><devices/></domain>", "has no hard disk"),
        (BOMB, "no sound XML"),
    ],
)
def test_no_domain(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(SourceUnreadableError, match=said):
        read_domain(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match="does not exist"):
        read_domain(tmp_path / "none.xml")
