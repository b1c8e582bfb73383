"""INF files, catalogues and ISO images that mean harm: each kind by name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asn1crypto import parser

from fixtures.code_signing import authority, made_roots, signed_catalogue
from fixtures.inf_texts import X86, inf_text, windows
from fixtures.iso9660_bytes import (
    ROOT_EXTENT,
    SECTOR,
    Record,
    directory,
    iso_image,
    rock_ridge,
    symbolic_link,
)
from offline_mig.drivers import iso
from offline_mig.drivers.catalogue import CatalogueError, read_catalogue
from offline_mig.drivers.code_signature import MAX_SIGNED_SIZE
from offline_mig.drivers.inf import MAX_INF_SIZE, InfError, parse_inf
from offline_mig.drivers.install import MAX_REGISTRY_SIZE
from offline_mig.drivers.media import open_media
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.errors import SourceUnreadableError

W7 = windows("w7")
#: Seconds of processor time; what these tests are about took minutes, or did not end.
GENEROUS = 15


def read(text: str) -> DriverPackage:
    return read_package("test.inf", text.encode(), W7)


def refusal(text: str) -> str:
    """Return why an INF is refused, which must not take long."""
    assert len(text) <= MAX_INF_SIZE
    start = time.process_time()
    with pytest.raises(InfError) as caught:
        read(text)
    assert time.process_time() - start < GENEROUS
    return caught.value.message


# --- sections that name each other ------------------------------------------------------------


def test_circles_of_needs_end() -> None:
    """Each section counts once, however it is named."""
    circle = "Needs = INST, one\n[one]\nNeeds = two, One\nfirst = 1\n[two]\nNeeds = one\nlast = 2\n"
    package = read(inf_text().replace("[inst]\n", f"[inst]\n{circle}[inst]\n"))
    assert package.installs[0].directives == (("first", "1"), ("last", "2"))
    assert package.installs[0].needs_elsewhere == ()


def test_circles_of_include_are_not_followed() -> None:
    """Other INF files are named and never read, be it this one again."""
    package = read(inf_text().replace("[inst]\n", "[inst]\nInclude = test.inf, test.inf, a.inf\n"))
    assert package.installs[0].includes == ("test.inf", "a.inf")


def test_strings_that_are_made_of_themselves_end() -> None:
    """Substitution is done once: what comes out of it is text."""
    inf = parse_inf(b"[s]\nk = %a%\nl = %b%\n[Strings]\na = %a%%a%\nb = %c%\nc = %b%\n", "x.inf")
    assert (inf.text("s", "k"), inf.text("s", "l")) == ("%a%%a%", "%c%")


# --- names that lead elsewhere ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..", ".", " . ", "..\\x", "a/b", "/x", "C:x", "\\\\host\\x", "a:b", "x\x00y", "a*"]
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("viostor.sys,,,2", '"{}",,,2'),
        ("viostor.sys,,,2", 'viostor.sys,"{}",,2'),
        ("CopyFiles=Files", 'CopyFiles="@{}"'),
        ("CatalogFile=viostor.cat", 'CatalogFile="{}"'),
    ],
)
def test_file_names_stay_in_their_directory(old: str, new: str, name: str) -> None:
    assert "is not the plain name of a file" in refusal(inf_text().replace(old, new.format(name)))


@pytest.mark.parametrize(
    "path", ["..", "a\\..\\b", "\\..\\", "C:\\x", "a/../../b", "a\\\\b", ". ."]
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Files = 12", 'Files = 12,"{}"'),
        ("viostor.sys = 1,,", 'viostor.sys = 1,"{}"'),
        ('1 = %Disk%,,,""', '1 = %Disk%,,,"{}"'),
    ],
)
def test_directories_stay_below_theirs(old: str, new: str, path: str) -> None:
    text = inf_text()
    assert old in text
    assert "is not the plain name of a file" in refusal(text.replace(old, new.format(path)))


@pytest.mark.parametrize("name", ["..\\x", "a/b", "\\Registry\\Machine"])
def test_service_names_are_no_paths(name: str) -> None:
    text = inf_text().replace("AddService = viostor", f'AddService = "{name}"')
    assert "cannot be a service's name" in refusal(text)


#: A path of many directories.
DEEP = "\\".join("a" for _ in range(1900))

# --- little text, much work -------------------------------------------------------------------


def installs(count: int, lines: str) -> str:
    """Return an INF with devices that have an install section each, all with the same lines."""
    models = "".join(f"d = i{number}, ROOT\\X\n" for number in range(count))
    sections = "".join(f"[i{number}]\n{lines}\n" for number in range(count))
    return inf_text(models=models, extra=sections)


def spellings(count: int) -> str:
    """Return one name in many letter cases."""
    letters = "abcdefghijkl"
    return ",".join(
        "".join(letter.upper() if number >> at & 1 else letter for at, letter in enumerate(letters))
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: installs(300, "Needs=b") + "[b]\n" + "a=b\n" * 5000, "too large"),
        (lambda: installs(300, "CopyFiles=b") + "[b]\n" + ",x\n" * 5000, "too large"),
        (lambda: installs(300, "DelReg=b") + "[b]\n" + "HKR\n" * 5000, "too large"),
        (
            lambda: (
                installs(4000, "AddReg=b")
                + "[b]\n"
                + "HKR,,a,0,%long%\n" * 49
                + f"[Strings]\nlong={'x' * 4000}\n"
            ),
            "registry values add up to too much",
        ),
        (
            lambda: (
                installs(4000, "AddReg=b")
                + "[b]\n"
                + "HKR,,a,0,%long%\n" * 49
                + f"[Strings]\nlong={'%10%' * 1000}\n"
            ),
            "registry values add up to too much",
        ),
        (
            lambda: (
                inf_text(extra="[Manufacturer]\n" + "m=Maker,NTamd64.6.1\n" * 5000)
                + "[Maker.NTamd64.6.1]\n"
                + "x\n" * 5000
            ),
            "more than 50000 models",
        ),
        (
            lambda: (
                installs(1, "CopyFiles=deep")
                + f"[DestinationDirs]\ndeep=12,{DEEP}\n[deep]\n"
                + "f\n" * 30_000
            ),
            "longer than Windows allows",
        ),
        (
            lambda: (
                installs(1, "CopyFiles=deep")
                + f"[SourceDisksFiles]\nf=1,{DEEP}\n[deep]\n"
                + "f\n" * 30_000
            ),
            "longer than Windows allows",
        ),
    ],
    ids=[
        "needed lines", "files without names", "deletions", "long values",
        "directories in values", "manufacturers", "deep targets", "deep sources",
    ],
)  # fmt: skip
def test_sections_that_many_share_are_bounded(text: Callable[[], str], message: str) -> None:
    assert message in refusal(text())


def test_a_section_named_in_every_letter_case_is_one() -> None:
    text = installs(1, f"CopyFiles={spellings(4096)}") + "[abcdefghijkl]\n" + "f\n" * 1000
    assert len(read(text).installs[0].copy_files) == 1000


def test_registry_values_of_real_drivers_are_far_from_the_bound() -> None:
    lines = "HKR,,a,0,%long%\n" * 1000 + f"[Strings]\nlong={'x' * 4000}\n"
    package = read(inf_text(extra=f"[ServiceReg]\n{lines}"))
    values = package.services[0].registry
    assert len(values) == 1001
    assert sum(len(line.value.data) for line in values if line.value) < MAX_REGISTRY_SIZE


_GROWING = {
    "lines": lambda n: "[x]\n" + "a\n" * n,
    "sections": lambda n: "".join(f"[{number}]\n" for number in range(n)),
    "one section again and again": lambda n: "[x]\na\n" * n,
    "keys": lambda n: "[x]\n" + "a=b\n" * n,
    "fields": lambda n: "[x]\na=" + "b," * n,
    "continuations": lambda n: "[x]\na=b" + ",\\\n" * n,
    "continued comments": lambda n: "[x]\na=b" + "\\;c\n" * n,
    "unended quotes": lambda n: "[x]\n" + 'a="b\n' * n,
    "tokens": lambda n: "[x]\na=" + "%t%," * n + "\n[Strings]\nt=b\n",
    "strings": lambda n: "[Strings]\n" + "".join(f"t{number}=b\n" for number in range(n)),
    "manufacturers": lambda n: "[Manufacturer]\n" + "m=Other,NTamd64.6.1\n" * n,
    "decorations": lambda n: "[Manufacturer]\nm=Other" + ",NTamd64.6.1" * n,
    "models": lambda n: "[Maker.NTamd64.6.1]\n" + "d=inst,ROOT\\X\n" * n,
    "compatible ids": lambda n: "[Maker.NTamd64.6.1]\nd=inst" + ",ROOT\\X" * n,
    "devices": lambda n: (
        "[Maker.NTamd64.6.1]\n"
        + "".join(f"d=i{number},ROOT\\X\n" for number in range(n))
        + "".join(f"[i{number}]\nCopyFiles=Files\n" for number in range(n))
    ),
    "a chain of needs": lambda n: (
        "[inst]\nNeeds=n0\n" + "".join(f"[n{number}]\nNeeds=n{number + 1}\n" for number in range(n))
    ),
    "services": lambda n: (
        "[inst.Services]\n" + "".join(f"AddService=s{number},0,Service\n" for number in range(n))
    ),
    "files": lambda n: "[Files]\n" + "".join(f"f{number}\n" for number in range(n)),
    "disks": lambda n: (
        "[SourceDisksFiles]\n" + "".join(f"viostor.sys={number}\n" for number in range(n))
    ),
    "values": lambda n: "[ServiceReg]\n" + "HKR,,a,1,00,01\n" * n,
    "bytes of a value": lambda n: "[ServiceReg]\nHKR,,a,1" + ",00" * n,
}


@pytest.mark.parametrize("kind", _GROWING)
def test_work_grows_with_the_text(kind: str) -> None:
    """Twice the text is about twice the calls: nothing is looked through once for each of many."""
    small, large = (calls(inf_text(extra=_GROWING[kind](count))) for count in (150, 300))
    constant = calls(inf_text())
    assert large - constant < 2.4 * (small - constant)


def calls(text: str) -> int:
    """Return how many calls reading an INF takes, of Python's own functions too."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    data = text.encode()
    sys.setprofile(called)
    try:
        read_package("test.inf", data, W7)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("line", ["a\n", "\\\n", "["])
def test_a_megabyte_of_anything_ends(line: str) -> None:
    text = "[Version]\n" + line * ((MAX_INF_SIZE - 10) // len(line))
    start = time.process_time()
    with pytest.raises(InfError):
        read_package("test.inf", text.encode(), windows("xp", X86))
    assert time.process_time() - start < GENEROUS


# --- catalogues -------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """Return sequences within sequences, encoded."""
    value = b"\x05\0"
    for _ in range(depth):
        value = tagged(0x30, value)
    return value


def tagged(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents


def with_one_replaced(encoded: bytes, new: bytes) -> Iterator[bytes]:
    """Yield an ASN.1 value with each of the values in it in turn replaced, lengths put right."""
    at = 0
    while at < len(encoded):
        _, method, _, header, contents, trailer = parser.parse(
            encoded[at : at + parser.peek(encoded[at:])]
        )
        end = at + len(header) + len(contents) + len(trailer)
        yield encoded[:at] + new + encoded[end:]
        if method == 1:
            for changed in with_one_replaced(contents, new):
                yield encoded[:at] + tagged(header[0], changed) + encoded[end:]
        at = end


def test_deep_nesting_anywhere_in_a_catalogue() -> None:
    catalogue = signed_catalogue(authority().issue("vendor"), {"a.inf": b"text"})
    deep = nested(3000)
    count = 0
    for changed in with_one_replaced(catalogue, deep):
        count += 1
        try:
            read = read_catalogue(changed, made_roots())
        except CatalogueError as error:
            assert str(error)
        else:
            assert read.signature is not None or read.problem
    assert count > 100


@pytest.mark.parametrize(
    "data",
    [
        nested(3000),
        b"\x30\x80" * 50_000,  # lengths that are not given, never closed
        b"\x30\x80" * 50_000 + b"\0\0" * 50_000,
        b"\x30\x84\xff\xff\xff\xff\x06\x09",  # four gigabytes
        b"\x30\x88" + b"\xff" * 8,
        b"\x30\xff" + b"\xff" * 127,
        b"\x1f" + b"\xff" * 1_000_000,  # a tag without an end
    ],
    ids=["nested", "open", "closed", "4 GiB", "2^64", "2^1016", "tag"],
)
def test_lengths_and_depths_that_lie(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(CatalogueError, match="damaged"):
        read_catalogue(data)
    assert time.process_time() - start < GENEROUS


def test_catalogues_of_many_megabytes_are_not_read() -> None:
    with pytest.raises(CatalogueError, match="more than any signature"):
        read_catalogue(tagged(0x30, b"\x30\0" * MAX_SIGNED_SIZE))


# --- ISO images -------------------------------------------------------------------------------

FOUR_GIB = 0xFFFFFFFF
FILES = {"viostor.inf": inf_text().encode(), "viostor.sys": bytes(5000)}


def record(name: str, extent: int, size: int) -> Record:
    return Record(f"{name.upper()};1".encode(), extent, size, 0, rock_ridge(name, 0o100644))


def written(tmp_path: Path, *extra: Record) -> Path:
    path = tmp_path / "a.iso"
    path.write_bytes(iso_image(FILES, extra=extra))
    return path


def test_an_honest_image_is_read(tmp_path: Path) -> None:
    """The images of the tests below differ from this one in a single record."""
    media = open_media(written(tmp_path))
    assert media.read(list(media.files.values())) == FILES


@pytest.mark.parametrize(
    "lie",
    [
        record("big.inf", 21, FOUR_GIB),
        record("big.sys", 21, FOUR_GIB),
        record("far.inf", FOUR_GIB, 100),
        record("far.sys", FOUR_GIB, FOUR_GIB),
        directory("big", 21, FOUR_GIB),
        directory("far", FOUR_GIB),
        directory("loop", ROOT_EXTENT),
        directory("file", 21),
        Record(b"X.INF;1", 21, 10, 0, b"NM\xff\1\0abc"),
        Record(b"X.INF;1", 21, 10, 0, b"CE\x1c\1" + b"\x14" + bytes(15) + b"\xff" * 8),
    ],
    ids=[
        "INF of 4 GiB", "file of 4 GiB", "INF beyond the end", "file beyond the end",
        "directory of 4 GiB", "directory beyond the end", "directory in itself",
        "file for a directory", "long entry", "entry elsewhere",
    ],
)  # fmt: skip
def test_records_that_lie(lie: Record, tmp_path: Path) -> None:
    path = written(tmp_path, lie)
    start = time.process_time()
    with pytest.raises(SourceUnreadableError) as caught:
        media = open_media(path)
        media.read(list(media.files.values()))
    assert time.process_time() - start < GENEROUS
    assert caught.value.remedy


def test_an_image_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that lies over the descriptors makes libarchive list for ever."""
    monkeypatch.setattr(iso, "MAX_ENTRIES", 1000)
    with pytest.raises(SourceUnreadableError, match="more files than any collection"):
        open_media(written(tmp_path, record("head.sys", 0, 16 * SECTOR)))


@pytest.mark.parametrize("name", ["../../x.inf", "/etc/x.inf", "a/../../x.inf", "a\\..\\x.inf"])
def test_names_that_lead_out_of_the_image(name: str, tmp_path: Path) -> None:
    hostile = Record(b"X.INF;1", 23, 10, 0, rock_ridge(name, 0o100644))
    media = open_media(written(tmp_path, hostile, symbolic_link("y.inf", "/etc")))
    assert [inf.path for inf in media.infs] == ["viostor.inf"]
    assert set(media.files.values()) == set(FILES)
