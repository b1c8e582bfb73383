"""RPM packages of drivers: every compression, links, an ISO inside, the damaged and the hostile."""

from __future__ import annotations

import gc
import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.bytes_read import BytesRead
from fixtures.inf_texts import inf_text, windows
from fixtures.pe import MACHINE_AMD64, minimal_pe
from fixtures.rpm_packages import PAYLOADS, build_rpm, cpio_entry, with_payload
from fixtures.virtio_win import write_iso, write_tree
from offline_mig.conversion.driver_choice import choose_drivers
from offline_mig.drivers import rpm
from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.inventory import list_packages
from offline_mig.drivers.media import DriverMedia, open_media
from offline_mig.drivers.selection import choose_package
from offline_mig.errors import HostNotReadyError, SourceUnreadableError

TOP = "usr/share/virtio-win"
BY_DRIVER = f"{TOP}/drivers/by-driver"
PLACE = f"{BY_DRIVER}/viostor/w10/amd64"
INF = inf_text().encode()
SYS = minimal_pe(MACHINE_AMD64)
PACKAGE = {"viostor.inf": INF, "viostor.sys": SYS, "viostor.cat": b"catalogue"}


def write(root: Path, place: str, files: dict[str, bytes] = PACKAGE) -> Path:
    (root / place).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / place / name).write_bytes(content)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "root", PLACE)


def unpacked(package: Path, target: Path) -> dict[str, bytes]:
    """What another program takes out of a package: the oracle."""
    target.mkdir()
    subprocess.run(["bsdtar", "-xf", package, "-C", target], check=True, capture_output=True)
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def contents(media: DriverMedia) -> dict[str, bytes]:
    return media.read(sorted(media.files.values()))


@pytest.mark.parametrize("compression", PAYLOADS)
def test_every_compression(root: Path, tmp_path: Path, compression: str) -> None:
    write(root, f"{TOP}/doc", {"readme.md": b"text", "NOTES.INF.txt": b"no INF"})
    package = build_rpm(root, tmp_path / "built", compression=compression)
    media = open_media(package)
    assert media.name == "virtio-win-0.1.285-1.noarch.rpm"
    assert [(inf.path, inf.data) for inf in media.infs] == [(f"{PLACE}/viostor.inf", INF)]
    assert contents(media) == unpacked(package, tmp_path / "out")
    assert media.find(PLACE.upper(), "VIOSTOR.SYS") == f"{PLACE}/viostor.sys"
    assert media.read([]) == {}


def test_hard_links_have_their_contents_with_the_last_name(root: Path, tmp_path: Path) -> None:
    for release in ("2k16", "2k19", "xp"):
        place = root / BY_DRIVER / f"viostor/{release}/amd64"
        place.mkdir(parents=True)
        for name in PACKAGE:
            (place / name).hardlink_to(root / PLACE / name)
    package = build_rpm(root, tmp_path / "built")
    listed = subprocess.run(
        ["bsdtar", "-tvf", package], check=True, capture_output=True, text=True
    ).stdout
    assert listed.count("link to") == 9
    media = open_media(package)
    assert [inf.data for inf in media.infs] == [INF] * 4
    assert contents(media) == unpacked(package, tmp_path / "out")


def test_symbolic_links_lead_to_files_of_the_package_only(tmp_path: Path) -> None:
    targets = {
        "near.inf": "drivers/viostor.inf",
        "usr/up.inf": "../drivers/viostor.inf",
        "absolute.inf": "/drivers/viostor.inf",
        "second.inf": "near.inf",
        "circle.inf": "circle.inf",
        "other.inf": "circle.inf",
        "outside.inf": "../../etc/passwd",
        "passwd.inf": "/etc/passwd",
        "folder.inf": "drivers",
        "empty.inf": "",
    }
    payload = [cpio_entry("drivers/viostor.inf", INF)]
    payload += [
        cpio_entry(name, target.encode(), mode=0o120777) for name, target in targets.items()
    ]
    payload.append(cpio_entry("TRAILER!!!", b""))
    media = open_media(with_payload(tmp_path / "a.rpm", b"".join(payload)))
    good = ["absolute.inf", "drivers/viostor.inf", "near.inf", "second.inf", "usr/up.inf"]
    assert {inf.path: inf.data for inf in media.infs} == dict.fromkeys(good, INF)
    assert media.read(["second.inf"]) == {"second.inf": INF}


# --- the same package in several places -----------------------------------------------------

COPIES = (f"{TOP}/drivers/by-os/amd64/w10", f"{TOP}/drivers/amd64/Win10")


def test_copies_by_release_are_not_listed_again(root: Path, tmp_path: Path) -> None:
    flat = {**PACKAGE, "netkvm.inf": inf_text("netkvm").encode(), "netkvm.sys": SYS}
    for place in COPIES:
        write(root, place, flat)
    media = open_media(build_rpm(root, tmp_path / "built"))
    # netkvm lies in the other places only: it is listed once of the two.
    assert [inf.path for inf in media.infs] == [
        f"{COPIES[1]}/netkvm.inf",
        f"{PLACE}/viostor.inf",
    ]
    chosen = choose_package([media], "viostor", windows("w10"))
    assert chosen.location.endswith(f": {PLACE}/viostor.inf")
    assert chosen.considered == ()
    assert len(media.files) == 13


@pytest.mark.parametrize(
    "change",
    [
        {"viostor.inf": INF + b"; another\n"},
        {"viostor.sys": SYS + b"another"},
        {"viostor.cat": b"another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_differs_is_no_copy(root: Path, tmp_path: Path, change: dict[str, bytes]) -> None:
    write(root, COPIES[0], {**PACKAGE, **change})
    assert len(open_media(build_rpm(root, tmp_path / "built")).infs) == 2


def test_a_package_that_is_whole_in_one_place_only(root: Path, tmp_path: Path) -> None:
    (root / PLACE / "viostor.sys").unlink()
    write(root, COPIES[0])
    media = open_media(build_rpm(root, tmp_path / "built"))
    chosen = choose_package([media], "viostor", windows("w10"))
    assert chosen.location.endswith(f": {COPIES[0]}/viostor.inf")


# --- an ISO inside --------------------------------------------------------------------------


@pytest.fixture
def with_image(tmp_path: Path) -> Path:
    """A package as RHEL's: the ISO and the symbolic link to it, and no drivers beside them."""
    root = tmp_path / "with-image"
    (root / TOP).mkdir(parents=True)
    write_iso(write_tree(tmp_path / "tree"), root / TOP / "virtio-win-0.1.285.iso")
    (root / TOP / "virtio-win.iso").symlink_to("virtio-win-0.1.285.iso")
    return root


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_image_inside(with_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    package = build_rpm(with_image, tmp_path / "built")
    before = open_files()
    media = open_media(package)
    image = open_media(with_image / TOP / "virtio-win-0.1.285.iso")
    assert media.name == "virtio-win-0.1.285-1.noarch.rpm (virtio-win-0.1.285.iso)"
    assert media.infs == image.infs
    assert contents(media) == contents(image)
    assert list(scratch.iterdir()) == []
    assert open_files() == before + 1
    del media
    gc.collect()
    assert open_files() == before


def test_drivers_of_the_package_go_before_its_image(with_image: Path, tmp_path: Path) -> None:
    write(with_image, PLACE)
    media = open_media(build_rpm(with_image, tmp_path / "built"))
    assert [inf.path for inf in media.infs] == [f"{PLACE}/viostor.inf"]


def test_no_room_for_the_image(
    with_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = build_rpm(with_image, tmp_path / "built")
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((*real[:4], 1, *real[5:]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(HostNotReadyError) as caught:
        open_media(package)
    assert f"no room in {tmp_path} for virtio-win-0.1.285.iso in {package}" in caught.value.message
    assert "TMPDIR" in caught.value.remedy


def test_image_that_is_none(tmp_path: Path) -> None:
    root = write(tmp_path / "root", TOP, {"virtio-win.iso": b"<html>404</html>" * 10_000})
    package = build_rpm(root, tmp_path / "built")
    assert f"virtio-win.iso in {package}" in refusal(package)


# --- what is no driver source ---------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(SourceUnreadableError) as caught:
        open_media(path)
    assert caught.value.remedy
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 4
    return caught.value.message


def test_installers_are_no_drivers(tmp_path: Path) -> None:
    root = write(tmp_path / "root", f"{TOP}/qxl-wddm-dod", {"QxlWddmDod_x64.msi": b"msi"})
    message = refusal(build_rpm(root, tmp_path / "built"))
    assert "holds no driver packages (no INF file)" in message
    assert "QxlWddmDod_x64.msi" in message


@pytest.mark.parametrize("compression", PAYLOADS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated(root: Path, tmp_path: Path, compression: str, part: float) -> None:
    write(root, f"{TOP}/more", {f"{n}.sys": os.urandom(10_000) for n in range(30)})
    package = build_rpm(root, tmp_path / "built", compression=compression)
    os.truncate(package, int(package.stat().st_size * part))
    assert "is damaged or incomplete" in refusal(package)


@pytest.mark.parametrize("compression", PAYLOADS)
def test_a_changed_byte(root: Path, tmp_path: Path, compression: str) -> None:
    """Neither zstd as rpm uses it nor a payload that is not compressed has a check of its own."""
    package = build_rpm(root, tmp_path / "built", compression=compression)
    content = bytearray(package.read_bytes())
    content[-100] ^= 1
    package.write_bytes(content)
    assert "do not have the digest that its header says" in refusal(package)


@pytest.mark.parametrize("size", [4, 96, 150, 500])
def test_nothing_but_the_beginning(root: Path, tmp_path: Path, size: int) -> None:
    package = build_rpm(root, tmp_path / "built")
    os.truncate(package, size)
    assert "is damaged or incomplete" in refusal(package)


def test_payload_that_is_no_cpio(tmp_path: Path) -> None:
    damaged = with_payload(tmp_path / "a.rpm", gzip.compress(bytes(100_000)))
    assert "there is no file header where one should be" in refusal(damaged)


def test_payload_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = cpio_entry("zeros", bytes(10_000_000)) + cpio_entry("TRAILER!!!", b"")
    bomb = with_payload(tmp_path / "a.rpm", gzip.compress(zeros))
    monkeypatch.setattr(rpm, "MAX_UNPACKED", 9_000_000)
    assert "unpacks to more than 9000000 bytes" in refusal(bomb)


def test_payload_that_is_compressed_twice(tmp_path: Path) -> None:
    inner = gzip.compress(cpio_entry("a.inf", INF) + cpio_entry("TRAILER!!!", b""))
    assert open_media(with_payload(tmp_path / "once.rpm", inner)).infs
    twice = with_payload(tmp_path / "twice.rpm", gzip.compress(inner))
    assert "compressed more than once" in refusal(twice)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("./usr/a.inf", "usr/a.inf"),
        ("/usr/a.inf", "usr/a.inf"),
        ("usr/a.inf", "usr/a.inf"),
        ("../../a.inf", None),
        ("./usr/../../a.inf", None),
        ("usr\\a.inf", None),
        ("", None),
    ],
)
def test_names(tmp_path: Path, name: str, listed: str | None) -> None:
    payload = [cpio_entry(name, INF), cpio_entry("b.inf", INF), cpio_entry("TRAILER!!!", b"")]
    media = open_media(with_payload(tmp_path / "a.rpm", b"".join(payload)))
    assert [inf.path for inf in media.infs] == ["b.inf", *([listed] if listed else [])]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"name_size": 0xFFFFFFFF}, "a file's name is too long"),
        ({"name_size": 0}, "a file's name is too long"),
        ({"size": 0xFFFFFFFF}, "it ends in the middle of a file"),
        ({"mode": 0o120777, "size": 5000}, "a symbolic link is too long"),
        ({"magic": b"07070X"}, "there is no file header"),
    ],
)
def test_hostile_headers(tmp_path: Path, damage: dict[str, int | bytes], reason: str) -> None:
    payload = cpio_entry("a.txt", b"x" * 5000, **damage) + cpio_entry("TRAILER!!!", b"")
    assert reason in refusal(with_payload(tmp_path / "a.rpm", payload))


def test_file_whose_contents_never_come(tmp_path: Path) -> None:
    payload = cpio_entry("a.inf", b"", names=2) + cpio_entry("b.sys", b"", names=2)
    payload += cpio_entry("TRAILER!!!", b"")
    media = open_media(with_payload(tmp_path / "a.rpm", payload))
    assert [(inf.data, inf.problem) for inf in media.infs] == [(None, "it has no contents")]
    with pytest.raises(SourceUnreadableError, match=r"b\.sys has no contents"):
        media.read(["b.sys"])


# --- bounds, and how often the package is read ----------------------------------------------


def test_too_large_inf(root: Path, tmp_path: Path) -> None:
    write(root, PLACE, {"big.inf": b";" * (MAX_INF_SIZE + 1)})
    media = open_media(build_rpm(root, tmp_path / "built"))
    by_name = {inf.name: inf for inf in media.infs}
    assert (by_name["big.inf"].data, by_name["viostor.inf"].data) == (None, INF)
    assert "larger than" in by_name["big.inf"].problem


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_INFS_SIZE"])
def test_too_many_files(
    root: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = build_rpm(root, tmp_path / "built")
    monkeypatch.setattr(rpm, limit, 3)
    assert "more files than any collection of drivers" in refusal(package)


def test_what_was_not_kept_is_read_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = build_rpm(root, tmp_path / "built")
    monkeypatch.setattr(rpm, "MAX_KEPT", len(SYS) - 1)
    media = open_media(package)
    assert contents(media) == unpacked(package, tmp_path / "out")
    monkeypatch.setattr(rpm, "MAX_FILE_SIZE", len(SYS) - 1)
    with pytest.raises(SourceUnreadableError, match=r"viostor\.sys is larger"):
        media.read([f"{PLACE}/viostor.sys"])


def test_package_that_is_replaced_after_it_was_listed(root: Path, tmp_path: Path) -> None:
    write(root, PLACE, {"readme.md": b"text"})
    package = build_rpm(root, tmp_path / "built")
    media = open_media(package)
    (root / PLACE / "readme.md").unlink()
    shutil.copy(build_rpm(root, tmp_path / "again"), package)
    with pytest.raises(SourceUnreadableError, match=r"readme\.md has no contents, or is no longer"):
        media.read([f"{PLACE}/readme.md"])


def test_a_package_is_read_once(tmp_path: Path) -> None:
    """To list it and to choose from it takes one pass, which is what takes the time."""
    root = tmp_path / "root"
    write_tree(root / BY_DRIVER)
    write(root, f"{TOP}/installer", {"virtio-win-gt-x64.msi": os.urandom(5_000_000)})
    package = build_rpm(root, tmp_path / "built")
    list_packages([open_media(root)])  # What is imported on the way is read before.
    read = BytesRead()
    media = open_media(package)
    assert len(list_packages([media])) > 20
    choose_drivers([media], windows("w10"), allow_unsigned=True)
    # And once before, for its digest.
    assert 5_000_000 < read.so_far() < 2 * package.stat().st_size + 500_000
