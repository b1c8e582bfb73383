"""Finding the machines in a folder and below: VMX, OVF, OVA, domains, disks that belong to none.

Nothing is judged here, only told apart: a machine that cannot be converted is found all the same,
so that somebody hears of it. Which disk belongs to which machine is told by the names in VMX and
OVF files and libvirt domains, and in the first 64 KiB of VMDK and qcow2 images, where descriptors,
extents, parents and backing files stand. A VHD or VHDX that others are based on is found as a
machine of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from offline_mig.batch.journal import journal_path
from offline_mig.conversion.result_cache import TAG as CACHE_TAG
from offline_mig.errors import OfflineMigError, SourceUnreadableError
from offline_mig.images.qcow2_header import MAGIC as QCOW2_MAGIC
from offline_mig.images.qcow2_header import parse_qcow2_header
from offline_mig.sources.display_name import display_name
from offline_mig.sources.file_access import open_file, shown, unreadable
from offline_mig.sources.libvirt_xml import hard_disks, looks_like_domain, read_domain_element
from offline_mig.sources.options import SourceOptions
from offline_mig.sources.ovf import MAX_OVF, parse_ovf
from offline_mig.sources.ovf_hardware import read_hardware as read_ovf_hardware
from offline_mig.sources.ovf_package import open_package
from offline_mig.sources.vmdk import (
    SECTOR,
    SPARSE_MAGIC,
    is_descriptor,
    parse_descriptor,
    parse_sparse_header,
)
from offline_mig.sources.vmx import MAX_VMX, parse_vmx
from offline_mig.sources.vmx_disk_files import base_name
from offline_mig.sources.vmx_hardware import read_hardware
from offline_mig.targets.identity import result_name

#: Bytes at the beginning of an image that are searched for names, and that tell it from others.
IMAGE_HEAD = 64 * 1024
#: Windows 2000 asks for 650 MB; what is far smaller is a floppy, firmware or a boot loader.
_LEAST_RAW = 16 * 1024 * 1024
_VMX = {".vmx", ".vmtx"}
_OVF = {".ovf"}
_OVA = {".ova"}
_DOMAIN = {".xml"}
_RAW = {".raw", ".img", ".dd"}
_IMAGES = {".vmdk", ".qcow2", ".vdi", ".vhd", ".vhdx"} | _RAW
#: What VMware notes changed blocks in (changed block tracking); no disk, whatever its ending.
_TRACKING = "-ctk.vmdk"
#: What the results of a machine with several disks add to its name: see result_names.py.
_DISK = re.compile(r"-disk\d+$")


@dataclass(frozen=True, slots=True)
class FoundMachine:
    """A machine: what to convert, what it calls itself, all files that it names and that exist."""

    source: Path
    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, in the order of the names. ``unread`` are folders that could not be read."""

    machines: tuple[FoundMachine, ...]
    unread: tuple[Path, ...] = ()


def find_machines(place: Path, besides: Sequence[Path] = ()) -> Discovery:
    """Return all machines below the folder ``place``, or the one that ``place`` is.

    ``besides`` are folders that are not looked into, however they are spelled, and neither are
    hidden ones, those that links lead to, or the results of batches. Raises
    SourceUnreadableError when ``place`` cannot be looked at.
    """
    try:
        if not place.is_dir():
            place.stat()
            alone = place.absolute()
            return Discovery((_machine(alone, _Folder(alone.parent)),))
    except OSError as error:
        raise unreadable(place, error) from error
    unread: list[Path] = []
    left_out = {folder.resolve() for folder in besides}
    folders = []

    def failed(error: OSError) -> None:
        unread.append(Path(error.filename))

    for name, inner, files in os.walk(place.absolute(), onerror=failed):
        inner[:] = sorted(
            entry
            for entry in inner
            if not entry.startswith(".")
            and Path(name, entry).resolve() not in left_out
            and not os.path.lexists(journal_path(Path(name, entry)))
            and not os.path.lexists(Path(name, entry, CACHE_TAG))
        )
        if files and not os.access(name, os.X_OK):
            # The names in it can be read, and nothing else.
            unread.append(Path(name))
        folders.append(_Folder(Path(name), files))
    if place.absolute() in unread:
        raise SourceUnreadableError(
            f"The folder {shown(place)} cannot be read.", "Give this user the right to read it."
        )
    return Discovery(tuple(_machines(folders)), tuple(unread))


class _Folder:
    """A folder with the names in it, and what the images among them name."""

    def __init__(self, path: Path, names: Iterable[str] | None = None) -> None:
        self.path = path
        given = (entry.name for entry in path.iterdir()) if names is None else names
        self.names = sorted(name for name in given if not name.startswith("."))
        self._spelled = {name.casefold(): name for name in self.names}
        self._read: dict[Path, tuple[Path, ...]] = {}

    def having(self, suffixes: set[str]) -> list[Path]:
        """Return the regular files with one of the endings."""
        paths = (self.path / name for name in self.names)
        return [
            path
            for path in paths
            if path.suffix.lower() in suffixes
            and not path.name.lower().endswith(_TRACKING)
            # Unlike Path.is_file() that does not raise where the folder cannot be entered.
            and os.path.isfile(path)  # noqa: PTH113
        ]

    def files(self, names: Iterable[str]) -> list[Path]:
        """Return those of the named files that are there, by their name alone."""
        spelled = (self._spelled.get(base_name(name).casefold()) for name in names)
        return [self.path / name for name in spelled if name is not None]

    def with_all_below(self, files: Iterable[Path]) -> tuple[Path, ...]:
        """Return files, and what they name, and so on, each once."""
        found: dict[Path, None] = {}
        pending = list(files)
        while pending:
            path = pending.pop(0)
            if path not in found:
                found[path] = None
                pending += self.named_by(path)
        return tuple(found)

    def named_by(self, path: Path) -> tuple[Path, ...]:
        """Return what an image names beside it."""
        if path not in self._read:
            named = [file for file in self.files(_image_names(path)) if file != path]
            self._read[path] = tuple(file for file in named if file.is_file())
        return self._read[path]


def _machines(folders: Sequence[_Folder]) -> list[FoundMachine]:
    found: list[FoundMachine] = []
    for folder in folders:
        described = [_machine(path, folder) for path in folder.having(_VMX)]
        taken = {file for machine in described for file in machine.files}
        for path in folder.having(_OVF | _OVA):
            machine = _machine(path, folder)
            disks = set(machine.files) - {path}
            # An export may have both descriptions of one machine.
            if not disks or not disks <= taken:
                described.append(machine)
        taken = {file for machine in described for file in machine.files}
        for path in filter(_is_domain, folder.having(_DOMAIN)):
            machine = _machine(path, folder)
            disks = set(machine.files) - {path}
            # One whose disks lie elsewhere, or have a description already, says nothing new.
            if disks and taken.isdisjoint(disks):
                described.append(machine)
        taken = {file for machine in described for file in machine.files}
        images = [path for path in folder.having(_IMAGES) if path not in taken]
        # Snapshots of a machine that are not its current one rest on a disk of it at last.
        below = {file for path in images for file in folder.named_by(path)}
        images = [
            path
            for path in images
            if path not in below and taken.isdisjoint(folder.with_all_below([path]))
        ]
        described += [
            _machine(path, folder)
            for path in images
            if not (path.suffix.lower() in _RAW and _is_small(path))
        ]
        found += sorted(described, key=lambda machine: machine.source)
    return found


def _machine(path: Path, folder: _Folder) -> FoundMachine:
    suffix = path.suffix.lower()
    name, named = None, list[str]()
    try:
        if suffix in _VMX:
            name, named = _of_vmx(path)
        elif suffix in _OVF | _OVA:
            name, named = _of_ovf(path, archive=suffix in _OVA)
        elif suffix in _DOMAIN:
            name, named = _of_domain(path)
    except OfflineMigError:
        # Whoever converts it will say what is wrong with it.
        pass
    files = folder.with_all_below([path, *folder.files(named)])
    return FoundMachine(path, name or path.stem, files)


def _of_vmx(path: Path) -> tuple[str | None, list[str]]:
    with open_file(path) as file:
        vmx = parse_vmx(file.read(0, min(file.size, MAX_VMX)))
    named = [v for v in vmx.values.values() if v.lower().endswith((".vmdk", ".vmss"))]
    try:
        return read_hardware(vmx).name, named
    except OfflineMigError:
        return vmx.text("displayName"), named


def _of_ovf(path: Path, *, archive: bool) -> tuple[str | None, list[str]]:
    envelope = parse_ovf(
        open_package(path, SourceOptions(), archive=archive).descriptor.content(MAX_OVF, "an OVF")
    )
    # What is in the archive is not beside it.
    named = [] if archive else [file.href for file in envelope.files.values()]
    try:
        return read_ovf_hardware(envelope).name, named
    except OfflineMigError:
        return None, named


def _is_domain(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return looks_like_domain(file.read(0, IMAGE_HEAD))
    except OfflineMigError:
        return False


def _of_domain(path: Path) -> tuple[str | None, list[str]]:
    domain = read_domain_element(path)
    sources = [disk.find("source") for disk in hard_disks(path, domain)]
    named = [source.get("file", "") for source in sources if source is not None]
    return display_name(domain.findtext("name")), named


def _image_names(path: Path) -> list[str]:
    """Return what an image is made of or based on, as it names it."""
    if path.suffix.lower() not in {".vmdk", ".qcow2"}:
        return []
    try:
        with open_file(path) as file:
            head = file.read(0, IMAGE_HEAD)
        if head.startswith(QCOW2_MAGIC):
            header = parse_qcow2_header(head, shown(path))
            return [name for name in (header.backing_file, header.data_file) if name]
        descriptor = parse_descriptor(_vmdk_text(path, head), shown(path))
    except OfflineMigError:
        return []
    names = [extent.name for extent in descriptor.extents]
    return [name for name in (*names, descriptor.parent_hint) if name]


def _vmdk_text(path: Path, head: bytes) -> bytes:
    """Return the descriptor in the head of a VMDK, b"" where there is none."""
    if head.startswith(SPARSE_MAGIC):
        header = parse_sparse_header(head[:SECTOR], shown(path))
        begin = header.descriptor_offset * SECTOR
        return head[begin : begin + header.descriptor_size * SECTOR]
    return head if is_descriptor(head) else b""


def _is_small(path: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_size < _LEAST_RAW
    # Whoever converts it will say what is wrong with it.
    return False


def unique_names(machines: Sequence[FoundMachine]) -> Mapping[Path, str]:
    """Return a name for each machine that no other has, by source.

    Of several with one name (case aside: results may go to where it does not count) the first
    keeps it, and the others get ``-2``, ``-3`` and so on. ``web-disk1`` is no name beside ``web``,
    whose disks may be called that.
    """
    taken: set[str] = set()
    # The names of those whose results look like disks of another.
    stems: set[str] = set()
    names: dict[Path, str] = {}
    for machine in machines:
        own = result_name(machine.name)
        name, number = own, 1
        while not _is_free(name.casefold(), taken, stems):
            number += 1
            name = f"{own}-{number}"
        taken.add(name.casefold())
        if _DISK.search(name.casefold()):
            stems.add(_DISK.sub("", name.casefold()))
        names[machine.source] = name
    return names


def _is_free(name: str, taken: set[str], stems: set[str]) -> bool:
    return name not in taken and name not in stems and _DISK.sub("", name) not in taken
