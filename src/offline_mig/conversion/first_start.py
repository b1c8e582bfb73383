"""What happens when a converted Windows first starts, planned and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_mig.conversion.driver_choice import ChosenDrivers
from offline_mig.drivers.signer import SignerClass
from offline_mig.surgery.changes import SetValue
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import SERVICE, FirstBoot, FirstBootStep, plan_first_boot
from offline_mig.surgery.first_boot_settings import plan_first_boot_settings
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows import crash_control
from offline_mig.windows.version import WindowsVersion

#: Since Windows 8 drivers are in the driver store whole, and whether they may be there was decided.
_DRIVER_STORE = (6, 2)
_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The plan for the first start.

    ``expectations`` are sentences about what there is to be seen of it, in order.
    """

    first_boot: FirstBoot
    blocks: tuple[PlanBlock, ...]
    expectations: tuple[str, ...]
    notes: tuple[str, ...]


def plan_first_start(
    facts: GuestFacts, disks: int, drivers: ChosenDrivers, steps: Sequence[FirstBootStep]
) -> FirstStart:
    """Return what has a guest with so many ``disks`` take ``steps`` when it first starts.

    What is set for that start only is added, and put back by the last step of all.
    """
    settings = plan_first_boot_settings(facts, disks)
    last = () if settings.step is None else (settings.step,)
    first_boot = plan_first_boot(facts, (*steps, *last))
    expectations = (
        *_restarts(first_boot),
        *_steps(first_boot),
        *_stop(settings.block),
        *_devices(facts.version, drivers),
    )
    notes = (*settings.notes, *first_boot.notes)
    return FirstStart(first_boot, (settings.block, first_boot.block), expectations, notes)


def _restarts(first_boot: FirstBoot) -> Iterator[str]:
    if not first_boot.restarts:
        yield "No restart is asked for: Windows goes on after its first start."
        return
    times = "once" if first_boot.restarts == 1 else f"{first_boot.restarts} times"
    after = "; ".join(step.title for step in first_boot.steps if step.restart)
    yield f"Windows restarts by itself {times} at most, when this is done: {after}."


def _steps(first_boot: FirstBoot) -> Iterator[str]:
    if not first_boot.steps:
        yield "Nothing is left to be done there: all of it was done offline."
        return
    titles = "; ".join(
        f"{number}. {step.title}" for number, step in enumerate(first_boot.steps, start=1)
    )
    most = max(step.tries for step in first_boot.steps)
    yield (
        f"The service {SERVICE} works in the background, before anybody logs on: {titles}. Each is "
        f"tried {most} times at most, and one that fails keeps none of the others. Then the "
        "service removes itself; that it did not report (events 7009 and 7000) is as it should be."
    )
    yield (
        f"What it did is in {first_boot.log}; 'offline-mig inspect' shows it when the guest is off."
    )


def _stop(settings: PlanBlock) -> Iterator[str]:
    names = {change.name for change in settings.changes if isinstance(change, SetValue)}
    if crash_control.AUTO_REBOOT in names:
        yield "Should Windows stop, the STOP code stays on the screen until these steps are done."


def _devices(windows: WindowsVersion, drivers: ChosenDrivers) -> Iterator[str]:
    """Say what installing the new devices looks like.

    Up to Windows 7 the drivers lie where Windows looks, and it asks whoever logs on where it does
    not trust their signer: XP about the logo test, Vista and 7 about the publisher.
    """
    if windows.nt >= _DRIVER_STORE:
        yield "Windows installs its new devices from its driver store, without asking."
        return
    placed = (*drivers.drivers.boot, *drivers.drivers.others)
    asked = [
        driver.name
        for driver in placed
        if driver.package.signing is None
        or driver.package.signing.signer_class is not SignerClass.MICROSOFT
    ]
    wizard = "the publisher" if windows.nt >= _NT6 else "the Windows logo test"
    if asked:
        yield (
            "Windows installs its new devices by itself, but asks an administrator who logs on "
            f"about {wizard} of {', '.join(asked)}: they are not signed by Microsoft. Say yes."
        )
    elif placed:
        yield "Windows installs its new devices by itself, from where their drivers were put."
    yield "It may ask for one restart when it has met its new devices; that can wait."
