"""Plans and journals as plain data for JSON, and as lines that a person reads as a diff."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from typing import cast

from offline_mig.guest.filesystem import HIBERFIL
from offline_mig.surgery.changes import (
    Before,
    Change,
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
    OpenGuest,
    ReplayLogs,
    SetValue,
    ValueBefore,
    WriteFile,
    WrittenFile,
)
from offline_mig.surgery.operation import Journal
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.record_form import (
    BeforeForm,
    BlockForm,
    ChangeForm,
    EntryForm,
    TreeForm,
    ValueForm,
)
from offline_mig.windows.hive import KeyTree
from offline_mig.windows.registry import RegistryType, RegistryValue


def plan_record(plan: Plan) -> list[BlockForm]:
    """Return a plan as plain data: blocks with their changes, file contents by their hash."""
    return [
        {"title": block.title, "changes": [change_record(change) for change in block.changes]}
        for block in plan.blocks
    ]


def change_record(change: Change | WrittenFile) -> ChangeForm:
    """Return a change as plain data."""
    match change:
        case SetValue():
            return {
                "change": "set-value",
                "hive": change.hive,
                "key": change.key,
                "name": change.name,
                "value": value_record(change.value),
                "reason": change.reason,
            }
        case DeleteValue():
            return {
                "change": "delete-value",
                "hive": change.hive,
                "key": change.key,
                "name": change.name,
                "reason": change.reason,
            }
        case DeleteFiles():
            return {
                "change": "delete-files",
                "path": change.path,
                "count": change.count,
                "size": change.size,
                "reason": change.reason,
            }
        case CreateKey() | DeleteKey():
            return {
                "change": "create-key" if isinstance(change, CreateKey) else "delete-key",
                "hive": change.hive,
                "key": change.key,
                "reason": change.reason,
            }
        case ReplayLogs():
            return {
                "change": "replay-logs",
                "hive": change.hive,
                "path": change.path,
                "source": change.source,
                "growth": change.growth,
                "reason": change.reason,
            }
        case DiscardSession():
            return {
                "change": "discard-session",
                "path": HIBERFIL,
                "session": change.session,
                "reason": change.reason,
            }
        case WriteFile():
            return change_record(change.written)
        case WrittenFile():
            return {
                "change": "write-file",
                "path": change.path,
                "size": change.size,
                "sha256": change.sha256,
                "origin": change.origin,
                "reason": change.reason,
            }


def journal_record(journal: Journal) -> list[EntryForm]:
    """Return a journal as plain data, old file contents in base64: all that undoing needs.

    Old hives are packed (zlib) as well.
    """
    return [entry_record(entry.change, entry.before) for entry in journal.entries]


def entry_record(change: Change | WrittenFile, before: Before | None) -> EntryForm:
    """Return a change and what was there before it as plain data."""
    record = {**change_record(change), "before": None if before is None else _before_record(before)}
    # Which kinds of the two belong together, the changes themselves see to.
    return cast(EntryForm, record)


def value_record(value: RegistryValue | None) -> ValueForm | None:
    """Return a registry value as plain data: its type, its bytes, and a readable form."""
    if value is None:
        return None
    known = value.type in set(RegistryType)
    kind = f"REG_{RegistryType(value.type).name}" if known else f"0x{value.type:08x}"
    return {"type": kind, "hex": value.data.hex(), "shown": str(value)}


def _before_record(before: Before) -> BeforeForm:
    match before:
        case ValueBefore():
            return {"value": value_record(before.value), "created_key": before.created_key}
        case KeyBefore():
            return {"tree": None if before.tree is None else _tree_record(before.tree)}
        case FileBefore():
            content = before.content
            return {
                "content": None if content is None else base64.b64encode(content).decode("ascii"),
                "created_directories": list(before.created_directories),
            }
        case NotKept():
            return {"kept": False}
        case DeletedBefore():
            return {
                "directories": list(before.directories),
                "files": [
                    {"path": path, "size": len(content), "zlib": _packed(content)}
                    for path, content in before.files.items()
                ],
            }
        case HiveFileBefore():
            # Hives have some ten to some hundred MiB, most of which packs well.
            return {"zlib": _packed(before.content)}


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode("ascii")


def _tree_record(tree: KeyTree) -> TreeForm:
    return {
        "name": tree.name,
        "values": {name: value_record(value) for name, value in tree.values.items()},
        "subkeys": [_tree_record(subkey) for subkey in tree.subkeys],
    }


def diff_lines(plan: Plan, guest: OpenGuest) -> Iterator[str]:
    """Yield the plan as a diff against the guest: ``+`` added, ``-`` removed, ``~`` replaced.

    ``plan`` is what is pending; registry keys stand in brackets as in a .reg file.
    """
    for block in plan.blocks:
        yield f"# {block.title}"
        yield from _block_lines(block, guest)
        yield ""


def _block_lines(block: PlanBlock, guest: OpenGuest) -> Iterator[str]:
    heading = ""
    for change in block.changes:
        if isinstance(change, WriteFile):
            sign = "~" if guest.files.exists(change.path) else "+"
            size = f"{len(change.content):,} bytes, sha256 {change.sha256[:12]}…"
            yield f"{sign} {change.path}  ({size}, from {change.origin})"
            continue
        if isinstance(change, ReplayLogs):
            yield f"~ {change.path}  (from {change.source}: {change.reason})"
            continue
        if isinstance(change, DeleteFiles):
            number = f"{change.count:,} files, " if change.count != 1 else ""
            yield f"- {change.path}  ({number}{change.size:,} bytes: {change.reason})"
            continue
        if isinstance(change, DiscardSession):
            yield f"- {HIBERFIL}  (the session of {change.session.value}: {change.reason})"
            continue
        if isinstance(change, DeleteKey):
            yield f"- [{change.hive}\\{change.key}]  ({change.reason})"
            heading = ""
            continue
        if heading != f"[{change.hive}\\{change.key}]":
            heading = f"[{change.hive}\\{change.key}]"
            yield f"  {heading}  ({change.reason})"
        if isinstance(change, SetValue):
            name = f'"{change.name}"' if change.name else "@"
            old = change.before(guest).value
            if old is None:
                yield f"+   {name} = {change.value}"
            else:
                yield f"~   {name} = {change.value}  (was {old})"
        if isinstance(change, DeleteValue):
            name = f'"{change.name}"' if change.name else "@"
            yield f"-   {name} = {change.before(guest).value}"
