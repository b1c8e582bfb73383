r"""The record of a package in the DriverDatabase: what Windows knows of it without its INF.

Of every package it says whose it is, which version, and which devices it is for. A configured one
also has ``Configurations`` (what an install section does to a device), ``Descriptors`` (which
device is installed by which) and ``Strings``: from these alone Windows starts a device early in
the boot.
"""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.drivers.install import InstallSection
from offline_mig.drivers.package import DeviceModel, DriverPackage
from offline_mig.drivers.signer import SignerClass, Signing
from offline_mig.surgery.changes import Change, SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.registration import registry_changes
from offline_mig.surgery.stored_package import StoredPackage, is_oem_inf
from offline_mig.windows import driver_database
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

_DATABASE = driver_database.KEY
_CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
#: Where the date lies in a Version value (see ``driver_database.version_value``): a FILETIME.
_DATE_IN_VERSION = slice(24, 32)
#: Values of a device that Windows keeps beside ``Device`` and not in it.
_FILTERS = frozenset({"upperfilters", "lowerfilters"})


def record_changes(facts: GuestFacts, stored: StoredPackage) -> Iterator[Change]:
    """Yield the changes that make a package known to Windows."""
    package = stored.package
    reason = f"{package.inf_name} as a package in the driver store"
    record = rf"{_DATABASE}\DriverPackages\{stored.label}"

    def put(key: str, name: str, value: RegistryValue) -> SetValue:
        return SetValue(stored.hive, key, name, value, reason)

    for name, value in _own_values(facts, stored).items():
        yield put(record, name, value)
    inf_record = rf"{_DATABASE}\DriverInfFiles\{stored.oem_inf}"
    yield put(inf_record, "", RegistryValue.multi_sz([stored.label]))
    yield put(inf_record, "Active", RegistryValue.sz(stored.label))
    if stored.configured:
        for install in package.installs:
            yield from _configuration(facts, record, install, reason)
        for model in package.models:
            yield from _descriptors(record, model, reason)
        for token, text in _used_strings(package).items():
            yield put(rf"{record}\Strings", token, RegistryValue.sz(text))
        sections = [install.effective_section for install in package.installs]
        yield put(inf_record, "Configurations", RegistryValue.multi_sz(sections))
    for model in package.models:
        score = package.install_for(model).feature_score
        for identity in (model.hardware_id, *model.compatible_ids):
            yield put(
                rf"{_DATABASE}\DeviceIds\{identity.upper()}",
                stored.oem_inf,
                driver_database.match_value(score, hardware_id=identity == model.hardware_id),
            )
    yield put(
        rf"{_DATABASE}\DeviceIds\{package.class_guid.lower()}",
        stored.oem_inf,
        RegistryValue(RegistryType.NONE, b""),
    )


def signer_values(signing: Signing) -> dict[str, RegistryValue]:
    """Return SignerName and SignerScore, by which Windows ranks a package.

    What no authority vouches for counts as unsigned, and has no name.
    """
    match signing.signer_class:
        case SignerClass.MICROSOFT if signing.attested:
            score = driver_database.SIGNER_SCORE_UNCLASSIFIED
        case SignerClass.MICROSOFT:
            score = driver_database.SIGNER_SCORE_WHQL
        case SignerClass.VENDOR:
            score = driver_database.SIGNER_SCORE_AUTHENTICODE
        case _:
            return {"SignerScore": RegistryValue.dword(driver_database.SIGNER_SCORE_UNSIGNED)}
    return {
        "SignerName": RegistryValue.sz(signing.signer),
        "SignerScore": RegistryValue.dword(score),
    }


def _own_values(facts: GuestFacts, stored: StoredPackage) -> dict[str, RegistryValue]:
    package = stored.package
    version = driver_database.version_value(
        facts.version.architecture,
        package.class_guid,
        package.driver_date,
        package.driver_version,
    )
    values = {
        "": RegistryValue.sz(stored.oem_inf),
        "Version": version,
        "Provider": RegistryValue.sz(package.provider),
        "InfName": RegistryValue.sz(package.inf_name.lower()),
        # The folder that a package was imported from. Ours comes from outside the guest; its INF
        # is the one thing of it that lies in a folder where Windows looks.
        "OemPath": RegistryValue.sz(rf"{_windows_directory(facts)}\INF"),
    }
    if package.catalogue_present:
        values["Catalog"] = RegistryValue.sz(package.catalog_name.lower())
    if package.signing is not None:
        values |= signer_values(package.signing)
    # Windows 10 2004 writes ImportDate alone, later ones FileSize too: whatever this Windows gave
    # to the packages that it imported itself. The date is the driver's own and not today's, so
    # that the same conversion always writes the same.
    usual = _names_in_use(facts)
    if "importdate" in usual:
        values["ImportDate"] = RegistryValue.binary(version.data[_DATE_IN_VERSION])
    if "filesize" in usual:
        size = sum(len(content) for content in package.files.values())
        values["FileSize"] = RegistryValue(RegistryType.QWORD, size.to_bytes(8, "little"))
    status = driver_database.STATUS_IMPORTED
    if any(install.includes for install in package.installs):
        status |= driver_database.STATUS_INCLUDES
    if any(install.has_coinstaller for install in package.installs):
        status |= driver_database.STATUS_COINSTALLER
    return values | {"StatusFlags": RegistryValue.dword(status)}


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
        if inf is not None and is_oem_inf(inf.as_text() or ""):
            names |= {name.lower() for name in values}
    return frozenset(names)


def _configuration(
    facts: GuestFacts, record: str, install: InstallSection, reason: str
) -> Iterator[Change]:
    key = rf"{record}\Configurations\{install.effective_section}"
    driver = install.function_driver
    scope = driver_database.SCOPE_OF_INSTALL
    for part, bit in driver_database.SCOPE_OF_PART.items():
        scope |= bit if part in install.parts else 0
    values = {
        "ConfigFlags": RegistryValue.dword(
            driver_database.CONFIG_FINISH if install.has_coinstaller else 0
        ),
        "ConfigScope": RegistryValue.dword(scope),
    }
    if driver is not None:
        values["Service"] = RegistryValue.sz(driver.name)
    if install.includes:
        values["IncludedInfs"] = RegistryValue.multi_sz(install.includes)
    filters = tuple(line for line in install.hardware_registry if _is_filter(line))
    hardware = tuple(line for line in install.hardware_registry if not _is_filter(line))
    for name, value in values.items():
        yield SetValue(HiveName.SYSTEM, key, name, value, reason)
    branches = [(key, filters), (rf"{key}\Device", hardware)]
    branches.append((rf"{key}\Driver", install.software_registry))
    branches += [(rf"{key}\Services\{s.name}", s.registry) for s in install.services]
    for branch, lines in branches:
        yield from registry_changes(facts, branch, lines, reason)


def _is_filter(line: InfRegistryValue) -> bool:
    return not line.subkey and (line.name or "").lower() in _FILTERS


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
