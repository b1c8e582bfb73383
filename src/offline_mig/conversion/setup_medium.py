"""Making a floppy or a disc with drivers: chosen, written, read back, and only then published."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.agents.selection import AgentChoice, choose_agents_for_each
from offline_mig.conversion.added_files import collect_added
from offline_mig.conversion.agent_choice import open_agent_sources, unused_agents
from offline_mig.conversion.driver_choice import open_sources
from offline_mig.conversion.medium_drivers import WindowsDrivers, choose_for_medium
from offline_mig.conversion.result_file import refuse_existing_file, result_file
from offline_mig.conversion.workspace import absolute_output
from offline_mig.errors import GuestRefusedError, VerificationError
from offline_mig.guest.fat_floppy import FloppyDensity
from offline_mig.setup_media.contents import newest_date
from offline_mig.setup_media.disc import disc_contents, usual_drivers
from offline_mig.setup_media.disc_image import FileDigest, digest_of, read_disc, write_disc
from offline_mig.setup_media.floppy import USUAL_DRIVERS, floppy_contents
from offline_mig.setup_media.floppy_image import floppy_image, read_floppy
from offline_mig.targets.libvirt_media import cdrom_element, floppy_element
from offline_mig.windows.version import Architecture, WindowsVersion


@dataclass(frozen=True, slots=True)
class MediumOptions:
    """What a user asks of a medium.

    ``named`` are the drivers that are wanted, none for the usual ones. ``moment`` is the date of
    everything on it, by default that of the newest driver.
    """

    output: Path
    sources: tuple[Path, ...]
    windows: tuple[WindowsVersion, ...]
    named: tuple[str, ...] = ()
    allow_unsigned: bool = False
    overwrite: bool = False
    moment: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class MadeMedium:
    """A medium that is in place.

    ``kind`` is what it is, for people; ``element`` is what a libvirt domain takes it by. ``menu``
    are the lines that the text mode of a set-up offers after F6.
    """

    path: Path
    kind: str
    whole: FileDigest
    files: Mapping[str, FileDigest]
    drivers: tuple[WindowsDrivers, ...]
    element: str
    notes: tuple[str, ...]
    menu: tuple[str, ...] = ()
    agents: tuple[AgentChoice, ...] = ()


def make_floppy(options: MediumOptions, densities: Sequence[FloppyDensity]) -> MadeMedium:
    """Make a floppy of the first of ``densities`` that holds the drivers.

    Raises SourceUnreadableError, NoDriverError, OutputRefusedError, and GuestRefusedError for a
    Windows on ARM.
    """
    if any(version.architecture is Architecture.ARM64 for version in options.windows):
        raise GuestRefusedError(
            "Machines for Windows on ARM64 have no floppy drive.",
            "Make an ISO with 'offline-mig media iso'.",
        )
    output = absolute_output(options.output)
    refuse_existing_file(output, options.sources, overwrite=options.overwrite)
    element = floppy_element(output)
    chosen = choose_for_medium(
        open_sources(options.sources),
        options.windows,
        options.named,
        lambda _: USUAL_DRIVERS,
        allow_unsigned=options.allow_unsigned,
    )
    drivers = [driver for windows in chosen for driver in windows.found]
    contents = floppy_contents(drivers)
    image = floppy_image(contents.files, densities, options.moment or newest_date(drivers))
    with result_file(output, overwrite=options.overwrite) as stream:
        stream.write(image.data)
        stream.flush()
        stream.seek(0)
        if read_floppy(stream.read()) != contents.files:
            raise _not_as_written(output)
    return MadeMedium(
        output,
        f"floppy of {image.density.name} MB",
        digest_of(image.data),
        {path: digest_of(content) for path, content in contents.files.items()},
        chosen,
        element,
        (*_notes(chosen), *contents.notes),
        contents.menu,
    )


def make_disc(
    options: MediumOptions, agent_sources: Sequence[Path], extra: Sequence[Path]
) -> MadeMedium:
    """Make a disc with the drivers, the agents that the Windows run, and extra files.

    Raises SourceUnreadableError, NoDriverError and OutputRefusedError.
    """
    output = absolute_output(options.output)
    added = collect_added(extra)
    inputs = (*options.sources, *agent_sources, *added.files.values())
    refuse_existing_file(output, inputs, overwrite=options.overwrite)
    element = cdrom_element(output, options.windows)
    chosen = choose_for_medium(
        open_sources(options.sources),
        options.windows,
        options.named,
        usual_drivers,
        allow_unsigned=options.allow_unsigned,
    )
    opened = open_agent_sources(agent_sources)
    agents = choose_agents_for_each(opened, options.windows)
    drivers = [driver for windows in chosen for driver in windows.found]
    contents = disc_contents(
        drivers, [choice.agent for choice in agents if choice.agent is not None], added.files
    )
    with result_file(output, overwrite=options.overwrite) as stream:
        write_disc(stream, contents.files, options.moment or newest_date(drivers))
        stream.flush()
        digests = {path: digest_of(content) for path, content in contents.files.items()}
        if read_disc(stream) != digests:
            raise _not_as_written(output)
        whole = digest_of(stream)
    return MadeMedium(
        output,
        "disc",
        whole,
        digests,
        chosen,
        element,
        (*_notes(chosen), *unused_agents(agents), *added.notes, *contents.notes),
        agents=agents,
    )


def _notes(chosen: Sequence[WindowsDrivers]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for windows in chosen for note in windows.notes))


def _not_as_written(output: Path) -> VerificationError:
    return VerificationError(
        f"What was written for {output} does not read back as it should; nothing was published.",
        "See whether the disk that it lies on is healthy, then try again.",
    )
