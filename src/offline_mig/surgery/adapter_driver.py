r"""The driver of a network card as a class installer would have written it, for NT 5.

What the INF says of the device goes to its software key and below its device record, as
SetupDiInstallDevice does it, and what the class installer of network adapters makes of the
remaining directives (Microsoft, "INF DDInstall section for network adapters"). An installed XP
shows the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.drivers.package import DeviceModel
from offline_mig.surgery.changes import Change, RegistryChange, WriteFile
from offline_mig.surgery.driver_install import PlacedDriver, install_changes
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.plan import PlanBlock
from offline_mig.surgery.registration import registry_changes, set_values
from offline_mig.windows.device_instance import PciIdentity
from offline_mig.windows.network_interfaces import NET_CLASS
from offline_mig.windows.registry import RegistryValue

#: FILETIME counts from 1601-01-01, in units of 100 ns.
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AdapterDriver:
    """A driver and the model of its INF that the card is; ``oem_inf`` is the INF's name in inf."""

    driver: PlacedDriver
    model: DeviceModel
    matching_id: str
    oem_inf: str


def choose_adapter_driver(
    facts: GuestFacts, driver: PlacedDriver, identity: PciIdentity
) -> AdapterDriver | None:
    """Return how ``driver`` drives a card, by the best id that its INF has; None for none."""
    models = driver.package.models
    for wanted in (*identity.hardware_ids, *identity.compatible_ids):
        for model in models:
            ids = (model.hardware_id, *model.compatible_ids)
            if wanted.casefold() in map(str.casefold, ids):
                return AdapterDriver(driver, model, wanted.lower(), _free_oem_inf(facts))
    return None


def plan_adapter_driver(facts: GuestFacts, chosen: AdapterDriver) -> PlanBlock:
    """Return the changes that put the driver's files, its INF and its service in place."""
    package = chosen.driver.package
    reason = "the driver of the network card, which the kernel starts"
    changes: list[Change] = list(install_changes(facts, chosen.driver, None, reason))
    changes.append(
        WriteFile(
            f"{facts.root}/inf/{chosen.oem_inf}",
            package.inf,
            chosen.driver.location,
            "the INF that the installed card names",
        )
    )
    return PlanBlock(
        f"Network from {chosen.driver.name} ({package.driver_version_text})", tuple(changes)
    )


def adapter_driver_changes(
    facts: GuestFacts,
    control_set: str,
    chosen: AdapterDriver,
    names: tuple[str, str],
    reason: str,
) -> Iterator[RegistryChange]:
    """Yield what installing does to a card; ``names`` are its driver key and its device path."""
    package = chosen.driver.package
    install = package.install_for(chosen.model)
    number, path = names
    software = rf"{control_set}\Control\Class\{NET_CLASS}\{number}"
    day = package.driver_date
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    filetime = int((midnight - _FILETIME_EPOCH).total_seconds()) * 10_000_000
    values = {
        "DriverDesc": RegistryValue.sz(chosen.model.description),
        "ProviderName": RegistryValue.sz(package.provider),
        "InfPath": RegistryValue.sz(chosen.oem_inf),
        "InfSection": RegistryValue.sz(install.name),
        "MatchingDeviceId": RegistryValue.sz(chosen.matching_id),
        "ComponentId": RegistryValue.sz(chosen.model.hardware_id.lower()),
        "DriverVersion": RegistryValue.sz(".".join(map(str, package.driver_version))),
        "DriverDate": RegistryValue.sz(f"{day.month}-{day.day}-{day.year}"),
        "DriverDateData": RegistryValue.binary(filetime.to_bytes(8, "little")),
    }
    decoration = install.effective_section[len(install.name) :]
    if decoration:
        values["InfSectionExt"] = RegistryValue.sz(decoration)
    values |= dict(_directives(install.directives))
    values |= _defaults(install.software_registry)
    yield from set_values(software, values, reason)
    yield from registry_changes(facts, software, install.software_registry, reason)
    record = rf"{control_set}\Enum\{path}"
    device = {
        "DeviceDesc": RegistryValue.sz(chosen.model.description),
        "Mfg": RegistryValue.sz(chosen.model.manufacturer),
    }
    if install.function_driver is not None:
        device["Service"] = RegistryValue.sz(install.function_driver.name)
    yield from set_values(record, device, reason)
    yield from registry_changes(
        facts, rf"{record}\Device Parameters", install.hardware_registry, reason
    )


def _defaults(lines: Sequence[InfRegistryValue]) -> dict[str, RegistryValue]:
    r"""Return the parameters that the INF describes, with their default values.

    The class installer writes them where they are not optional, as an installed XP shows
    (Microsoft, "Specifying Configuration Parameters for the Advanced Properties Page").
    """
    defaults: dict[str, RegistryValue] = {}
    optional = set()
    for line in lines:
        parent, _, parameter = line.subkey.rpartition("\\")
        if parent.casefold() != r"ndi\params" or line.value is None or line.name is None:
            continue
        if line.name.casefold() == "default":
            defaults[parameter] = line.value
        elif line.name.casefold() == "optional" and line.value.as_text() == "1":
            optional.add(parameter.casefold())
    return {name: value for name, value in defaults.items() if name.casefold() not in optional}


def _directives(lines: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, RegistryValue]]:
    """Yield what the class installer makes of directives: BusType is text, the others numbers."""
    for name, text in lines:
        if name.casefold() == "bustype":
            yield name, RegistryValue.sz(text)
        elif name.casefold() == "characteristics":
            try:
                yield name, RegistryValue.dword(int(text, 0) & 0xFFFFFFFF)
            except ValueError:
                continue


def _free_oem_inf(facts: GuestFacts) -> str:
    number = 0
    while f"oem{number}.inf" in facts.inf_files:
        number += 1
    return f"oem{number}.inf"
