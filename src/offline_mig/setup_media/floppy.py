"""Driver floppies: which files they hold.

For a Windows whose set-up has a text mode (XP, Server 2003) the floppy has txtsetup.oem, for F6.
Windows Vista and later have no F6: their "Load driver" takes the INF files of the same folders as
they are. There is one flat folder for each Windows, as on virtio-win's own floppies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from offline_mig.drivers.layout import directory_on_floppy
from offline_mig.setup_media.contents import MediumDriver, package_files, without_repeats
from offline_mig.setup_media.txtsetup import (
    FILE_NAME,
    TAG_FILE,
    TextModeDriver,
    has_text_mode,
    is_disk_driver,
    text_mode_problem,
    txtsetup_oem,
)

#: What a set-up needs: the disk, and the network that the rest may come from.
USUAL_DRIVERS = ("viostor", "vioscsi", "netkvm")


@dataclass(frozen=True, slots=True)
class FloppyContents:
    """What a floppy will hold: contents by paths, and what the user should know of it.

    ``menu`` are the lines that text mode offers after F6.
    """

    files: Mapping[str, bytes]
    menu: tuple[str, ...]
    notes: tuple[str, ...]


def floppy_contents(drivers: Sequence[MediumDriver]) -> FloppyContents:
    """Return what a floppy with ``drivers`` holds.

    Raises OutputRefusedError when two files want one name.
    """
    files: list[tuple[str, bytes]] = []
    text_mode: list[TextModeDriver] = []
    notes: list[str] = []
    for driver in drivers:
        directory = directory_on_floppy(driver.windows)
        files += package_files(driver.package, directory)
        if not (has_text_mode(driver.windows) and is_disk_driver(driver.package)):
            continue
        problem = text_mode_problem(driver.package)
        if problem is None:
            text_mode.append(TextModeDriver(driver.package, driver.windows, directory))
        else:
            notes.append(f"{driver.driver} is not offered after F6: {problem}.")
    if text_mode:
        files = [(FILE_NAME, txtsetup_oem(text_mode)), (TAG_FILE, b""), *files]
    elif any(has_text_mode(driver.windows) for driver in drivers):
        notes.append(
            f"There is no {FILE_NAME} on the floppy, so that F6 finds nothing: it has no disk "
            "driver that text mode can load."
        )
    return FloppyContents(
        without_repeats(files), tuple(entry.description for entry in text_mode), tuple(notes)
    )
