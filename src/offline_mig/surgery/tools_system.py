r"""What else the hive SYSTEM says of guest tools: providers, catalogues, lists with their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from offline_mig.surgery.changes import Change, DeleteKey, DeleteValue, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.removed_files import RemovedFiles
from offline_mig.windows import critical_devices
from offline_mig.windows.guest_tools import GuestTools
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.winsock_catalogue import Catalogue, read_catalogues

#: Where the order of network providers stands, and their hardware order.
_PROVIDER_ORDERS = (r"NetworkProvider\Order", r"NetworkProvider\HwOrder")
_SAFE_BOOT = (r"SafeBoot\Minimal", r"SafeBoot\Network")
_EVENT_LOGS = ("Application", "System")


def system_changes(
    facts: GuestFacts, tools: GuestTools, services: Collection[str], removed: RemovedFiles
) -> Iterator[Change]:
    """Yield what takes the rest of guest tools out of the hive SYSTEM.

    ``services`` (lower case) are those that go or are disabled, ``removed`` the files that go.
    """
    for control_set in facts.control_sets.bootable:
        yield from _network_providers(facts, control_set, services)
        priorities = rf"{control_set}\Control\NetworkProvider\ProviderOrder"
        for name in facts.system.values(priorities):
            if name.lower() in services:
                reason = "a network provider that goes"
                yield DeleteValue(HiveName.SYSTEM, priorities, name, reason)
        yield from _winsock(facts, control_set, removed)
        yield from _co_installers(facts, control_set, removed)
        for key in _own_keys(facts, control_set, tools, services, removed):
            yield DeleteKey(HiveName.SYSTEM, key, f"left by {tools.name}")


def _network_providers(
    facts: GuestFacts, control_set: str, services: Collection[str]
) -> Iterator[Change]:
    for order in _PROVIDER_ORDERS:
        key = rf"{control_set}\Control\{order}"
        value = facts.system.value(key, "ProviderOrder")
        providers = ((value.as_text() if value else None) or "").split(",")
        left = [name for name in providers if name.strip().lower() not in services]
        if value is not None and len(left) < len(providers):
            text = ",".join(left)
            wanted = RegistryValue(value.type, RegistryValue.sz(text).data)
            reason = "a network provider that goes"
            yield SetValue(HiveName.SYSTEM, key, "ProviderOrder", wanted, reason)


def _winsock(facts: GuestFacts, control_set: str, removed: RemovedFiles) -> Iterator[Change]:
    for catalogue in read_catalogues(facts.system, control_set):
        going = [n for n, e in enumerate(catalogue.entries) if removed.named_in(e.library)]
        identities = {catalogue.entries[n].identity for n in going} - {0}
        layered = any(
            identities & set(entry.chain)
            for number, entry in enumerate(catalogue.entries)
            if number not in going
        )
        if going and not layered:
            yield from _closed_up(catalogue, going)


def layered_winsock(facts: GuestFacts, removed: RemovedFiles) -> bool:
    """Tell whether a foreign protocol is layered over one whose library would go."""
    for control_set in facts.control_sets.bootable:
        for catalogue in read_catalogues(facts.system, control_set):
            mine = [entry for entry in catalogue.entries if removed.named_in(entry.library)]
            identities = {entry.identity for entry in mine} - {0}
            for entry in catalogue.entries:
                if entry not in mine and identities & set(entry.chain):
                    return True
    return False


def _closed_up(catalogue: Catalogue, going: Collection[int]) -> Iterator[Change]:
    """Yield what takes entries out and closes the gaps: Winsock stops reading at the first."""
    reason = "a Winsock provider that goes; the others move up"
    left = [entry for number, entry in enumerate(catalogue.entries) if number not in going]
    for number, entry in enumerate(left):
        old = catalogue.entries[number]
        if entry is old:
            continue
        key = catalogue.entry_key(number)
        for name, value in entry.values.items():
            yield SetValue(HiveName.SYSTEM, key, name, value, reason)
        for name in old.values.keys() - entry.values.keys():
            yield DeleteValue(HiveName.SYSTEM, key, name, reason)
    for number in range(len(left), len(catalogue.entries)):
        yield DeleteKey(HiveName.SYSTEM, catalogue.entry_key(number), reason)
    count = RegistryValue.dword(len(left))
    yield SetValue(HiveName.SYSTEM, catalogue.counter_key, catalogue.counter, count, reason)


def _co_installers(facts: GuestFacts, control_set: str, removed: RemovedFiles) -> Iterator[Change]:
    key = rf"{control_set}\Control\CoDeviceInstallers"
    for name, value in facts.system.values(key).items():
        libraries = value.as_texts()
        left = [text for text in libraries if not removed.named_in(text)]
        reason = "a co-installer whose library goes"
        if left and len(left) < len(libraries):
            yield SetValue(HiveName.SYSTEM, key, name, RegistryValue.multi_sz(left), reason)
        elif not left and libraries:
            yield DeleteValue(HiveName.SYSTEM, key, name, reason)


def _own_keys(
    facts: GuestFacts,
    control_set: str,
    tools: GuestTools,
    services: Collection[str],
    removed: RemovedFiles,
) -> Iterator[str]:
    system = facts.system
    root = rf"{control_set}\Services"
    for log in _EVENT_LOGS:
        for source in system.subkeys(rf"{root}\EventLog\{log}"):
            key = rf"{root}\EventLog\{log}\{source}"
            value = system.value(key, "EventMessageFile")
            file = (value.as_text() if value else None) or ""
            known = tools.event_sources | set(services)
            if source.lower() in known or removed.named_in(file):
                yield key
    for provider in system.subkeys(rf"{root}\W32Time\TimeProviders"):
        key = rf"{root}\W32Time\TimeProviders\{provider}"
        value = system.value(key, "DllName")
        file = (value.as_text() if value else None) or ""
        if provider.lower() in tools.time_providers or removed.named_in(file):
            yield key
    for monitor in system.subkeys(rf"{control_set}\Control\Print\Monitors"):
        if monitor.lower() in tools.print_monitors:
            yield rf"{control_set}\Control\Print\Monitors\{monitor}"
    critical = rf"{control_set}\{critical_devices.KEY}"
    for device in system.subkeys(critical):
        value = system.value(rf"{critical}\{device}", "Service")
        if ((value.as_text() if value else None) or "").lower() in services:
            yield rf"{critical}\{device}"
    for provider in system.subkeys(rf"{root}\VSS\Providers"):
        key = rf"{root}\VSS\Providers\{provider}"
        value = system.value(key, "")
        if ((value.as_text() if value else None) or "").lower() in tools.snapshot_providers:
            yield key
    for mode in _SAFE_BOOT:
        for name in system.subkeys(rf"{control_set}\Control\{mode}"):
            if name.lower().removesuffix(".sys") in services:
                yield rf"{control_set}\Control\{mode}\{name}"
