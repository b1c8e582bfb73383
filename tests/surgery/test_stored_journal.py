"""A journal's file: everything comes back from it, and nothing comes back from a damaged one."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_mig.errors import SourceUnreadableError
from offline_mig.machine import DiskFormat
from offline_mig.surgery.changes import (
    CreateKey,
    DeletedBefore,
    DeleteFiles,
    DeleteKey,
    DeleteValue,
    DiscardSession,
    FileBefore,
    HiveFileBefore,
    KeyBefore,
    NotKept,
    ReplayLogs,
    SetValue,
    ValueBefore,
    WriteFile,
)
from offline_mig.surgery.journal_reader import parse_journal
from offline_mig.surgery.operation import Journal, JournalEntry
from offline_mig.surgery.page_delta import difference, restored
from offline_mig.surgery.stored_journal import (
    EditedImage,
    StoredJournal,
    edited_hive,
    journal_json,
    stored_entries,
)
from offline_mig.windows.hibernation import Session
from offline_mig.windows.hive import HiveName, KeyTree
from offline_mig.windows.registry import RegistryType, RegistryValue

#: Any character that a guest may have in a name, halves of surrogate pairs too.
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
NAME = st.text(st.characters(exclude_characters="\0\\/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
KEY = st.lists(NAME, min_size=1, max_size=4).map("\\".join)
PATH = st.lists(NAME, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
VALUE = st.builds(
    RegistryValue,
    st.one_of(st.sampled_from([int(kind) for kind in RegistryType]), st.integers(0, 2**32 - 1)),
    st.binary(max_size=40),
)
TREE = st.recursive(
    st.builds(KeyTree, NAME, st.dictionaries(TEXT, VALUE, max_size=3)),
    lambda children: st.builds(
        KeyTree,
        NAME,
        st.dictionaries(TEXT, VALUE, max_size=2),
        st.lists(children, max_size=2).map(tuple),
    ),
    max_leaves=6,
)
HIVE = st.sampled_from(HiveName)
_KINDS = ["set", "create", "delete", "delete-value", "delete-files", "replay", "session", "write"]


@st.composite
def entries(draw: st.DrawFn) -> JournalEntry:
    hive, key, reason = draw(HIVE), draw(KEY), draw(TEXT)
    parts = key.split("\\")
    topmost = "\\".join(parts[: draw(st.integers(1, len(parts)))])
    created = draw(st.sampled_from([None, topmost]))
    match draw(st.sampled_from(_KINDS)):
        case "session":
            session = DiscardSession(draw(st.sampled_from(Session)), reason)
            return JournalEntry(session, NotKept())
        case "replay":
            replay = ReplayLogs(hive, draw(PATH), draw(TEXT), draw(st.integers(0, 99)), reason)
            return JournalEntry(replay, HiveFileBefore(b"kept with the hive"))
        case "set":
            before = ValueBefore(draw(st.one_of(st.none(), VALUE)), created)
            return JournalEntry(SetValue(hive, key, draw(TEXT), draw(VALUE), reason), before)
        case "delete-value":
            old_value = ValueBefore(draw(st.one_of(st.none(), VALUE)))
            return JournalEntry(DeleteValue(hive, key, draw(TEXT), reason), old_value)
        case "delete-files":
            top = draw(PATH)
            below = st.lists(NAME, max_size=3).map(lambda parts: "/".join((top, *parts)))
            gone = DeletedBefore(
                tuple(draw(st.lists(below, max_size=2))),
                draw(st.dictionaries(below, st.binary(max_size=60), max_size=3)),
            )
            numbers = st.integers(0, 2**40)
            return JournalEntry(DeleteFiles(top, draw(numbers), draw(numbers), reason), gone)
        case "create":
            return JournalEntry(CreateKey(hive, key, reason), ValueBefore(None, created))
        case "delete":
            tree = draw(TREE)
            named = KeyTree(parts[-1], tree.values, tree.subkeys)
            return JournalEntry(
                DeleteKey(hive, key, reason), KeyBefore(draw(st.sampled_from([None, named])))
            )
    path = draw(PATH)
    folders = path.split("/")[1:-1]
    made = tuple("/" + "/".join(folders[:depth]) for depth in range(1, len(folders) + 1))
    old = FileBefore(draw(st.one_of(st.none(), st.binary(max_size=60))), made)
    return JournalEntry(WriteFile(path, draw(st.binary(max_size=60)), draw(TEXT), reason), old)


def journal(changes: list[JournalEntry], hive: tuple[bytes, bytes]) -> StoredJournal:
    return StoredJournal(
        identity="0123456789abcdef" * 2,
        created="2024-02-29T12:00:00+00:00",
        version="1.2.3",
        image=EditedImage(
            "/images/guest.qcow2", DiskFormat.QCOW2, 2**40, "1:2/Windows", 512, 2**39, "0f" * 8
        ),
        hives={name: edited_hive(f"/Windows/{name}", *hive) for name in HiveName},
        entries=stored_entries(Journal(tuple(changes))),
    )


@given(st.lists(entries(), max_size=5), st.tuples(st.binary(max_size=9000), st.binary()))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_everything_comes_back(changes: list[JournalEntry], hive: tuple[bytes, bytes]) -> None:
    stored = journal(changes, hive)
    assert parse_journal(journal_json(stored).encode("ascii"), "it") == stored


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_old_bytes_come_back(data: st.DataObject) -> None:
    old = bytearray(data.draw(st.integers(0, 6)) * 4096 + data.draw(st.integers(0, 4095)))
    new = bytearray(old[: data.draw(st.integers(0, len(old)))])
    for content in (old, new):
        for place in data.draw(st.lists(st.integers(0, max(len(content) - 1, 0)), max_size=4)):
            if content:
                content[place] ^= 1
    new += data.draw(st.binary(max_size=5000))
    delta = difference(bytes(old), bytes(new))
    assert restored(bytes(new), delta) == old


def test_little_is_kept_of_a_large_hive() -> None:
    old = bytes(range(256)) * 4 * 1024 * 40
    new = bytearray(old)
    new[5_000_000] ^= 1
    new[20_000_000:20_010_000] = bytes(10_000)
    hive = edited_hive("/h", old, bytes(new) + bytes(8192))
    assert sum(len(data) for _, data in hive.old.pieces) <= 5 * 4096


def example() -> dict[str, Any]:
    changes = [
        JournalEntry(
            SetValue(HiveName.SYSTEM, "A\\B", "v", RegistryValue.dword(1), "r"),
            ValueBefore(RegistryValue.sz("x"), "A"),
        ),
        JournalEntry(CreateKey(HiveName.SOFTWARE, "C", "r"), ValueBefore(None, "C")),
        JournalEntry(
            DeleteKey(HiveName.SYSTEM, "D\\E", "r"),
            KeyBefore(KeyTree("E", {"n": RegistryValue.dword(2)}, (KeyTree("F"),))),
        ),
        JournalEntry(
            ReplayLogs(HiveName.SYSTEM, "/W/S", "S.LOG1", 4096, "r"), HiveFileBefore(b"dirty")
        ),
        JournalEntry(WriteFile("/W/d/f", b"new", "o", "r"), FileBefore(b"old", ("/W", "/W/d"))),
        JournalEntry(
            DeleteValue(HiveName.SYSTEM, "A", "v", "r"), ValueBefore(RegistryValue.sz("x"))
        ),
        JournalEntry(
            DeleteFiles("/P/V", 1, 3, "r"), DeletedBefore(("/P/V", "/P/V/d"), {"/P/V/d/f": b"old"})
        ),
    ]
    loaded: dict[str, Any] = json.loads(journal_json(journal(changes, (b"a" * 9000, b"b" * 5000))))
    return loaded


def places(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field of a record."""
    items = (
        record.items()
        if isinstance(record, dict)
        else enumerate(record)
        if isinstance(record, list)
        else ()
    )
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


#: Fields that may be anything, or that are there for people.
_FREE = {"shown"}
#: What may be null: there was nothing before.
_NULLABLE = {"created_key", "content", "tree"}


@pytest.mark.parametrize("wrong", [None, -1, True, 1.5, "\\..", [], {}, "missing"])
def test_every_field_is_looked_at(wrong: object) -> None:
    good = example()
    assert parse_journal(json.dumps(good).encode(), "it")
    silent = []
    for place in places(good):
        record = copy.deepcopy(good)
        inner = record
        for key in place[:-1]:
            inner = inner[key]
        old = inner[place[-1]]
        if wrong == "missing" and isinstance(inner, list):
            continue
        if wrong == "missing":
            del inner[place[-1]]
        else:
            inner[place[-1]] = wrong
        try:
            parse_journal(json.dumps(record).encode(), "The journal x")
        except SourceUnreadableError as error:
            assert "The journal x" in error.message
            continue
        # Another text, an empty list: that is for the hashes to find out.
        same_kind = isinstance(wrong, str | list | dict) and type(old) is type(wrong)
        absent = wrong in (None, "missing") and place[-1] in {*_NULLABLE, "value"}
        # A value of a key that was deleted, or a hive that no change is about.
        gone = wrong == "missing" and ("values" in place or place[:1] == ("hives",))
        # Of replayed logs the hive itself keeps what was before.
        gone = gone or place == ("changes", 3, "before")
        if not (place[-1] in _FREE or (same_kind and wrong != "missing") or absent or gone):
            silent.append(place)
    assert silent == []


@pytest.mark.parametrize(
    "path", ["relative", "/", "", "/a//b", "/../x", "/a/./b", "/a/", "\\x", "/a\0b"]
)
def test_paths_stay_inside_the_volume(path: str) -> None:
    record = example()
    record["changes"][4]["path"] = path
    with pytest.raises(SourceUnreadableError, match=r"changes\[4\]"):
        parse_journal(json.dumps(record).encode(), "it")
    record = example()
    record["hives"]["SYSTEM"]["path"] = path
    with pytest.raises(SourceUnreadableError, match=r"hives\.SYSTEM"):
        parse_journal(json.dumps(record).encode(), "it")


@pytest.mark.parametrize("path", ["/P", "/P/Vx", "/P/V/../x", "/Q/V/f", "1:2:/P/V/f", ""])
def test_deleted_files_come_back_to_their_own_place_only(path: str) -> None:
    for field in ("directories", "files"):
        record = example()
        before = record["changes"][6]["before"]
        if field == "directories":
            before["directories"][1] = path
        else:
            before["files"][0]["path"] = path
        with pytest.raises(SourceUnreadableError, match=r"changes\[6\]"):
            parse_journal(json.dumps(record).encode(), "it")


def test_sectors_are_whole_and_no_hives() -> None:
    record = example()
    record["hives"]["SYSTEM"]["path"] = "1:1:boot sector"
    with pytest.raises(SourceUnreadableError, match="no file's"):
        parse_journal(json.dumps(record).encode(), "it")
    for content in (b"short", b"x" * 1024, None):
        record = example()
        record["changes"][4]["path"] = "1:first sector"
        encoded = None if content is None else base64.b64encode(content).decode()
        record["changes"][4]["before"] = {"content": encoded, "created_directories": []}
        with pytest.raises(SourceUnreadableError, match=r"changes\[4\].*a whole sector"):
            parse_journal(json.dumps(record).encode(), "it")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_journal(data: bytes) -> None:
    with pytest.raises(SourceUnreadableError):
        parse_journal(data, "it")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bytes_never_end_in_a_traceback(data: st.DataObject) -> None:
    text = bytearray(json.dumps(example()).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_journal(bytes(text), "it")
    except SourceUnreadableError as error:
        assert error.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"schema": "offline-mig/journal/2"}', "version of offline-mig that wrote it"),
        (b'{"schema": "offline-mig/report/1"}', "Convert the source once more"),
        (b"[" * 100_000, "that the edit named"),
        (b"null", "that the edit named"),
    ],
)
def test_other_files_are_told_as_such(text: bytes, said: str) -> None:
    with pytest.raises(SourceUnreadableError) as refused:
        parse_journal(text, "it")
    assert said in refused.value.remedy


def test_report_without_a_way_back_tells_of_deleted_files() -> None:
    """That is what most conversions lack one for: VMware Tools are in the source only."""
    with pytest.raises(SourceUnreadableError) as refused:
        parse_journal(b'{"schema": "offline-mig/report/1"}', "it")
    assert "files were deleted that only the source has" in str(refused.value)
    assert "--undoable" in refused.value.remedy


def test_page_that_unpacks_to_more_than_it_says() -> None:
    record = example()
    bomb = base64.b64encode(zlib.compress(bytes(200 * 1024 * 1024))).decode()
    record["hives"]["SYSTEM"]["old_pages"][0]["zlib"] = bomb
    with pytest.raises(SourceUnreadableError, match=r"old_pages\[0\].*does not unpack"):
        parse_journal(json.dumps(record).encode(), "it")
