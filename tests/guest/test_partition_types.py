"""Names of partition types, beside those that sfdisk has."""

from __future__ import annotations

import subprocess

import pytest

from offline_mig.guest.partition_types import type_name

#: What sfdisk calls them where the words differ.
_ITS_WORDS = {
    "EFI system partition": "EFI",
    "Microsoft reserved partition": "Microsoft reserved",
    "basic data partition": "Microsoft basic data",
    "Windows recovery partition": "Windows recovery environment",
    "dynamic disk's metadata": "Microsoft LDM metadata",
    "dynamic disk's data": "Microsoft LDM data",
    "dynamic disk": "SFS",  # Linux knows another system by that type.
    "hidden NTFS": "Hidden NTFS",
    "NTFS": "NTFS",
    "FAT32 with LBA": "FAT32 (LBA)",
    "FAT16 with LBA": "FAT16 (LBA)",
    "FAT16 below 32 MiB": "FAT16 <32M",
}


def known_to_sfdisk(label: str) -> dict[str, str]:
    run = subprocess.run(
        ["sfdisk", "--label", label, "--list-types"], capture_output=True, text=True, check=True
    )
    lines = (line.split(maxsplit=1) for line in run.stdout.splitlines())
    return {words[0].lower(): words[1] for words in lines if len(words) == 2}


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_names_are_those_of_sfdisk(label: str) -> None:
    named = 0
    for number, its_words in known_to_sfdisk(label).items():
        kind = number if label == "gpt" else f"0x{number:0>2}"
        name = type_name(kind)
        if name != kind:
            plain = name.removesuffix(f" ({kind})")
            assert _ITS_WORDS.get(plain, plain) in its_words, kind
            named += 1
    assert named == {"gpt": 6, "dos": 10}[label]


def test_other_types_stay_as_they_are() -> None:
    assert type_name("0x83") == "0x83"
    assert type_name("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7") == "basic data partition"
