r"""A package's place in the driver store: its label, its number as oemN.inf, and its hive.

Windows 8 and later keep the records of packages in two hives. Those of the classes that a boot
may need (disks, buses, system devices, keyboards) lie in SYSTEM, and are configured as soon as
they are added: their files are copied and their services made, so that the device starts without
anybody installing it. Those of all other classes (network, display) lie in DRIVERS and say only
which devices they are for; when such a device appears, Windows installs it from the store. Which
class goes where, each Windows shows itself: SYSTEM has a key in ``DeviceIds`` for each of its own.
That was read off an installed Windows 10 2004 under VMware, whose oem2, 3, 5, 6 and 7 are in
SYSTEM and whose others are not, and off captures of what Windows makes of virtio-win's packages,
where NetKVM and viogpudo alone are in DRIVERS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig.drivers.package import DriverPackage
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows import driver_database
from offline_mig.windows.hive import HiveName

_DATABASE = driver_database.KEY
#: The name of a third-party INF. No Windows has a hundred thousand of them, and a longer number
#: would make OemInfMap, a bitmap, as large as the guest likes.
_OEM_INF = re.compile(r"oem(0|[1-9]\d{0,4})\.inf", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """A package with its place in the store: ``viostor.inf_amd64_...`` and ``oemN.inf``.

    ``hive`` is where its record lies.
    """

    package: DriverPackage
    label: str
    oem_inf: str
    hive: HiveName

    @property
    def repository(self) -> str:
        """The package's folder, relative to the Windows directory, with slashes."""
        return f"System32/DriverStore/FileRepository/{self.label}"

    @property
    def configured(self) -> bool:
        """Whether the package is configured beforehand, so that its devices just start."""
        return self.hive is HiveName.SYSTEM


@dataclass(frozen=True, slots=True)
class StoreAllocation:
    """Places for several packages, and the map of used numbers that comes with them."""

    packages: tuple[StoredPackage, ...]
    oem_inf_map: bytes


def is_oem_inf(name: str) -> bool:
    """Tell whether a file name is that of a third-party INF: ``oemN.inf``."""
    return _OEM_INF.fullmatch(name) is not None


def allocate(
    facts: GuestFacts, boot: Sequence[DriverPackage], others: Sequence[DriverPackage] = ()
) -> StoreAllocation:
    """Find places in the driver store: the old one for a package that is there, else a free one.

    Packages that the guest boots from go into the SYSTEM hive, whatever their class.
    """
    mapped = facts.system.value(_DATABASE, "OemInfMap")
    oem_inf_map = mapped.data if mapped else b""
    taken = set(facts.inf_files)
    for view in (facts.system, facts.drivers):
        if view is not None:
            taken |= {name.lower() for name in view.subkeys(rf"{_DATABASE}\DriverInfFiles")}
    placed = [(package, HiveName.SYSTEM) for package in boot]
    placed += [(package, _hive(facts, package)) for package in others]
    stored: list[StoredPackage] = []
    for package, hive in placed:
        content = b"".join(
            name.encode() + b"\0" + data for name, data in sorted(package.files.items())
        )
        label = driver_database.package_name(package.inf_name, facts.version.architecture, content)
        number = _present_number(facts, hive, label)
        if number is None or f"oem{number}.inf" in {other.oem_inf for other in stored}:
            number = driver_database.free_oem_number(oem_inf_map, taken)
        oem_inf = f"oem{number}.inf"
        oem_inf_map = driver_database.with_oem_number(oem_inf_map, number)
        taken.add(oem_inf)
        stored.append(StoredPackage(package, label, oem_inf, hive))
    return StoreAllocation(tuple(stored), oem_inf_map)


def _hive(facts: GuestFacts, package: DriverPackage) -> HiveName:
    early = facts.system.has_key(rf"{_DATABASE}\DeviceIds\{package.class_guid}")
    return HiveName.SYSTEM if early or facts.drivers is None else HiveName.DRIVERS


def _present_number(facts: GuestFacts, hive: HiveName, label: str) -> int | None:
    """Return N when the package is in the store as oemN.inf, and that is its own."""
    view = facts.view(hive)
    present = view.value(rf"{_DATABASE}\DriverPackages\{label}", "")
    match = _OEM_INF.fullmatch((present.as_text() if present else None) or "")
    if match is None:
        return None
    number = int(match[1])
    listed = view.value(rf"{_DATABASE}\DriverInfFiles\oem{number}.inf", "")
    if listed and label.casefold() not in {text.casefold() for text in listed.as_texts()}:
        return None  # Another package has the number: writing our INF would take away its own.
    return number
