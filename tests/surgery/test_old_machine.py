"""What a guest remembers of its old machine: processor drivers, letters, files on other disks."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from fixtures.edited_hives import edited
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.registry_parts import dword, multi_sz, service, sz
from fixtures.result import hivexget
from fixtures.undone import undo
from fixtures.windows_tree import system_volume
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.surgery.drive_letters import letter_notes
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.surgery.operation import apply_plan
from offline_mig.surgery.plan import Plan
from offline_mig.surgery.processor_drivers import plan_processor_drivers
from offline_mig.windows.hive import HiveName
from offline_mig.windows.registry import RegistryValue

XP, WINDOWS_10 = GuestSpec(GuestKind.XP), GuestSpec(GuestKind.WINDOWS_10)
MIB = 1024 * 1024
#: A disk of which the guest has a letter, and one that nobody knows.
DISK = PartitionTable(TableKind.MBR, (Partition(1, 63 * 512, 9 * MIB, "0x07"),), "11223344")
OTHER = PartitionTable(TableKind.MBR, (Partition(1, MIB, 9 * MIB, "0x07"),), "55667788")


def facts_with(
    spec: GuestSpec, scratch: Path, values: dict[tuple[str, str], RegistryValue]
) -> tuple[MemoryVolume, GuestFacts]:
    files = system_volume(spec)
    with edited(files, HiveName.SYSTEM, scratch) as hive:
        for name in hive.values("MountedDevices"):
            hive.delete_value("MountedDevices", name)
        for (key, name), value in values.items():
            hive.set_value(key, name, value)
    volume = MemoryVolume(files)
    root = volume.resolve("/windows")
    assert root is not None
    return volume, examine(volume, root, scratch)


def test_processor_drivers_of_xp_are_disabled_and_come_back(tmp_path: Path) -> None:
    values = {
        (rf"ControlSet001\Services\{name}", key): value
        for name in ("intelppm", "amdk8")
        for key, value in service(rf"system32\DRIVERS\{name}.sys", start=1).items()
    }
    volume, facts = facts_with(XP, tmp_path, values)
    before = dict(volume.files)
    plan = Plan((plan_processor_drivers(facts),))
    journal = apply_plan(plan, volume, facts.hive_files, tmp_path)
    local = tmp_path / "SYSTEM.read"
    local.write_bytes(volume.read(facts.hive_files[HiveName.SYSTEM]))
    for name in ("intelppm", "amdk8"):
        assert hivexget(local, rf"ControlSet001\Services\{name}", "Start") == "4"
    undo(journal, volume, before, facts)
    assert volume.files == before


def test_later_windows_keep_theirs(tmp_path: Path) -> None:
    _, facts = facts_with(WINDOWS_10, tmp_path, {})
    assert facts.system.has_key(r"ControlSet001\Services\intelppm")
    assert plan_processor_drivers(facts).changes == ()


def letter(name: str, content: bytes) -> dict[tuple[str, str], RegistryValue]:
    return {("MountedDevices", rf"\DosDevices\{name}:"): RegistryValue.binary(content)}


def mbr(signature: int, offset: int) -> bytes:
    return signature.to_bytes(4, "little") + offset.to_bytes(8, "little")


WINDOWS_OWN = letter("C", mbr(0x11223344, 63 * 512))
CDROM = letter("D", r"\??\IDE#CdRomNECVMWar_VMware".encode("utf-16-le"))
PAGING = (r"ControlSet001\Control\Session Manager\Memory Management", "PagingFiles")
DUMPING = (r"ControlSet001\Control\CrashControl", "DedicatedDumpFile")


@pytest.mark.parametrize(
    ("values", "tables", "words"),
    [
        pytest.param(WINDOWS_OWN | CDROM, (DISK,), (), id="sound"),
        pytest.param(
            WINDOWS_OWN | letter("E", mbr(0x99, MIB)), (DISK,), ("E: belongs to", "none of the"),
            id="disk-left-behind",
        ),
        pytest.param(
            WINDOWS_OWN | letter("E", b"DMIO:ID:" + uuid.UUID(int=7).bytes_le), (DISK, OTHER),
            ("E: belongs to",), id="gpt-disk-left-behind",
        ),
        pytest.param(WINDOWS_OWN, (DISK, DISK), ("several disks",), id="copies"),
        pytest.param(
            WINDOWS_OWN | letter("P", mbr(0x55667788, MIB))
            | {PAGING: multi_sz([r"P:\pagefile.sys 512 512"])},
            (DISK, OTHER), (), id="page-file-on-a-data-disk",
        ),
        pytest.param(
            WINDOWS_OWN | letter("P", mbr(0x55667788, MIB))
            | {PAGING: multi_sz([r"C:\pagefile.sys 0 0", r"p:\pagefile.sys 512 512"])},
            (DISK,), ("P: belongs to", "page file on P:"), id="page-file-left-behind",
        ),
        pytest.param(
            WINDOWS_OWN | letter("P", mbr(0x55667788, MIB)) | {DUMPING: sz(r"P:\dump.dmp")},
            (DISK,), ("P: belongs to", "dumps on P:"), id="dump-left-behind",
        ),
        pytest.param(
            WINDOWS_OWN | {PAGING: multi_sz([r"?:\pagefile.sys"])}, (DISK,), (), id="automatic"
        ),
        pytest.param(WINDOWS_OWN | {PAGING: dword(1)}, (DISK,), (), id="odd"),
    ],
)  # fmt: skip
def test_letters_without_a_disk_are_told(
    values: dict[tuple[str, str], RegistryValue],
    tables: tuple[PartitionTable, ...],
    words: tuple[str, ...],
    tmp_path: Path,
) -> None:
    _, facts = facts_with(XP, tmp_path, values)
    notes = letter_notes(facts, tables)
    for word in words:
        assert any(word in note for note in notes), notes
    assert bool(notes) == bool(words)
