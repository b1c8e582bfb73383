"""Files that a Windows 2000, XP or 2003 lacks, out of its own driver cabinets."""

from __future__ import annotations

from collections.abc import Collection

from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.surgery.emulated_storage import CabinetFile
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.cabinet import CabinetError, extract_members
from offline_mig.windows.pe import pe_architecture

#: Bytes of a cabinet. driver.cab of Windows 2003 has about 90 MiB.
_MAX_CABINET = 256 * 1024 * 1024


def take_from_cabinets(
    volume: GuestFilesystem, facts: GuestFacts, names: Collection[str]
) -> tuple[dict[str, CabinetFile], tuple[str, ...]]:
    """Return the wanted driver files by lower-case name, the newest service pack's first.

    Files for another processor are passed over. The second result are notes about cabinets that
    could not be read.
    """
    found: dict[str, CabinetFile] = {}
    notes = []
    for path in facts.cabinets:
        missing = set(names) - found.keys()
        if not missing:
            break
        try:
            members = extract_members(volume.read(path, limit=_MAX_CABINET), missing)
        except UnreadableFileError as error:
            notes.append(f"{error.message} It was passed over.")
            continue
        except CabinetError as error:
            notes.append(f"The guest's {path} is damaged and was passed over ({error}).")
            continue
        for name, content in members.items():
            if pe_architecture(content) is facts.version.architecture:
                found[name] = CabinetFile(content, f"the guest's own {path}")
    return found, tuple(notes)
