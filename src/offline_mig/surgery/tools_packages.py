r"""Driver packages of guest tools taken out of the driver store of Windows 8 and later.

What goes is what ``pnputil /delete-driver`` takes away: the package's record, the record of its
oemN.inf, that name wherever ``DeviceIds`` has it, and the files. The number stays marked as used in
``OemInfMap``, which only means that Windows gives the next package another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from offline_mig.surgery.changes import Change, DeleteKey, DeleteValue, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.tools_facts import ToolsPackage
from offline_mig.windows import driver_database
from offline_mig.windows.hive import HiveName, RegistryView
from offline_mig.windows.registry import RegistryValue

_DATABASE = driver_database.KEY


def package_changes(facts: GuestFacts, packages: Iterable[ToolsPackage]) -> Iterator[Change]:
    """Yield what takes the records of ``packages`` out of the hives; their files are not in it."""
    by_hive: dict[HiveName, list[ToolsPackage]] = {}
    for package in packages:
        by_hive.setdefault(package.hive, []).append(package)
    for hive, below in by_hive.items():
        view = facts.view(hive)
        for package in below:
            reason = f"the driver package {package.inf_name}"
            yield DeleteKey(hive, rf"{_DATABASE}\DriverPackages\{package.label}", reason)
        labels = {package.label.lower() for package in below}
        numbers = {package.oem_inf for package in below}
        for number in sorted(numbers):
            yield from _inf_record(view, hive, number, labels)
        yield from _device_ids(view, hive, numbers)


def _inf_record(
    view: RegistryView, hive: HiveName, number: str, labels: Collection[str]
) -> Iterator[Change]:
    key = rf"{_DATABASE}\DriverInfFiles\{number}"
    listed = view.value(key, "")
    names = listed.as_texts() if listed else ()
    left = [label for label in names if label.lower() not in labels]
    reason = f"{number} of a package that goes"
    if left:
        yield SetValue(hive, key, "", RegistryValue.multi_sz(left), reason)
    elif view.has_key(key):
        yield DeleteKey(hive, key, reason)


def _device_ids(view: RegistryView, hive: HiveName, numbers: Collection[str]) -> Iterator[Change]:
    going: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for key, values in view.walk(rf"{_DATABASE}\DeviceIds"):
        sizes[key] = len(values)
        own = [name for name in values if name.lower() in numbers]
        if own:
            going[key] = own
    parents = {key.rpartition("\\")[0] for key in sizes}
    for key, names in going.items():
        reason = "a device that the package is for"
        if len(names) == sizes[key] and key not in parents and not _is_class(key):
            yield DeleteKey(hive, key, reason)
            continue
        for name in names:
            yield DeleteValue(hive, key, name, reason)


def _is_class(key: str) -> bool:
    """Tell whether a key is of a class: those stay, and packages to come are written there."""
    return key.rpartition("\\")[2].startswith("{")
