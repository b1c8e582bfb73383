"""The form of plans and journals in JSON: what ``surgery.record`` writes and schemas publish."""

from __future__ import annotations

from typing import Literal, TypedDict

from offline_mig.windows.hibernation import Session
from offline_mig.windows.hive import HiveName


class ValueForm(TypedDict):
    """A registry value: ``type`` is REG_SZ and the like or a number, ``hex`` its bytes."""

    type: str
    hex: str
    shown: str


class SetValueForm(TypedDict):
    """A registry value that is set; ``name`` is "" for the default value of the key."""

    change: Literal["set-value"]
    hive: HiveName
    key: str
    name: str
    value: ValueForm | None
    reason: str


class DeleteValueForm(TypedDict):
    """A registry value that is deleted; ``name`` is "" for the default value of the key."""

    change: Literal["delete-value"]
    hive: HiveName
    key: str
    name: str
    reason: str


class KeyForm(TypedDict):
    """A registry key that is made, or deleted with all below it."""

    change: Literal["create-key", "delete-key"]
    hive: HiveName
    key: str
    reason: str


class ReplayLogsForm(TypedDict):
    """A hive whose transaction logs are put into it; ``growth`` is in bytes."""

    change: Literal["replay-logs"]
    hive: HiveName
    path: str
    source: str
    growth: int
    reason: str


class DiscardSessionForm(TypedDict):
    """The session in hiberfil.sys, which is given up."""

    change: Literal["discard-session"]
    path: str
    session: Session
    reason: str


class WriteFileForm(TypedDict):
    """A file that is written; ``size`` is in bytes, ``origin`` where its content comes from."""

    change: Literal["write-file"]
    path: str
    size: int
    sha256: str
    origin: str
    reason: str


class DeleteFilesForm(TypedDict):
    """A file, or a folder with ``count`` files in it, that is deleted; ``size`` is in bytes."""

    change: Literal["delete-files"]
    path: str
    count: int
    size: int
    reason: str


ChangeForm = (
    SetValueForm
    | DeleteValueForm
    | KeyForm
    | ReplayLogsForm
    | DiscardSessionForm
    | WriteFileForm
    | DeleteFilesForm
)


class BlockForm(TypedDict):
    """Changes that belong together."""

    title: str
    changes: list[ChangeForm]


class ValueBeforeForm(TypedDict):
    """What a value was, null if it was not there, and the topmost key that had to be made."""

    value: ValueForm | None
    created_key: str | None


class TreeForm(TypedDict):
    """A key with all that was in it."""

    name: str
    values: dict[str, ValueForm | None]
    subkeys: list[TreeForm]


class KeyBeforeForm(TypedDict):
    """What a key held, null if it was not there."""

    tree: TreeForm | None


class FileBeforeForm(TypedDict):
    """A file's content in base64, null if it was not there, and directories that were made."""

    content: str | None
    created_directories: list[str]


class NotKeptForm(TypedDict):
    """Something was there and was not kept."""

    kept: bool


class DeletedFileForm(TypedDict):
    """A file that was deleted: its size in bytes, its content packed by zlib in base64."""

    path: str
    size: int
    zlib: str


class DeletedBeforeForm(TypedDict):
    """What was deleted: folders, outermost first, and files."""

    directories: list[str]
    files: list[DeletedFileForm]


class HiveFileBeforeForm(TypedDict):
    """A whole hive file, packed by zlib, in base64."""

    zlib: str


BeforeForm = (
    ValueBeforeForm
    | KeyBeforeForm
    | FileBeforeForm
    | DeletedBeforeForm
    | NotKeptForm
    | HiveFileBeforeForm
)


class SetValueEntryForm(SetValueForm):
    """A value that was set, and what was there."""

    before: ValueBeforeForm


class DeleteValueEntryForm(DeleteValueForm):
    """A value that was deleted, and what it was."""

    before: ValueBeforeForm


class KeyEntryForm(KeyForm):
    """A key that was made or deleted, and what was there."""

    before: ValueBeforeForm | KeyBeforeForm


class ReplayLogsEntryForm(ReplayLogsForm):
    """A hive whose logs were replayed, and what it was; null where the hive is kept elsewhere."""

    before: HiveFileBeforeForm | None


class DiscardSessionEntryForm(DiscardSessionForm):
    """A session that was given up."""

    before: NotKeptForm


class WriteFileEntryForm(WriteFileForm):
    """A file that was written, and what was there."""

    before: FileBeforeForm


class DeleteFilesEntryForm(DeleteFilesForm):
    """Files that were deleted, and what they held unless the source has them still."""

    before: DeletedBeforeForm | NotKeptForm


EntryForm = (
    SetValueEntryForm
    | DeleteValueEntryForm
    | KeyEntryForm
    | ReplayLogsEntryForm
    | DiscardSessionEntryForm
    | WriteFileEntryForm
    | DeleteFilesEntryForm
)


class DigestForm(TypedDict):
    """Content by its size in bytes and its SHA-256."""

    size: int
    sha256: str


class OldPageForm(TypedDict):
    """A piece of a hive as it was, packed by zlib, in base64; ``size`` is that of the piece."""

    offset: int
    size: int
    zlib: str


class EditedHiveForm(TypedDict):
    """A hive before and after an edit; ``old_pages`` bring the former back out of the latter."""

    path: str
    before: DigestForm
    after: DigestForm
    old_pages: list[OldPageForm]


class EditedVolumeForm(TypedDict):
    """The volume that was edited: its place and size in bytes and its serial number."""

    choice: str
    start: int
    size: int
    serial: str


class EditedImageForm(TypedDict):
    """The image that was edited."""

    path: str
    format: str
    virtual_size: int
    volume: EditedVolumeForm


class JournalForm(TypedDict):
    """The journal of an edit in place, by which it is undone."""

    schema: Literal["offline-mig/journal/1"]
    identity: str
    created: str
    version: str
    image: EditedImageForm
    hives: dict[HiveName, EditedHiveForm]
    changes: list[EntryForm]
