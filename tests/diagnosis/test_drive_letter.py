"""The letter of the system volume: kept, taken by another volume, or not recorded at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fixtures.hives import Keys
from fixtures.memory_volume import MemoryVolume
from fixtures.nt5_machine import control_set, nt5_facts
from fixtures.registry_parts import binary, sz
from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import BootFacts
from offline_mig.diagnosis.drive_letter import letter_findings, plan_letter
from offline_mig.diagnosis.start_facts import StartFacts
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.machine import Firmware
from offline_mig.surgery.changes import OpenGuest
from offline_mig.windows.hive import Hive, HiveName

SYSTEM = Partition(1, 63 * 512, 2**28, "0x07", active=True)
DATA = Partition(2, 2**29, 2**28, "0x07")
TABLE = PartitionTable(TableKind.MBR, (SYSTEM, DATA), "12345678")
START = StartFacts(
    Firmware.BIOS, 0, (TABLE,), (2**30,), PlacedPartition(0, SYSTEM), "/WINDOWS", frozenset()
)


def volume(offset: int, signature: int = 0x12345678) -> bytes:
    return signature.to_bytes(4, "little") + offset.to_bytes(8, "little")


@contextmanager
def facts(letters: dict[str, bytes], root: str = "C:\\WINDOWS") -> Iterator[BootFacts]:
    more: Keys = {
        "MountedDevices": {
            f"\\DosDevices\\{name}:": binary(data) for name, data in letters.items()
        },
        "Microsoft\\Windows NT\\CurrentVersion": {"SystemRoot": sz(root)},
    }
    with nt5_facts({1: control_set()}, more=more) as found:
        yield found


@pytest.mark.parametrize(
    ("letters", "root"),
    [
        ({"C": volume(SYSTEM.start)}, "C:\\WINDOWS"),
        ({"C": volume(SYSTEM.start), "D": volume(DATA.start)}, "C:\\WINDOWS"),
        ({}, "C:\\WINDOWS"),
        ({"D": volume(DATA.start)}, "C:\\WINDOWS"),
        ({"C": volume(DATA.start), "F": volume(SYSTEM.start)}, "F:\\WINNT"),
        ({"C": volume(DATA.start)}, "\\\\?\\odd"),
    ],
)
def test_no_finding(letters: dict[str, bytes], root: str) -> None:
    with facts(letters, root) as found:
        assert not list(letter_findings(found, START))
        assert plan_letter(found, START) == ()


@pytest.mark.parametrize(
    "taken",
    [volume(DATA.start), volume(SYSTEM.start, 0xCAFE), b"DMIO:ID:" + bytes(16)],
    ids=["another partition", "another signature", "a GPT partition"],
)
def test_the_letter_is_another_volumes(taken: bytes) -> None:
    with facts({"C": taken}) as found:
        (finding,) = letter_findings(found, START)
        assert finding.kind is kinds.DRIVE_LETTER
        (block,) = plan_letter(found, START)
        (change,) = block.changes
        assert isinstance(found.system, Hive)
        change.apply(OpenGuest(MemoryVolume({}), {HiveName.SYSTEM: found.system}))
        value = found.system.value("MountedDevices", "\\DosDevices\\C:")
        assert value is not None
        assert value.data == volume(SYSTEM.start)
        assert not list(letter_findings(found, START))


def test_a_disk_without_a_table_has_nothing_to_be_known_by() -> None:
    bare = replace(START, tables=(PartitionTable(TableKind.NONE, (SYSTEM,)),))
    with facts({"C": volume(DATA.start)}) as found:
        assert len(list(letter_findings(found, bare))) == 1
        assert plan_letter(found, bare) == ()
