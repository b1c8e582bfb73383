"""AddReg and DelReg lines as registry values."""

from __future__ import annotations

import pytest

from offline_mig.drivers.addreg import InfRegistryValue, read_added, read_deleted
from offline_mig.drivers.inf import InfError, parse_inf
from offline_mig.windows.registry import RegistryType, RegistryValue

R = RegistryValue


def added(text: str, windows_directory: str = "%SystemRoot%") -> tuple[InfRegistryValue, ...]:
    strings = '[Strings]\nNested = "%10%\\y"\nPercent = "%"\n'
    inf = parse_inf(f"[s]\n{text}\n{strings}".encode("latin-1"), "test.inf")
    return read_added(inf, ["s"], windows_directory)


@pytest.mark.parametrize(
    ("rest", "value"),
    [
        (",text", R.sz("text")),
        (" ,text", R.sz("text")),
        ("0,text", R.sz("text")),
        ('0x00000000, "a, b"', R.sz("a, b")),
        ("0,", R.sz("")),
        ("0", R.sz("")),
        ("0x00020000,%%SystemRoot%%\\x", R.expand_sz("%SystemRoot%\\x")),
        ("0,%10%\\x", R.sz("%SystemRoot%\\x")),
        # One pass: a percent sign is a sign, and what strings stand for is taken as it is.
        ("0,%%10%%\\x", R.sz("%10%\\x")),
        ("0,%Nested%", R.sz("%10%\\y")),
        ("0,%Percent%10%Percent%", R.sz("%10%")),
        ("0x00010000,a", R.multi_sz(["a"])),
        ('0x00010000,"a",b,"c,d"', R.multi_sz(["a", "b", "c,d"])),
        ("0x00010000,", R.multi_sz([])),
        ("0x00010001,7", R.dword(7)),
        ("0x00010001,0x0A", R.dword(10)),
        ("0x00010001,0010", R.dword(10)),
        ("0x00010001,+7", R.dword(7)),
        ('0x00010001," 7 "', R.dword(7)),
        ("0x00010001,", R.dword(0)),
        ("0x00010001,-1", R.dword(0xFFFFFFFF)),
        ("0x00010001,0xFFFFFFFF", R.dword(0xFFFFFFFF)),
        ("65537,7", R.dword(7)),
        # Four bytes, lowest first.
        ("0x00010001,2c,01,00,00", R.dword(300)),
        ("1,de,ad,0,1", R.binary(b"\xde\xad\x00\x01")),
        ("1,0xde,0xAD", R.binary(b"\xde\xad")),
        ("1,01,02,", R.binary(b"\x01\x02")),
        ("1", R.binary(b"")),
        ("0x00020001,", R(RegistryType.NONE, b"")),
        ("0x00020001,01,02", R(RegistryType.NONE, b"\x01\x02")),
        # Any other type by its number in the high word.
        ("0x00040001,5", R.dword(5)),
        ("0x00040001,05,00,00,00", R.dword(5)),
        ("0x00080001,01", R(RegistryType.RESOURCE_LIST, b"\x01")),
        ("0x000b0001,1,0,0,0,0,0,0,0", R(RegistryType.QWORD, b"\x01" + b"\0" * 7)),
        ("0x00120001,ff", R(0x12, b"\xff")),
    ],
)
def test_types(rest: str, value: RegistryValue) -> None:
    (entry,) = added(f"HKR,Key,Name,{rest}")
    assert entry.value == value
    assert (entry.root, entry.subkey, entry.name) == ("HKR", "Key", "Name")
    assert not (entry.append or entry.delete or entry.no_clobber or entry.overwrite_only)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("HKR,,Name,,x", InfRegistryValue("HKR", "", "Name", R.sz("x"))),
        ("hklm,A\\B,Name,,x", InfRegistryValue("HKLM", "A\\B", "Name", R.sz("x"))),
        ('HKR, "A B", "5", 0, "1"', InfRegistryValue("HKR", "A B", "5", R.sz("1"))),
        ("HKR,\\A\\,Name,,x", InfRegistryValue("HKR", "A", "Name", R.sz("x"))),
        # The default value.
        ("HKR,A,,,x", InfRegistryValue("HKR", "A", "", R.sz("x"))),
        ("HKR,A,,0x00020000", InfRegistryValue("HKR", "A", "", R.expand_sz(""), flags=0x20000)),
        # Keys alone.
        ("HKR,A,,0x00000010", InfRegistryValue("HKR", "A", None, None, flags=0x10)),
        ("HKR,A,Name,0x00000010", InfRegistryValue("HKR", "A", None, None, flags=0x10)),
        ("HKR,A", InfRegistryValue("HKR", "A", None, None)),
        ("HKR,A,,", InfRegistryValue("HKR", "A", None, None)),
        # What is done besides setting.
        (
            "HKLM,A,N,0x00010008,x",
            InfRegistryValue("HKLM", "A", "N", R.multi_sz(["x"]), append=True, flags=0x10008),
        ),
        (
            "HKR,A,N,0x00010003,1",
            InfRegistryValue("HKR", "A", "N", R.dword(1), no_clobber=True, flags=0x10003),
        ),
        (
            "HKR,A,N,0x00000020,1",
            InfRegistryValue("HKR", "A", "N", R.sz("1"), overwrite_only=True, flags=0x20),
        ),
        ("HKR,A,N,0x4", InfRegistryValue("HKR", "A", "N", None, delete=True, flags=0x4)),
        # The 64-bit key is meant.
        ("HKR,A,N,0x1000,x", InfRegistryValue("HKR", "A", "N", R.sz("x"), flags=0x1000)),
    ],
)
def test_lines(line: str, expected: InfRegistryValue) -> None:
    assert added(line) == (expected,)


def test_directories_in_values() -> None:
    line = 'HKR,,N,,"%11%\\x.dll;%10%;%13%\\y"'
    assert added(line)[0].value == R.sz("%SystemRoot%\\system32\\x.dll;%SystemRoot%;%13%\\y")
    assert added(line, "C:\\WINDOWS")[0].value == R.sz(
        "C:\\WINDOWS\\system32\\x.dll;C:\\WINDOWS;%13%\\y"
    )


def test_deleted() -> None:
    inf = parse_inf(b"[d]\nHKR,A,Name\nHKR,A\nHKLM,B,,\n", "test.inf")
    assert read_deleted(inf, ["d"]) == (
        InfRegistryValue("HKR", "A", "Name", None, delete=True),
        InfRegistryValue("HKR", "A", None, None, delete=True),
        InfRegistryValue("HKLM", "B", None, None, delete=True),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("HKX,,a,,b", "'HKX' is no root of the registry"),
        ("HKR = a", "'a' is no root of the registry"),
        ("HKR,,a,%FLAG%,b", "'%FLAG%' is not a number"),
        ("HKR,,a,0x00010001,seven", "'seven' is not a number"),
        ("HKR,,a,0x00010001,1_0", "'1_0' is not a number"),
        ("HKR,,a,0x1_0001,1", "'0x1_0001' is not a number"),
        ("HKR,,a,0x00010001,\xb2", "is not a number"),
        ("HKR,,a,1,1_0", "'1_0' is not a hexadecimal byte"),
        ("HKR,,a,0x00010001,0x100000000", "does not fit into 32 bits"),
        ("HKR,,a,0x00010001,-2147483649", "does not fit into 32 bits"),
        ("HKR,,a,1,zz", "'zz' is not a hexadecimal byte"),
        ("HKR,,a,1,100", "'100' is not a hexadecimal byte"),
        ("HKR,,a,0x00070000,b", "the flags 0x70000 stand for no type"),
    ],
)
def test_lines_without_sense(line: str, message: str) -> None:
    with pytest.raises(InfError) as caught:
        added(line)
    assert message in caught.value.message
    assert "test.inf, line 2" in caught.value.message


def test_missing_section() -> None:
    inf = parse_inf(b"[s]\n", "test.inf")
    with pytest.raises(InfError, match=r"AddReg names the section \[t\], which is not there"):
        read_added(inf, ["t"], "")
    with pytest.raises(InfError, match=r"DelReg names the section \[t\]"):
        read_deleted(inf, ["t"])
