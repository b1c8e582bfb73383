"""Which file a disk of a VMX file is.

A VMX file names its disks relative to its own folder, with the separators of the system that
wrote it, or by an ESX datastore. Windows hosts do not heed case.
"""

from __future__ import annotations

import re
from pathlib import Path

from offline_mig.errors import SourceUnsafeError
from offline_mig.sources.file_access import exists, shown
from offline_mig.sources.named_files import Bounds, check_name, find_inside
from offline_mig.sources.vmdk_kinds import flat_beside
from offline_mig.sources.vmx_hardware import VmxDisk

#: ``/vmfs/volumes/DATASTORE/dir/x.vmdk`` and ``[DATASTORE] dir/x.vmdk``.
_DATASTORE_PREFIX = re.compile(r"/vmfs/volumes/|\[[^\]/]*\]", re.IGNORECASE)
#: An absolute path of any system.
_ELSEWHERE = re.compile(r"[\\/]|[A-Za-z]:[\\/]")
_ROLE = "disk"


def base_name(file_name: str) -> str:
    """Return the last part of a name written by any system."""
    return re.split(r"[\\/]", _DATASTORE_PREFIX.sub("", file_name))[-1].strip()


def find_disk_file(disk: VmxDisk, vmx: Path, bounds: Bounds) -> tuple[Path | None, str | None]:
    """Return the file of a disk, None when it is missing, and a note on how it was found.

    ``vmx`` is the resolved path of the VMX file; nothing outside of ``bounds`` is looked at. A
    file that another host had elsewhere is looked for by its plain name. Raises
    SourceUnsafeError when the name leads out of them.
    """
    folder = vmx.parent
    name = disk.file_name
    if _DATASTORE_PREFIX.match(name) and not _is_plain(name, folder):
        return _find_elsewhere(disk, vmx, bounds, "a file of an ESX datastore")
    if _ELSEWHERE.match(name) and not exists(Path(name)):
        return _find_elsewhere(disk, vmx, bounds, "a file of another host")
    try:
        check_name(name, vmx, _ROLE, bounds)
    except SourceUnsafeError as error:
        raise SourceUnsafeError(
            error.message,
            "Copy all files of that disk beside the VMX file and write its plain name into a "
            "copy of the VMX file, allow the folder where they are with --allow-outside, or give "
            "the disk itself.",
        ) from error
    relative = Path(name.replace("\\", "/"))
    found = _find(str(relative), folder, vmx, bounds)
    if found is not None and found.name != relative.name:
        return found, f"{disk.key} is named {shown(name)}; {shown(found.name)} was taken for it."
    return found, None


def find_lone_flat(disk: VmxDisk, vmx: Path, bounds: Bounds) -> Path | None:
    """Return the flat file of a disk whose descriptor is not there, None when that is not either.

    Raises SourceUnsafeError when the name leads out of ``bounds``.
    """
    flat = flat_beside(Path(disk.file_name.replace("\\", "/")))
    return _find(str(flat), vmx.parent, vmx, bounds)


def _find_elsewhere(
    disk: VmxDisk, vmx: Path, bounds: Bounds, what: str
) -> tuple[Path | None, str | None]:
    """Return the file with the plain name of one that another host had elsewhere, and a note."""
    plain = base_name(disk.file_name)
    if plain:
        for folder in (bounds.folder, *bounds.outside):
            found = _find(plain, folder, vmx, bounds)
            if found is not None:
                where = "beside the VMX file" if folder == bounds.folder else f"in {shown(folder)}"
                return found, (
                    f"{disk.key} was {shown(disk.file_name)} on its host; {shown(found.name)} "
                    f"{where} was taken for it."
                )
    raise SourceUnsafeError(
        f'{shown(vmx)} names "{shown(disk.file_name)}" as {disk.key}, {what}, and no '
        f"{shown(plain)} lies in {bounds}.",
        "Copy all files of that disk beside the VMX file, allow the folder where they are with "
        "--allow-outside, or give the disk itself.",
    )


def _is_plain(name: str, folder: Path) -> bool:
    # "[old] disk.vmdk" is a file name as well.
    return "/" not in name and "\0" not in name and exists(folder / name)


def _find(name: str, folder: Path, vmx: Path, bounds: Bounds) -> Path | None:
    """Return the file of that name, or the only one that differs from it by case."""
    path = find_inside(name, folder=folder, bounds=bounds, namer=vmx, role=_ROLE)
    if exists(path):
        return path
    try:
        alike = [
            entry.name
            for entry in path.parent.iterdir()
            if entry.name.casefold() == path.name.casefold()
        ]
    except OSError:
        return None
    if len(alike) != 1:
        return None
    other = str(Path(name).with_name(alike[0]))
    return find_inside(other, folder=folder, bounds=bounds, namer=vmx, role=_ROLE)
