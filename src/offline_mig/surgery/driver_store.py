r"""A driver package in the driver store, as Windows 8 and later keep it.

The files lie in ``System32\DriverStore\FileRepository``, the INF again as ``INF\oemN.inf``, and
``DriverDatabase`` in the SYSTEM hive says which devices the package is for. It is complete, so
that ``pnputil /delete-driver oemN.inf`` removes it like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_mig.drivers.directories import DirId
from offline_mig.drivers.install import InstallSection
from offline_mig.drivers.package import DeviceModel, DriverPackage
from offline_mig.surgery.changes import Change, SetValue, WriteFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.registration import registry_changes
from offline_mig.windows import driver_database
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

_DATABASE = driver_database.KEY
#: Where catalogues of third-party drivers are looked up (the system catalogue database).
_CATALOG_ROOT = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
_LOCKDOWN = r"Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles"
#: What Windows 10 writes as Class for a file that a driver package owns.
_LOCKDOWN_CLASS = 4
_CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
#: The name of a third-party INF. No Windows has a hundred thousand of them, and a longer number
#: would make OemInfMap, a bitmap, as large as the guest likes.
_OEM_INF = re.compile(r"oem(0|[1-9]\d{0,4})\.inf", re.ASCII | re.IGNORECASE)
#: StatusFlags of a package that includes another's INF: in the hive of an installed Windows 10
#: 2004, the packages with this bit are those whose configurations have IncludedInfs.
_STATUS_INCLUDES = 0x100
#: Where the date lies in a Version value (see ``driver_database.version_value``): a FILETIME.
_DATE_IN_VERSION = slice(24, 32)


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """A package with its place in the store: ``viostor.inf_amd64_...`` and ``oemN.inf``."""

    package: DriverPackage
    label: str
    oem_inf: str

    @property
    def repository(self) -> str:
        """The package's folder, relative to the Windows directory, with slashes."""
        return f"System32/DriverStore/FileRepository/{self.label}"


@dataclass(frozen=True, slots=True)
class StoreAllocation:
    """Places for several packages, and the map of used numbers that comes with them."""

    packages: tuple[StoredPackage, ...]
    oem_inf_map: bytes


def allocate(facts: GuestFacts, packages: Sequence[DriverPackage]) -> StoreAllocation:
    """Find places in the driver store: the old one for a package that is there, else a free one."""
    mapped = facts.system.value(_DATABASE, "OemInfMap")
    oem_inf_map = mapped.data if mapped else b""
    known = {name.lower() for name in facts.system.subkeys(rf"{_DATABASE}\DriverInfFiles")}
    taken = set(facts.inf_files) | known
    stored: list[StoredPackage] = []
    for package in packages:
        content = b"".join(
            name.encode() + b"\0" + data for name, data in sorted(package.files.items())
        )
        label = driver_database.package_name(package.inf_name, facts.version.architecture, content)
        number = _present_number(facts, label)
        if number is None or f"oem{number}.inf" in {other.oem_inf for other in stored}:
            number = driver_database.free_oem_number(oem_inf_map, taken)
        oem_inf = f"oem{number}.inf"
        oem_inf_map = driver_database.with_oem_number(oem_inf_map, number)
        taken.add(oem_inf)
        stored.append(StoredPackage(package, label, oem_inf))
    return StoreAllocation(tuple(stored), oem_inf_map)


def _present_number(facts: GuestFacts, label: str) -> int | None:
    """Return N when the package is in the store as oemN.inf, and that is its own."""
    present = facts.system.value(rf"{_DATABASE}\DriverPackages\{label}", "")
    match = _OEM_INF.fullmatch((present.as_text() if present else None) or "")
    if match is None:
        return None
    number = int(match[1])
    listed = facts.system.value(rf"{_DATABASE}\DriverInfFiles\oem{number}.inf", "")
    if listed and label.casefold() not in {text.casefold() for text in listed.as_texts()}:
        return None  # Another package has the number: writing our INF would take away its own.
    return number


def with_owner(facts: GuestFacts, hive: HiveName, key: str, oem_inf: str) -> RegistryValue:
    """Return the value ``Owners`` of a key with a package added to those that it names.

    Windows takes a service or a file away with its last owner, and not before.
    """
    view = facts.system if hive is HiveName.SYSTEM else facts.software
    present = view.value(key, "Owners")
    owners = present.as_texts() if present else ()
    known = {owner.casefold() for owner in owners}
    return RegistryValue.multi_sz(owners if oem_inf in known else (*owners, oem_inf))


def map_change(allocation: StoreAllocation) -> SetValue:
    """Return the change that marks the numbers of all stored packages as used."""
    return SetValue(
        HiveName.SYSTEM,
        _DATABASE,
        "OemInfMap",
        RegistryValue.binary(allocation.oem_inf_map),
        "the numbers of oemN.inf that are in use",
    )


def store_changes(facts: GuestFacts, stored: StoredPackage, location: str) -> Iterator[Change]:
    """Yield the changes that put a package into the driver store."""
    package = stored.package
    for name, content in sorted(package.files.items()):
        yield WriteFile(
            f"{facts.root}/{stored.repository}/{name}",
            content,
            location,
            "the package in the driver store",
        )
    yield WriteFile(
        f"{facts.root}/INF/{stored.oem_inf}", package.inf, location, "the package's INF"
    )
    if package.catalogue_present:
        yield WriteFile(
            f"{facts.root}/{_CATALOG_ROOT}/{stored.oem_inf.removesuffix('.inf')}.cat",
            package.files[package.catalog_name.lower()],
            location,
            "the catalogue where Windows looks signatures up",
        )
    yield from _package_record(facts, stored)
    for file in package.copied_files:
        below = file.path.below_windows
        if below is None or file.directory == DirId.DRIVER_STORE:
            continue
        slashed = below.replace("\\", "/")
        key = rf"{_LOCKDOWN}\%SystemRoot%/{slashed}"
        reason = "Windows guards the file as one that a package owns"
        source = stored.repository.replace("/", "\\")
        values = {
            "Class": RegistryValue.dword(_LOCKDOWN_CLASS),
            "Owners": with_owner(facts, HiveName.SOFTWARE, key, stored.oem_inf),
            "Source": RegistryValue.expand_sz(rf"%SystemRoot%\{source}\{file.source.lower()}"),
        }
        for name, value in values.items():
            yield SetValue(HiveName.SOFTWARE, key, name, value, reason)


def _package_record(facts: GuestFacts, stored: StoredPackage) -> Iterator[Change]:
    package = stored.package
    reason = f"{package.inf_name} as a package in the driver store"
    record = rf"{_DATABASE}\DriverPackages\{stored.label}"

    def put(key: str, name: str, value: RegistryValue) -> SetValue:
        return SetValue(HiveName.SYSTEM, key, name, value, reason)

    yield put(record, "", RegistryValue.sz(stored.oem_inf))
    version = driver_database.version_value(
        facts.version.architecture,
        package.class_guid,
        package.driver_date,
        package.driver_version,
    )
    yield put(record, "Version", version)
    yield put(record, "Provider", RegistryValue.sz(package.provider))
    yield put(record, "InfName", RegistryValue.sz(package.inf_name.lower()))
    # The folder that a package was imported from. Ours comes from outside the guest; its INF is
    # the one thing of it that lies in a folder where Windows looks.
    yield put(record, "OemPath", RegistryValue.sz(rf"{_windows_directory(facts)}\INF"))
    if package.catalogue_present:
        yield put(record, "Catalog", RegistryValue.sz(package.catalog_name.lower()))
    # Windows 10 2004 writes ImportDate alone, later ones FileSize too: whatever this Windows gave
    # to the packages that it imported itself. The date is the driver's own and not today's, so
    # that the same conversion always writes the same.
    usual = _names_in_use(facts)
    if "importdate" in usual:
        date = version.data[_DATE_IN_VERSION]
        yield put(record, "ImportDate", RegistryValue.binary(date))
    if "filesize" in usual:
        size = sum(len(content) for content in package.files.values())
        yield put(record, "FileSize", RegistryValue(RegistryType.QWORD, size.to_bytes(8, "little")))
    status = driver_database.STATUS_IMPORTED
    if any(install.includes for install in package.installs):
        status |= _STATUS_INCLUDES
    yield put(record, "StatusFlags", RegistryValue.dword(status))
    for install in package.installs:
        yield from _configuration(facts, record, install, reason)
    for model in package.models:
        yield from _descriptors(record, model, reason)
    for token, text in _used_strings(package).items():
        yield put(rf"{record}\Strings", token, RegistryValue.sz(text))

    inf_record = rf"{_DATABASE}\DriverInfFiles\{stored.oem_inf}"
    yield put(inf_record, "", RegistryValue.multi_sz([stored.label]))
    yield put(inf_record, "Active", RegistryValue.sz(stored.label))
    sections = [install.effective_section for install in package.installs]
    yield put(inf_record, "Configurations", RegistryValue.multi_sz(sections))

    for model in package.models:
        key = rf"{_DATABASE}\DeviceIds\{model.hardware_id.upper()}"
        yield put(key, stored.oem_inf, driver_database.HARDWARE_ID_MATCH)
        for identity in model.compatible_ids:
            key = rf"{_DATABASE}\DeviceIds\{identity.upper()}"
            yield put(key, stored.oem_inf, driver_database.COMPATIBLE_ID_MATCH)
    yield put(
        rf"{_DATABASE}\DeviceIds\{package.class_guid.lower()}",
        stored.oem_inf,
        RegistryValue(RegistryType.NONE, b""),
    )


def _windows_directory(facts: GuestFacts) -> str:
    r"""Return the Windows directory by the guest's own drive letter: ``C:\Windows``."""
    present = facts.software.value(_CURRENT_VERSION, "SystemRoot")
    text = present.as_text() if present else None
    return (text or "C:" + facts.root.replace("/", "\\")).rstrip("\\")


def _names_in_use(facts: GuestFacts) -> frozenset[str]:
    """Return the names, in small letters, of all values that third-party packages have."""
    packages = rf"{_DATABASE}\DriverPackages"
    names: set[str] = set()
    for label in facts.system.subkeys(packages):
        values = facts.system.values(rf"{packages}\{label}")
        inf = values.get("")
        if inf is not None and _OEM_INF.fullmatch(inf.as_text() or ""):
            names |= {name.lower() for name in values}
    return frozenset(names)


def _configuration(
    facts: GuestFacts, record: str, install: InstallSection, reason: str
) -> Iterator[Change]:
    key = rf"{record}\Configurations\{install.effective_section}"
    driver = install.function_driver
    values = {
        "ConfigFlags": RegistryValue.dword(0),
        "ConfigScope": RegistryValue.dword(driver_database.CONFIG_SCOPE),
    }
    if driver is not None:
        values["Service"] = RegistryValue.sz(driver.name)
    if install.includes:
        values["IncludedInfs"] = RegistryValue.multi_sz(install.includes)
    for name, value in values.items():
        yield SetValue(HiveName.SYSTEM, key, name, value, reason)
    branches = [(rf"{key}\Device", install.hardware_registry)]
    branches += [(rf"{key}\Services\{s.name}", s.registry) for s in install.services]
    for branch, lines in branches:
        yield from registry_changes(facts, branch, lines, reason)


def _descriptors(record: str, model: DeviceModel, reason: str) -> Iterator[Change]:
    values = {
        "Configuration": RegistryValue.sz(model.effective_section),
        "Manufacturer": RegistryValue.sz(model.manufacturer_token.lower()),
        "Description": RegistryValue.sz(model.description_token.lower()),
    }
    for identity in (model.hardware_id, *model.compatible_ids):
        key = rf"{record}\Descriptors\{identity.upper()}"
        for name, value in values.items():
            yield SetValue(HiveName.SYSTEM, key, name, value, reason)


def _used_strings(package: DriverPackage) -> dict[str, str]:
    used = " ".join(
        f"{model.description_token} {model.manufacturer_token}" for model in package.models
    ).lower()
    return {token: text for token, text in package.strings.items() if f"%{token}%" in used}
