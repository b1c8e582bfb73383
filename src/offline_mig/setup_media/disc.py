"""Driver discs: which files they hold.

A folder for each driver lies below one for the processor and the release (amd64/w10/viostor):
below the processor's, Windows' set-up looks for drivers by itself, and Device Manager (from Vista
on) looks through all folders. This program finds the drivers there as well, so that a disc can be
given to --drivers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_mig.agents.agent import Agent, AgentKind
from offline_mig.drivers.layout import directory_on_disc, processor_directory
from offline_mig.drivers.selection import optional_drivers
from offline_mig.errors import OutputRefusedError
from offline_mig.setup_media.contents import MediumDriver, package_files, without_repeats
from offline_mig.setup_media.disc_names import holdable_paths, name_problem
from offline_mig.windows.version import WindowsVersion

#: The folders that virtio-win's ISO has for them.
_AGENT_FOLDERS = {AgentKind.QEMU: "guest-agent", AgentKind.SPICE: "spice-vdagent"}


@dataclass(frozen=True, slots=True)
class DiscContents:
    """What a disc will hold, by paths, and what the user should know of it."""

    files: Mapping[str, bytes | Path]
    notes: tuple[str, ...]


def usual_drivers(windows: WindowsVersion) -> tuple[str, ...]:
    """Return the names of the drivers that a disc for ``windows`` has: all that a guest may use."""
    return ("viostor", "vioscsi", *optional_drivers(windows))


def disc_contents(
    drivers: Sequence[MediumDriver], agents: Sequence[Agent], added: Mapping[str, Path]
) -> DiscContents:
    """Return what a disc holds; ``added`` are files of this host by the paths that they get.

    Raises OutputRefusedError when two files want one name, or one cannot have its own.
    """
    own = [*_driver_files(drivers), *_agent_files(agents)]
    for path, _ in own:
        problem = name_problem(path)
        if problem is not None:
            raise OutputRefusedError(
                f"{path} cannot be on a disc: {problem}.",
                "Choose other drivers with --driver, or put them on a floppy.",
            )
    paths = holdable_paths(added)
    for path in paths.values():
        problem = name_problem(path)
        if problem is not None:
            raise OutputRefusedError(
                f"{path} cannot be on a disc: {problem}.", "Give a folder nearer to it with --add."
            )
    files = without_repeats([*own, *((paths[path], source) for path, source in added.items())])
    renamed = [f"{path} is called {new} on the disc." for path, new in paths.items() if path != new]
    return DiscContents(files, tuple(renamed))


def _driver_files(drivers: Sequence[MediumDriver]) -> Iterator[tuple[str, bytes | Path]]:
    for driver in drivers:
        yield from package_files(
            driver.package, f"{directory_on_disc(driver.windows)}/{driver.driver}"
        )


def _agent_files(agents: Sequence[Agent]) -> Iterator[tuple[str, bytes | Path]]:
    for agent in agents:
        if agent.architecture is not None:
            folder = f"{_AGENT_FOLDERS[agent.kind]}/{processor_directory(agent.architecture)}"
            yield from ((f"{folder}/{name}", content) for name, content in agent.given.items())
