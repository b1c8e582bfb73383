r"""Which hardware abstraction layer Windows 2000, XP or 2003 was set up with.

There it is a file that set-up chose for the machine and that nothing changes afterwards (Microsoft
KB 309283, "HAL options after Windows XP or Windows Server 2003 Setup"); from Vista on one fits all.
The device of the class Computer tells which: its driver's section came by an id of ``hal.inf``.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.windows.hive import RegistryView

#: Class Computer (Microsoft, "System-defined device setup classes").
_CLASS = r"Control\Class\{4D36E966-E325-11CE-BFC1-08002BE10318}"


@dataclass(frozen=True, slots=True)
class Hal:
    """A HAL: ``name`` as the device manager shows it, ``id`` and ``file`` as in hal.inf.

    Without ``multiprocessor`` Windows uses one processor, and has a kernel for one. Without
    ``apic`` interrupts go by the old controller (PIC), without ``acpi`` power and devices by the
    BIOS's tables of before.
    """

    id: str
    file: str
    name: str
    multiprocessor: bool
    acpi: bool
    apic: bool


#: The HALs of hal.inf (KB 309283) that machines with a BIOS of today may have.
HALS = (
    Hal("acpiapic_mp", "halmacpi.dll", "ACPI Multiprocessor PC", True, True, True),
    Hal("acpiapic_up", "halaacpi.dll", "ACPI Uniprocessor PC", False, True, True),
    Hal("acpipic_up", "halacpi.dll", "Advanced Configuration and Power Interface (ACPI) PC",
        False, True, False),
    Hal("mps_mp", "halmps.dll", "MPS Multiprocessor PC", True, False, True),
    Hal("mps_up", "halapic.dll", "MPS Uniprocessor PC", False, False, True),
    Hal("e_isa_up", "hal.dll", "Standard PC", False, False, False),
)  # fmt: skip


def hal_of_device(system: RegistryView, control_set: str) -> Hal | None:
    """Return the HAL that a Windows before Vista was set up with; None where it cannot be told."""
    for number in system.subkeys(rf"{control_set}\{_CLASS}"):
        value = system.value(rf"{control_set}\{_CLASS}\{number}", "MatchingDeviceId")
        found = (value.as_text() if value else None) or ""
        for hal in HALS:
            if hal.id == found.casefold():
                return hal
    return None


def hal_of_file(name: str) -> Hal | None:
    r"""Return the HAL in a file, as a switch ``/HAL=`` of boot.ini names one; None if unknown.

    ``hal.dll`` is what whichever was chosen is called once it is installed, so it tells nothing.
    """
    known = (hal for hal in HALS if hal.file != "hal.dll")
    return next((hal for hal in known if hal.file == name.casefold()), None)
