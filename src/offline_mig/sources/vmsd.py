"""The snapshots of a VMware machine, as its ``.vmsd`` file lists them.

Which disk is current the VMX file alone says; what lies in the list is for the user to know. The
form is that of a VMX file. Source: files that VMware Workstation, Fusion and ESX wrote.
"""

from __future__ import annotations

from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.display_name import display_name
from offline_mig.sources.file_access import exists, open_file, shown
from offline_mig.sources.vmx import MAX_VMX, parse_vmx

#: How many snapshots a note names, and how many are looked for at all.
_NAMED = 5
_MOST = 1000


def snapshot_notes(vmx: Path) -> tuple[str, ...]:
    """Return what the user should know of a machine's snapshots.

    A list that is missing, empty or not to be understood is none: the disks are right.
    """
    path = vmx.with_suffix(".vmsd")
    if not exists(path) or not path.is_file():
        return ()
    try:
        with open_file(path) as file:
            listed = parse_vmx(file.read(0, min(file.size, MAX_VMX)))
        count = listed.number("snapshot.numSnapshots", _MOST) or 0
    except SourceUnreadableError:
        return ()
    numbers = [n for n in range(_MOST) if listed.text(f"snapshot{n}.uid") is not None][:count]
    if not numbers:
        return ()
    names = [
        display_name(listed.text(f"snapshot{number}.displayName")) or f"number {number}"
        for number in numbers
    ]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    note = (
        f"The machine has {len(names)} snapshot{'s' if len(names) > 1 else ''} by "
        f"{shown(path.name)} ({', '.join(names[:_NAMED])}{more}). They are not carried over: the "
        "result is the current state as the VMX file has it."
    )
    return (note,)
