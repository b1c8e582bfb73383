"""The files that a machine is written down in, for each kind of target."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.kubevirt import kubevirt_commands, kubevirt_yaml
from offline_mig.targets.libvirt import domain_xml
from offline_mig.targets.options import TargetKind
from offline_mig.targets.proxmox import proxmox_conf, proxmox_script
from offline_mig.targets.qemu import qemu_script


@dataclass(frozen=True, slots=True)
class DocumentForm:
    """A kind of file: how its name ends, what it is in a few words, whether it is a program."""

    suffix: str
    title: str
    write: Callable[[TargetMachine], str]
    executable: bool = False


@dataclass(frozen=True, slots=True)
class TargetDocument:
    """A file of a machine. ``name`` is its file name."""

    kind: TargetKind
    name: str
    title: str
    text: str
    executable: bool


#: What each kind of target gets; where there are several files the last is the one to begin with.
FORMS = {
    TargetKind.LIBVIRT: (DocumentForm(".xml", "libvirt domain", domain_xml),),
    TargetKind.PROXMOX: (
        DocumentForm(".proxmox.conf", "Proxmox VE configuration", proxmox_conf),
        DocumentForm(".proxmox.sh", "Proxmox VE commands", proxmox_script, executable=True),
    ),
    TargetKind.KUBEVIRT: (DocumentForm(".kubevirt.yaml", "KubeVirt machine", kubevirt_yaml),),
    TargetKind.QEMU: (DocumentForm(".qemu.sh", "QEMU command", qemu_script, executable=True),),
}


def document_names(stem: str, kinds: tuple[TargetKind, ...]) -> tuple[str, ...]:
    """Return the names of the files of a machine called ``stem``."""
    return tuple(stem + form.suffix for kind in kinds for form in FORMS[kind])


def target_documents(
    target: TargetMachine, stem: str, kinds: tuple[TargetKind, ...]
) -> tuple[TargetDocument, ...]:
    """Write a machine down for each kind. Raises OutputRefusedError for what one cannot hold."""
    return tuple(
        TargetDocument(kind, stem + form.suffix, form.title, form.write(target), form.executable)
        for kind in kinds
        for form in FORMS[kind]
    )


def next_commands(
    target: TargetMachine,
    folder: Path,
    documents: tuple[TargetDocument, ...],
    defined_at: str | None = None,
) -> tuple[str, ...]:
    """Return the commands that bring the machine up for each target, its files in ``folder``.

    ``defined_at`` is the URI of the libvirt that knows the machine already.
    """
    # Of several files of one kind the last one is the one to begin with.
    files = {document.kind: folder / document.name for document in documents}
    return tuple(
        command
        for kind, file in files.items()
        for command in _next_commands(target, kind, file, defined_at)
    )


def _next_commands(
    target: TargetMachine, kind: TargetKind, file: Path, defined_at: str | None
) -> tuple[str, ...]:
    quoted = shlex.quote(str(file))
    if kind is TargetKind.LIBVIRT and defined_at is not None:
        return (f"virsh -c {shlex.quote(defined_at)} start {shlex.quote(target.name)}",)
    if kind is TargetKind.LIBVIRT:
        return (f"virsh define {quoted} && virsh start {shlex.quote(target.name)}",)
    if kind is TargetKind.PROXMOX:
        return (f"sh {quoted}  # on a node of Proxmox VE, with the disks beside it",)
    if kind is TargetKind.KUBEVIRT:
        return kubevirt_commands(target, str(file))
    return (f"sh {quoted}",)
