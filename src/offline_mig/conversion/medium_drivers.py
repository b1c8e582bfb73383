"""The drivers for a medium, which may serve several Windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from offline_mig.conversion.driver_choice import doubts, unusable
from offline_mig.drivers.media import DriverMedia
from offline_mig.drivers.selection import Choice, choose_package, no_driver_error
from offline_mig.errors import NoDriverError
from offline_mig.setup_media.contents import MediumDriver
from offline_mig.windows.version import WindowsVersion

#: Windows XP is the first that virtio-win has drivers for.
_FIRST_VIRTIO = (5, 1)
#: Without it a set-up finds no disk.
_BLOCK = "viostor"


@dataclass(frozen=True, slots=True)
class WindowsDrivers:
    """What was considered for one Windows."""

    windows: WindowsVersion
    choices: tuple[Choice, ...]

    @property
    def found(self) -> tuple[MediumDriver, ...]:
        """Those that there are."""
        return tuple(
            MediumDriver(choice.driver, self.windows, choice.package)
            for choice in self.choices
            if choice.package is not None
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of them."""
        return (*doubts(self.choices), *unusable(self.choices))


def choose_for_medium(
    media: Sequence[DriverMedia],
    windows: Sequence[WindowsVersion],
    named: Sequence[str],
    usual: Callable[[WindowsVersion], Sequence[str]],
    *,
    allow_unsigned: bool,
) -> tuple[WindowsDrivers, ...]:
    """Choose drivers for each of ``windows``: those ``named``, or the ``usual`` ones.

    Raises NoDriverError when one that was named, or the usual block driver, is not to be had.
    """
    return tuple(
        _for_one(media, version, named, usual(version), allow_unsigned=allow_unsigned)
        for version in dict.fromkeys(windows)
    )


def _for_one(
    media: Sequence[DriverMedia],
    windows: WindowsVersion,
    named: Sequence[str],
    usual: Sequence[str],
    *,
    allow_unsigned: bool,
) -> WindowsDrivers:
    if windows.nt < _FIRST_VIRTIO:
        raise NoDriverError(
            "There are no VirtIO drivers for Windows 2000: virtio-win begins with Windows XP, and "
            "XP's do not run on it.",
            "Set Windows 2000 up on an emulated IDE disk, which needs no driver.",
        )
    names = dict.fromkeys(name.lower() for name in named) if named else dict.fromkeys(usual)
    choices = tuple(
        choose_package(media, name, windows, allow_unsigned=allow_unsigned) for name in names
    )
    for choice in choices:
        if choice.package is None and (named or choice.driver == _BLOCK):
            raise no_driver_error(choice, windows, media)
    return WindowsDrivers(windows, choices)
