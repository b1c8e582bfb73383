"""Catalogues and ISO images that mean harm: each kind by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import parser

from fixtures.code_signing import authority, made_roots, signed_catalogue
from fixtures.inf_texts import inf_text
from fixtures.iso9660_bytes import (
    ROOT_EXTENT,
    SECTOR,
    Record,
    directory,
    iso_image,
    rock_ridge,
    symbolic_link,
)
from offline_mig.drivers.catalogue import CatalogueError, read_catalogue
from offline_mig.drivers.code_signature import MAX_SIGNED_SIZE
from offline_mig.drivers.media import open_media
from offline_mig.errors import SourceUnreadableError

#: Seconds of processor time; what these tests are about took minutes, or did not end.
GENEROUS = 15

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


def test_an_image_without_an_end(tmp_path: Path) -> None:
    """A file that lies over the descriptors makes libarchive list for ever."""
    path = written(tmp_path, record("head.sys", 0, 16 * SECTOR))
    with pytest.raises(SourceUnreadableError, match="it lists more files than it has room for"):
        open_media(path)


@pytest.mark.parametrize("name", ["../../x.inf", "/etc/x.inf", "a/../../x.inf", "a\\..\\x.inf"])
def test_names_that_lead_out_of_the_image(name: str, tmp_path: Path) -> None:
    hostile = Record(b"X.INF;1", 23, 10, 0, rock_ridge(name, 0o100644))
    media = open_media(written(tmp_path, hostile, symbolic_link("y.inf", "/etc")))
    assert [inf.path for inf in media.infs] == ["viostor.inf"]
    assert set(media.files.values()) == set(FILES)
