"""The drivers for one guest, out of all sources that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.drivers.media import DriverMedia, open_media
from offline_mig.drivers.selection import (
    Choice,
    choose_optional,
    choose_package,
    no_driver_error,
)
from offline_mig.drivers.signing import secure_boot_problem, signing_problem
from offline_mig.errors import GuestRefusedError
from offline_mig.surgery.boot_driver import device_ids
from offline_mig.surgery.conversion_plan import DriverSet
from offline_mig.surgery.driver_install import PlacedDriver
from offline_mig.targets.options import DriversInPlace
from offline_mig.windows.version import Architecture, WindowsVersion

#: The block driver of VirtIO disks, without which nothing goes.
_BLOCK = "viostor"
_SCSI = "vioscsi"
_QXL = ("qxl", "qxldod")
_VIRTIO_GPU = "viogpudo"
#: Device ids from 1041 on are those of VirtIO 1.0 ("modern") devices; 1042 is the block device.
#: Windows XP is the first that virtio-win has drivers for.
_FIRST_VIRTIO = (5, 1)
_MODERN_BLOCK = "DEV_1042"


@dataclass(frozen=True)
class ChosenDrivers:
    """What was chosen, what the guest will have of it, and what was passed over and why."""

    drivers: DriverSet
    in_place: DriversInPlace
    considered: tuple[Choice, ...]
    notes: tuple[str, ...]


_NO_VIRTIO = (
    "There are no VirtIO drivers for Windows 2000: virtio-win begins with Windows XP, and XP's do "
    "not run on it. The guest is made ready for emulated IDE disks, and its other devices are "
    "emulated as well."
)
_WITHOUT_VIRTIO = ChosenDrivers(
    DriverSet(()),
    DriversInPlace(
        block=False,
        scsi=False,
        network=False,
        balloon=False,
        serial=False,
        rng=False,
        video=False,
        gpu=False,
        modern=False,
    ),
    (),
    (_NO_VIRTIO,),
)


def open_sources(paths: Sequence[Path]) -> tuple[DriverMedia, ...]:
    """Open all driver sources; raises SourceUnreadableError for one that is none."""
    return tuple(open_media(path) for path in paths)


def choose_drivers(
    media: Sequence[DriverMedia],
    windows: WindowsVersion,
    *,
    allow_unsigned: bool,
    virtio_gpu: bool = False,
) -> ChosenDrivers:
    """Choose the drivers for ``windows``, of its screen QXL's or that of ``virtio_gpu``.

    Windows 2000 gets none. Raises NoDriverError when there is no block driver that ``windows``
    would load, and GuestRefusedError for a Windows on ARM.
    """
    considered = consider_drivers(
        media, windows, allow_unsigned=allow_unsigned, virtio_gpu=virtio_gpu
    )
    return settle_drivers(considered, media, windows)


def consider_drivers(
    media: Sequence[DriverMedia],
    windows: WindowsVersion,
    *,
    allow_unsigned: bool,
    virtio_gpu: bool = False,
) -> tuple[Choice, ...]:
    """Look for each driver that ``windows`` may have, the block driver first, found or not.

    There are none for Windows 2000. Raises GuestRefusedError for a Windows on ARM.
    """
    if windows.architecture is Architecture.ARM64:
        raise GuestRefusedError(
            "This Windows is for ARM64 processors. virtio-win has drivers for it, but the machine "
            "that it would need is not supported yet.",
            "Move it with the tools of its platform; guests for x86 and amd64 can be converted.",
        )
    if windows.nt < _FIRST_VIRTIO:
        return ()
    return (
        choose_package(media, _BLOCK, windows, allow_unsigned=allow_unsigned),
        choose_package(media, _SCSI, windows, allow_unsigned=allow_unsigned),
        *choose_optional(media, windows, allow_unsigned=allow_unsigned, virtio_gpu=virtio_gpu),
    )


def settle_drivers(
    choices: tuple[Choice, ...], media: Sequence[DriverMedia], windows: WindowsVersion
) -> ChosenDrivers:
    """Return what a guest gets of what was considered; raises NoDriverError as choose_drivers."""
    if windows.nt < _FIRST_VIRTIO:
        return _WITHOUT_VIRTIO
    placed = {
        choice.driver: PlacedDriver(choice.driver, choice.package, choice.location)
        for choice in choices
        if choice.package is not None
    }
    if _BLOCK not in placed:
        raise no_driver_error(choices[0], windows, media)
    boot = tuple(placed[name] for name in (_BLOCK, _SCSI) if name in placed)
    notes = [
        *doubts(choices),
        *_absent(placed, windows),
        *unusable(choices),
    ]
    others = tuple(driver for name, driver in placed.items() if name not in (_BLOCK, _SCSI))
    return ChosenDrivers(
        drivers=DriverSet(boot, others),
        in_place=DriversInPlace(
            block=True,
            scsi=_SCSI in placed,
            network="netkvm" in placed,
            balloon="balloon" in placed,
            serial="vioserial" in placed,
            rng="viorng" in placed,
            video=any(name in placed for name in _QXL),
            gpu=_VIRTIO_GPU in placed,
            modern=any(
                _MODERN_BLOCK in identity.upper() for identity in device_ids(boot[0].package)
            ),
            secure_boot=all(_starts_with_secure_boot(driver, windows) for driver in boot),
        ),
        considered=choices,
        notes=tuple(notes),
    )


def doubts(choices: Sequence[Choice]) -> list[str]:
    """Return notes about chosen drivers: those let through, and what else to know of them."""
    notes = [
        f"{choice.driver} ({choice.location}) was let through by --allow-unsigned: "
        f"{choice.untrusted}."
        for choice in choices
        if choice.package is not None and choice.untrusted is not None
    ]
    # One build of all drivers has one fault; it need not be told a dozen times.
    told: dict[str, list[str]] = {}
    for choice in choices:
        for note in choice.notes:
            told.setdefault(note, []).append(choice.driver)
    notes += [f"{', '.join(drivers)}: {note}." for note, drivers in told.items()]
    return notes


def _absent(placed: dict[str, PlacedDriver], windows: WindowsVersion) -> list[str]:
    wanted = {
        _SCSI: "the guest boots from virtio-blk only, not from virtio-scsi",
        "netkvm": "the VirtIO network card stays without a driver",
        "balloon": "the memory balloon stays without a driver",
        "vioserial": "guest agent and SPICE agent have no channel",
    }
    missing = [name for name in wanted if name not in placed]
    display = any(name in placed for name in (*_QXL, _VIRTIO_GPU))
    notes = [f"No {name} for {windows.release} was found: {wanted[name]}." for name in missing]
    if not display:
        notes.append(
            f"No driver for the screen of {windows.release} was found: it runs on Windows' own "
            "VGA driver."
        )
    return notes


def _starts_with_secure_boot(driver: PlacedDriver, windows: WindowsVersion) -> bool:
    signing = driver.package.signing
    return (
        signing is not None
        and signing_problem(signing, windows) is None
        and secure_boot_problem(signing, windows) is None
    )


def unusable(choices: Sequence[Choice]) -> list[str]:
    """Return notes about drivers that are on the media for this Windows, and yet of no use.

    Without them the user would look for a driver that lies there, in its right place.
    """
    return [
        f"{choice.driver} in {rejected.location} was not used: {rejected.reason}. "
        "Take the driver package from an untouched virtio-win ISO or RPM."
        for choice in choices
        if choice.package is None
        for rejected in choice.considered
        if not rejected.elsewhere
    ]
