"""The IDE files that an NT 5 guest lacks, out of its own driver cabinets."""

from __future__ import annotations

from pathlib import Path

from fixtures.guest_spec import GuestKind, GuestSpec, Variant
from fixtures.memory_volume import MemoryVolume
from fixtures.windows_tree import system_volume
from offline_mig.surgery.changes import WriteFile
from offline_mig.surgery.driver_cabinet import take_from_cabinets
from offline_mig.surgery.emulated_storage import missing_ide_files, plan_emulated_storage
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.pe import pe_architecture
from offline_mig.windows.version import Architecture

X64 = GuestSpec(GuestKind.XP, Variant(architecture=Architecture.AMD64))
CACHE = "WINDOWS/Driver Cache"
IDE = {"atapi.sys", "intelide.sys", "pciide.sys", "pciidex.sys"}


def volume_of_xp_x64(*, own_cabinets: bool) -> dict[str, bytes]:
    """XP x64 with the x86 cabinets of its WOW64 half, of a later service pack, and its own."""
    files = system_volume(X64)
    other = system_volume(GuestSpec(GuestKind.XP))
    for name, later in (("driver.cab", "driver.cab"), ("sp3.cab", "sp4.cab")):
        content = files.pop(f"{CACHE}/i386/{name}")
        if own_cabinets:
            files[f"{CACHE}/amd64/{name}"] = content
        files[f"{CACHE}/i386/{later}"] = other[f"{CACHE}/i386/{name}"]
    return files


def plan_for(
    files: dict[str, bytes], scratch: Path
) -> tuple[GuestFacts, PlanBlock, tuple[str, ...]]:
    volume = MemoryVolume(files)
    facts = examine(volume, "/WINDOWS", scratch)
    found, problems = take_from_cabinets(volume, facts, missing_ide_files(facts))
    assert problems == ()
    block, notes = plan_emulated_storage(facts, found)
    return facts, block, notes


def test_x64_takes_its_files_from_the_cabinets_of_its_own_processor(tmp_path: Path) -> None:
    facts, block, notes = plan_for(volume_of_xp_x64(own_cabinets=True), tmp_path)
    assert facts.version.architecture is Architecture.AMD64
    assert [path.removeprefix(f"/{CACHE}/") for path in facts.cabinets] == [
        "i386/sp4.cab",
        "amd64/sp3.cab",
        "i386/driver.cab",
        "amd64/driver.cab",
    ]
    assert notes == ()
    written = [change for change in block.changes if isinstance(change, WriteFile)]
    assert {change.path.rpartition("/")[2] for change in written} == IDE
    for change in written:
        assert pe_architecture(change.content) is Architecture.AMD64
        assert "Driver Cache/amd64/" in change.origin
    newest = {c.path.rpartition("/")[2] for c in written if c.origin.endswith("sp3.cab")}
    assert newest == {"atapi.sys", "pciidex.sys"}


def test_files_for_the_other_processor_are_none(tmp_path: Path) -> None:
    facts, block, notes = plan_for(volume_of_xp_x64(own_cabinets=False), tmp_path)
    assert len(facts.cabinets) == 2
    assert not [change for change in block.changes if isinstance(change, WriteFile)]
    for name in IDE:
        assert any(name in note and "Driver Cache/i386/sp4.cab" in note for note in notes)
