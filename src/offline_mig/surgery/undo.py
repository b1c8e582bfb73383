"""Taking an edit back: what a journal and the guest as it is now say is to be put back.

A hive that is byte for byte what the edit left becomes byte for byte what it was. Where Windows
has written to it since, its changes must stay: then each change is taken back for itself, and only
where what is there is still what the edit put there. Files are treated alike. All that comes out
is contents of files, so that applying and verifying know nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.errors import GuestRefusedError, VerificationError
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.changes import (
    CreateKey,
    DeletedBefore,
    DeleteFiles,
    DeleteKey,
    DeleteValue,
    DiscardSession,
    FileBefore,
    KeyBefore,
    ReplayLogs,
    SetValue,
    ValueBefore,
    WrittenFile,
    subject,
)
from offline_mig.surgery.hive_files import load_hive
from offline_mig.surgery.page_delta import restored
from offline_mig.surgery.stored_journal import (
    EditedHive,
    StoredChange,
    StoredEntry,
    StoredJournal,
    digest,
)
from offline_mig.windows.hive import MAX_HIVE_SIZE, Hive, HiveName


@dataclass(frozen=True, slots=True)
class PutBack:
    """A file is to have this content again (None: to be gone)."""

    path: str
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A change that is not taken back, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What is to be put back, and what is not.

    ``made`` are directories that are made again, outermost first. ``directories`` are those that
    the edit made, innermost first; they go if they are empty.
    ``taken_back`` names the changes that are undone, ``whole_hives`` the hives that become byte
    for byte what they were, and ``already`` counts what is as before the edit anyway.
    """

    files: tuple[PutBack, ...] = ()
    made: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    whole_hives: tuple[HiveName, ...] = ()
    already: int = 0
    left_alone: tuple[LeftAlone, ...] = ()


class _Undo:
    """The plan while it is made."""

    def __init__(self, volume: GuestFilesystem, scratch: Path) -> None:
        self._volume = volume
        self._scratch = scratch
        self._files: dict[str, bytes | None] = {}
        self._made: list[str] = []
        self._directories: list[str] = []
        self._taken_back: list[str] = []
        self._whole_hives: list[HiveName] = []
        self._already = 0
        self._left_alone: list[LeftAlone] = []

    def plan(self) -> UndoPlan:
        """Return what was found to be done."""
        return UndoPlan(
            files=tuple(PutBack(path, content) for path, content in self._files.items()),
            made=tuple(dict.fromkeys(self._made)),
            directories=tuple(dict.fromkeys(self._directories)),
            taken_back=tuple(self._taken_back),
            whole_hives=tuple(self._whole_hives),
            already=self._already,
            left_alone=tuple(self._left_alone),
        )

    def take_back_hive(self, name: HiveName, hive: EditedHive, changes: list[StoredEntry]) -> None:
        """Plan for one hive; ``changes`` come last first."""
        if not self._volume.exists(hive.path):
            self._leave(changes, f"the hive {hive.path} is gone")
            return
        now = self._volume.read(hive.path, limit=MAX_HIVE_SIZE)
        found = digest(now)
        if found == hive.before:
            self._already += len(changes)
            return
        if found == hive.after:
            old = restored(now, hive.old)
            if digest(old) != hive.before:
                raise VerificationError(
                    f"The journal does not bring back the old bytes of {hive.path}.",
                    "The journal is damaged; take it from a backup. Nothing was changed.",
                )
            self._files[hive.path] = old
            self._whole_hives.append(name)
            self._taken_back += [subject(entry.change) for entry in changes]
            return
        # Windows leaves a hive dirty on many a clean shutdown; what its logs hold is its own, too.
        opened, _ = load_hive(self._volume, hive.path, name, self._scratch, writable=True)
        known = len(self._taken_back)
        for entry in changes:
            self._note(entry.change, _take_back(opened, entry))
        if len(self._taken_back) > known:
            edited = self._scratch / f"{name}.edited"
            opened.commit(edited)
            Hive(edited, name).require_readable()
            self._files[hive.path] = edited.read_bytes()

    def take_back_file(self, change: WrittenFile, before: FileBefore) -> None:
        """Plan for one file."""
        try:
            now = self._content(change.path)
        except GuestRefusedError as error:
            # A link by now, or compressed, or far larger than what was written.
            self._left_alone.append(LeftAlone(change.path, error.message))
            return
        if now == before.content:
            self._note(change, "")
        elif now is None:
            self._note(change, "it is gone")
        elif (len(now), digest(now).sha256) != (change.size, change.sha256):
            self._note(change, "it has another content by now")
        else:
            self._files[change.path] = before.content
            self._note(change, None)
        if before.content is None:
            self._directories += reversed(before.created_directories)

    def take_back_deletion(self, change: DeleteFiles, before: DeletedBefore) -> None:
        """Plan for a file or directory that was deleted with all that was in it."""
        if self._volume.exists(change.path):
            try:
                same = all(self._content(path) == old for path, old in before.files.items())
            except GuestRefusedError:
                same = False  # A link by now, or far larger than what was deleted.
            self._note(change, "" if same else "it is there again")
            return
        # The folder that it was in may have gone since, or in another change of the same edit.
        volume, _, below = change.path.partition("/")
        parts = below.split("/")[:-1]
        above = [f"{volume}/{'/'.join(parts[: depth + 1])}" for depth in range(len(parts))]
        self._made += [path for path in above if not self._volume.exists(path)]
        self._made += before.directories
        self._files |= before.files
        self._note(change, None)

    def leave_session(self, change: DiscardSession) -> None:
        """Plan for the session that was given up, which no journal could hold."""
        self._note(change, "the session that was in it was given up for good")

    def _content(self, path: str) -> bytes | None:
        if path in self._files:
            return self._files[path]
        return self._volume.read(path) if self._volume.exists(path) else None

    def _note(self, change: StoredChange, reason: str | None) -> None:
        """Note a change that is taken back (None), as before already ("") or left alone."""
        if reason is None:
            self._taken_back.append(subject(change))
        elif reason:
            self._left_alone.append(LeftAlone(subject(change), reason))
        else:
            self._already += 1

    def _leave(self, changes: list[StoredEntry], reason: str) -> None:
        self._left_alone += [LeftAlone(subject(entry.change), reason) for entry in changes]


def plan_undo(journal: StoredJournal, volume: GuestFilesystem, scratch: Path) -> UndoPlan:
    """Return what undoing ``journal`` comes to in the guest on a mounted volume.

    Hives are worked on in the folder ``scratch``; the volume is only read. Raises
    GuestRefusedError for a hive that is damaged or dirty.
    """
    undo = _Undo(volume, scratch)
    for name, hive in journal.hives.items():
        undo.take_back_hive(name, hive, list(_of_hive(journal, name)))
    for entry in reversed(journal.entries):
        if isinstance(entry.change, WrittenFile) and isinstance(entry.before, FileBefore):
            undo.take_back_file(entry.change, entry.before)
        if isinstance(entry.change, DeleteFiles) and isinstance(entry.before, DeletedBefore):
            undo.take_back_deletion(entry.change, entry.before)
        if isinstance(entry.change, DiscardSession):
            undo.leave_session(entry.change)
    return undo.plan()


def apply_undo(plan: UndoPlan, volume: GuestFilesystem) -> tuple[LeftAlone, ...]:
    """Put back what ``plan`` says on a volume mounted writable; returns what had to stay.

    What is missing comes first and hives before what is to go: no driver is registered at any
    time whose file is not there.
    """
    contents = {file.path: file.content for file in plan.files if file.content is not None}
    missing = {path: data for path, data in contents.items() if not volume.exists(path)}
    volume.create([path for path in plan.made if not volume.exists(path)], missing)
    for path, content in contents.items():
        if path not in missing:
            volume.write(path, content)
    for file in plan.files:
        if file.content is None:
            volume.delete(file.path)
    kept = []
    for directory in plan.directories:
        if not volume.exists(directory):
            continue
        if volume.list_directory(directory):
            kept.append(LeftAlone(directory, "there is something in it by now"))
        else:
            volume.delete(directory)
    return tuple(kept)


def verify_undo(plan: UndoPlan, volume: GuestFilesystem) -> None:
    """Read back what was put back, from a freshly mounted volume. Raises VerificationError."""
    for file in plan.files:
        there = volume.exists(file.path)
        now = volume.read(file.path, limit=MAX_HIVE_SIZE) if there else None
        if now != file.content:
            raise _not_put_back(file.path)
    for directory in plan.made:
        if not volume.exists(directory):
            raise _not_put_back(directory)


def _not_put_back(path: str) -> VerificationError:
    return VerificationError(
        f"{path} does not read back as it was put back.",
        "The image was not changed. Please report this.",
    )


def _of_hive(journal: StoredJournal, name: HiveName) -> Iterator[StoredEntry]:
    for entry in reversed(journal.entries):
        if isinstance(entry.change, WrittenFile | DeleteFiles | DiscardSession):
            continue
        if entry.change.hive is name:
            yield entry


def _take_back(hive: Hive, entry: StoredEntry) -> str | None:
    """Take a change back in a hive that has others as well; as ``_Undo._note`` takes it."""
    change, before = entry.change, entry.before
    match change, before:
        case ReplayLogs(), None:
            return "Windows would replay them as well, and has written to the hive since"
        case SetValue(), ValueBefore():
            return _take_back_value(hive, change, before)
        case DeleteValue(), ValueBefore():
            return _take_back_deleted_value(hive, change, before)
        case CreateKey(), ValueBefore():
            if before.created_key is None or not hive.has_key(change.key):
                return ""
            if _is_used(hive, change.key):
                return "there is something in it by now"
            _remove_empty(hive, change.key, before.created_key)
            return None
        case DeleteKey(), KeyBefore():
            if hive.tree(change.key) == before.tree:
                return ""
            if before.tree is None or hive.has_key(change.key):
                return "it is there again"
            hive.restore(change.key.rpartition("\\")[0], before.tree)
            return None
    raise TypeError(f"the journal pairs {change} with {before}")


def _take_back_value(hive: Hive, change: SetValue, before: ValueBefore) -> str | None:
    now = hive.value(change.key, change.name)
    if now == before.value:
        return ""
    if now != change.value:
        return "it is gone" if now is None else f"it is {now} by now"
    if before.value is not None:
        hive.set_value(change.key, change.name, before.value)
        return None
    hive.delete_value(change.key, change.name)
    if before.created_key is not None:
        _remove_empty(hive, change.key, before.created_key)
    return None


def _take_back_deleted_value(hive: Hive, change: DeleteValue, before: ValueBefore) -> str | None:
    now = hive.value(change.key, change.name)
    if now == before.value:
        return ""
    if now is not None or before.value is None:
        return f"it is {now} by now"
    if not hive.has_key(change.key):
        return "its key is gone"
    hive.set_value(change.key, change.name, before.value)
    return None


def _is_used(hive: Hive, key: str) -> bool:
    return bool(hive.subkeys(key) or hive.values(key))


def _remove_empty(hive: Hive, key: str, topmost: str) -> None:
    """Delete a key and those above it up to ``topmost``, as far as nothing is in them."""
    while len(key) >= len(topmost) and not _is_used(hive, key):
        hive.delete_key(key)
        key = key.rpartition("\\")[0]
