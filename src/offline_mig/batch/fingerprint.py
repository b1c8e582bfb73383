"""Telling whether a machine, its drivers and what is asked of it are what they were before.

By content, as far as that is to be had at once: of every file its name, size, time of the last
change, and its first and last 64 KiB, where descriptors, headers and partition tables lie. A disk
that is changed in between, by a program that puts the time of the change back, is taken for the
same; nothing that is published rests on this, only whether something is looked at again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from offline_mig import __version__
from offline_mig.batch.discovery import IMAGE_HEAD, FoundMachine


def machine_fingerprint(machine: FoundMachine) -> str:
    """Return what tells a machine from what it may be later; raises OSError."""
    state = hashlib.sha256()
    for path in machine.files:
        _add_file(state, path)
        # A lock, and a suspended machine's memory, as VMware calls them: see machine_source.py.
        for beside in (path.with_name(path.name + ".lck"), path.with_suffix(".vmss")):
            if beside.exists():
                inside = sorted(entry.name for entry in beside.iterdir()) if beside.is_dir() else []
                state.update(os.fsencode("/".join([beside.name, *inside])) + b"\0")
    return state.hexdigest()


def media_fingerprint(paths: Iterable[Path]) -> str:
    """Return what tells driver sources and other inputs from what they may be later.

    Of a folder all names, sizes and times below it count. What cannot be read counts as missing.
    """
    state = hashlib.sha256()
    for path in paths:
        try:
            if path.is_dir():
                _add_folder(state, path)
            else:
                _add_file(state, path)
        except OSError:
            state.update(b"missing\0")
    return state.hexdigest()


def work_fingerprint(machine: FoundMachine, media: str, given: Mapping[str, Any]) -> str:
    """Return what tells a guest with its drivers (``media``) and options from other work."""
    asked = json.dumps({**given, "source": str(machine.source)}, sort_keys=True, default=str)
    parts = (__version__, machine_fingerprint(machine), media, asked)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _add_folder(state: hashlib._Hash, folder: Path) -> None:
    for name, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(name, file)
            status = path.stat()
            state.update(os.fsencode(path))
            state.update(b"\0%d %d\0" % (status.st_size, status.st_mtime_ns))


def _add_file(state: hashlib._Hash, path: Path) -> None:
    with path.open("rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        state.update(os.fsencode(path.name))
        state.update(b"\0%d %d\0" % (status.st_size, status.st_mtime_ns))
        state.update(stream.read(IMAGE_HEAD) or b"")
        if status.st_size > IMAGE_HEAD:
            stream.seek(max(IMAGE_HEAD, status.st_size - IMAGE_HEAD))
            state.update(stream.read(IMAGE_HEAD) or b"")
