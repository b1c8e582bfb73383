"""Hives that nobody made by accident: endless, too deep, without security, with odd numbers."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from pathlib import Path

import pytest

from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.hives import build_hive
from fixtures.memory_volume import MemoryVolume
from fixtures.windows_tree import system_volume
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import GuestDisks
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.surgery.changes import OpenGuest, SetValue, WriteFile
from offline_mig.surgery.facts import examine
from offline_mig.surgery.system_volume import DiskLayout, find_system_volume
from offline_mig.windows.digits import small_number
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue


def hive_of(tmp_path: Path, data: bytes) -> Hive:
    path = tmp_path / "hive"
    path.write_bytes(data)
    return Hive(path, HiveName.SYSTEM)


@pytest.mark.parametrize("depth", [600, 1100])
def test_too_deep_hive_is_refused(tmp_path: Path, depth: int) -> None:
    # In two steps: what builds it goes down key by key itself.
    keys = {"\\".join("k" * levels): {} for levels in (depth // 2, depth)}
    hive = hive_of(tmp_path, build_hive("SYSTEM", keys))
    with pytest.raises(GuestRefusedError, match="too deep"):
        list(hive.walk())
    with pytest.raises(GuestRefusedError, match="too deep"):
        hive.require_readable()
    with pytest.raises(GuestRefusedError, match="too deep"):
        hive.tree("k")


def test_deepest_allowed_hive_is_read(tmp_path: Path) -> None:
    hive = hive_of(tmp_path, build_hive("SYSTEM", {"\\".join("k" * 512): {}}))
    hive.require_readable()
    assert len(list(hive.walk())) == 513


def test_hive_that_holds_itself_is_refused(tmp_path: Path) -> None:
    data = bytearray(build_hive("SYSTEM", {r"one\two": {}}))
    root = 4096 + struct.unpack_from("<I", data, 36)[0]
    inner = data.find(b"nk", data.find(b"one") - 0x50)
    # The key "one" lists what the root lists: itself. (nk: number and list of subkeys.)
    data[inner + 20 : inner + 24] = data[root + 4 + 20 : root + 4 + 24]
    data[inner + 28 : inner + 32] = data[root + 4 + 28 : root + 4 + 32]
    hive = hive_of(tmp_path, bytes(data))
    with pytest.raises(GuestRefusedError, match="more than one place"):
        hive.require_readable()
    with pytest.raises(GuestRefusedError, match="more than one place"):
        list(hive.walk())
    with pytest.raises(GuestRefusedError, match="too deep"):
        hive.tree("one")


def test_key_without_security_is_named_on_planning(tmp_path: Path) -> None:
    data = bytearray(build_hive("SYSTEM", {r"Set\Services": {"a": RegistryValue.dword(1)}}))
    at = data.find(b"nk", data.find(b"Services") - 0x50)
    data[at + 44 : at + 48] = b"\xff\xff\xff\xff"
    hive = hive_of(tmp_path, bytes(data))
    guest = OpenGuest(MemoryVolume({}), {HiveName.SYSTEM: hive})
    new = SetValue(HiveName.SYSTEM, r"Set\Services\viostor", "b", RegistryValue.dword(2), "test")
    with pytest.raises(GuestRefusedError, match=r"Set\\Services carries no security descriptor"):
        new.before(guest)
    SetValue(HiveName.SYSTEM, r"Set\Services", "a", RegistryValue.dword(2), "test").before(guest)
    writable = Hive(hive.path, HiveName.SYSTEM, writable=True)
    with pytest.raises(GuestRefusedError, match=r"Set\\Services carries no security descriptor"):
        writable.create_key(r"Set\Services\viostor")


@pytest.mark.parametrize("text", ["²", "9" * 5000, "", "-1", "1 ", None, "٣"])
def test_what_is_no_number(text: str | None) -> None:
    assert small_number(text) is None


def test_cabinets_and_huge_files_of_odd_guests(tmp_path: Path) -> None:
    files = system_volume(GuestSpec(GuestKind.XP))
    cache = "WINDOWS/Driver Cache/i386"
    files |= {f"{cache}/sp².cab": b"", f"{cache}/sp{'9' * 100}.cab": b""}
    driver = "WINDOWS/system32/drivers/huge.sys"
    files[driver] = bytes(65 * 1024 * 1024)
    volume = MemoryVolume(files)
    facts = examine(volume, "/WINDOWS", tmp_path)
    assert [path.rpartition("/")[2] for path in facts.cabinets] == ["sp3.cab", "driver.cab"]
    change = WriteFile(f"/{driver}", b"new", "test", "test")
    with pytest.raises(GuestRefusedError, match="has 65 MiB"):
        change.before(OpenGuest(volume, {}))


@pytest.mark.parametrize("named", ["AMD64", "amd64", "Z80", None])
def test_unreadable_kernel(tmp_path: Path, named: str | None) -> None:
    files = system_volume(GuestSpec(GuestKind.WINDOWS_10))
    config = "Windows/System32/config/SYSTEM"
    (tmp_path / "SYSTEM").write_bytes(files[config])
    hive = Hive(tmp_path / "SYSTEM", HiveName.SYSTEM, writable=True)
    key = r"ControlSet001\Control\Session Manager\Environment"
    hive.delete_value(key, "PROCESSOR_ARCHITECTURE")
    if named is not None:
        hive.set_value(key, "PROCESSOR_ARCHITECTURE", RegistryValue.sz(named))
    hive.commit(tmp_path / "edited")
    files[config] = (tmp_path / "edited").read_bytes()
    volume = MemoryVolume(files, odd=["/Windows/System32/ntoskrnl.exe"])
    if named in ("AMD64", "amd64"):
        facts = examine(volume, "/Windows", tmp_path)
        assert facts.version.architecture == "amd64"
        assert "kernel" in facts.notes[0]
        return
    with pytest.raises(GuestRefusedError, match="CompactOS") as refused:
        examine(volume, "/Windows", tmp_path)
    assert "/CompactOS:never" in refused.value.remedy


class MemoryDisks:
    """One disk with NTFS volumes that are in memory; None for one that cannot be mounted."""

    notes = ()

    def __init__(self, *volumes: MemoryVolume | None) -> None:
        self._volumes = volumes

    def size(self, disk: int) -> int:
        return 1024**3

    def read(self, disk: int, offset: int, size: int) -> bytes:
        return (b"\xeb\x52\x90NTFS    ").ljust(510, b"\0") + b"\x55\xaa"

    def mount(self, disk: int, partition: Partition, *, writable: bool) -> object:
        volume = self._volumes[partition.number - 1]
        if volume is None:
            raise GuestRefusedError(f"The NTFS volume 1:{partition.number} cannot be mounted.")
        return nullcontext(volume)


def find(*volumes: MemoryVolume | None, wanted: str | None = None) -> tuple[str, tuple[str, ...]]:
    disks: GuestDisks = MemoryDisks(*volumes)  # type: ignore[assignment]
    partitions = tuple(
        Partition(number, number * 1024**2, 1024**2, "0x07")
        for number in range(1, len(volumes) + 1)
    )
    layout = DiskLayout((PartitionTable(TableKind.MBR, partitions),))
    found = find_system_volume(disks, layout, wanted)
    return found.choice, found.notes


def windows(*roots: str) -> MemoryVolume:
    return MemoryVolume({f"{root}/System32/config/SYSTEM": b"x" for root in roots})


@pytest.mark.parametrize("whole", [True, False])
def test_a_partition_behind_the_end_of_the_disk_is_told(whole: bool) -> None:
    """The image was cut off; where Windows itself is gone, that is why."""
    disks: GuestDisks = MemoryDisks(windows("WINDOWS") if whole else windows())  # type: ignore[assignment]
    table = PartitionTable(
        TableKind.MBR,
        (Partition(1, 1024**2, 1024**2, "0x07"),),
        outside=(Partition(2, 1024**3, 1024**3, "0x07"),),
    )
    told = f"The partition 1:2 ends at byte {2 * 1024**3}, but the disk has {disks.size(0)}"
    if whole:
        (note,) = find_system_volume(disks, DiskLayout((table,))).notes
        assert told in note
    else:
        with pytest.raises(GuestRefusedError, match=told):
            find_system_volume(disks, DiskLayout((table,)))


def test_damaged_other_volume_is_passed_over() -> None:
    choice, notes = find(None, windows("WINDOWS"))
    assert choice == "1:2/WINDOWS"
    assert notes == ("The NTFS volume 1:1 cannot be mounted. It was passed over.",)
    with pytest.raises(GuestRefusedError, match="1:1 cannot be mounted"):
        find(None, windows())


def test_several_windows_on_one_volume() -> None:
    both = windows("WINDOWS", "WINNT", "Windows.old", "Windows.old.000")
    with pytest.raises(GuestRefusedError, match=r"1:1 \(/WINDOWS\), 1:1 \(/WINNT\)") as refused:
        find(both)
    assert "--system-partition 1:1/WIN" in refused.value.remedy
    with pytest.raises(GuestRefusedError, match="several"):
        find(both, wanted="1:1")
    assert find(both, wanted="1:1/winnt")[0] == "1:1/WINNT"
    assert find(windows("WINDOWS.0"))[0] == "1:1/WINDOWS.0"
    with pytest.raises(GuestRefusedError, match="no Windows on partition 1:1/other"):
        find(both, wanted="1:1/other")
