"""A conversion for several targets at once: what lies in the output folder, and that it starts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import GuestKind, build_guest
from fixtures.scripted_qemu import started

pytestmark = pytest.mark.conversion

TARGETS = ("libvirt", "proxmox", "kubevirt", "qemu")


def test_every_target_gets_its_files_and_qemu_takes_them(drivers_dir: Path, tmp_path: Path) -> None:
    require_engine("userspace")
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is missing")
    guest = build_guest(GuestKind.XP, tmp_path / "source")
    output = tmp_path / "out"
    common = [
        "convert", guest.vmx, "--drivers", drivers_dir, "--allow-unsigned", "--engine", "userspace",
    ]  # fmt: skip
    for target in TARGETS:
        common += ["--target", target]
    rehearsed = offline_mig(*common, "--dry-run", "--json")
    assert rehearsed.returncode == 0, rehearsed.stderr
    plan = json.loads(rehearsed.stdout)
    run = offline_mig(*common, "-o", output)
    assert run.returncode == 0, run.stderr
    report = json.loads(next(output.glob("*.report.json")).read_text())
    assert sorted(report["published"]) == sorted(path.name for path in output.iterdir())
    assert report["published"][-1].endswith(".report.json")
    assert [document["kind"] for document in plan["documents"]] == [
        "libvirt", "proxmox", "proxmox", "kubevirt", "qemu",
    ]  # fmt: skip
    for document in plan["documents"]:
        published = output / document["name"]
        assert document["name"] in run.stdout
        assert os.access(published, os.X_OK) == document["executable"]
        if document["kind"] == "qemu":
            assert published.read_text() == document["text"]
    for command in ("virsh define", "kubectl apply", "virtctl image-upload", "sh "):
        assert f"  {command}" in run.stdout.partition("Next:")[2]
    assert "KubeVirt" in run.stdout
    (script,) = output.glob("*.qemu.sh")
    (disk,) = output.glob("*.qcow2")
    with started(script) as qemu:
        assert f"{disk} (qcow2)" in qemu.monitor("info block")
    refused = offline_mig(*common[:7], "-o", output, "--target", "qemu")
    assert refused.returncode == 8 and "--overwrite" in refused.stderr
    again = offline_mig(*common[:7], "-o", output, "--target", "qemu", "--overwrite")
    assert again.returncode == 0, again.stderr
    assert sorted(path.suffix for path in output.iterdir()) == [".json", ".qcow2", ".sh"]
