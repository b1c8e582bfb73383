r"""Control sets: which ``ControlSetNNN`` keys a Windows may boot from.

``SYSTEM\Select`` names them: Current is the one in use when the guest was shut down, Default the
one that the loader takes next, LastKnownGood the one it falls back to (Microsoft, "The Windows
registry: control sets").  An NT 5 loader reads Default while its kernel was seen to read
Current, so a driver must be known in every set that Select names.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.errors import GuestRefusedError
from offline_mig.windows.hive import RegistryView

_ROLES = ("Current", "Default", "LastKnownGood")


@dataclass(frozen=True, slots=True)
class ControlSets:
    """The control sets of a SYSTEM hive.

    ``current`` is the key of the current one, ``default`` that of the one that the loader takes
    next (the current one where Select names none that exists); ``bootable`` are the keys of all
    that Select names and that exist, the current one first.
    """

    current: str
    default: str
    bootable: tuple[str, ...]


def read_control_sets(system: RegistryView) -> ControlSets:
    """Return the control sets that Select names; raises GuestRefusedError when it names none."""
    named: list[str] = []
    for role in _ROLES:
        value = system.value("Select", role)
        number = value.as_int() if value else None
        if not number:
            continue
        key = f"ControlSet{number:03d}"
        if key not in named and system.has_key(key):
            named.append(key)
    current = system.value("Select", "Current")
    number = current.as_int() if current else None
    if not named or not number or f"ControlSet{number:03d}" not in named:
        raise GuestRefusedError(
            "The hive SYSTEM names no usable control set "
            f"(Select\\Current is {number if number is not None else 'missing'}).",
            "The guest's registry is incomplete; restore the SYSTEM hive from a backup.",
        )
    default = system.value("Select", "Default")
    chosen = f"ControlSet{(default.as_int() if default else None) or 0:03d}"
    return ControlSets(
        current=named[0],
        default=chosen if chosen in named else named[0],
        bootable=tuple(named),
    )
