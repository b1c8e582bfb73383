r"""A driver package in the driver store, as Windows 8 and later keep it.

The files lie in ``System32\DriverStore\FileRepository``, the INF again as ``INF\oemN.inf``, and
``DriverDatabase`` says which devices the package is for. It is complete, so that
``pnputil /delete-driver oemN.inf`` removes it like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.drivers.directories import DirId
from offline_mig.surgery.changes import Change, SetValue, WriteFile
from offline_mig.surgery.driver_record import record_changes
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.stored_package import StoreAllocation, StoredPackage
from offline_mig.windows import driver_database
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

#: Where catalogues of third-party drivers are looked up (the system catalogue database).
_CATALOG_ROOT = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
_LOCKDOWN = r"Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles"
#: What Windows 10 writes as Class for a file that a driver package owns.
_LOCKDOWN_CLASS = 4


def with_owner(facts: GuestFacts, hive: HiveName, key: str, oem_inf: str) -> RegistryValue:
    """Return the value ``Owners`` of a key with a package added to those that it names.

    Windows takes a service or a file away with its last owner, and not before.
    """
    present = facts.view(hive).value(key, "Owners")
    owners = present.as_texts() if present else ()
    known = {owner.casefold() for owner in owners}
    return RegistryValue.multi_sz(owners if oem_inf in known else (*owners, oem_inf))


def map_change(allocation: StoreAllocation) -> SetValue:
    """Return the change that marks the numbers of all stored packages as used."""
    return SetValue(
        HiveName.SYSTEM,
        driver_database.KEY,
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
    yield from record_changes(facts, stored)
    if not stored.configured:
        return
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
