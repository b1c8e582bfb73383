"""INF syntax: one case for each trap that real files set."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_mig.drivers.inf import MAX_FIELD_LENGTH, MAX_INF_SIZE, InfError, InfFile, parse_inf


def parse(text: str) -> InfFile:
    return parse_inf(text.encode("latin-1"), "test.inf")


def only(text: str, strings: str = "") -> tuple[str | None, tuple[str, ...]]:
    """Return key and fields of the one line that ``text`` is read as."""
    lines = parse(f"[s]\n{text}\n[Strings]\n{strings}\n").lines("s")
    assert len(lines) == 1
    return lines[0].key, lines[0].fields


@pytest.mark.parametrize(
    ("text", "key", "fields"),
    [
        ("a = b", "a", ("b",)),
        ("a=b,c , d", "a", ("b", "c", "d")),
        ("a=", "a", ()),
        ('a=""', "a", ("",)),
        ("a", None, ("a",)),
        ("viostor.sys,,,2", None, ("viostor.sys", "", "", "2")),
        ("AddReg = a,", "AddReg", ("a", "")),
        ("viostor.sys = 1,,", "viostor.sys", ("1", "", "")),
        ('1 = Disk,,,""', "1", ("Disk", "", "", "")),
        ("= b", "", ("b",)),
        # The first comma ends the hunt for a key.
        ("HKR,,x,,a=b", None, ("HKR", "", "x", "", "a=b")),
        ("a = b=c", "a", ("b=c",)),
        # Comments, and what only looks like one.
        ("a = b ; c", "a", ("b",)),
        ("a = b;c,d", "a", ("b",)),
        ('a = "b;c"', "a", ("b;c",)),
        ('Tx = "Tx Enabled";', "Tx", ("Tx Enabled",)),
        # Quotes.
        ('a = "b, c"', "a", ("b, c",)),
        ('a = "say ""b"" now"', "a", ('say "b" now',)),
        ('a = """"', "a", ('"',)),
        ('a = " b "', "a", (" b ",)),
        ('a = b "c" d', "a", ("b c d",)),
        ('"a = b" = c', "a = b", ("c",)),
        ('a = "b', "a", ("b",)),
        ('a = "b\\"', "a", ("b\\",)),
        # Blanks: those inside stay.
        ("HKR,Interrupt Management,,0x10", None, ("HKR", "Interrupt Management", "", "0x10")),
        ("\t a\t=\t b \t", "a", ("b",)),
        ("a = b\0", "a", ("b",)),
        ("a = \xa0b", "a", ("\xa0b",)),
        # Continuation.
        ("a = b, \\\n  c", "a", ("b", "c")),
        ('a = b, \\\n    "c;d"', "a", ("b", "c;d")),
        ("a = b, \\ ; why\n  c", "a", ("b", "c")),
        ("a = b,\\  \r\n c", "a", ("b", "c")),
        ("a \\\n = \\\n b", "a", ("b",)),
        ("HKR,,C,0x10000, \\\n;\n", None, ("HKR", "", "C", "0x10000", "")),
        ("a = C:\\x\\y", "a", ("C:\\x\\y",)),
        ("a = \\\\server\\share", "a", ("\\\\server\\share",)),
        ("a = b ; c \\\n", "a", ("b",)),
        ('a = "b \\\n', "a", ("b \\",)),
    ],
)
def test_line(text: str, key: str | None, fields: tuple[str, ...]) -> None:
    assert only(text) == (key, fields)


def test_lone_semicolon_after_a_continuation_does_not_swallow_the_next_section() -> None:
    inf = parse("[a]\nHKR,,CoInstallers32,0x00010000, \\\n;\n\n[b]\nx = 1\n")
    assert [line.fields for line in inf.lines("a")] == [
        ("HKR", "", "CoInstallers32", "0x00010000", "")
    ]
    assert inf.text("b", "x") == "1"


@pytest.mark.parametrize(
    ("text", "strings", "expected"),
    [
        ("%a%", 'A = "x"', "x"),
        ("%RHAT% %QXL%", 'RHAT = "Red Hat"\nQXL = "QXL GPU"', "Red Hat QXL GPU"),
        ("%kvmnet5.DeviceDesc%", 'kvmnet5.devicedesc = "x"', "x"),
        ("%10M%", '10M = "ten"', "ten"),
        ("%Enable*%", 'Enable* = "on"', "on"),
        ("%a b%", 'a b = "x"', "x"),
        ("%unknown%", "", "%unknown%"),
        ("50%", "", "50%"),
        ("100%%", "", "100%"),
        ('"%%SystemRoot%%\\a;%%SystemRoot%%\\b"', "", "%SystemRoot%\\a;%SystemRoot%\\b"),
        ("%a%", "a = %b%\nb = x", "%b%"),
        ("%a%", 'a = "x"\na = "y"', "x"),
        ("%a%", "a = x, y", "x"),
        # A directory identifier, whatever the strings say.
        ("%12%\\x.sys", "12 = wrong", "%12%\\x.sys"),
    ],
)
def test_substitution(text: str, strings: str, expected: str) -> None:
    assert only(f"k = {text}", strings)[1] == (expected,)


def test_substitution_in_keys_keeps_what_was_written() -> None:
    (line,) = parse('[s]\n%V% = %W%\n[Strings]\nv = "Maker"\nw = models').lines("s")
    assert (line.key, line.fields) == ("Maker", ("models",))
    assert (line.raw_key, line.raw_fields) == ("%V%", ("%W%",))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ("[Strings]\na=plain\n[Strings.0409]\na=us", "us"),
        ("[Strings.0409]\na=us\n[Strings]\na=plain", "us"),
        ("[Strings.0407]\na=de\n[Strings]\na=plain", "plain"),
        ("[Strings.0009]\na=en\n[Strings]\na=plain", "en"),
        ("[Strings.0409]\nb=us\n[Strings]\na=plain", "plain"),
    ],
)
def test_localised_strings(sections: str, expected: str) -> None:
    assert parse(f"[s]\nk = %a%\n{sections}").text("s", "k") == expected


def test_repeated_sections_are_one_in_order_and_names_ignore_case() -> None:
    inf = parse("[A]\nx = 1\n[b]\n[a]\nX = 2\ny = 3\n[ A ] ; again\nx = 4\n")
    assert [line.text(0) for line in inf.lines_for("a", "x")] == ["1", "2", "4"]
    assert inf.has("B")
    assert not inf.has("c")
    assert inf.lines("c") == ()
    assert inf.text("A", "Y") == "3"
    assert inf.lines("a")[-1].number == 8


@pytest.mark.parametrize(
    "data",
    [
        "[s]\nk = Ä\n".encode("utf-16"),
        b"\xff\xfe" + "[s]\r\nk = Ä\r\n".encode("utf-16-le"),
        b"\xfe\xff" + "[s]\r\nk = Ä\r\n".encode("utf-16-be"),
        "[s]\r\nk = Ä\r\n".encode("utf-16-le"),
        "[s]\nk = Ä\n".encode("utf-8-sig"),
        "[s]\nk = Ä\n".encode("cp1252"),
    ],
)
def test_encodings(data: bytes) -> None:
    assert parse_inf(data, "x.inf").text("s", "k") == "Ä"


def test_several_code_pages_in_one_file_lose_nothing() -> None:
    data = (
        b'[s]\nk = %a%\n[Strings]\na = "plain"\n[Strings.0407]\na = "'
        + "Gerät".encode("cp1252")
        + b'"\n[Strings.0411]\na = "'
        + "装置".encode("cp932")
        + b'"\n'
    )
    inf = parse_inf(data, "x.inf")
    assert inf.text("s", "k") == "plain"
    assert inf.text("strings.0411", "a").encode("latin-1") == "装置".encode("cp932")


def test_continuation_at_the_end_of_the_file() -> None:
    assert parse("[s]\na = b, \\").lines("s")[0].fields == ("b", "")


def test_line_ends_and_end_of_text() -> None:
    inf = parse("[s]\r\na = 1\r\n\r\nb = 2\nc = 3\x1a\nd = 4\n[t")
    assert [line.key for line in inf.lines("s")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = b\n[s]\n", "test.inf, line 1: there is text before the first section."),
        (
            "; fine\n\n[s\na = b\n",
            "test.inf, line 3: a section name has no closing bracket.",
        ),
        ("[s]\nk = " + "x" * (MAX_FIELD_LENGTH + 1), "test.inf, line 2: a field is too long."),
        (
            "[s]\nk = " + "%a%" * 3 + "\n[Strings]\na = " + "x" * 2000,
            "test.inf, line 2: a field is too long.",
        ),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InfError) as caught:
        parse(text)
    assert caught.value.message == message
    assert caught.value.remedy


def test_size_is_bounded() -> None:
    with pytest.raises(InfError, match="no INF has more"):
        parse_inf(b";" * (MAX_INF_SIZE + 1), "x.inf")


@pytest.mark.parametrize(
    "hostile",
    [
        "[s]\n" + "\\" * 900_000 + "x",
        "[s]\n" + "\\ " * 400_000 + "x",
        "[s]\n" + '"' * 900_000,
        "[s]\n" + '"a"' * 300_000,
        "[s]\n" + "%" * 900_000,
        "[s]\n" + "a,\\\n" * 200_000,
        "[s]\n" + " " * 900_000 + "x",
        "[]\n" * 200_000,
        "[s]\nk = " + "%a%," * 200_000 + "\n[Strings]\na = " + "x" * 4000,
        "[s]\nk = " + "%a%" * 200_000 + "\n[Strings]\na = " + "x" * 4000,
    ],
)
def test_hostile_text_ends_soon(hostile: str) -> None:
    """Each of these took minutes or gigabytes with a careless pattern or substitution."""
    try:
        parse(hostile)
    except InfError as error:
        assert "too" in error.message


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InfError):
        parse_inf(data, "x.inf")


@given(st.text(alphabet='[]=",;%\\ \n\r\tab.', max_size=200))
def test_any_syntax_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InfError):
        parse_inf(text.encode(), "x.inf")


# --- what is written must be read again -----------------------------------------------------

_names = st.text(alphabet="abcXYZ019.*_- ", min_size=1, max_size=12).map(str.strip).filter(bool)
_texts = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"),
    max_size=30,
)
_lines = st.tuples(st.none() | _names, st.lists(_texts, min_size=1, max_size=5))
_sections = st.dictionaries(_names, st.lists(_lines, max_size=5), max_size=5)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').replace("%", "%%") + '"'


@given(_sections, st.sampled_from(["\n", "\r\n"]), st.sampled_from([", ", ",", ", \\\n  "]))
def test_round_trip(
    sections: dict[str, list[tuple[str | None, list[str]]]], end: str, comma: str
) -> None:
    text = ""
    expected: dict[str, list[tuple[str | None, tuple[str, ...]]]] = {}
    for name, lines in sections.items():
        text += f"[{name}] ; comment{end}"
        merged = expected.setdefault(name.lower(), [])
        for key, fields in lines:
            start = f"{_quoted(key)} = " if key is not None else ""
            text += start + comma.join(map(_quoted, fields)) + f" ; comment{end}"
            merged.append((key, tuple(fields)))
    inf = parse_inf(text.encode("latin-1"), "x.inf")
    read = {
        name: [(line.key, line.fields) for line in lines] for name, lines in inf.sections.items()
    }
    assert read == expected
