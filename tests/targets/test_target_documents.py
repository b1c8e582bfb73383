"""What each kind of target gets, what the user is told of it, and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.target_machines import SAMPLES
from offline_mig.machine import Nic
from offline_mig.targets.documents import document_names, next_commands, target_documents
from offline_mig.targets.libvirt import domain_xml
from offline_mig.targets.limits import has_modern_ids, target_limits
from offline_mig.targets.options import TargetKind
from offline_mig.targets.proxmox import proxmox_conf


def test_every_target_gets_its_files() -> None:
    assert document_names("a b", tuple(TargetKind)) == (
        "a b.xml",
        "a b.proxmox.conf",
        "a b.proxmox.sh",
        "a b.kubevirt.yaml",
        "a b.qemu.sh",
    )


def test_files_are_those_that_were_asked_for_and_scripts_are_programs() -> None:
    target = SAMPLES["10-uefi"].plan()
    kinds = (TargetKind.QEMU, TargetKind.PROXMOX)
    documents = target_documents(target, target.name, kinds)
    assert tuple(document.name for document in documents) == document_names("win10", kinds)
    for document in documents:
        assert document.executable == document.name.endswith(".sh")
        assert document.text.startswith("#!/bin/sh\n") == document.executable


def test_next_commands_begin_with_the_file_of_each_target() -> None:
    target = SAMPLES["7-two-nics-two-disks"].plan()
    documents = target_documents(target, target.name, tuple(TargetKind))
    commands = next_commands(target, Path("/out"), documents)
    words = [shlex.split(command, comments=True) for command in commands]
    assert words[0] == ["virsh", "define", f"/out/{target.name}.xml", "&&", *words[0][4:]]
    assert words[0][-1] == target.name
    assert words[1] == ["sh", f"/out/{target.name}.proxmox.sh"]
    assert words[2] == ["kubectl", "apply", "-f", f"/out/{target.name}.kubevirt.yaml"]
    assert [command[0] for command in words[3:6]] == ["virtctl"] * 3
    assert words[6] == ["sh", f"/out/{target.name}.qemu.sh"]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (TargetKind.LIBVIRT, "11-uefi-secure-boot", "swtpm"),
        (TargetKind.PROXMOX, "11-uefi-secure-boot", "no keys for Secure Boot and no TPM"),
        (TargetKind.PROXMOX, "7-x64-bios", "vmbr0"),
        (TargetKind.PROXMOX, "xp-sp3-x86", 'called "windows-xp"'),
        (TargetKind.PROXMOX, "2022-bios", "transitional"),
        (TargetKind.QEMU, "2022-bios", "address translation"),
        (TargetKind.QEMU, "11-uefi-secure-boot", "swtpm"),
    ],
)
def test_departures_are_told(kind: TargetKind, name: str, words: str) -> None:
    assert words in "\n".join(target_limits(SAMPLES[name].plan(), kind))


def test_nothing_is_told_where_nothing_departs() -> None:
    assert target_limits(SAMPLES["10-bios"].plan(), TargetKind.LIBVIRT) == ()
    assert target_limits(SAMPLES["10-bios"].plan(), TargetKind.QEMU) == ()


@pytest.mark.parametrize(
    ("name", "modern"),
    [
        ("xp-sp3-x86", ()),
        ("xp-on-q35", ()),
        ("10-uefi", (TargetKind.LIBVIRT, TargetKind.KUBEVIRT, TargetKind.QEMU)),
    ],
)
def test_virtio_ids_are_those_that_each_target_shows(
    name: str, modern: tuple[TargetKind, ...]
) -> None:
    target = SAMPLES[name].plan()
    assert tuple(kind for kind in TargetKind if has_modern_ids(target, kind)) == modern


def test_a_card_that_is_not_connected_stays_so_or_is_told() -> None:
    sample = SAMPLES["7-x64-bios"]
    off = replace(sample, machine=replace(sample.machine, nics=(Nic(0, connected=False),)))
    target = off.plan()
    assert '<link state="down"' in domain_xml(target).replace("'", '"')
    assert ",link_down=1," in proxmox_conf(target)
    for kind in (TargetKind.KUBEVIRT, TargetKind.QEMU):
        assert "connects all network cards" in "\n".join(target_limits(target, kind))
