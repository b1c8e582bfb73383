"""The folders in which Windows looks for drivers of new devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.surgery.changes import SetValue
from offline_mig.surgery.facts import examine
from offline_mig.surgery.plug_and_play import plan_plug_and_play
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

KEY = r"Microsoft\Windows\CurrentVersion"
OURS = (r"%SystemRoot%\Drivers\VirtIO\netkvm", r"%SystemRoot%\Drivers\VirtIO\balloon")
INBOX = r"%SystemRoot%\inf"


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (RegistryValue.expand_sz(INBOX), (INBOX,)),
        (RegistryValue.expand_sz(rf"{INBOX};C:\DRIVERS;"), (INBOX, r"C:\DRIVERS")),
        (RegistryValue.sz(rf"{INBOX};C:\DRIVERS"), (INBOX, r"C:\DRIVERS")),
        (RegistryValue.multi_sz([INBOX, r"C:\DRIVERS"]), (INBOX, r"C:\DRIVERS")),
        (RegistryValue.multi_sz([rf"{INBOX};D:\A", r"C:\B"]), (INBOX, r"D:\A", r"C:\B")),
        (RegistryValue.multi_sz([INBOX, OURS[1].upper()]), (INBOX, OURS[1].upper())),
        (RegistryValue.expand_sz(""), (INBOX,)),
        (RegistryValue.dword(0), (INBOX,)),
        (None, (INBOX,)),
    ],
)
def test_device_path_keeps_its_folders(
    drivers_dir: Path, tmp_path: Path, before: RegistryValue | None, kept: tuple[str, ...]
) -> None:
    files = system_volume(GuestSpec(GuestKind.WINDOWS_10))
    with edited(files, HiveName.SOFTWARE, tmp_path) as hive:
        hive.delete_value(KEY, "DevicePath")
        if before is not None:
            hive.set_value(KEY, "DevicePath", before)
    facts = examine(MemoryVolume(files), "/Windows", tmp_path)
    media = open_sources([drivers_dir])
    others = choose_drivers(media, facts.version, allow_unsigned=True).drivers.others
    block = plan_plug_and_play(facts, [it for it in others if it.name in ("netkvm", "balloon")])
    (value,) = (change.value for change in block.changes if isinstance(change, SetValue))
    assert value.type == RegistryType.EXPAND_SZ
    folded = {folder.casefold() for folder in kept}
    assert (value.as_text() or "").split(";") == [
        *kept,
        *(folder for folder in OURS if folder.casefold() not in folded),
    ]
