"""Guests whose SYSTEM hive Windows left dirty: replayed, edited, and put back to the byte."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.catalogue import (
    REAL_WINDOWS_10_DIRTY,
    WINDOWS_7_PENDING_LOGS,
    WINDOWS_10_PENDING_LOGS,
    XP_DIRTY_HIVE,
    XP_PENDING_LOGS,
)
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.hive_logs import LATER, PENDING, based, numbers
from fixtures.memory_volume import MemoryVolume
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.errors import GuestRefusedError, VerificationError
from offline_mig.surgery.changes import OpenGuest, ReplayLogs
from offline_mig.surgery.conversion_plan import missing_files, plan_conversion
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.record import diff_lines, journal_record, plan_record
from offline_mig.windows.base_block import read_base_block
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.hive_recovery import needs_replay
from offline_mig.windows.registry import RegistryValue

SPECS = [
    pytest.param(XP_PENDING_LOGS, id="xp"),
    pytest.param(WINDOWS_7_PENDING_LOGS, id="w7"),
    pytest.param(WINDOWS_10_PENDING_LOGS, id="w10"),
]
REAL = pytest.param(REAL_WINDOWS_10_DIRTY, id="real-w10", marks=pytest.mark.data)


@dataclass
class Dirty:
    """A guest with a dirty hive, examined and planned for."""

    spec: GuestSpec
    volume: MemoryVolume
    facts: GuestFacts
    plan: Plan
    scratch: Path

    @property
    def system(self) -> str:
        return self.facts.hive_files[HiveName.SYSTEM]

    def hive(self) -> Hive:
        local = self.scratch / "as-it-is"
        local.write_bytes(self.volume.files[self.system])
        return Hive(local, HiveName.SYSTEM)


def volume_of(spec: GuestSpec) -> MemoryVolume:
    chosen = spec.variant.real_hives
    if chosen is not None and real_hives.data_folder() is None:
        pytest.skip("no shared data")
    return MemoryVolume(system_volume(spec, None if chosen is None else real_hives.hives(chosen)))


@pytest.fixture
def dirty(drivers_dir: Path, tmp_path: Path) -> Callable[[GuestSpec], Dirty]:
    def get(spec: GuestSpec) -> Dirty:
        volume = volume_of(spec)
        root = volume.resolve("/windows")
        assert root is not None
        facts = examine(volume, root, tmp_path)
        drivers = choose_drivers(
            open_sources([drivers_dir]), facts.version, allow_unsigned=True
        ).drivers
        found, _ = take_from_cabinets(volume, facts, missing_files(facts, drivers))
        return Dirty(spec, volume, facts, plan_conversion(facts, drivers, found), tmp_path)

    return get


@pytest.mark.parametrize("spec", SPECS)
def test_what_only_the_logs_hold_is_read(
    dirty: Callable[[GuestSpec], Dirty], spec: GuestSpec
) -> None:
    guest = dirty(spec)
    assert guest.facts.realtime_is_universal
    for key, values in PENDING.items():
        for name, data in values.items():
            found = guest.facts.system.value(key, name)
            assert found is not None
            assert found.data == data
    (note,) = (note for note in guest.facts.notes if "replayed" in note)
    logs = {
        GuestKind.XP: "from system.log (number 99),",
        GuestKind.WINDOWS_7: "from SYSTEM.LOG1 (number 100),",
        GuestKind.WINDOWS_10: "from SYSTEM.LOG2 (number 100) and SYSTEM.LOG1 (number 101),",
    }
    assert logs[spec.kind] in note
    block = guest.plan.blocks[0]
    assert [type(change) for change in block.changes] == [ReplayLogs]
    assert guest.plan.added_bytes > 0


@pytest.mark.parametrize("spec", [*SPECS, REAL])
def test_replayed_edited_and_undone(dirty: Callable[[GuestSpec], Dirty], spec: GuestSpec) -> None:
    guest = dirty(spec)
    before = guest.volume.files
    logs = {path: data for path, data in before.items() if ".log" in path.lower()}
    assert needs_replay(before[guest.system])
    with pytest.raises(VerificationError):
        verify_plan(guest.plan, guest.volume, guest.facts.hive_files, guest.scratch)

    journal = apply_plan(guest.plan, guest.volume, guest.facts.hive_files, guest.scratch)

    verify_plan(guest.plan, guest.volume, guest.facts.hive_files, guest.scratch)
    hive = guest.hive()
    hive.require_readable()
    if spec.variant.pending_logs:
        for key, values in PENDING.items():
            for name, data in values.items():
                found = hive.value(key, name)
                assert found is not None
                assert found.data == data
    viostor = hive.value(r"ControlSet001\Services\viostor", "Start")
    assert viostor == RegistryValue.dword(0)
    # The logs are not touched, and Windows cannot take them for new.
    after = guest.volume.files
    assert {path: after[path] for path in logs} == logs
    base = read_base_block(after[guest.system])
    assert base is not None
    assert not base.dirty
    for data in logs.values():
        log = read_base_block(data)
        assert log is None or base.primary > log.primary
        assert log is None or log.file_type == 6 or base.timestamp != log.timestamp
    again = examine(guest.volume, guest.facts.root, guest.scratch)
    assert not again.replays

    undo(journal, guest.volume, before, guest.facts)
    assert guest.volume.files[guest.system] == before[guest.system]
    assert {path: guest.volume.files[path] for path in logs} == logs
    # And so a second attempt finds what the first one found.
    assert examine(guest.volume, guest.facts.root, guest.scratch).replays == guest.facts.replays


@pytest.mark.parametrize("spec", SPECS)
def test_plan_and_journal_tell_of_it(dirty: Callable[[GuestSpec], Dirty], spec: GuestSpec) -> None:
    guest = dirty(spec)
    original = guest.volume.files[guest.system]
    hives = {
        name: hive
        for name in HiveName
        if name in guest.facts.hive_files and isinstance(hive := guest.facts.view(name), Hive)
    }
    lines = list(diff_lines(guest.plan, OpenGuest(guest.volume, hives)))
    assert lines[0] == "# Changes that Windows has not yet written into its hives"
    assert lines[1].startswith(f"~ {guest.system}  (from ")
    record = plan_record(guest.plan)[0]["changes"][0]
    assert (record["change"], record["path"]) == ("replay-logs", guest.system)
    journal = apply_plan(guest.plan, guest.volume, guest.facts.hive_files, guest.scratch)
    (entry,) = (e for e in journal_record(journal) if e["change"] == "replay-logs")
    assert zlib.decompress(base64.b64decode(entry["before"]["zlib"])) == original


def test_dirty_hive_without_logs_is_refused(tmp_path: Path) -> None:
    volume = volume_of(XP_DIRTY_HIVE)
    with pytest.raises(GuestRefusedError, match=r"SYSTEM is dirty: .*there is none") as refused:
        examine(volume, "/WINDOWS", tmp_path)
    assert "Start the guest" in refused.value.remedy


def test_folder_in_the_place_of_a_log_is_none(tmp_path: Path) -> None:
    volume = volume_of(XP_DIRTY_HIVE)
    volume.make_directory("/WINDOWS/system32/config/system.LOG1")
    with pytest.raises(GuestRefusedError, match="there is none"):
        examine(volume, "/WINDOWS", tmp_path)


def test_logs_that_do_not_fit_are_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    volume = volume_of(WINDOWS_10_PENDING_LOGS)
    log = "/Windows/System32/config/SYSTEM.LOG2"
    volume.write(log, volume.read(log)[:600])
    before = volume.files
    with pytest.raises(GuestRefusedError, match=r"SYSTEM\.LOG1 holds changes up to number 101"):
        examine(volume, "/Windows", tmp_path)
    assert volume.files == before


def test_damaged_header_is_mended_by_the_log_or_refused(tmp_path: Path) -> None:
    volume = volume_of(WINDOWS_7_PENDING_LOGS)
    path = "/Windows/System32/config/SYSTEM"
    hive = volume.read(path)
    volume.write(path, b"regx" + hive[4:])
    with pytest.raises(GuestRefusedError, match="its header is not sound") as refused:
        examine(volume, "/Windows", tmp_path)
    assert "backup" in refused.value.remedy
    # Now with the time of the write that was cut off in the first bin, too.
    at = 4096 + 20
    volume.write(path, b"regx" + hive[4:at] + struct.pack("<Q", LATER) + hive[at + 8 :])
    facts = examine(volume, "/Windows", tmp_path)
    assert facts.replays[HiveName.SYSTEM].base_recovered
    assert any("damaged header was replaced" in note for note in facts.notes)


def test_clean_hive_is_read_as_it_is(tmp_path: Path) -> None:
    """Windows ignores the logs of a clean hive ("Dirty state of a hive")."""
    volume = volume_of(WINDOWS_10_PENDING_LOGS)
    path = "/Windows/System32/config/SYSTEM"
    hive = volume.read(path)
    first, _ = numbers(hive)
    volume.write(path, based(hive, first, first))
    facts = examine(volume, "/Windows", tmp_path)
    assert not facts.replays
    assert not facts.realtime_is_universal
