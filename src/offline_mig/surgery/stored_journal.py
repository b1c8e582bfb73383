"""A journal as it is kept in a file: all that undoing an edit needs, without the image's help.

See docs/journal.md for the form of the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from offline_mig.errors import VerificationError
from offline_mig.machine import DiskFormat
from offline_mig.surgery.changes import (
    Before,
    DeleteFiles,
    DiscardSession,
    RegistryChange,
    ReplayLogs,
    WriteFile,
    WrittenFile,
)
from offline_mig.surgery.operation import Journal
from offline_mig.surgery.page_delta import PageDelta, difference, restored
from offline_mig.surgery.record import entry_record
from offline_mig.surgery.record_form import EditedHiveForm, EditedImageForm, JournalForm
from offline_mig.windows.hive import HiveName

#: Changes when the file's form does.
SCHEMA: Literal["offline-mig/journal/1"] = "offline-mig/journal/1"


StoredChange: TypeAlias = RegistryChange | ReplayLogs | WrittenFile | DeleteFiles | DiscardSession


@dataclass(frozen=True, slots=True)
class Digest:
    """Content by its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EditedImage:
    """Which image was edited.

    ``path`` is where it lay, for people. It is known again by its virtual size and by the place,
    size (bytes) and NTFS serial number of the volume with Windows on it; ``choice`` is that volume
    and the Windows directory as --system-partition takes it.
    """

    path: str
    format: DiskFormat
    virtual_size: int
    choice: str
    volume_start: int
    volume_size: int
    volume_serial: str


@dataclass(frozen=True, slots=True)
class EditedHive:
    """A hive file before and after; ``old`` brings the former back out of the latter."""

    path: str
    before: Digest
    after: Digest
    old: PageDelta


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A change and what was there before it.

    ``before`` is None for logs that were replayed: the old hive is kept as all of them are.
    """

    change: StoredChange
    before: Before | None


@dataclass(frozen=True)
class StoredJournal:
    """An edit. ``identity`` is a random word, ``created`` the time in ISO 8601 with its zone."""

    identity: str
    created: str
    version: str
    image: EditedImage
    hives: Mapping[HiveName, EditedHive]
    entries: tuple[StoredEntry, ...]


def digest(content: bytes) -> Digest:
    """Return what content is known by."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def edited_hive(path: str, old: bytes, new: bytes) -> EditedHive:
    """Return a hive's record, tried out: the old bytes do come back. Raises VerificationError."""
    hive = EditedHive(path, digest(old), digest(new), difference(old, new))
    if restored(new, hive.old) != old:
        raise VerificationError(
            f"The old bytes of {path} could not be kept for an undo.",
            "Nothing was changed. Please report this.",
        )
    return hive


def stored_entries(journal: Journal) -> tuple[StoredEntry, ...]:
    """Return the entries of a journal without the contents that were written."""
    return tuple(
        StoredEntry(
            entry.change.written if isinstance(entry.change, WriteFile) else entry.change,
            None if isinstance(entry.change, ReplayLogs) else entry.before,
        )
        for entry in journal.entries
    )


def journal_json(journal: StoredJournal) -> str:
    """Return a journal as the text of its file."""
    record: JournalForm = {
        "schema": SCHEMA,
        "identity": journal.identity,
        "created": journal.created,
        "version": journal.version,
        "image": image_record(journal.image),
        "hives": {name: hive_record(hive) for name, hive in journal.hives.items()},
        "changes": [entry_record(entry.change, entry.before) for entry in journal.entries],
    }
    # Names in a guest may hold halves of surrogate pairs, which UTF-8 has no bytes for.
    return json.dumps(record, indent=1, ensure_ascii=True) + "\n"


def image_record(image: EditedImage) -> EditedImageForm:
    """Return an image as plain data."""
    return {
        "path": image.path,
        "format": image.format.value,
        "virtual_size": image.virtual_size,
        "volume": {
            "choice": image.choice,
            "start": image.volume_start,
            "size": image.volume_size,
            "serial": image.volume_serial,
        },
    }


def hive_record(hive: EditedHive) -> EditedHiveForm:
    """Return a hive as plain data."""
    return {
        "path": hive.path,
        "before": {"size": hive.before.size, "sha256": hive.before.sha256},
        "after": {"size": hive.after.size, "sha256": hive.after.sha256},
        "old_pages": [
            {
                "offset": offset,
                "size": len(data),
                "zlib": base64.b64encode(zlib.compress(data)).decode("ascii"),
            }
            for offset, data in hive.old.pieces
        ],
    }
