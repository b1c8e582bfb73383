"""INF files that mean harm: each kind by name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from fixtures.inf_texts import X86, inf_text, windows
from offline_mig.drivers.inf import MAX_INF_SIZE, InfError, parse_inf
from offline_mig.drivers.install import MAX_REGISTRY_SIZE
from offline_mig.drivers.package import DriverPackage, read_package

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
    "files that are looked up": lambda n: (
        "[Files]\n"
        + "".join(f"f{number}\n" for number in range(n))
        + "[SourceDisksFiles]\n"
        + "".join(f"f{number}=1\n" for number in range(n))
    ),
    "destinations": lambda n: (
        "".join(f"[inst]\nCopyFiles=c{number}\n[c{number}]\nf\n" for number in range(n))
        + "[DestinationDirs]\n"
        + "".join(f"c{number}=12\n" for number in range(n))
    ),
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
def test_hundreds_of_kilobytes_of_anything_end(line: str) -> None:
    text = "[Version]\n" + line * (MAX_INF_SIZE // 4 // len(line))
    start = time.process_time()
    with pytest.raises(InfError):
        read_package("test.inf", text.encode(), windows("xp", X86))
    assert time.process_time() - start < GENEROUS
