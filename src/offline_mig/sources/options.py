"""What a user asks of how a source is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import shown, unreadable
from offline_mig.sources.named_files import Bounds
from offline_mig.windows.version import WindowsVersion


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Everything that can be chosen.

    ``allow_outside`` are folders besides the source's own in which what it names may lie.
    ``rebuild_descriptor`` makes a VMDK descriptor for the time of the run where it is missing or
    names files, or its parent, by names that they no longer have. For disks that come without a
    description of their machine ``domain``, a libvirt domain, says the hardware, or else the
    Windows that it is to be ``like``.
    """

    allow_outside: tuple[Path, ...] = ()
    rebuild_descriptor: bool = False
    domain: Path | None = None
    like: WindowsVersion | None = None

    def bounds(self, folder: Path) -> Bounds:
        """Return where a source may lead whose own folder is the resolved ``folder``.

        Raises SourceUnreadableError for an allowed folder that is none.
        """
        return Bounds(folder, tuple(_resolved(allowed) for allowed in self.allow_outside))


def _resolved(folder: Path) -> Path:
    try:
        resolved = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise unreadable(folder, OSError(getattr(error, "errno", None), str(error))) from error
    if not resolved.is_dir():
        raise SourceUnreadableError(
            f"{shown(folder)}, which --allow-outside names, is no folder.",
            "Name the folder that the files lie in.",
        )
    return resolved
