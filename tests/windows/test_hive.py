"""Hives: edits read back by hivexget, what is damaged or dirty refused."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.hives import build_hive
from offline_mig.errors import GuestRefusedError
from offline_mig.windows.base_block import check_base_block
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryValue

KEYS = {
    "Select": {"Current": RegistryValue.dword(1)},
    r"ControlSet001\Services\atapi": {
        "Start": RegistryValue.dword(3),
        "Group": RegistryValue.sz("SCSI miniport"),
        "": RegistryValue.sz("default"),
    },
    r"ControlSet001\Services\atapi\StartOverride": {"0": RegistryValue.dword(3)},
    r"ControlSet001\Services\Disk": {"Names": RegistryValue.multi_sz(["a", "b"])},
}
ATAPI = r"ControlSet001\Services\atapi"


@pytest.fixture
def hive_file(tmp_path: Path) -> Path:
    path = tmp_path / "SYSTEM"
    path.write_bytes(build_hive("SYSTEM", KEYS))
    return path


def hivexget(path: Path, key: str, name: str | None = None) -> str:
    command = ["hivexget", path, "\\" + key, *([] if name is None else [name])]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def contents(hive: Hive) -> dict[str, dict[str, RegistryValue]]:
    return {key: dict(values) for key, values in hive.walk()}


def test_reading_is_case_insensitive(hive_file: Path) -> None:
    hive = Hive(hive_file, HiveName.SYSTEM)
    assert hive.value(r"controlset001\SERVICES\ATAPI", "START") == RegistryValue.dword(3)
    assert set(hive.subkeys(r"ControlSet001\Services")) == {"atapi", "Disk"}
    assert hive.value(ATAPI, "absent") is None
    assert hive.value(r"No\Such\Key", "x") is None
    assert hive.subkeys("Absent") == ()


def test_edits_are_there_for_another_reader(hive_file: Path, tmp_path: Path) -> None:
    hive = Hive(hive_file, HiveName.SYSTEM, writable=True)
    before = contents(hive)
    assert hive.set_value(ATAPI, "START", RegistryValue.dword(0)) is None
    created = hive.set_value(
        r"ControlSet001\Services\viostor\Parameters\PnpInterface", "5", RegistryValue.dword(1)
    )
    assert created == r"ControlSet001\Services\viostor"
    hive.delete_key(rf"{ATAPI}\StartOverride")
    hive.delete_value(ATAPI, "group")
    edited = tmp_path / "edited"
    hive.commit(edited)

    assert hivexget(edited, ATAPI, "Start") == "0"
    parameters = r"ControlSet001\Services\viostor\Parameters\PnpInterface"
    assert hivexget(edited, parameters, "5") == "1"
    listed = hivexget(edited, ATAPI)
    assert "Group" not in listed
    # "START" must have replaced "Start" and not stand beside it.
    assert listed.lower().count('"start"') == 1
    after = contents(Hive(edited, HiveName.SYSTEM))
    assert rf"{ATAPI}\StartOverride" not in after
    untouched = set(before) - {ATAPI, rf"{ATAPI}\StartOverride"}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}


def test_deleted_keys_come_back_whole(hive_file: Path, tmp_path: Path) -> None:
    hive = Hive(hive_file, HiveName.SYSTEM, writable=True)
    hive.set_value(rf"{ATAPI}\Properties", "", RegistryValue(0xFFFF0012, b"\1\2\3"))
    before = contents(hive)
    tree = hive.tree(ATAPI)
    assert tree is not None
    hive.delete_key(ATAPI)
    assert not hive.has_key(ATAPI)
    hive.restore(r"ControlSet001\Services", tree)
    restored = tmp_path / "restored"
    hive.commit(restored)
    assert contents(Hive(restored, HiveName.SYSTEM)) == before


def test_dirty_hive_is_refused(hive_file: Path) -> None:
    data = bytearray(hive_file.read_bytes())
    data[4] ^= 1
    data[508] ^= 1  # the header's checksum is an XOR
    hive_file.write_bytes(data)
    with pytest.raises(GuestRefusedError, match="dirty: its sequence numbers are"):
        Hive(hive_file, HiveName.SYSTEM)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: b"", "no regf header"),
        (lambda data: b"\0" * len(data), "no regf header"),
        (lambda data: data[:300] + b"\xff" + data[301:], "checksum"),
        (lambda data: data[:4096], "promises"),
        (lambda data: data[:5000], "promises"),
    ],
)
def test_damaged_header_is_refused(
    hive_file: Path, damage: Callable[[bytes], bytes], told: str
) -> None:
    data = damage(hive_file.read_bytes())
    with pytest.raises(GuestRefusedError, match=told):
        check_base_block("SYSTEM", data)


def test_damaged_body_is_refused_on_reading(hive_file: Path) -> None:
    data = bytearray(hive_file.read_bytes())
    at = data.find(b"StartOverride") - 0x4C
    assert data[at : at + 2] == b"nk"
    data[at : at + 2] = b"xx"
    hive_file.write_bytes(data)
    with pytest.raises(GuestRefusedError, match=r"hivex could not \w+ .*ontrol"):
        Hive(hive_file, HiveName.SYSTEM).require_readable()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("system/winxp-sp3-x86-vmware-corrupt.SYSTEM", "damaged"),
        ("system/win10-1709-x64-dirty.SYSTEM", "1622 and 1621"),
        ("format/corrupt_sub_key_list.hiv", "damaged"),
        ("format/BadBaseBlockHive_BadBaseBlockHive", "damaged"),
        ("format/OldDirtyHive_OldDirtyHive", "dirty"),
        ("format/NewDirtyHive1_NewDirtyHive", "dirty"),
        ("format/TruncatedHive", "promises"),
        ("format/GarbageHive", "damaged"),
        ("format/win9x-CREG-SYSTEM.DAT", "no regf header"),
    ],
)
def test_real_oddities_are_refused(shared_data: Path, tmp_path: Path, name: str, told: str) -> None:
    path = tmp_path / "hive"
    path.write_bytes(lzma.decompress((shared_data / "hives" / f"{name}.xz").read_bytes()))
    with pytest.raises(GuestRefusedError, match=told):
        Hive(path, HiveName.SYSTEM).require_readable()


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "system/winxp-sp3-x86-physical.SYSTEM",
        "system/win7-sp1-x86-vmware.SYSTEM",
        "system/win10-2004-x64-vmware.SYSTEM",
        "software/win7-sp1-x86-vmware.SOFTWARE",
    ],
)
def test_real_hives_walk_and_keep_the_rest(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hive"
    path.write_bytes(lzma.decompress((shared_data / "hives" / f"{name}.xz").read_bytes()))
    hive = Hive(path, HiveName.SYSTEM, writable=True)
    before = contents(hive)
    hive.set_value(r"New\Key", "Name", RegistryValue.sz("value"))
    edited = tmp_path / "edited"
    hive.commit(edited)
    after = contents(Hive(edited, HiveName.SYSTEM))
    assert after.pop("New") == {}
    assert after.pop(r"New\Key") == {"Name": RegistryValue.sz("value")}
    assert after == before
