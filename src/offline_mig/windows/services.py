r"""Services that Windows loads while it boots, as a control set lists them."""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.windows.critical_devices import KEY, CriticalDevice
from offline_mig.windows.hive import RegistryView

#: SERVICE_BOOT_START of winnt.h.
BOOT_START = 0


@dataclass(frozen=True, slots=True)
class BootService:
    """A service with Start = 0.

    ``start_override`` is what Windows 8 and later put over Start for a driver whose device was
    absent (3: on demand), None where there is none.
    """

    name: str
    group: str
    image_path: str
    start_override: int | None

    @property
    def loaded_at_boot(self) -> bool:
        """Whether the loader really takes it."""
        return self.start_override in (None, BOOT_START)


def read_boot_services(system: RegistryView, control_set: str) -> tuple[BootService, ...]:
    """Return the boot-start services of a control set, by name."""
    found = []
    for name in system.subkeys(rf"{control_set}\Services"):
        key = rf"{control_set}\Services\{name}"
        values = {label.casefold(): value for label, value in system.values(key).items()}
        start = values.get("start")
        if start is None or start.as_int() != BOOT_START:
            continue
        group, image = values.get("group"), values.get("imagepath")
        override = system.value(rf"{key}\StartOverride", "0")
        found.append(
            BootService(
                name=name,
                group=(group.as_text() if group else None) or "",
                image_path=(image.as_text() if image else None) or "",
                start_override=override.as_int() if override else None,
            )
        )
    return tuple(sorted(found, key=lambda service: service.name.casefold()))


def read_critical_devices(system: RegistryView, control_set: str) -> tuple[CriticalDevice, ...]:
    """Return the CriticalDeviceDatabase of a control set, by device."""
    found = []
    for device in system.subkeys(rf"{control_set}\{KEY}"):
        key = rf"{control_set}\{KEY}\{device}"
        service, class_guid = system.value(key, "Service"), system.value(key, "ClassGUID")
        found.append(
            CriticalDevice(
                device=device,
                service=(service.as_text() if service else None) or "",
                class_guid=(class_guid.as_text() if class_guid else None) or "",
            )
        )
    return tuple(sorted(found, key=lambda entry: entry.device.casefold()))
