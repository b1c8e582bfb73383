"""The disk that a snapshot is based on, where its name says nothing any more.

VMware writes the parent's path as it was on its host, and whoever renames a machine's files does
not change it. What stays is the content id, by which VMware itself tells whether it has the right
parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from offline_mig.sources.file_access import exists
from offline_mig.sources.layer import Parent
from offline_mig.sources.named_files import Bounds
from offline_mig.sources.vmdk import NO_PARENT, SECTOR, SPARSE_MAGIC, is_descriptor
from offline_mig.sources.vmdk_as_qemu_reads import PARENT_WINDOW
from offline_mig.sources.vmdk_kinds import flat_beside
from offline_mig.sources.vmx_disk_files import base_name

_CONTENT_ID = re.compile(rb"^CID[ \t]*=[ \t]*([0-9a-fA-F]{1,8})[ \t\r]*$", re.MULTILINE)
#: What VMware gives every new disk until it is written to: it tells none from another.
_NEW_DISK = 0xFFFFFFFE


def find_lost_parent(path: Path, named: Parent, bounds: Bounds) -> Path | None:
    """Return the disk that the VMDK ``path`` is based on, found by content id.

    It is the one of its name, or else the only one with that id, in the disk's own folder and the
    ones that are allowed besides; or a flat file of its name that has no descriptor. None where
    there is no such file, or more than one.
    """
    plain = base_name(named.name)
    candidates = dict(_content_ids(path, bounds))
    alike = [file for file, cid in candidates.items() if cid == named.cid]
    for file in alike:
        if file.name == plain:
            return file
    if len(alike) == 1 and named.cid not in (_NEW_DISK, NO_PARENT):
        return alike[0]
    if not alike and plain:
        own = path.with_name(plain)
        flat = flat_beside(own)
        if not exists(own) and exists(flat):
            return flat
    return None


def _content_ids(path: Path, bounds: Bounds) -> Iterator[tuple[Path, int]]:
    """Yield the VMDKs that may be the parent, with their content ids; only heads are read."""
    for folder in dict.fromkeys((path.parent, *bounds.outside)):
        try:
            files = sorted(folder.iterdir())
        except OSError:
            continue
        for file in files:
            if file == path or file.suffix.lower() != ".vmdk" or not file.is_file():
                continue
            if bounds.hold(file.resolve()) and (cid := _content_id(file)) is not None:
                yield file, cid


def _content_id(file: Path) -> int | None:
    try:
        with file.open("rb") as stream:
            head = stream.read(SECTOR + PARENT_WINDOW)
    except OSError:
        return None
    if head.startswith(SPARSE_MAGIC):
        head = head[SECTOR:]
    elif not is_descriptor(head):
        return None
    found = _CONTENT_ID.search(head)
    return None if found is None else int(found[1], 16)
