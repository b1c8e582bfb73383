"""Undoing an edit of hives and files, also where Windows has written to them since.

The hives are edited by hivex for real and read by reglookup; only the volume is in memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.catalogue import (
    WINDOWS_7_PENDING_LOGS,
    WINDOWS_10_PENDING_LOGS,
    XP_PENDING_LOGS,
)
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.result import reglookup
from fixtures.small_edit import (
    ADDED,
    DELETED_FILE,
    DELETED_FOLDER,
    REPLACED,
    deletions,
    one_of_each,
)
from fixtures.windows_tree import system_volume
from offline_mig.errors import VerificationError
from offline_mig.machine import DiskFormat
from offline_mig.surgery.changes import ReplayLogs, subject
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.journal_reader import parse_journal
from offline_mig.surgery.operation import apply_plan
from offline_mig.surgery.plan import Plan, PlanBlock
from offline_mig.surgery.stored_journal import (
    EditedImage,
    StoredJournal,
    edited_hive,
    journal_json,
    stored_entries,
)
from offline_mig.surgery.undo import LeftAlone, UndoPlan, apply_undo, plan_undo, verify_undo
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.hive_recovery import needs_replay
from offline_mig.windows.registry import RegistryValue


class Bench:
    """A guest whose edit is journaled; ``before`` are its files as they were."""

    def __init__(self, spec: GuestSpec, scratch: Path) -> None:
        self.scratch = scratch
        self.volume = MemoryVolume(system_volume(spec))
        self.before = dict(self.volume.files)
        self.directories = set(self.volume.directories)
        self.facts: GuestFacts = examine(self.volume, self._root(), scratch)
        plan = one_of_each(self.facts)
        replays = (
            ReplayLogs(name, replay.path, replay.source, replay.growth, "dirty")
            for name, replay in self.facts.replays.items()
        )
        plan = Plan((PlanBlock("logs", tuple(replays)), *plan.blocks, deletions(self.facts)))
        hive_files = self.facts.hive_files
        work = scratch / "work"
        work.mkdir()
        done = apply_plan(plan, self.volume, hive_files, work)
        stored = StoredJournal(
            identity="0123456789abcdef" * 2,
            created="2024-02-29T12:00:00+00:00",
            version="1",
            image=EditedImage("/g", DiskFormat.RAW, 1, "1:1", 1, 1, "0" * 16),
            hives={
                name: edited_hive(path, self.before[path], self.volume.read(path))
                for name, path in hive_files.items()
                if name is not HiveName.DRIVERS
            },
            entries=stored_entries(done),
        )
        self.journal = parse_journal(journal_json(stored).encode(), "it")

    def _root(self) -> str:
        found = self.volume.resolve("/Windows")
        assert found is not None
        return found

    def path(self, name: str) -> str:
        return self.volume.resolve(f"{self.facts.drivers_directory}/{name}") or ""

    def undo(self) -> tuple[UndoPlan, tuple[LeftAlone, ...]]:
        folder = self.scratch / f"undo-{len(list(self.scratch.iterdir()))}"
        folder.mkdir()
        plan = plan_undo(self.journal, self.volume, folder)
        kept = apply_undo(plan, self.volume)
        verify_undo(plan, self.volume)
        return plan, kept

    def hive(self, name: HiveName) -> dict[str, str]:
        local = self.scratch / "for-reglookup"
        local.write_bytes(self.volume.read(self.facts.hive_files[name]))
        return reglookup(local)

    def hive_before(self, name: HiveName) -> dict[str, str]:
        local = self.scratch / "for-reglookup"
        local.write_bytes(self.before[self.facts.hive_files[name]])
        return reglookup(local)

    def windows_runs(self, name: HiveName, key: str, value: str, data: RegistryValue) -> None:
        """Have the guest write to a hive, as it does whenever it runs."""
        path = self.facts.hive_files[name]
        local = self.scratch / "running"
        local.write_bytes(self.volume.read(path))
        hive = Hive(local, name, writable=True)
        hive.set_value(key, value, data)
        hive.commit(local)
        self.volume.write(path, local.read_bytes())

    @property
    def services(self) -> str:
        return rf"{self.facts.control_sets.current}\Services"


@pytest.fixture(params=list(GuestKind))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(GuestSpec(request.param), tmp_path)


@pytest.fixture
def xp(tmp_path: Path) -> Bench:
    return Bench(GuestSpec(GuestKind.XP), tmp_path)


def test_everything_is_byte_for_byte_as_before(bench: Bench) -> None:
    assert bench.volume.files != bench.before
    plan, kept = bench.undo()
    assert bench.volume.files == bench.before
    assert bench.volume.directories == bench.directories
    assert set(plan.whole_hives) == {HiveName.SYSTEM, HiveName.SOFTWARE}
    assert len(plan.taken_back) == len(bench.journal.entries)
    assert (plan.left_alone, kept) == ((), ())


@pytest.mark.parametrize(
    "spec", [XP_PENDING_LOGS, WINDOWS_7_PENDING_LOGS, WINDOWS_10_PENDING_LOGS], ids=lambda s: s.kind
)
def test_dirty_hive_is_dirty_again(spec: GuestSpec, tmp_path: Path) -> None:
    bench = Bench(spec, tmp_path)
    path = bench.facts.hive_files[HiveName.SYSTEM]
    assert needs_replay(bench.before[path])
    assert not needs_replay(bench.volume.read(path))
    plan, _ = bench.undo()
    assert bench.volume.files == bench.before
    assert len(plan.taken_back) == len(bench.journal.entries)


def test_logs_stay_replayed_where_windows_wrote_since(tmp_path: Path) -> None:
    bench = Bench(WINDOWS_7_PENDING_LOGS, tmp_path)
    bench.windows_runs(
        HiveName.SYSTEM, rf"{bench.services}\disk", "New", RegistryValue.sz("of Windows")
    )
    plan, _ = bench.undo()
    (left,) = plan.left_alone
    assert "with its logs" in left.what
    path = bench.facts.hive_files[HiveName.SYSTEM]
    assert not needs_replay(bench.volume.read(path))
    services = "/" + bench.services.replace("\\", "/")
    assert f"{services}/added" not in bench.hive(HiveName.SYSTEM)


def test_undoing_twice_changes_nothing(xp: Bench) -> None:
    xp.undo()
    plan, _ = xp.undo()
    assert plan.files == ()
    assert plan.already == len(xp.journal.entries)
    assert xp.volume.files == xp.before


def test_hive_that_windows_wrote_to_keeps_that(bench: Bench) -> None:
    other = RegistryValue.sz("of Windows")
    bench.windows_runs(HiveName.SYSTEM, rf"{bench.services}\disk", "New", other)
    with_windows = bench.hive(HiveName.SYSTEM)
    plan, _ = bench.undo()
    assert plan.whole_hives == (HiveName.SOFTWARE,)
    assert plan.left_alone == ()
    (new,) = (name for name in with_windows if name.endswith("/New"))
    expected = {**bench.hive_before(HiveName.SYSTEM), new: with_windows[new]}
    assert bench.hive(HiveName.SYSTEM) == expected


def test_value_that_windows_changed_is_left_alone(xp: Bench) -> None:
    key = rf"{xp.services}\disk"
    xp.windows_runs(HiveName.SYSTEM, key, "Start", RegistryValue.dword(1))
    plan, _ = xp.undo()
    (left,) = plan.left_alone
    assert left.what == rf"SYSTEM\{key} 'Start'"
    assert "0x1 by now" in left.reason
    name = "/" + f"{key}\\Start".replace("\\", "/")
    after = xp.hive(HiveName.SYSTEM)
    assert after[name] == "DWORD,0x00000001"
    before = xp.hive_before(HiveName.SYSTEM)
    assert {**after, name: before[name]} == before


def test_key_that_windows_uses_stays(xp: Bench) -> None:
    xp.windows_runs(
        HiveName.SYSTEM, rf"{xp.services}\added", "Enum", RegistryValue.sz("of Windows")
    )
    xp.windows_runs(HiveName.SYSTEM, rf"{xp.services}\empty", "Used", RegistryValue.sz("too"))
    plan, _ = xp.undo()
    after = xp.hive(HiveName.SYSTEM)
    services = "/" + xp.services.replace("\\", "/")
    assert f"{services}/added/Enum" in after
    assert f"{services}/added/sub" not in after
    assert f"{services}/empty/Used" in after
    assert [left.what for left in plan.left_alone] == [rf"SYSTEM\{xp.services}\empty"]


def test_key_that_windows_made_anew_stays(xp: Bench) -> None:
    key = rf"{xp.facts.control_sets.current}\Enum\PCI"
    xp.windows_runs(HiveName.SYSTEM, rf"{key}\found", "x", RegistryValue.sz("y"))
    plan, _ = xp.undo()
    assert [(left.what, left.reason) for left in plan.left_alone] == [
        (rf"SYSTEM\{key}", "it is there again")
    ]
    assert "/" + rf"{key}\found\x".replace("\\", "/") in xp.hive(HiveName.SYSTEM)


def test_files_that_changed_since_are_left_alone(xp: Bench) -> None:
    added, replaced = xp.path(ADDED), xp.path(REPLACED)
    xp.volume.write(replaced, b"newer")
    xp.volume.delete(added)
    beside = added.replace("added.sys", "of Windows")
    xp.volume.write(beside, b"x")
    plan, kept = xp.undo()
    ((what, reason),) = ((left.what, left.reason) for left in plan.left_alone)
    assert xp.volume.resolve(what) == replaced
    assert reason == "it has another content by now"
    assert [xp.volume.resolve(left.what) for left in kept] == [added.rpartition("/")[0]]
    after = xp.volume.files
    assert after.pop(beside) == b"x"
    assert after == {**xp.before, replaced: b"newer"}


def test_deleted_files_that_are_there_again_are_left_alone(bench: Bench) -> None:
    root = bench.facts.root
    file, folder = f"{root}/{DELETED_FILE}", f"{root}/{DELETED_FOLDER}"
    assert not bench.volume.exists(file)
    assert not bench.volume.exists(folder)
    bench.volume.write(file, b"of Windows")
    bench.volume.make_directory(folder)
    plan, _ = bench.undo()
    assert {(left.what, left.reason) for left in plan.left_alone} == {
        (file, "it is there again"),
        (folder, "it is there again"),
    }
    assert bench.volume.read(file) == b"of Windows"
    assert bench.volume.list_directory(folder) == ()


def test_deleted_folder_comes_back_with_the_one_that_it_was_in(
    bench: Bench, tmp_path: Path
) -> None:
    bench.undo()
    folder = bench.volume.resolve(f"{bench.facts.root}/{DELETED_FOLDER}")
    assert folder is not None
    entry = next(e for e in bench.journal.entries if subject(e.change).endswith(DELETED_FOLDER))
    for top in bench.volume.list_directory("/"):
        bench.volume.delete_tree(f"/{top.name}")
    plan = plan_undo(replace(bench.journal, hives={}, entries=(entry,)), bench.volume, tmp_path)
    apply_undo(plan, bench.volume)
    verify_undo(plan, bench.volume)
    below = f"{folder}/".lower()
    expected = {p.lower(): d for p, d in bench.before.items() if p.lower().startswith(below)}
    assert expected
    assert {path.lower(): data for path, data in bench.volume.files.items()} == expected


def test_file_in_the_way_of_an_undo(xp: Bench) -> None:
    content = xp.volume.files
    odd = MemoryVolume(content, odd=[xp.path(REPLACED)])
    xp.volume = odd
    plan, _ = xp.undo()
    assert [xp.volume.resolve(left.what) for left in plan.left_alone] == [xp.path(REPLACED)]


def test_journal_that_does_not_bring_the_old_bytes_back(xp: Bench, tmp_path: Path) -> None:
    stored = journal_json(xp.journal)
    hive = xp.journal.hives[HiveName.SOFTWARE]
    wrong = stored.replace(hive.before.sha256, "0" * 64)
    before = xp.volume.files
    with pytest.raises(VerificationError, match="does not bring back the old bytes"):
        plan_undo(parse_journal(wrong.encode(), "it"), xp.volume, tmp_path)
    assert xp.volume.files == before
