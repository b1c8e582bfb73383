"""What virtio-win's drivers are called: the driver, its INF, and the service of its device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriverName:
    """What a driver is known by, in lower case."""

    name: str
    inf: str
    service: str


#: The drivers of virtio-win whose INF or service is not called as the driver is. Every other
#: name stands for itself.
_DRIVERS = (
    DriverName("fwcfg", "fwcfg.inf", "fwcfg"),
    DriverName("pvpanic", "pvpanic.inf", "pvpanic"),
    DriverName("pvpanic-pci", "pvpanic-pci.inf", "pvpanic"),
    DriverName("viofs", "viofs.inf", "virtiofsdrv"),
    DriverName("viogpudo", "viogpudo.inf", "viogpudod"),
    DriverName("vioinput", "vioinput.inf", "virtioinput"),
    DriverName("viorng", "viorng.inf", "virtrng"),
    DriverName("vioserial", "vioser.inf", "virtioserial"),
)
_BY_NAME = {driver.name: driver for driver in _DRIVERS}
#: INF files that are never taken for a renamed one of another driver.
OWN_INFS = frozenset(
    {driver.inf for driver in _DRIVERS}
    | {f"{name}.inf" for name in ("viostor", "vioscsi", "netkvm", "balloon", "qxl", "qxldod")}
    # sriov's protocol driver and the driverless qemufwcfg name services and devices of others.
    | {"vioprot.inf", "qemufwcfg.inf"}
)


def driver_of(inf_name: str) -> str:
    """Return the name that virtio-win knows the driver of an INF by."""
    name = inf_name.lower()
    known = (driver.name for driver in _DRIVERS if driver.inf == name)
    return next(known, name.removesuffix(".inf"))


def named_driver(driver: str) -> DriverName:
    """Return what is known of a driver by its name, in any letter case."""
    name = driver.lower()
    return _BY_NAME.get(name, DriverName(name, f"{name}.inf", name))
