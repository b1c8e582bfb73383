"""What several driver packages bring alike: a co-installer, a service, a file.

Windows keeps the names of all packages that own such a thing in its value ``Owners`` and takes it
away with the last of them. Everything else about it is as the first one wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from offline_mig.surgery.changes import (
    Change,
    DeleteFiles,
    DeleteValue,
    DiscardSession,
    ReplayLogs,
    SetValue,
    WriteFile,
)
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.registry import RegistryValue

_OWNERS = "owners"


def share_parts(blocks: Sequence[PlanBlock]) -> list[PlanBlock]:
    """Return the blocks with one change for each thing, in the first block that has it."""
    owners: dict[tuple[str, ...], list[str]] = {}
    for block in blocks:
        for change in block.changes:
            if isinstance(change, SetValue) and change.name.lower() == _OWNERS:
                owners.setdefault(_identity(change), []).extend(change.value.as_texts())
    seen: set[tuple[str, ...]] = set()
    shared = []
    for block in blocks:
        kept: list[Change] = []
        for change in block.changes:
            identity = _identity(change)
            if identity in seen:
                continue
            seen.add(identity)
            kept.append(_with_owners(change, owners.get(identity, ())))
        shared.append(PlanBlock(block.title, tuple(kept)))
    return shared


def _identity(change: Change) -> tuple[str, ...]:
    if isinstance(change, WriteFile | DeleteFiles | ReplayLogs):
        return (type(change).__name__, change.path.lower())
    if isinstance(change, DiscardSession):
        return (type(change).__name__,)
    name = change.name.lower() if isinstance(change, SetValue | DeleteValue) else ""
    return (type(change).__name__, change.hive, change.key.lower(), name)


def _with_owners(change: Change, names: Iterable[str]) -> Change:
    if not isinstance(change, SetValue) or change.name.lower() != _OWNERS:
        return change
    once: dict[str, str] = {}
    for name in names:
        once.setdefault(name.casefold(), name)
    value = RegistryValue.multi_sz(once.values())
    return SetValue(change.hive, change.key, change.name, value, change.reason)
