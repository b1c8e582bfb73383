"""The plan that takes guest tools out of a guest, put together from its parts.

First come the filters: a list that names a driver which is not there keeps devices from starting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from offline_mig.surgery.changes import (
    Change,
    CreateKey,
    DeleteFiles,
    DeleteKey,
    DeleteValue,
    SetValue,
)
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.removed_files import RemovedFiles, removed_files
from offline_mig.surgery.tools_devices import (
    ToolsDevice,
    device_changes,
    filter_changes,
    find_devices,
    is_below,
)
from offline_mig.surgery.tools_facts import FoundTools, image_name
from offline_mig.surgery.tools_packages import package_changes
from offline_mig.surgery.tools_services import ServiceFates, decide_fates, service_changes
from offline_mig.surgery.tools_software import software_changes
from offline_mig.surgery.tools_system import layered_winsock, system_changes
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

#: Libraries that a Winsock protocol of somebody else may be layered over.
_WINSOCK_LIBRARIES = frozenset({"vsocklib.dll"})
#: The service whose sockets it offers to programs.
_SOCKETS = "vsock"
_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class ToolsRemoval:
    """What becomes of the tools of one hypervisor: the block of changes, and notes about it.

    ``kept`` are services that stay as they are, with the reason.
    """

    name: str
    version: str
    block: PlanBlock
    deleted: tuple[str, ...]
    disabled: tuple[str, ...]
    kept: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Decided:
    """What goes and what stays: ``leaving`` of ``devices``, ``removed`` of the files.

    ``gone`` and ``planned`` are the keys that others delete, and the values that they set.
    """

    fates: ServiceFates
    removed: RemovedFiles
    devices: Sequence[ToolsDevice]
    leaving: Sequence[ToolsDevice]
    gone: Collection[str]
    planned: Mapping[tuple[str, str], RegistryValue]


def plan_removal(
    facts: GuestFacts, found: FoundTools, others: Sequence[PlanBlock] = ()
) -> ToolsRemoval:
    """Return what takes ``found`` out; ``others`` are blocks that are applied as well.

    Keys that those delete are taken for gone: a driver can go if its device does. What they set
    counts as set; ``without_superseded`` then takes it out of them where it comes twice.
    """
    gone = {
        change.key.lower()
        for block in others
        for change in block.changes
        if isinstance(change, DeleteKey) and change.hive is HiveName.SYSTEM
    }
    services = {name.lower() for name in found.services} | found.missing
    devices = find_devices(facts, found.tools, services, gone)
    staying = [device for device in devices if device.stays]
    fates = decide_fates(facts, found, staying)
    kept = fates.disabled | fates.kept.keys()
    leaving = [d for d in devices if not d.stays and d.service not in kept]
    planned = {
        (change.key.lower(), change.name.lower()): change.value
        for block in others
        for change in block.changes
        if isinstance(change, SetValue) and change.hive is HiveName.SYSTEM
    }
    removed = _removed(facts, found, fates)
    layered = layered_winsock(facts, removed)
    # A driver that another product keeps needs its half in the programs.
    if layered or _SOCKETS in fates.kept:
        removed = replace(removed, names=removed.names - _WINSOCK_LIBRARIES)
    decided = _Decided(fates, removed, devices, leaving, gone, planned)
    changes = tuple(_changes(facts, found, decided))
    return ToolsRemoval(
        name=found.tools.name,
        version=next((p.version for p in found.products if p.version), ""),
        block=PlanBlock(found.tools.name, changes),
        deleted=_spelled(found, fates.deleted),
        disabled=_spelled(found, fates.disabled),
        kept=fates.kept,
        notes=tuple(_notes(facts, found, fates, layered=layered)),
    )


def _changes(facts: GuestFacts, found: FoundTools, decided: _Decided) -> Iterator[Change]:
    tools, fates, leaving = found.tools.name, decided.fates, decided.leaving
    ending = fates.deleted | fates.disabled | found.missing
    going = {*decided.gone, *(device.key.lower() for device in leaving)}
    yield from filter_changes(facts, ending, going, decided.planned, tools)
    yield from service_changes(facts, fates, tools)
    if not found.tools.thoroughly:
        return
    yield from device_changes(facts, leaving, fates.deleted | found.missing, tools)
    yield from system_changes(facts, found.tools, ending, decided.removed)
    used = _used_infs(facts, [device for device in decided.devices if device not in leaving])
    used |= {f"{name}.inf" for name in fates.kept}
    packages = [p for p in found.packages if used.isdisjoint((p.oem_inf, p.inf_name))]
    yield from package_changes(facts, packages)
    yield from software_changes(facts, found, decided.removed)
    names = decided.removed.names
    files = [
        *found.folders,
        *(file for file in found.files if file.path.rpartition("/")[2].lower() in names),
        *(file for name, file in found.driver_files.items() if name in names),
        *(file for package in packages for file in package.files),
    ]
    for file in dict.fromkeys(files):
        yield DeleteFiles(file.path, file.count, file.size, f"a file of {tools}")


def without_superseded(
    blocks: Iterable[PlanBlock], removals: Iterable[ToolsRemoval]
) -> tuple[PlanBlock, ...]:
    """Return ``blocks`` without the changes of keys and values that removals take away or set.

    Both could not read back.
    """
    keys: set[str] = set()
    values: set[tuple[str, str]] = set()
    for removal in removals:
        for change in removal.block.changes:
            if isinstance(change, DeleteKey):
                keys.add(f"{change.hive}\\{change.key}".lower())
            if isinstance(change, SetValue | DeleteValue):
                values.add((f"{change.hive}\\{change.key}".lower(), change.name.lower()))

    def stays(change: Change) -> bool:
        if not isinstance(change, SetValue | DeleteValue | CreateKey | DeleteKey):
            return True
        key = f"{change.hive}\\{change.key}".lower()
        name = change.name.lower() if isinstance(change, SetValue | DeleteValue) else None
        return not is_below(key, keys) and (name is None or (key, name) not in values)

    left = (PlanBlock(b.title, tuple(c for c in b.changes if stays(c))) for b in blocks)
    return tuple(block for block in left if block.changes)


def _removed(facts: GuestFacts, found: FoundTools, fates: ServiceFates) -> RemovedFiles:
    """Return the files that go: none that a service which stays runs."""
    run = {
        image
        for control_set in facts.control_sets.bootable
        for image in _images(facts, found, control_set, fates)
    }
    ending = {found.services[name] for name in found.services if name.lower() in fates.deleted}
    drivers = {name for name in ending if name.endswith(".sys")} | found.driver_files.keys()
    return removed_files(found, frozenset(drivers - run))


def _images(
    facts: GuestFacts, found: FoundTools, control_set: str, fates: ServiceFates
) -> Iterator[str]:
    root = rf"{control_set}\Services"
    for name in facts.system.subkeys(root):
        if name.lower() in fates.deleted:
            continue
        value = facts.system.value(rf"{root}\{name}", "ImagePath")
        text = (value.as_text() if value else None) or ""
        yield image_name(found.folders_of_windows, text) if text else f"{name.lower()}.sys"


def _used_infs(facts: GuestFacts, staying: Iterable[ToolsDevice]) -> frozenset[str]:
    """Return the INFs by which devices that stay were installed, in lower case."""
    keys = [rf"{device.control_set}\Control\Class\{device.driver}" for device in staying]
    values = [facts.system.value(key, "InfPath") for key in keys]
    return frozenset(((v.as_text() if v else None) or "").lower() for v in values)


def _spelled(found: FoundTools, names: Collection[str]) -> tuple[str, ...]:
    spelled = {name.lower(): name for name in found.services}
    return tuple(sorted((spelled[name] for name in names), key=str.lower))


def _notes(
    facts: GuestFacts, found: FoundTools, fates: ServiceFates, *, layered: bool
) -> Iterator[str]:
    tools = found.tools.name
    for name, reason in sorted(fates.kept.items()):
        yield f"The driver {name} of {tools} stays: {reason}."
    if fates.disabled and found.tools.thoroughly:
        names = ", ".join(sorted(fates.disabled))
        yield f"Of {tools} {names} could only be disabled: a device or a service still names it."
    for name, others in sorted(fates.dependents.items()):
        if name in fates.disabled:
            yield (
                f"Other software depends on {name} of {tools}, which was disabled: "
                f"{', '.join(others)} will not start. Remove that software in the guest, or the "
                "dependency ('sc config NAME depend=')."
            )
    if found.tools.thoroughly and layered:
        yield f"Other software has layered itself over the sockets of {tools}; they were left."
    if found.infs and facts.version.nt >= _NT6:
        commands = "; ".join(f"pnputil -f -d {name}" for name in found.infs)
        yield (
            f"{facts.version.product_name} keeps packages of {tools} in its driver store, and may "
            f"take one for a new mouse. To be rid of them, run in the guest as administrator: "
            f"{commands}"
        )
    if not found.tools.thoroughly:
        yield (
            f"The guest has {tools}. Their services were disabled and their filters taken out of "
            "lists; remove the rest in the guest, in 'Programs and Features'."
        )
