"""Which engine opens the guest."""

from __future__ import annotations

from enum import StrEnum

from offline_mig.errors import HostNotReadyError
from offline_mig.guest.acceleration import find_acceleration
from offline_mig.guest.appliance import load_binding
from offline_mig.guest.engine import Engine
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.userspace_engine import UserspaceEngine, userspace_problems


class EngineChoice(StrEnum):
    """What a user can ask for."""

    GUESTFS = "guestfs"
    USERSPACE = "userspace"
    AUTO = "auto"


def choose_engine(choice: EngineChoice, moment: int | None = None) -> Engine:
    """Return the engine that was asked for.

    AUTO is guestfs where it is installed and its appliance runs on KVM, else userspace where that
    works, and guestfs again where it does not. What an engine lacks it tells itself when it opens
    a guest. With a ``moment`` that takes the place of the clock only userspace will do: an
    appliance has a clock of its own. Raises HostNotReadyError for guestfs then.
    """
    if moment is not None:
        if choice is EngineChoice.GUESTFS:
            raise HostNotReadyError(
                "The clock of a libguestfs appliance cannot be held, so that what it writes is "
                "not reproducible.",
                "Use --engine userspace.",
            )
        return UserspaceEngine(moment)
    if choice is EngineChoice.USERSPACE:
        return UserspaceEngine()
    if choice is EngineChoice.AUTO and not _appliance_is_fast() and not userspace_problems():
        return UserspaceEngine()
    return GuestfsEngine()


def _appliance_is_fast() -> bool:
    try:
        load_binding()
    except HostNotReadyError:
        return False
    return find_acceleration().kvm
