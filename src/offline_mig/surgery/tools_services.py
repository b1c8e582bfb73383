r"""Which services of guest tools go, which are only disabled, and which stay as they are.

A service goes if nothing that stays refers to it any more: no device, no other service. One that a
device still names, such as the driver of a network card whose settings are kept with it, is
disabled. A driver that Windows itself brought stays: VMware's drivers say so in the value
``vwdk.installers``, whose first entry is then "Windows", and VMware's own uninstaller goes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from offline_mig.surgery.changes import Change, DeleteKey, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.registration import without_start_override
from offline_mig.surgery.tools_devices import ToolsDevice
from offline_mig.surgery.tools_facts import FoundTools
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4
_INSTALLERS = "vwdk.installers"


@dataclass(frozen=True, slots=True)
class ServiceFates:
    """What becomes of services, by their names in lower case; ``kept`` with the reason.

    ``dependents`` are the foreign services that depend on one, as they are spelled.
    """

    deleted: frozenset[str]
    disabled: frozenset[str]
    kept: dict[str, str]
    dependents: Mapping[str, tuple[str, ...]]


def decide_fates(
    facts: GuestFacts, found: FoundTools, devices: Collection[ToolsDevice]
) -> ServiceFates:
    """Return what becomes of the services of guest tools; ``devices`` are those that stay."""
    kept = dict(_kept(facts, found))
    named = {name.lower() for name in found.services} - kept.keys()
    dependents = _dependents(facts, named)
    if not found.tools.thoroughly:
        return ServiceFates(frozenset(), frozenset(named), kept, dependents)
    held = {device.service for device in devices}
    disabled = frozenset(named & (held | dependents.keys()))
    return ServiceFates(frozenset(named) - disabled, disabled, kept, dependents)


def _kept(facts: GuestFacts, found: FoundTools) -> Iterator[tuple[str, str]]:
    for control_set in facts.control_sets.bootable:
        root = rf"{control_set}\Services"
        for name in found.services:
            value = facts.system.value(rf"{root}\{name}", _INSTALLERS)
            installers = value.as_texts() if value else ()
            if installers and installers[0].casefold() == "windows":
                yield name.lower(), "Windows itself brought it"
        for product, services in found.tools.shared_services.items():
            if facts.system.has_key(rf"{root}\{product}"):
                for name in found.services:
                    if name.lower() in services:
                        yield name.lower(), f"{product} needs it as well"


def _dependents(facts: GuestFacts, named: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return who else depends on services, in the guest's spelling."""
    found: dict[str, dict[str, str]] = {}
    for control_set in facts.control_sets.bootable:
        root = rf"{control_set}\Services"
        for name in facts.system.subkeys(root):
            if name.lower() in named:
                continue
            value = facts.system.value(rf"{root}\{name}", "DependOnService")
            for needed in value.as_texts() if value else ():
                if needed.lower() in named:
                    found.setdefault(needed.lower(), {})[name.lower()] = name
    return {needed: tuple(spelled.values()) for needed, spelled in found.items()}


def service_changes(facts: GuestFacts, fates: ServiceFates, tools: str) -> Iterator[Change]:
    """Yield what disables and deletes services in every control set that Windows may boot from."""
    disabled = []
    for control_set in facts.control_sets.bootable:
        root = rf"{control_set}\Services"
        for name in facts.system.subkeys(root):
            key = rf"{root}\{name}"
            if name.lower() in fates.deleted:
                yield DeleteKey(HiveName.SYSTEM, key, f"a service of {tools}")
            elif name.lower() in fates.disabled:
                disabled.append(name)
                if facts.system.value(key, "Start") is not None:
                    yield SetValue(
                        HiveName.SYSTEM,
                        key,
                        "Start",
                        RegistryValue.dword(_DISABLED),
                        f"a service of {tools}, which something still refers to",
                    )
    yield from without_start_override(facts, dict.fromkeys(disabled))
