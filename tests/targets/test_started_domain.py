"""Secure Boot and a TPM, as a real libvirtd starts a machine with them; it is never run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fixtures.session_libvirtd import SessionLibvirtd, emulate, give
from fixtures.target_machines import SAMPLES
from offline_mig.targets.host_capabilities import lacks, read_capabilities
from offline_mig.targets.libvirt import domain_xml


def test_firmware_variables_and_tpm_are_made(libvirtd: SessionLibvirtd) -> None:
    target = SAMPLES["11-uefi-secure-boot"].plan()
    capabilities = libvirtd.virsh("domcapabilities", "--virttype", "qemu", "--machine", "q35")
    missing = lacks(target, read_capabilities(capabilities))
    if missing:
        pytest.skip(" ".join(lack.found for lack in missing))
    disk, document = libvirtd.root / "secure.qcow2", libvirtd.root / "secure.xml"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    domain = ET.fromstring(domain_xml(target))
    emulate(domain, [disk])
    document.write_text(ET.tostring(domain, encoding="unicode"))
    for path in (disk, document):
        give(path)
    libvirtd.virsh("define", document)
    libvirtd.virsh("start", "--paused", target.name)
    running = ET.fromstring(libvirtd.virsh("dumpxml", target.name))
    loader, variables = running.find("os/loader"), running.find("os/nvram")
    assert loader is not None and variables is not None
    assert loader.get("secure") == "yes"
    template = Path(variables.get("template", ""))
    assert Path(variables.text or "").read_bytes() == template.read_bytes()
    # Microsoft's certificate authority for third parties, in what the keys are enrolled in.
    assert b"Microsoft Corporation UEFI CA" in template.read_bytes()
    answer = libvirtd.virsh(
        "qemu-monitor-command", target.name, json.dumps({"execute": "query-tpm"})
    )
    (tpm,) = json.loads(answer)["return"]
    assert (tpm["model"], tpm["options"]["type"]) == ("tpm-crb", "emulator")
    libvirtd.virsh("destroy", target.name)
    libvirtd.virsh("undefine", "--nvram", target.name)
