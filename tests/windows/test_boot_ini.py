"""boot.ini: what NTLDR starts by it, set against disks, and mended without touching the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.windows.boot_ini import (
    MAX_SIZE,
    ArcPath,
    ArcScheme,
    BootIniFault,
    Encoding,
    arc_partitions,
    arc_path_of,
    boot_ini_faults,
    find_partition,
    parse_arc_path,
    parse_boot_ini,
    with_default_path,
)

#: As Setup of Windows XP and the Recovery Console leave it, with a German title in code page 850.
XP = (
    b"[boot loader]\r\n"
    b"timeout=30\r\n"
    b"default=multi(0)disk(0)rdisk(0)partition(2)\\WINDOWS\r\n"
    b"[operating systems]\r\n"
    b'multi(0)disk(0)rdisk(0)partition(1)\\WINNT="Windows 2000 f\x81r B\x81ros" /fastdetect\r\n'
    b'multi(0)disk(0)rdisk(0)partition(2)\\WINDOWS="Microsoft Windows XP Professional" '
    b"/noexecute=optin /fastdetect /PAE /KERNEL=ntkrpamp.exe /HAL=halmacpi.dll\r\n"
    b'C:\\CMDCONS\\BOOTSECT.DAT="Microsoft Windows Recovery Console" /cmdcons\r\n'
)
PRIMARY = Partition(1, 63 * 512, 10**9, "0x07", active=True)
SECOND = Partition(2, 2 * 10**9, 10**9, "0x07")
FOURTH = Partition(4, 9 * 10**9, 10**9, "0x07")
LOGICAL = (Partition(5, 4 * 10**9, 10**9, "0x07"), Partition(6, 5 * 10**9, 10**9, "0x0b"))
#: The extended partition is the third entry, so the logical ones come before the fourth here.
DISK = PartitionTable(TableKind.MBR, (PRIMARY, SECOND, *LOGICAL, FOURTH), "d350d351")
DATA = PartitionTable(TableKind.MBR, (PRIMARY,), "11223344")
WINDOWS = PlacedPartition(0, SECOND)


def with_path(path: str) -> bytes:
    return f'[boot loader]\ndefault={path}\n[operating systems]\n{path}="W" /fastdetect\n'.encode()


def faults(path: str, place: PlacedPartition = WINDOWS) -> tuple[BootIniFault, ...]:
    return boot_ini_faults(parse_boot_ini(with_path(path)), (DISK, DATA), place, r"\WINDOWS")


def test_what_setup_leaves() -> None:
    ini = parse_boot_ini(XP)
    assert (ini.timeout, ini.encoding) == (30, Encoding.PLAIN)
    assert len(ini.entries) == 3
    entry = ini.starting
    assert entry is not None
    assert entry.title == "Microsoft Windows XP Professional"
    assert entry.arc == ArcPath(ArcScheme.MULTI, 0, 0, 0, 2, r"\WINDOWS")
    assert str(entry.arc) == entry.path
    assert entry.switch("pae") == ""
    assert entry.switch("kernel") == "ntkrpamp.exe"
    assert entry.switch("hal") == "halmacpi.dll"
    assert entry.switch("3GB") is None
    assert ini.entries[2].arc is None
    assert ini.entries[2].path == r"C:\CMDCONS\BOOTSECT.DAT"


@pytest.mark.parametrize(
    ("line", "timeout"),
    [("timeout=0", 0), ("Timeout = 5", 5), ("timeout=-1", -1), ("timeout=soon", None), ("", None)],
)
def test_timeout(line: str, timeout: int | None) -> None:
    assert parse_boot_ini(f"[boot loader]\r\n{line}\r\n".encode()).timeout == timeout


def test_without_a_default_the_first_entry_starts() -> None:
    ini = parse_boot_ini(XP.replace(b"default=", b"; default "))
    assert ini.starting == ini.entries[0]


def test_a_default_that_is_not_listed_starts_without_switches() -> None:
    ini = parse_boot_ini(XP.replace(b"partition(2)\\WINDOWS=", b"partition(3)\\WINDOWS="))
    entry = ini.starting
    assert entry is not None
    assert not entry.listed
    assert (entry.switches, entry.path) == ((), r"multi(0)disk(0)rdisk(0)partition(2)\WINDOWS")


def test_spelling_and_line_ends_are_of_no_account() -> None:
    content = XP.upper().replace(b"\r\n", b"\n").replace(b"=MULTI", b" =  Multi", 1)
    entry = parse_boot_ini(content).starting
    assert entry is not None
    assert entry.listed
    assert entry.arc == ArcPath(ArcScheme.MULTI, 0, 0, 0, 2, r"\WINDOWS")


@pytest.mark.parametrize(
    ("path", "arc"),
    [
        (r"scsi(1)disk(3)rdisk(0)partition(1)\WINNT", ("scsi", 1, 3, 0, 1, r"\WINNT")),
        (r"signature(8b467c12)disk(1)rdisk(0)partition(2)\winnt",
         ("signature", 0x8B467C12, 1, 0, 2, r"\winnt")),
        (r"MULTI()DISK()RDISK()PARTITION(1)\W", ("multi", 0, 0, 0, 1, r"\W")),
        ("multi(0)disk(0)rdisk(0)partition(1)", ("multi", 0, 0, 0, 1, "")),
        (r"C:\WINDOWS", None),
        (r"multi(8b)disk(0)rdisk(0)partition(1)\W", None),
        (r"multi(0)disk(0)rdisk(0)partition(99999)\W", None),
        (r"multi(0)disk(0)rdisk(0)partition(" + "²" + r")\W", None),
    ],
)  # fmt: skip
def test_arc_paths(path: str, arc: tuple[str, int, int, int, int, str] | None) -> None:
    found = parse_arc_path(path)
    assert found == (arc and ArcPath(ArcScheme(arc[0]), *arc[1:]))


def test_primary_partitions_are_counted_before_logical_ones() -> None:
    assert [p.number for p in arc_partitions(DISK)] == [1, 2, 4, 5, 6]
    place = PlacedPartition(0, LOGICAL[0])
    arc = arc_path_of((DISK, DATA), place, r"\WINDOWS")
    assert str(arc) == r"multi(0)disk(0)rdisk(0)partition(4)\WINDOWS"
    assert arc is not None
    assert find_partition((DISK, DATA), arc) == place


def test_a_disk_of_one_volume_is_its_first_partition() -> None:
    whole = Partition(0, 0, 10**9, "volume")
    assert arc_partitions(PartitionTable(TableKind.NONE, (whole,))) == (whole,)


def test_gpt_partitions_have_no_arc_path() -> None:
    table = PartitionTable(TableKind.GPT, (PRIMARY,), "8f2d7f3a-52c1-4f0e-9a64-0e1d5a7c9b01")
    assert arc_path_of((table,), PlacedPartition(0, PRIMARY), r"\WINDOWS") is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"multi(0)disk(0)rdisk(0)partition(2)\WINDOWS", ()),
        (r"multi(0)disk(0)rdisk(0)partition(2)\windows" + "\\", ()),
        (r"signature(d350d351)disk(0)rdisk(0)partition(2)\WINDOWS", (BootIniFault.OWN_DRIVER,)),
        (r"signature(d350d352)disk(0)rdisk(0)partition(2)\WINDOWS",
         (BootIniFault.OWN_DRIVER, BootIniFault.DISK_ABSENT)),
        (r"scsi(0)disk(0)rdisk(0)partition(2)\WINDOWS", (BootIniFault.OWN_DRIVER,)),
        (r"multi(0)disk(0)rdisk(1)partition(1)\WINDOWS", (BootIniFault.OTHER_DISK,)),
        (r"multi(0)disk(0)rdisk(2)partition(1)\WINDOWS", (BootIniFault.DISK_ABSENT,)),
        (r"multi(0)disk(0)rdisk(0)partition(1)\WINDOWS", (BootIniFault.OTHER_PARTITION,)),
        (r"multi(0)disk(0)rdisk(0)partition(6)\WINDOWS", (BootIniFault.PARTITION_ABSENT,)),
        (r"multi(0)disk(0)rdisk(0)partition(0)\WINDOWS", (BootIniFault.PARTITION_ABSENT,)),
        (r"multi(0)disk(0)rdisk(0)partition(2)\WINNT", (BootIniFault.OTHER_DIRECTORY,)),
        (r"C:\WINDOWS", (BootIniFault.OTHER_SYSTEM,)),
    ],
)  # fmt: skip
def test_what_keeps_windows_from_starting(path: str, expected: tuple[BootIniFault, ...]) -> None:
    assert faults(path) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", BootIniFault.NO_ENTRY),
        (b"[operating systems]\r\n", BootIniFault.NO_ENTRY),
        (XP.decode("cp850").encode("utf-16"), BootIniFault.ENCODING),
        (b"\xef\xbb\xbf" + XP, BootIniFault.ENCODING),
    ],
)
def test_what_cannot_be_read_is_told(content: bytes, expected: BootIniFault) -> None:
    assert boot_ini_faults(parse_boot_ini(content), (DISK, DATA), WINDOWS, r"\WINDOWS") == (
        expected,
    )


def test_only_the_starting_entry_is_mended() -> None:
    arc = ArcPath(ArcScheme.MULTI, 0, 0, 1, 10, r"\WINDOWS.0")
    mended = with_default_path(parse_boot_ini(XP), arc)
    old, new = rb"multi(0)disk(0)rdisk(0)partition(2)\WINDOWS", str(arc).encode()
    assert XP.count(old) == 2
    assert mended == XP.replace(old, new)
    entry = parse_boot_ini(mended).starting
    assert entry is not None
    assert (entry.arc, entry.listed) == (arc, True)
    assert entry.switches == parse_boot_ini(XP).entries[1].switches


def test_of_equal_entries_the_first_is_mended() -> None:
    path = rb"multi(0)disk(0)rdisk(0)partition(1)\WINNT"
    content = b"[operating systems]\n%s=a /x\n%s=b\n[boot loader]\ndefault=%s" % (path, path, path)
    arc = ArcPath(ArcScheme.MULTI, 0, 0, 0, 2, r"\WINNT")
    new = str(arc).encode()
    assert with_default_path(parse_boot_ini(content), arc) == (
        b"[operating systems]\n%s=a /x\n%s=b\n[boot loader]\ndefault=%s" % (new, path, new)
    )


def test_mending_behind_a_byte_order_mark() -> None:
    arc = ArcPath(ArcScheme.MULTI, 0, 0, 0, 1, r"\WINDOWS")
    plain = with_default_path(parse_boot_ini(XP), arc)
    assert with_default_path(parse_boot_ini(b"\xef\xbb\xbf" + XP), arc) == b"\xef\xbb\xbf" + plain


@pytest.mark.parametrize("content", [b"", XP.decode("cp850").encode("utf-16")])
def test_what_cannot_be_mended_is_refused(content: bytes) -> None:
    arc = ArcPath(ArcScheme.MULTI, 0, 0, 0, 1, r"\WINDOWS")
    with pytest.raises(GuestRefusedError, match=r"boot\.ini") as refused:
        with_default_path(parse_boot_ini(content), arc)
    assert str(arc) in refused.value.remedy


def test_size_is_bounded() -> None:
    line = b'multi(0)disk(0)rdisk(0)partition(1)\\W="x"\n'
    ini = parse_boot_ini(b"[operating systems]\n" + line * (4 * MAX_SIZE // len(line)))
    assert len(ini.entries) == 256


PIECES = st.sampled_from(
    [b"[boot loader]\n", b"[operating systems]\r\n", b"default=", b"timeout=", b"=", b'"', b"/",
     rb"multi(0)disk(0)rdisk(0)partition(1)\WINDOWS", b"\n", b"\xff\xfe", b"signature(", b" "]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=6), max_size=30).map(b"".join))
def test_any_text_is_read_and_mended(content: bytes) -> None:
    ini = parse_boot_ini(content)
    arc = ArcPath(ArcScheme.MULTI, 0, 0, 0, 3, r"\W")
    boot_ini_faults(ini, (DISK,), WINDOWS, r"\WINDOWS")
    if ini.starting is not None and ini.encoding is not Encoding.UTF16:
        mended = parse_boot_ini(with_default_path(ini, arc))
        assert mended.starting is not None
        assert mended.starting.arc == arc
        assert len(mended.entries) == len(ini.entries)
