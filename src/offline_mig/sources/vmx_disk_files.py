"""Which file a disk of a VMX file is.

A VMX file names its disks relative to its own folder, with the separators of the system that
wrote it, or by an ESX datastore. Windows hosts do not heed case.
"""

from __future__ import annotations

import re
from pathlib import Path

from offline_mig.errors import SourceUnsafeError
from offline_mig.sources.file_access import exists, shown
from offline_mig.sources.named_files import check_name, find_inside
from offline_mig.sources.vmx_hardware import VmxDisk

#: ``/vmfs/volumes/DATASTORE/dir/x.vmdk`` and ``[DATASTORE] dir/x.vmdk``.
_DATASTORE_PREFIX = re.compile(r"/vmfs/volumes/|\[[^\]/]*\]", re.IGNORECASE)
_ROLE = "disk"


def base_name(file_name: str) -> str:
    """Return the last part of a name written by any system."""
    return re.split(r"[\\/]", _DATASTORE_PREFIX.sub("", file_name))[-1].strip()


def find_disk_file(disk: VmxDisk, vmx: Path) -> tuple[Path | None, str | None]:
    """Return the file of a disk, None when it is missing, and a note on how it was found.

    ``vmx`` is the resolved path of the VMX file; nothing outside of its folder is looked at.
    Raises SourceUnsafeError when the name leads out of it.
    """
    folder = vmx.parent
    name = disk.file_name
    if _DATASTORE_PREFIX.match(name) and not _is_plain(name, folder):
        plain = base_name(name)
        found = _find(plain, folder, vmx) if plain else None
        if found is None:
            raise SourceUnsafeError(
                f'{shown(vmx)} names "{shown(name)}" as {disk.key}, a file of an ESX datastore, '
                f"and no {shown(plain)} lies beside it.",
                "Copy all files of that disk beside the VMX file, or give the disk itself.",
            )
        return found, (
            f"{disk.key} was {shown(name)} on its host; {shown(found.name)} beside the VMX file "
            "was taken for it."
        )
    try:
        check_name(name, vmx, _ROLE)
    except SourceUnsafeError as error:
        raise SourceUnsafeError(
            error.message,
            "Copy all files of that disk beside the VMX file and write its plain name into a "
            "copy of the VMX file, or give the disk itself.",
        ) from error
    relative = Path(name.replace("\\", "/"))
    found = _find(str(relative), folder, vmx)
    if found is not None and found.name != relative.name:
        return found, f"{disk.key} is named {shown(name)}; {shown(found.name)} was taken for it."
    return found, None


def _is_plain(name: str, folder: Path) -> bool:
    # "[old] disk.vmdk" is a file name as well.
    return "/" not in name and "\0" not in name and exists(folder / name)


def _find(name: str, folder: Path, vmx: Path) -> Path | None:
    """Return the file of that name, or the only one that differs from it by case."""
    path = find_inside(name, folder=folder, root=folder, namer=vmx, role=_ROLE)
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
    return find_inside(other, folder=folder, root=folder, namer=vmx, role=_ROLE)
