"""Giving the session of a guest up, on a volume in memory: planned, applied, told, not undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.catalogue import (
    WINDOWS_10,
    WINDOWS_10_FAST_STARTUP,
    WINDOWS_10_HIBERNATED,
    WINDOWS_10_RESUMED,
    XP_HIBERNATED,
)
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.hiberfil import new_header
from fixtures.memory_volume import MemoryVolume
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.hibernation import named_session, plan_discard
from offline_mig.surgery.operation import apply_plan, verify_plan
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.record import change_record, journal_record
from offline_mig.windows.hibernation import Certainty, Hibernation, Session


def examined(spec: GuestSpec, scratch: Path) -> tuple[MemoryVolume, GuestFacts]:
    volume = MemoryVolume(system_volume(spec))
    root = "/WINDOWS" if spec.kind is GuestKind.XP else "/Windows"
    return volume, examine(volume, root, scratch)


def session_of(spec: GuestSpec, scratch: Path) -> Hibernation:
    found = examined(spec, scratch)[1].hibernation
    assert found is not None
    return found


@pytest.mark.parametrize("spec", [WINDOWS_10, WINDOWS_10_RESUMED], ids=["none", "resumed"])
def test_guests_without_a_session(spec: GuestSpec, tmp_path: Path) -> None:
    assert examined(spec, tmp_path)[1].hibernation is None


@pytest.mark.parametrize(
    ("spec", "session", "name"),
    [
        (XP_HIBERNATED, Session.USERS, "The guest is hibernated"),
        (WINDOWS_10_HIBERNATED, Session.USERS, "The guest is hibernated"),
        (WINDOWS_10_FAST_STARTUP, Session.KERNEL, "The guest was shut down with fast startup"),
    ],
    ids=["xp", "w10", "w10-fast-startup"],
)
def test_facts_say_whose_session_waits(
    spec: GuestSpec, session: Session, name: str, tmp_path: Path
) -> None:
    found = session_of(spec, tmp_path)
    assert (found.session, found.certainty) == (session, Certainty.KNOWN)
    assert named_session(found) == name


def test_what_cannot_be_told_is_said_so(tmp_path: Path) -> None:
    files = system_volume(WINDOWS_10_FAST_STARTUP)
    files["hiberfil.sys"] = new_header(hiberboot=True, length=0x500)
    found = examine(MemoryVolume(files), "/Windows", tmp_path).hibernation
    assert found is not None
    assert (found.session, found.certainty) == (Session.USERS, Certainty.UNKNOWN)
    assert named_session(found).endswith("which cannot be told")


def test_session_is_given_up_and_stays_so(tmp_path: Path) -> None:
    volume, facts = examined(XP_HIBERNATED, tmp_path)
    assert facts.hibernation is not None
    block, note = plan_discard(facts.hibernation, in_place=True)
    plan = Plan((block,), (note,))
    assert plan.discards_session
    assert plan.added_bytes == 0
    assert "not saved is lost" in note
    assert "the source keeps it" not in note
    before = volume.files
    journal = apply_plan(plan, volume, facts.hive_files, tmp_path)
    verify_plan(plan, volume, facts.hive_files, tmp_path)
    del before["/hiberfil.sys"]
    assert volume.files == before
    (entry,) = journal_record(journal)
    assert entry["change"] == "discard-session"
    assert entry["before"] == {"kept": False}
    (change,) = plan
    assert change_record(change)["session"] == "hibernation"
    undo(journal, volume, before, facts)
    assert volume.files == before
