"""The kinds of change that a plan consists of.

Each knows how to tell that it is done, how to apply itself and what was there before. They state
the wanted end and not a step, so applying one twice is the same as applying it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from offline_mig.guest.filesystem import HIBERFIL, GuestFilesystem, too_large
from offline_mig.windows.base_block import BASE_BLOCK_SIZE, read_base_block
from offline_mig.windows.hibernation import Session
from offline_mig.windows.hive import MAX_HIVE_SIZE, Hive, HiveName, KeyTree
from offline_mig.windows.registry import RegistryValue

#: Bytes that a file may have whose content is kept when it is deleted. The largest seen are the
#: installers that Windows keeps of programs, with some hundred MiB.
_LARGEST_DELETED = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenGuest:
    """A guest with its system volume mounted and its hives open."""

    files: GuestFilesystem
    hives: Mapping[HiveName, Hive]


@dataclass(frozen=True, slots=True)
class ValueBefore:
    """What a registry value was (None: absent), and the topmost key that had to be made."""

    value: RegistryValue | None
    created_key: str | None = None


@dataclass(frozen=True, slots=True)
class KeyBefore:
    """What a key held, None when it was absent."""

    tree: KeyTree | None


@dataclass(frozen=True, slots=True)
class FileBefore:
    """A file's content (None: absent), and the directories that had to be made, outermost first."""

    content: bytes | None
    created_directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HiveFileBefore:
    """A hive file as it was before its logs were replayed."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeletedBefore:
    """What was deleted: directories, outermost first, and the contents of files by their path."""

    directories: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotKept:
    """Something was there; what it held is not kept."""


@dataclass(frozen=True, slots=True)
class SetValue:
    """A registry value is to be there with this type and data."""

    hive: HiveName
    key: str
    name: str
    value: RegistryValue
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return guest.hives[self.hive].value(self.key, self.name) == self.value

    def before(self, guest: OpenGuest) -> ValueBefore:
        """Return what is there now."""
        hive = guest.hives[self.hive]
        # Found out on planning, not only when half of a plan is applied.
        hive.require_extendable(self.key)
        return ValueBefore(hive.value(self.key, self.name))

    def apply(self, guest: OpenGuest) -> ValueBefore:
        """Make it so; returns what was there."""
        hive = guest.hives[self.hive]
        old = hive.value(self.key, self.name)
        return ValueBefore(old, hive.set_value(self.key, self.name, self.value))


@dataclass(frozen=True, slots=True)
class DeleteValue:
    """A registry value is to be gone; its key stays."""

    hive: HiveName
    key: str
    name: str
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return guest.hives[self.hive].value(self.key, self.name) is None

    def before(self, guest: OpenGuest) -> ValueBefore:
        """Return what is there now."""
        return ValueBefore(guest.hives[self.hive].value(self.key, self.name))

    def apply(self, guest: OpenGuest) -> ValueBefore:
        """Make it so; returns what was there."""
        old = self.before(guest)
        guest.hives[self.hive].delete_value(self.key, self.name)
        return old


@dataclass(frozen=True, slots=True)
class CreateKey:
    """A key is to be there, whatever is in it."""

    hive: HiveName
    key: str
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return guest.hives[self.hive].has_key(self.key)

    def before(self, guest: OpenGuest) -> ValueBefore:
        """Return what is there now."""
        guest.hives[self.hive].require_extendable(self.key)
        return ValueBefore(None, None if self.is_done(guest) else self.key)

    def apply(self, guest: OpenGuest) -> ValueBefore:
        """Make it so; returns what was there."""
        return ValueBefore(None, guest.hives[self.hive].create_key(self.key))


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """A key with all below it is to be gone."""

    hive: HiveName
    key: str
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return not guest.hives[self.hive].has_key(self.key)

    def before(self, guest: OpenGuest) -> KeyBefore:
        """Return what is there now."""
        return KeyBefore(guest.hives[self.hive].tree(self.key))

    def apply(self, guest: OpenGuest) -> KeyBefore:
        """Make it so; returns what was there."""
        old = self.before(guest)
        guest.hives[self.hive].delete_key(self.key)
        return old


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file is to be there with this content; ``origin`` says where the content is from."""

    path: str
    content: bytes = field(repr=False)
    origin: str
    reason: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def written(self) -> WrittenFile:
        """The change as it is remembered, without the content."""
        return WrittenFile(self.path, len(self.content), self.sha256, self.origin, self.reason)

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return self.before(guest).content == self.content

    def before(self, guest: OpenGuest) -> FileBefore:
        """Return what is there now."""
        if not guest.files.exists(self.path):
            return FileBefore(None)
        return FileBefore(guest.files.read(self.path))

    def apply(self, guest: OpenGuest) -> FileBefore:
        """Make it so; returns what was there."""
        (before,) = write_files((self,), guest.files)
        return before


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was written, as a journal remembers it: ``size`` in bytes, hash of the content.

    ``sha256`` is in hexadecimal.
    """

    path: str
    size: int
    sha256: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeleteFiles:
    """A file, or a directory with all that is in it, is to be gone.

    It has ``count`` files of ``size`` bytes together.
    """

    path: str
    count: int
    size: int
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return not guest.files.exists(self.path)

    def before(self, guest: OpenGuest) -> DeletedBefore:
        """Return what is there now, contents and all.

        Raises UnreadableFileError when something in it cannot be kept, such as a link.
        """
        directories, sizes = self._found(guest)
        contents = {path: guest.files.read(path, limit=_LARGEST_DELETED) for path in sizes}
        return DeletedBefore(directories, contents)

    def require_keepable(self, guest: OpenGuest) -> None:
        """Raise what ``before`` would raise, without reading all the contents."""
        for path, size in self._found(guest)[1].items():
            if size > _LARGEST_DELETED:
                raise too_large(path, _LARGEST_DELETED, size)
            guest.files.read_part(path, 0, 1)

    def _found(self, guest: OpenGuest) -> tuple[tuple[str, ...], dict[str, int]]:
        """Return the directories, outermost first, and the files with their sizes."""
        files = guest.files
        # It comes back in the letter case that it has.
        top = files.resolve(self.path) or self.path
        parent, _, name = top.rpartition("/")
        own = [entry for entry in files.list_directory(parent or "/") if entry.name == name]
        if not any(entry.is_directory for entry in own):
            return (), {top: sum(entry.size for entry in own)}
        entries = files.walk(top)
        below = (f"{top}/{entry.name}" for entry in entries if entry.is_directory)
        sizes = {f"{top}/{e.name}": e.size for e in entries if not e.is_directory}
        return (top, *below), sizes

    def apply(self, guest: OpenGuest) -> DeletedBefore:
        """Make it so; returns what was there."""
        old = self.before(guest)
        guest.files.delete_tree(self.path)
        return old

    def apply_unkept(self, guest: OpenGuest) -> NotKept:
        """Make it so without reading what was there."""
        guest.files.delete_tree(self.path)
        return NotKept()


@dataclass(frozen=True, slots=True)
class ReplayLogs:
    """A hive that Windows left dirty, at ``path``, is to be clean with its logs applied.

    The logs are replayed when the hive is opened, and the clean hive replaces the dirty one when
    it is written back; they themselves stay as they are, as Windows ignores those of a clean hive.
    ``source`` names the logs, ``growth`` is by how many bytes the file becomes larger.
    """

    hive: HiveName
    path: str
    source: str
    growth: int
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        base = read_base_block(guest.files.read_part(self.path, 0, BASE_BLOCK_SIZE))
        return base is not None and not base.dirty

    def before(self, guest: OpenGuest) -> HiveFileBefore:
        """Return what is there now."""
        return HiveFileBefore(guest.files.read(self.path, limit=MAX_HIVE_SIZE))

    def apply(self, guest: OpenGuest) -> HiveFileBefore:
        """Keep what was there: the open hive is the one with its logs applied."""
        return self.before(guest)


@dataclass(frozen=True, slots=True)
class DiscardSession:
    """There is to be no hiberfil.sys, whose ``session`` would be resumed at the next start.

    The volume has to be mounted with its session given up, by which the file goes.
    """

    session: Session
    reason: str

    def is_done(self, guest: OpenGuest) -> bool:
        """Tell whether the guest is already so."""
        return not guest.files.exists(HIBERFIL)

    def before(self, guest: OpenGuest) -> NotKept:
        """Return what is there now, without its content: that is as large as the memory."""
        del guest
        return NotKept()

    def apply(self, guest: OpenGuest) -> NotKept:
        """Make it so; returns what was there."""
        if not self.is_done(guest):
            guest.files.delete(HIBERFIL)
        return NotKept()


RegistryChange = SetValue | DeleteValue | CreateKey | DeleteKey
Change = RegistryChange | ReplayLogs | WriteFile | DeleteFiles | DiscardSession
Before = ValueBefore | KeyBefore | FileBefore | HiveFileBefore | DeletedBefore | NotKept


def write_files(changes: Sequence[WriteFile], files: GuestFilesystem) -> tuple[FileBefore, ...]:
    """Write files, and the directories that they lack; returns what was there before each.

    What is new is created all at once, which saves an emulated appliance most of the time.
    """
    befores: list[FileBefore] = []
    made: dict[str, str] = {}
    new: dict[str, bytes] = {}
    old: dict[str, bytes] = {}
    for change in changes:
        created = []
        # What is not on the system volume begins with the name of its own, see JoinedVolumes.
        volume, _, below = change.path.partition("/")
        parts = below.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = f"{volume}/{'/'.join(parts[:depth])}"
            if directory.casefold() not in made and not files.exists(directory):
                made[directory.casefold()] = directory
                created.append(directory)
        there = files.exists(change.path)
        content = files.read(change.path) if there else None
        (old if there else new)[change.path] = change.content
        befores.append(FileBefore(content, tuple(created)))
    if made or new:
        files.create(tuple(made.values()), new)
    for path, content in old.items():
        files.write(path, content)
    return tuple(befores)


def subject(change: Change | WrittenFile) -> str:
    """Return what a change is about: a file, a key, or a value in it."""
    if isinstance(change, WriteFile | WrittenFile | DeleteFiles):
        return change.path
    if isinstance(change, ReplayLogs):
        return f"{change.path} with its logs"
    if isinstance(change, DiscardSession):
        return HIBERFIL
    value = f" {change.name!r}" if isinstance(change, SetValue | DeleteValue) else ""
    return f"{change.hive}\\{change.key}{value}"
