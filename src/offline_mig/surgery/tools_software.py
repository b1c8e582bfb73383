r"""What the hive SOFTWARE says of guest tools: programs, libraries, commands that Windows runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from offline_mig.surgery.changes import Change, DeleteKey, DeleteValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.removed_files import RemovedFiles
from offline_mig.surgery.tools_facts import FoundTools
from offline_mig.windows import installed_products
from offline_mig.windows.hive import HiveName, RegistryView
from offline_mig.windows.registry import RegistryValue

_CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"
_LOCKDOWN = rf"{_CURRENT_VERSION}\Setup\PnpLockdownFiles"
_APP_PATHS = rf"{_CURRENT_VERSION}\App Paths"
_WINLOGON = r"Microsoft\Windows NT\CurrentVersion\Winlogon"
#: Subkeys are the class identifiers of what the logon screen loads (Microsoft, "Credential
#: providers in Windows").
_CREDENTIAL_PROVIDERS = tuple(
    rf"{root}{_CURRENT_VERSION}\Authentication\{name}"
    for root in ("", "WOW6432Node\\")
    for name in ("Credential Providers", "Credential Provider Filters")
)
#: Values are commands that Windows runs, or panels that it shows.
_COMMANDS = tuple(
    rf"{root}{_CURRENT_VERSION}\{name}"
    for root in ("", "WOW6432Node\\")
    for name in ("Run", "RunOnce", r"Control Panel\Cpls")
)
#: Where classes and type libraries are registered: of 64-bit programs and of 32-bit ones.
_CLASSES = ("Classes", r"Classes\WOW6432Node", r"WOW6432Node\Classes")
#: Subkeys whose value without a name is the file of a class or a type library.
_SERVERS = frozenset({"command", "inprocserver32", "localserver32", "win32", "win64"})


def software_changes(
    facts: GuestFacts, found: FoundTools, removed: RemovedFiles
) -> Iterator[Change]:
    """Yield what takes guest tools out of the hive SOFTWARE."""
    reason = f"left by {found.tools.name}"
    keys = dict.fromkeys(_keys(facts.software, found, removed))
    for key in keys:
        if not any(key != other and key.startswith(f"{other}\\") for other in keys):
            yield DeleteKey(HiveName.SOFTWARE, key, reason)
    for key, name in dict.fromkeys(_values(facts.software, found, removed)):
        yield DeleteValue(HiveName.SOFTWARE, key, name, reason)
    packed = {product.packed for product in found.products if product.packed}
    for branch in (installed_products.COMPONENTS, *installed_products.UPGRADE_CODES):
        for key, values in facts.software.walk(branch) if packed else ():
            own = [name for name in values if name.upper() in packed]
            reason = f"a part of {found.tools.name}"
            if own and values.keys() - own <= {installed_products.PERMANENT}:
                yield DeleteKey(HiveName.SOFTWARE, key, reason)
                continue
            # Another program has it as well.
            for name in own:
                yield DeleteValue(HiveName.SOFTWARE, key, name, reason)


def _keys(software: RegistryView, found: FoundTools, removed: RemovedFiles) -> Iterator[str]:
    tools = found.tools
    for product in found.products:
        yield from product.keys
    for key in tools.registrations:
        if software.has_key(key):
            yield key
    for parent, names in tools.own_keys.items():
        below = software.subkeys(parent)
        own = [name for name in below if name.lower() in names]
        if own and len(own) == len(below) and not software.values(parent):
            yield parent
        else:
            yield from (rf"{parent}\{name}" for name in own)
    for name in software.subkeys(_APP_PATHS):
        if removed.named_in(_text(software, rf"{_APP_PATHS}\{name}", "")):
            yield rf"{_APP_PATHS}\{name}"
    for name in software.subkeys(_LOCKDOWN):
        if removed.named_in(name):
            yield rf"{_LOCKDOWN}\{name}"
    for name in software.subkeys(rf"{_WINLOGON}\Notify"):
        if removed.named_in(_text(software, rf"{_WINLOGON}\Notify\{name}", "DLLName")):
            yield rf"{_WINLOGON}\Notify\{name}"
    classes = [
        key
        for root in _CLASSES
        for kind in ("CLSID", "TypeLib")
        for key in _class_keys(software, root, kind, removed)
    ]
    yield from classes
    yield from _logon_keys(software, {key.rpartition("\\")[2].lower() for key in classes})


def _class_keys(
    software: RegistryView, root: str, kind: str, removed: RemovedFiles
) -> Iterator[str]:
    """Yield classes, or type libraries, whose file goes, and the names that classes have."""
    branch = rf"{root}\{kind}"
    for key, values in software.walk(branch):
        parent, _, name = key.rpartition("\\")
        if name.lower() not in _SERVERS or not removed.named_in(_default(values)):
            continue
        top = "\\".join(key.split("\\")[: branch.count("\\") + 2])
        yield top
        if kind == "CLSID":
            for naming in ("ProgID", "VersionIndependentProgID"):
                named = _text(software, rf"{parent}\{naming}", "")
                if named and software.has_key(rf"{root}\{named}"):
                    yield rf"{root}\{named}"


def _logon_keys(software: RegistryView, classes: Collection[str]) -> Iterator[str]:
    """Yield what tells the logon screen of Vista and later to ask classes that go."""
    for parent in _CREDENTIAL_PROVIDERS:
        for name in software.subkeys(parent):
            if name.lower() in classes:
                yield rf"{parent}\{name}"


def _values(
    software: RegistryView, found: FoundTools, removed: RemovedFiles
) -> Iterator[tuple[str, str]]:
    for key, names in found.tools.values.items():
        yield from ((key, name) for name in software.values(key) if name.lower() in names)
    for key in _COMMANDS:
        for name, value in software.values(key).items():
            if removed.named_in(value.as_text() or ""):
                yield key, name
    for key in (_LOCKDOWN, installed_products.FOLDERS, *installed_products.SHARED_FILES):
        yield from ((key, name) for name in software.values(key) if removed.named_in(name))
    if removed.named_in(_text(software, _WINLOGON, "GinaDLL")):
        # Without the value Windows takes its own, msgina.dll.
        yield _WINLOGON, "GinaDLL"


def _text(software: RegistryView, key: str, name: str) -> str:
    value = software.value(key, name)
    return (value.as_text() if value else None) or ""


def _default(values: Mapping[str, RegistryValue]) -> str:
    return (values[""].as_text() if "" in values else None) or ""
