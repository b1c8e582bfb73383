"""Which HAL a Windows before Vista has, and what it means for its processors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.guest_spec import GuestKind, GuestSpec, RealHives
from fixtures.hives import build_hive
from fixtures.memory_volume import MemoryVolume
from fixtures.target_machines import SERVER_2003, Sample, machine, target_disk
from fixtures.windows_tree import system_volume
from offline_mig.diagnosis.start_facts import StartedVolume, StartFacts
from offline_mig.diagnosis.started_hal import started_hal
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.machine import Firmware
from offline_mig.surgery.facts import examine
from offline_mig.targets.processors import Processors
from offline_mig.windows.boot_ini import parse_boot_ini
from offline_mig.windows.hal import HALS, Hal, hal_of_device, hal_of_file
from offline_mig.windows.hive import Hive
from offline_mig.windows.registry import RegistryValue

COMPUTER = r"ControlSet001\Control\Class\{4D36E966-E325-11CE-BFC1-08002BE10318}"


def opened(content: bytes, scratch: Path) -> Hive:
    path = scratch / "SYSTEM"
    path.write_bytes(content)
    return Hive(path, "SYSTEM")


def hal_of(hal_id: str) -> Hal:
    return next(hal for hal in HALS if hal.id == hal_id)


@pytest.mark.parametrize("hal", HALS, ids=lambda hal: hal.id)
def test_the_device_of_the_computer_tells(hal: Hal, tmp_path: Path) -> None:
    keys = {
        COMPUTER: {"Class": RegistryValue.sz("Computer")},
        rf"{COMPUTER}\0001": {"MatchingDeviceId": RegistryValue.sz(hal.id.upper())},
    }
    assert hal_of_device(opened(build_hive("SYSTEM", keys), tmp_path), "ControlSet001") == hal


def test_others_are_not_guessed(tmp_path: Path) -> None:
    keys = {rf"{COMPUTER}\0000": {"MatchingDeviceId": RegistryValue.sz("acpiapic")}}
    system = opened(build_hive("SYSTEM", keys), tmp_path)
    assert hal_of_device(system, "ControlSet001") is None
    assert hal_of_device(system, "ControlSet002") is None


@pytest.mark.data
def test_a_real_xp(tmp_path: Path, shared_data: Path) -> None:
    del shared_data
    content = real_hives.hives(RealHives.XP)["SYSTEM"]
    hal = hal_of_device(opened(content, tmp_path), "ControlSet001")
    assert hal is not None
    assert hal.name == "ACPI Uniprocessor PC"


@pytest.mark.parametrize(
    ("name", "hal_id"),
    [
        ("HALMACPI.DLL", "acpiapic_mp"),
        ("halaacpi.dll", "acpiapic_up"),
        ("hal.dll", None),
        ("", None),
    ],
)
def test_a_switch_names_a_file(name: str, hal_id: str | None) -> None:
    found = hal_of_file(name)
    assert (found.id if found else None) == hal_id


@pytest.mark.parametrize(
    ("hal", "processors", "words"),
    [
        (hal_of("acpiapic_up"), Processors(1, 1), "became one"),
        (hal_of("e_isa_up"), Processors(1, 1), "without ACPI"),
        (hal_of("acpiapic_mp"), Processors(4, 1), ""),
        (None, Processors(4, 1), ""),
    ],
)
def test_one_processor_for_a_hal_that_knows_one(
    hal: Hal | None, processors: Processors, words: str
) -> None:
    sample = Sample(machine("old", vcpus=4), SERVER_2003, (target_disk("old"),), hal=hal)
    target = sample.plan()
    assert target.processors == processors
    told = "\n".join(target.notes)
    assert words in told
    assert ("became one" in told) == (processors.count == 1)
    alone = replace(sample, machine=machine("old", vcpus=1)).plan()
    assert "became one" not in "\n".join(alone.notes)


@pytest.mark.parametrize(
    ("switches", "hal_id"),
    [("/fastdetect", "acpiapic_up"), ("/fastdetect /HAL=halmacpi.dll", "acpiapic_mp"),
     ("/HAL=own.dll", "acpiapic_up")],
)  # fmt: skip
def test_boot_ini_may_name_another(switches: str, hal_id: str, tmp_path: Path) -> None:
    """The XP on the bench was set up as a uniprocessor PC."""
    path = r"multi(0)disk(0)rdisk(0)partition(1)\WINDOWS"
    text = f'[boot loader]\r\ndefault={path}\r\n[operating systems]\r\n{path}="XP" {switches}\r\n'
    volume = MemoryVolume(system_volume(GuestSpec(GuestKind.XP)))
    facts = examine(volume, "/WINDOWS", tmp_path)
    place = PlacedPartition(0, Partition(1, 63 * 512, 2**20, "0x07"))
    start = StartFacts(
        Firmware.BIOS, 0, (PartitionTable(TableKind.MBR, (place.partition,)),), (2**21,), place,
        "/WINDOWS", frozenset(), StartedVolume(place, boot_ini=parse_boot_ini(text.encode())),
    )  # fmt: skip
    found = started_hal(start, facts)
    assert found is not None
    assert found.id == hal_id
    later = replace(facts, version=replace(facts.version, major=6))
    assert started_hal(start, later) is None
