"""Reading a journal's file back: every field is looked at, since a journal decides what is written.

Nothing in a journal can reach beyond the guest: its paths are those of its volumes and sectors.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from offline_mig.errors import SourceUnreadableError
from offline_mig.guest.joined_volumes import is_known_place, is_sector
from offline_mig.guest.partition_table import SECTOR
from offline_mig.machine import DiskFormat
from offline_mig.surgery.changes import (
    Before,
    CreateKey,
    DeletedBefore,
    DeleteFiles,
    DeleteKey,
    DeleteValue,
    DiscardSession,
    FileBefore,
    KeyBefore,
    NotKept,
    RegistryChange,
    ReplayLogs,
    SetValue,
    ValueBefore,
    WrittenFile,
)
from offline_mig.surgery.page_delta import PageDelta
from offline_mig.surgery.report_journal import REPORT, journal_of_report
from offline_mig.surgery.stored_journal import (
    SCHEMA,
    Digest,
    EditedHive,
    EditedImage,
    StoredEntry,
    StoredJournal,
)
from offline_mig.windows.hibernation import Session
from offline_mig.windows.hive import MAX_HIVE_SIZE, HiveName, KeyTree
from offline_mig.windows.registry import RegistryType, RegistryValue

#: The largest image that qemu opens is below 2^63 bytes.
_MAX_NUMBER = 2**63 - 1
#: Levels below a key; the same as the hives' own reader keeps.
_MAX_TREE_DEPTH = 64
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_SERIAL = re.compile(r"[0-9a-f]{16}")
_OTHER_TYPE = re.compile(r"0x[0-9a-f]{8}")
_T = TypeVar("_T")


class _DamagedError(Exception):
    """What is wrong, and where: the place becomes longer on the way out."""

    place = ""

    def __str__(self) -> str:
        reason = super().__str__()
        return f"{self.place}: {reason}" if self.place else reason


def parse_journal(text: bytes, where: str) -> StoredJournal:
    """Return the journal in the content of its file; ``where`` names it in messages.

    The report of a conversion has one as well.

    Raises SourceUnreadableError for what is no journal, or a damaged one, or of another version.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceUnreadableError(
            f"{where} is no journal, or is damaged: it is not JSON ({error}).",
            "Give the file that the edit named when it was done.",
        ) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, str) and schema.startswith(REPORT):
        record = journal_of_report(record, where)
        schema = SCHEMA
    if schema != SCHEMA:
        other = isinstance(schema, str) and schema.startswith("offline-mig/journal/")
        raise SourceUnreadableError(
            f"{where} is no journal that this version reads: its schema is {str(schema)[:60]!r}, "
            f"not {SCHEMA!r}.",
            "Use the version of offline-mig that wrote it."
            if other
            else "Give the file that the edit named when it was done.",
        )
    try:
        return _journal(record)
    except _DamagedError as error:
        raise SourceUnreadableError(
            f"{where} is damaged: {error}.",
            "Take it from a backup; nothing was changed.",
        ) from error


def _journal(record: Mapping[str, Any]) -> StoredJournal:
    hives = {}
    for name, hive in _field(record, "hives", dict).items():
        with _in(f"hives.{name[:20]}"):
            hives[_choice(HiveName, name)] = _hive(_typed(hive, dict))
    entries = []
    for number, entry in enumerate(_field(record, "changes", list)):
        with _in(f"changes[{number}]"):
            entries.append(_entry(_typed(entry, dict)))
            change = entries[-1].change
            elsewhere = WrittenFile | DeleteFiles | DiscardSession
            if not isinstance(change, elsewhere) and change.hive not in hives:
                raise _DamagedError(f"the hive {change.hive} is not among the hives")
    with _in("created"):
        created = _text(record, "created")
        try:
            datetime.fromisoformat(created)
        except ValueError as error:
            raise _DamagedError("it is no time") from error
    with _in("image"):
        image = _image(_field(record, "image", dict))
    return StoredJournal(
        identity=_matching(record, "identity", _IDENTITY),
        created=created,
        version=_text(record, "version"),
        image=image,
        hives=hives,
        entries=tuple(entries),
    )


def _image(record: Mapping[str, Any]) -> EditedImage:
    with _in("volume"):
        volume = _field(record, "volume", dict)
        choice = _text(volume, "choice")
        start, size = _number(volume, "start"), _number(volume, "size")
        serial = _matching(volume, "serial", _SERIAL)
    return EditedImage(
        path=_text(record, "path"),
        format=_choice(DiskFormat, _text(record, "format")),
        virtual_size=_number(record, "virtual_size"),
        choice=choice,
        volume_start=start,
        volume_size=size,
        volume_serial=serial,
    )


def _hive(record: Mapping[str, Any]) -> EditedHive:
    before = _digest(record, "before")
    after = _digest(record, "after")
    pieces = []
    end = 0
    for number, piece in enumerate(_field(record, "old_pages", list)):
        with _in(f"old_pages[{number}]"):
            offset, data = _piece(_typed(piece, dict))
            if offset < end or offset + len(data) > before.size:
                raise _DamagedError("it overlaps another or lies behind the end")
            end = offset + len(data)
            pieces.append((offset, data))
    path = _path(record, "path")
    if is_sector(path):
        raise _DamagedError("its path is no file's")
    return EditedHive(path, before, after, PageDelta(before.size, tuple(pieces)))


def _piece(record: Mapping[str, Any]) -> tuple[int, bytes]:
    return _number(record, "offset", MAX_HIVE_SIZE), _unpacked(record)


def _unpacked(record: Mapping[str, Any]) -> bytes:
    size = _number(record, "size", MAX_HIVE_SIZE)
    unpacker = zlib.decompressobj()
    try:
        # No more than it says: a few bytes could unpack to any number.
        data = unpacker.decompress(_base64(record, "zlib"), size + 1)
    except zlib.error as error:
        raise _DamagedError(f"it cannot be unpacked ({error})") from error
    if len(data) != size or not unpacker.eof:
        raise _DamagedError(f"it does not unpack to {size} bytes")
    return data


def _digest(record: Mapping[str, Any], name: str) -> Digest:
    with _in(name):
        found = _field(record, name, dict)
        return Digest(_number(found, "size", MAX_HIVE_SIZE), _matching(found, "sha256", _SHA256))


def _entry(record: Mapping[str, Any]) -> StoredEntry:
    kind = _text(record, "change")
    if kind == "replay-logs":
        return StoredEntry(_replay(record), None)
    before = _field(record, "before", dict)
    if kind == "write-file":
        written = WrittenFile(
            path=_path(record, "path"),
            size=_number(record, "size"),
            sha256=_matching(record, "sha256", _SHA256),
            origin=_text(record, "origin"),
            reason=_text(record, "reason"),
        )
        with _in("before"):
            return StoredEntry(written, _file_before(before, written.path))
    if kind == "discard-session":
        session = _choice(Session, _text(record, "session"))
        return StoredEntry(DiscardSession(session, _text(record, "reason")), NotKept())
    if kind == "delete-files":
        deleted = DeleteFiles(
            path=_path(record, "path"),
            count=_number(record, "count"),
            size=_number(record, "size"),
            reason=_text(record, "reason"),
        )
        with _in("before"):
            return StoredEntry(deleted, _deleted_before(before, deleted.path))
    hive = _choice(HiveName, _text(record, "hive"))
    key = _key(record, "key")
    reason = _text(record, "reason")
    change: RegistryChange
    if kind == "set-value":
        value = _value(record.get("value"))
        if value is None:
            raise _DamagedError("value is missing")
        change = SetValue(hive, key, _text(record, "name"), value, reason)
    elif kind == "delete-value":
        change = DeleteValue(hive, key, _text(record, "name"), reason)
    elif kind == "create-key":
        change = CreateKey(hive, key, reason)
    elif kind == "delete-key":
        change = DeleteKey(hive, key, reason)
    else:
        raise _DamagedError(f"the change {kind[:20]!r} is unknown")
    with _in("before"):
        return StoredEntry(change, _registry_before(before, change))


def _replay(record: Mapping[str, Any]) -> ReplayLogs:
    return ReplayLogs(
        hive=_choice(HiveName, _text(record, "hive")),
        path=_path(record, "path"),
        source=_text(record, "source"),
        growth=_number(record, "growth", MAX_HIVE_SIZE),
        reason=_text(record, "reason"),
    )


def _registry_before(record: Mapping[str, Any], change: RegistryChange) -> Before:
    if isinstance(change, DeleteKey):
        tree = record.get("tree")
        name = change.key.rpartition("\\")[2]
        found = None if tree is None else _tree(_typed(tree, dict))
        if found is not None and found.name.casefold() != name.casefold():
            raise _DamagedError("the tree has another name than the key")
        return KeyBefore(found)
    created = record.get("created_key")
    if created is not None:
        created = _key(record, "created_key")
        if not f"{change.key}\\".casefold().startswith(f"{created}\\".casefold()):
            raise _DamagedError("the key that was created is not on the way to the key")
    return ValueBefore(_value(record.get("value")), created)


def _file_before(record: Mapping[str, Any], path: str) -> FileBefore:
    content = None if record.get("content") is None else _base64(record, "content")
    directories = []
    for name in _field(record, "created_directories", list):
        directory = _checked_path(_typed(name, str))
        if not path.casefold().startswith(f"{directory}/".casefold()):
            raise _DamagedError("a directory that was created is not on the way to the file")
        directories.append(directory)
    if is_sector(path) and (content is None or len(content) != SECTOR):
        raise _DamagedError("what a sector held is not a whole sector")
    return FileBefore(content, tuple(directories))


def _deleted_before(record: Mapping[str, Any], path: str) -> DeletedBefore:
    def below(text: str) -> str:
        found = _checked_path(text)
        if not f"{found}/".casefold().startswith(f"{path}/".casefold()) or is_sector(found):
            raise _DamagedError("what was deleted does not lie where it was deleted")
        return found

    directories = [below(_typed(name, str)) for name in _field(record, "directories", list)]
    files = {}
    for number, file in enumerate(_field(record, "files", list)):
        with _in(f"files[{number}]"):
            record = _typed(file, dict)
            files[below(_text(record, "path"))] = _unpacked(record)
    return DeletedBefore(tuple(directories), files)


def _tree(record: Mapping[str, Any], depth: int = 0) -> KeyTree:
    if depth > _MAX_TREE_DEPTH:
        raise _DamagedError("a tree of keys is too deep")
    name = _text(record, "name")
    if not name or "\\" in name:
        raise _DamagedError("a key has no name or a backslash in it")
    values = {}
    for value_name, stored in _field(record, "values", dict).items():
        value = _value(stored)
        if value is None:
            raise _DamagedError("a value is missing")
        values[value_name] = value
    subkeys = _field(record, "subkeys", list)
    return KeyTree(name, values, tuple(_tree(_typed(key, dict), depth + 1) for key in subkeys))


def _value(record: Any) -> RegistryValue | None:
    if record is None:
        return None
    kind = _text(_typed(record, dict), "type")
    if _OTHER_TYPE.fullmatch(kind):
        number = int(kind, 16)
    else:
        try:
            number = RegistryType[kind.removeprefix("REG_")]
        except KeyError as error:
            raise _DamagedError(f"the value type {kind[:30]!r} is unknown") from error
    try:
        return RegistryValue(number, bytes.fromhex(_text(record, "hex")))
    except ValueError as error:
        raise _DamagedError("the bytes of a value are not hexadecimal") from error


def _path(record: Mapping[str, Any], name: str) -> str:
    return _checked_path(_text(record, name))


def _checked_path(path: str) -> str:
    _, slash, below = path.partition("/")
    parts = below.split("/") if slash else ()
    if not is_known_place(path) or any(part in ("", ".", "..") for part in parts):
        raise _DamagedError(f"{path[:60]!r} is no path inside the guest")
    if "\0" in path:
        raise _DamagedError("a path has a zero in it")
    return path


def _key(record: Mapping[str, Any], name: str) -> str:
    key = _text(record, name)
    if not all(key.split("\\")) or "\0" in key:
        raise _DamagedError(f"{name} is no key")
    return key


def _field(record: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    if name not in record:
        raise _DamagedError(f"{name} is missing")
    with _in(name):
        return _typed(record[name], kind)


def _typed(value: Any, kind: type[_T]) -> _T:
    # Not isinstance: to Python, true is a number as well.
    if type(value) is not kind:
        raise _DamagedError(f"it is no {kind.__name__}")
    found: _T = value
    return found


def _text(record: Mapping[str, Any], name: str) -> str:
    return _field(record, name, str)


def _number(record: Mapping[str, Any], name: str, limit: int = _MAX_NUMBER) -> int:
    number = _field(record, name, int)
    if not 0 <= number <= limit:
        raise _DamagedError(f"{name} is out of range")
    return number


def _matching(record: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    text = _text(record, name)
    if not form.fullmatch(text):
        raise _DamagedError(f"{name} has not the right form")
    return text


def _base64(record: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_text(record, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _DamagedError(f"{name} is not base64") from error


def _choice(kind: Callable[[str], _T], text: str) -> _T:
    try:
        return kind(text)
    except ValueError as error:
        raise _DamagedError(f"{text[:30]!r} is unknown") from error


@contextmanager
def _in(place: str) -> Iterator[None]:
    """Say where something is wrong."""
    try:
        yield
    except _DamagedError as error:
        error.place = f"{place}.{error.place}".rstrip(".")
        raise
