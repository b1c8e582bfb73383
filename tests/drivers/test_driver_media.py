"""Directories and ISO images of drivers, the damaged and the hostile among them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.inf_texts import inf_text
from offline_mig.drivers import archive, iso, listing, tree
from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.media import DriverMedia, open_media
from offline_mig.errors import HostNotReadyError, SourceUnreadableError

INF = inf_text().encode()
SYS = bytes(range(256)) * 100
PLACE = "viostor/w10/amd64"

type_of = {"level 4": ["-iso-level", "4", "-r"], "Joliet": ["-J"], "both": ["-J", "-r"]}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def genisoimage(source: Path, target: Path, *options: str) -> Path:
    subprocess.run(
        ["genisoimage", "-quiet", *(options or type_of["level 4"]), "-o", target, source],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(
        tmp_path / "drivers",
        {
            f"{PLACE}/viostor.inf": INF,
            f"{PLACE}/viostor.sys": SYS,
            f"{PLACE}/Viostor.cat": b"catalogue",
            "readme.txt": b"text",
        },
    )


def as_directory(source: Path, _: Path) -> Path:
    return source


def as_iso(*options: str) -> Callable[[Path, Path], Path]:
    return lambda source, target: genisoimage(source, target / "virtio-win.iso", *options)


def as_xorriso(source: Path, target: Path) -> Path:
    target = target / "virtio-win.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-o", target, source]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.mark.parametrize(
    "form",
    [as_directory, *(as_iso(*options) for options in type_of.values()), as_xorriso],
    ids=["directory", *type_of, "xorriso"],
)
def test_listing_and_reading(
    source: Path, tmp_path: Path, form: Callable[[Path, Path], Path]
) -> None:
    media = open_media(form(source, tmp_path))
    (inf,) = media.infs
    assert (inf.path, inf.name, inf.directory) == (f"{PLACE}/viostor.inf", "viostor.inf", PLACE)
    assert (inf.data, inf.problem) == (INF, "")
    assert len(media.files) == 4
    found = media.find("VIOSTOR/W10/amd64", "VIOSTOR.CAT")
    assert found == f"{PLACE}/Viostor.cat"
    assert media.find("", "README.TXT") == "readme.txt"
    assert media.find(PLACE, "other") is None
    contents = media.read([found, f"{PLACE}/viostor.sys"])
    assert contents == {found: b"catalogue", f"{PLACE}/viostor.sys": SYS}
    assert media.read([]) == {}
    assert media.name in ("drivers", "virtio-win.iso")


def test_plain_iso_has_upper_case_and_versions(source: Path, tmp_path: Path) -> None:
    media = open_media(genisoimage(source, tmp_path / "a.iso", "-iso-level", "1"))
    path = media.find(PLACE, "viostor.sys")
    assert path == "VIOSTOR/W10/AMD64/VIOSTOR.SYS"
    assert media.read([path]) == {path: SYS}


def test_files_with_several_names_on_an_iso(source: Path, tmp_path: Path) -> None:
    """libarchive gives the data under the first name only; which one that is, is up to it."""
    places = (PLACE, "viostor/2k16/amd64", "viostor/2k19/amd64")
    for place in places[1:]:
        (source / place).mkdir(parents=True)
        for name in ("viostor.inf", "viostor.sys", "Viostor.cat"):
            (source / place / name).hardlink_to(source / PLACE / name)
    media = open_media(genisoimage(source, tmp_path / "a.iso"))
    assert [(inf.directory, inf.data) for inf in media.infs] == [
        (place, INF) for place in sorted(places)
    ]
    for place in places:
        path = media.find(place, "viostor.sys")
        assert path is not None
        assert media.read([path]) == {path: SYS}
    everything = [path for path in media.files.values() if path.endswith(".cat")]
    assert set(media.read(everything).values()) == {b"catalogue"}


def test_compressed_files_of_an_iso(source: Path, tmp_path: Path) -> None:
    write(
        source,
        {
            f"{PLACE}/viostor.sys": SYS * 100,
            f"{PLACE}/zeros.sys": bytes(2_000_000),
            "zeros.inf": INF + bytes(500_000) + INF,
        },
    )
    target = tmp_path / "a.iso"
    command = ["xorriso", "-outdev", target, "-map", source, "/"]
    command += ["-find", "/", "-type", "f", "-exec", "set_filter", "--zisofs", "--"]
    subprocess.run(command, check=True, capture_output=True)
    assert target.stat().st_size < 2_000_000
    media = open_media(target)
    path = f"{PLACE}/viostor.sys"
    assert media.read([path]) == {path: SYS * 100}
    # Whole or not at all: some versions of libarchive lose what follows zeros.
    try:
        contents = media.read([f"{PLACE}/zeros.sys"])
    except SourceUnreadableError as error:
        assert "zeros.sys cannot be read: it has 2000000 bytes" in error.message
    else:
        assert contents == {f"{PLACE}/zeros.sys": bytes(2_000_000)}
    inf = next(inf for inf in media.infs if inf.name == "zeros.inf")
    assert inf.problem if inf.data is None else inf.data == INF + bytes(500_000) + INF


# --- what is no driver source ---------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(SourceUnreadableError) as caught:
        open_media(path)
    assert caught.value.remedy
    assert str(path) in caught.value.message
    return caught.value.message


def test_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.iso")


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\0" * 100_000, b"PK\3\4" + b"x" * 40_000], ids=len
)
def test_not_an_iso(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(content)
    assert "is neither a driver directory nor an ISO image nor an RPM package" in refusal(path)


def test_not_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "is neither" in refusal(path)


def test_without_drivers(tmp_path: Path) -> None:
    source = write(tmp_path / "d", {"a.txt": b""})
    assert "holds no driver packages" in refusal(source)
    assert "holds no driver packages" in refusal(genisoimage(source, tmp_path / "a.iso"))


def test_fake_iso(tmp_path: Path) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(b"\0" * 32768 + b"\1CD001\1" + b"\xff" * 60_000)
    assert "The ISO image" in refusal(path)


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7])
def test_truncated_iso(source: Path, tmp_path: Path, part: float) -> None:
    for number in range(40):
        write(source, {f"viostor/w7/x86/{number}.inf": INF, f"viostor/w7/x86/{number}.sys": SYS})
    path = genisoimage(source, tmp_path / "a.iso")
    size = path.stat().st_size
    os.truncate(path, int(size * part))
    message = refusal(path)
    assert f"is incomplete: it has {int(size * part)} of {size} bytes" in message


def test_iso_that_loses_its_end_after_it_was_listed(source: Path, tmp_path: Path) -> None:
    write(source, {f"{PLACE}/viostor.sys": SYS * 40})
    path = genisoimage(source, tmp_path / "a.iso")
    media = open_media(path)
    os.truncate(path, 500_000)
    with pytest.raises(SourceUnreadableError, match="is incomplete"):
        media.read([f"{PLACE}/viostor.sys"])


def test_iso_that_is_replaced_after_it_was_listed(source: Path, tmp_path: Path) -> None:
    path = genisoimage(source, tmp_path / "a.iso")
    media = open_media(path)
    (source / PLACE / "viostor.sys").unlink()
    genisoimage(source, path)
    with pytest.raises(SourceUnreadableError, match=r"viostor\.sys is no longer there"):
        media.read([f"{PLACE}/viostor.sys"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_closed_files(source: Path, tmp_path: Path) -> None:
    iso_path = genisoimage(source, tmp_path / "a.iso")
    iso_path.chmod(0)
    assert "cannot be read" in refusal(iso_path)
    source.chmod(0)
    assert "cannot be read" in refusal(source)
    source.chmod(0o755)


def test_file_that_goes_away(source: Path) -> None:
    media = open_media(source)
    (source / PLACE / "viostor.sys").unlink()
    with pytest.raises(SourceUnreadableError, match=r"viostor\.sys cannot be read"):
        media.read([f"{PLACE}/viostor.sys"])


# --- one bad file must not hide the others --------------------------------------------------


@pytest.mark.parametrize("form", [as_directory, as_iso()], ids=["directory", "ISO"])
def test_too_large_inf(source: Path, tmp_path: Path, form: Callable[[Path, Path], Path]) -> None:
    write(source, {"big.inf": b";" * (MAX_INF_SIZE + 1), "limit.inf": b";" * MAX_INF_SIZE})
    media = open_media(form(source, tmp_path))
    by_name = {inf.name: inf for inf in media.infs}
    assert by_name["big.inf"].data is None
    assert "larger than" in by_name["big.inf"].problem
    assert by_name["limit.inf"].data == b";" * MAX_INF_SIZE
    assert by_name["viostor.inf"].data == INF


def test_unreadable_inf(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: Path, name: str, limit: int) -> bytes | None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tree, "_content", refuse)
    (inf,) = open_media(source).infs
    assert (inf.data, inf.problem) == (None, "it cannot be read: Permission denied")


@pytest.mark.parametrize("form", [as_directory, as_iso()], ids=["directory", "ISO"])
@pytest.mark.parametrize("limit", ["MAX_FILE_SIZE", "MAX_PACKAGE_SIZE"])
def test_too_large_driver(
    source: Path,
    tmp_path: Path,
    form: Callable[[Path, Path], Path],
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    media = open_media(form(source, tmp_path))
    for module in (tree, iso):
        monkeypatch.setattr(module, limit, len(SYS) - 1)
    with pytest.raises(SourceUnreadableError, match="larger than any driver file"):
        media.read([f"{PLACE}/viostor.sys"])


@pytest.mark.parametrize("form", [as_directory, as_iso()], ids=["directory", "ISO"])
@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_INFS_SIZE"])
def test_too_many_files(
    source: Path,
    tmp_path: Path,
    form: Callable[[Path, Path], Path],
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = form(source, tmp_path)
    for module in (tree, iso):
        monkeypatch.setattr(module, limit, 3)
    assert "more files than any collection of drivers" in refusal(path)


# --- names and links that lead elsewhere ----------------------------------------------------


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a/b.inf", "a/b.inf"),
        ("./a//b.inf", "a/b.inf"),
        ("a..b/c", "a..b/c"),
        ("../a", None),
        ("a/../../b", None),
        ("/etc/passwd", None),
        ("a\\..\\b", None),
        ("a\0b", None),
        ("", None),
        (".", None),
    ],
)
def test_safe_path(path: str, safe: str | None) -> None:
    assert listing.safe_path(path) == safe


def test_hostile_names_and_links_on_an_iso(source: Path, tmp_path: Path) -> None:
    (source / "outside.inf").symlink_to("/etc/passwd")
    (source / "inside.inf").symlink_to(f"{PLACE}/viostor.inf")
    write(source, {"XXXXXXXX/evil.inf": INF, "YY/evil.inf": INF})
    path = genisoimage(source, tmp_path / "a.iso")
    image = path.read_bytes()
    # Rock Ridge names have no fixed place; of these, every one is patched.
    path.write_bytes(image.replace(b"XXXXXXXX", b"../../..").replace(b"YY", b".."))
    listed = subprocess.run(
        ["isoinfo", "-R", "-f", "-i", path], check=True, capture_output=True, text=True
    ).stdout
    assert "/../../../evil.inf" in listed
    assert "/../evil.inf" in listed
    media = open_media(path)
    assert [inf.path for inf in media.infs] == [f"{PLACE}/viostor.inf"]
    assert not any(".." in name for name in media.files)


def test_links_in_a_directory(source: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"w10/amd64/evil.inf": INF})
    (source / "evil.inf").symlink_to(outside / "w10/amd64/evil.inf")
    (source / "evil").symlink_to(outside)
    (source / "dangling.inf").symlink_to("nowhere")
    (source / "circle.inf").symlink_to("circle.inf")
    (source / PLACE / "up").symlink_to("../../..")
    (source / "viostor/2k16").symlink_to("w10")
    (source / "oem.inf").symlink_to(f"{PLACE}/viostor.inf")
    media = open_media(source)
    paths = [inf.path for inf in media.infs]
    assert "oem.inf" in paths
    # One directory with two names is listed under one of them.
    assert sum(path.endswith("/viostor.inf") for path in paths) == 1
    assert not any("evil" in path or "up/" in path for path in media.files)


def test_directory_that_is_a_link_itself(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    assert len(open_media(tmp_path / "link").infs) == 1


def test_names_that_differ_in_letter_case_only(source: Path) -> None:
    write(source, {f"{PLACE}/VIOSTOR.INF": b"[other]\n"})
    (inf,) = open_media(source).infs
    assert inf.name == "VIOSTOR.INF"


def test_names_beyond_ascii(source: Path, tmp_path: Path) -> None:
    write(source, {"Treiber für Gäste/a.inf": INF})
    (source / os.fsdecode(b"raw-\xff.inf")).write_bytes(INF)
    assert len(open_media(source).infs) == 3
    genisoimage(source, tmp_path / "trübe Gäste.iso")
    code = (
        "from pathlib import Path; from offline_mig.drivers.media import open_media;"
        f"print(len(open_media(next(Path({str(tmp_path)!r}).glob('*.iso'))).infs))"
    )
    for locale in ("C", "C.UTF-8"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LC_ALL": locale},
            check=True,
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == ("3\n", "")


def test_without_the_library(source: Path, tmp_path: Path) -> None:
    path = genisoimage(source, tmp_path / "a.iso")
    code = (
        "from pathlib import Path; from offline_mig.drivers.media import open_media;"
        f"open_media(Path({str(source)!r})); open_media(Path({str(path)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LIBARCHIVE": "/nonexistent/libarchive.so"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert HostNotReadyError.__name__ in done.stderr
    assert "the library libarchive is not installed" in done.stderr


@pytest.mark.parametrize("error", [ImportError, OSError, AttributeError, TypeError])
def test_ways_of_the_library_not_to_be_there(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *args: object, **more: object) -> object:
        raise error(name)

    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(HostNotReadyError) as caught:
        archive.load_libarchive()
    assert "libarchive13 (Debian, Ubuntu)" in caught.value.remedy


def test_made_media(drivers_dir: Path, drivers_iso: Path) -> None:
    """The virtio-win tree of the other tests is the same in both forms."""

    def contents(media: DriverMedia) -> dict[str, bytes]:
        return media.read(sorted(media.files.values()))

    directory, image = open_media(drivers_dir), open_media(drivers_iso)
    assert directory.infs == image.infs
    assert contents(directory) == contents(image)


def test_inf_that_is_another_file_under_a_second_name(source: Path, tmp_path: Path) -> None:
    (source / "a.txt").write_bytes(INF)
    (source / "b.inf").hardlink_to(source / "a.txt")
    media = open_media(genisoimage(source, tmp_path / "a.iso"))
    (inf,) = [inf for inf in media.infs if inf.name == "b.inf"]
    # Which of the names has the data is up to the library.
    assert inf.data == INF or inf.problem == "it is a.txt under another name"
    assert media.read(["a.txt", "b.inf"]) == {"a.txt": INF, "b.inf": INF}
