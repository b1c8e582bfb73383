"""What partition types are called: those that a Windows guest has."""

from __future__ import annotations

#: GPT types: UEFI specification, table 5-7, and Microsoft, PARTITION_INFORMATION_GPT. MBR types:
#: Microsoft, PARTITION_INFORMATION_MBR, and the UEFI specification, 5.2.2, for 0xef.
_NAMES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system partition",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved partition",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "basic data partition",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery partition",
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "dynamic disk's metadata",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "dynamic disk's data",
    "0x01": "FAT12",
    "0x04": "FAT16 below 32 MiB",
    "0x06": "FAT16",
    "0x07": "NTFS",
    "0x0b": "FAT32",
    "0x0c": "FAT32 with LBA",
    "0x0e": "FAT16 with LBA",
    "0x27": "hidden NTFS",
    "0x42": "dynamic disk",
    "0xef": "EFI system partition",
}


def type_name(kind: str) -> str:
    """Return a name for ``Partition.type``, the type itself where it is not known here."""
    name = _NAMES.get(kind.lower())
    return kind if name is None else f"{name} ({kind})" if kind.startswith("0x") else name
