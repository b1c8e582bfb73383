"""Driver discs, as isoinfo, 7-Zip, xorriso and libvirt see them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fixtures import libvirt_oracles
from fixtures.agents import AMD64, X86, spice_pair, spice_wxs, write_files, write_msi, write_zip
from fixtures.published_schemas import require_valid
from offline_mig.cli import main
from offline_mig.conversion import setup_medium
from offline_mig.drivers.media import open_media

Run = Callable[..., Result]
W10 = ("--windows", "w10-19045-amd64", "--allow-unsigned")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unpacked(image: Path, folder: Path) -> dict[str, bytes]:
    """Return the files of a disc as 7-Zip reads them."""
    subprocess.run(
        ["7z", "x", "-y", f"-o{folder}", image], check=True, capture_output=True, timeout=60
    )
    return tree(folder)


def match(source: Path, windows: str) -> list[dict[str, Any]]:
    arguments = ["match", str(source), "--windows", windows, "--allow-unsigned", "--json"]
    found = CliRunner().invoke(main, ["drivers", *arguments])
    drivers: list[dict[str, Any]] = json.loads(found.stdout)["drivers"]
    return drivers


def isoinfo(image: Path, *options: str) -> str:
    # It knows Joliet's letters as those of Western Europe only.
    return subprocess.run(
        ["isoinfo", *options, "-i", image], check=True, capture_output=True, timeout=60
    ).stdout.decode("latin-1")


def test_drivers_agents_and_extra_files_are_on_it(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    agent = write_zip(tmp_path / "spice.zip", spice_pair(AMD64))
    notes = write_files(tmp_path / "notes", {"read me.txt": b"hello", "sub/größe.txt": b"ok"})
    image = tmp_path / "out" / "drivers.iso"
    image.parent.mkdir()
    made = media(
        "iso", "--drivers", drivers_dir, *W10, "--agent", agent, "--add", notes,
        "--add", notes / "read me.txt", "-o", image,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    files = unpacked(image, tmp_path / "unpacked")
    for driver in ("viostor", "vioscsi", "netkvm", "balloon", "vioserial", "viorng", "qxldod"):
        assert any(path.startswith(f"amd64/w10/{driver}/") for path in files), driver
    inf = (drivers_dir / "viostor/w10/amd64/viostor.inf").read_bytes()
    assert files["amd64/w10/viostor/viostor.inf"] == inf
    assert files["spice-vdagent/amd64/vdagent.exe"] == spice_pair(AMD64)["vdagent.exe"]
    assert files["notes/sub/größe.txt"] == b"ok"
    assert files["read me.txt"] == files["notes/read me.txt"] == b"hello"
    # Both trees are there, and plain ISO 9660 has names that every system reads.
    joliet = isoinfo(image, "-J", "-f").splitlines()
    assert {path.removeprefix("/") for path in joliet} >= files.keys()
    plain = isoinfo(image, "-f").splitlines()
    assert len(plain) == len(joliet)
    assert all(
        len(part) <= 14 and part == part.upper() for path in plain for part in path.split("/")
    )


def test_the_program_finds_the_drivers_on_its_own_disc(
    media: Run, every_driver: Path, tmp_path: Path
) -> None:
    image = tmp_path / "drivers.iso"
    names = ("xp-x86", "2k3-amd64", "w7-x86", "2k22-amd64")
    windows = [part for name in names for part in ("--windows", name)]
    made = media("iso", "--drivers", every_driver, *windows, "--allow-unsigned", "-o", image)
    assert made.exit_code == 0, made.output
    for name in names:
        found = [match(source, name) for source in (every_driver, image)]
        assert [choice["package"] for choice in found[0]] == [
            choice["package"] for choice in found[1]
        ]


def test_drivers_of_several_sources_come_together(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    disks, screen = tmp_path / "disks", tmp_path / "screen"
    shutil.copytree(drivers_dir / "viostor/w7/x86", disks / "viostor/w7/x86")
    shutil.copytree(drivers_dir / "qxl/w7/x86", screen / "qxl/w7/x86")
    image = tmp_path / "drivers.iso"
    made = media("iso", "--drivers", disks, "--drivers", screen, "--windows", "w7-x86", "-o", image)
    assert made.exit_code == 0, made.output
    assert {inf.path for inf in open_media(image).infs} == {
        "i386/w7/viostor/viostor.inf",
        "i386/w7/qxl/qxl.inf",
    }


def test_an_agents_installer_is_handed_on_as_it_is(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    msi = tmp_path / "spice-vdagent-x64.msi"
    write_msi(msi, spice_wxs(), spice_pair(AMD64), AMD64)
    image = tmp_path / "drivers.iso"
    made = media("iso", "--drivers", drivers_dir, *W10, "--agent", msi, "-o", image)
    assert made.exit_code == 0, made.output
    files = unpacked(image, tmp_path / "unpacked")
    assert files["spice-vdagent/amd64/spice-vdagent-x64.msi"] == msi.read_bytes()


def test_agents_for_several_windows(media: Run, drivers_dir: Path, tmp_path: Path) -> None:
    sources = [
        write_zip(tmp_path / f"{name}.zip", spice_pair(architecture))
        for name, architecture in (("narrow", X86), ("wide", AMD64))
    ]
    image = tmp_path / "drivers.iso"
    both = [part for source in sources for part in ("--agent", source)]
    made = media("iso", "--drivers", drivers_dir, "--windows", "xp-x86", *W10, *both, "-o", image)
    assert made.exit_code == 0, made.output
    files = unpacked(image, tmp_path / "unpacked")
    for folder, architecture in (("i386", X86), ("amd64", AMD64)):
        service = files[f"spice-vdagent/{folder}/vdservice.exe"]
        assert service == spice_pair(architecture)["vdservice.exe"]
    unfit = tmp_path / "unfit.iso"
    refused = media("iso", "--drivers", drivers_dir, "--windows", "xp-x86", *both, "-o", unfit)
    assert refused.exit_code == 7
    assert "wide.zip has no agent for xp x86" in refused.output
    assert not unfit.exists()


def test_names_that_a_disc_cannot_hold_are_changed_and_told(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    long = "x" * 70
    extra = {f"{long}1.txt": b"1", f"{long}2.txt": b"2", "a:b?.txt": b"3", "dots...": b"4",
             "ж" * 40 + ".log": b"5"}  # fmt: skip
    folder = write_files(tmp_path / "extra", extra)
    image = tmp_path / "drivers.iso"
    made = media("iso", "--drivers", drivers_dir, *W10, "--add", folder, "-o", image)
    assert made.exit_code == 0, made.output
    files = unpacked(image, tmp_path / "unpacked")
    names = {path.removeprefix("extra/"): files[path] for path in files if "extra/" in path}
    assert sorted(names.values()) == sorted(extra.values())
    assert all(len(name.encode("utf-16-be")) <= 128 for name in names)
    assert {"a_b_.txt", "dots___", "x" * 60 + ".txt", "x" * 58 + "~1.txt"} <= names.keys()
    assert names["a_b_.txt"] == b"3"
    told = [line for line in made.output.splitlines() if "is called" in line]
    assert len(told) == len(extra)


def test_the_same_input_gives_the_same_bytes(
    media: Run, drivers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, dated = (tmp_path / name for name in ("a.iso", "b.iso", "c.iso"))
    arguments = ("media", "iso", "--drivers", drivers_dir, *W10, "-o")
    made = media(*arguments[1:], first)
    assert made.exit_code == 0, made.output
    subprocess.run(
        [sys.executable, "-m", "offline_mig", *arguments, second],
        check=True, capture_output=True, timeout=60,
        env=os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )  # fmt: skip
    assert first.read_bytes() == second.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert media(*arguments[1:], dated).exit_code == 0
    for joliet in ([], ["-J"]):
        listing = isoinfo(dated, "-l", *joliet).splitlines()
        records = [line for line in listing if line[:1] in ("d", "-")]
        assert len(records) > 20
        assert all("Sep  9 2001" in line for line in records)
    dates = subprocess.run(
        ["xorriso", "-indev", dated, "-pvd_info"], check=True, capture_output=True, text=True
    ).stdout
    assert dates.count("2001090901464000") == 3


def test_libvirt_takes_the_element(media: Run, every_driver: Path, tmp_path: Path) -> None:
    libvirt_oracles.require_validator()
    for machine, windows, bus in (("pc", "xp-x86", "ide"), ("q35", "w7-x86", "sata")):
        image = tmp_path / f"{machine}.iso"
        made = media("iso", "--drivers", every_driver, "--windows", windows, "-o", image, "--json")
        record = json.loads(made.stdout)
        require_valid("media", record)
        element = record["libvirt"]
        domain = tmp_path / "domain.xml"
        domain.write_text(
            f"<domain type='qemu'><name>g</name><memory>65536</memory><os><type arch='x86_64' "
            f"machine='{machine}'>hvm</type></os><devices>{element}</devices></domain>"
        )
        libvirt_oracles.validate(domain)
        defined = libvirt_oracles.define(domain)
        assert str(image) in defined
        assert f"bus='{bus}'" in defined
        assert defined.count("<controller type='sata'") <= 1


@pytest.mark.parametrize("option", ["--drivers", "--add"])
def test_an_input_is_never_replaced(
    media: Run, drivers_iso: Path, drivers_dir: Path, tmp_path: Path, option: str
) -> None:
    image = tmp_path / "virtio-win.iso"
    shutil.copy(drivers_iso, image)
    before = image.read_bytes()
    drivers = () if option == "--drivers" else ("--drivers", drivers_dir)
    refused = media("iso", *drivers, option, image, *W10, "-o", image, "--overwrite")
    assert refused.exit_code == 8
    assert "made from" in refused.output
    assert image.read_bytes() == before


def test_links_that_lead_out_are_left_out(media: Run, drivers_dir: Path, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "extra", {"kept.txt": b"1"})
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "within").symlink_to("kept.txt")
    (folder / "around").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    image = tmp_path / "drivers.iso"
    made = media("iso", "--drivers", drivers_dir, *W10, "--add", folder, "-o", image)
    assert made.exit_code == 0, made.output
    files = unpacked(image, tmp_path / "unpacked")
    extra = {path for path in files if path.startswith("extra/")}
    assert extra == {"extra/kept.txt", "extra/within"}
    assert made.output.count("was left out") == 4


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--add", "nowhere"), 4, "does not exist"),
        (("--agent", "nowhere"), 4, "does not exist"),
        (("--add", "/dev/null"), 4, "neither a file nor a folder"),
        (("--add", "a/f", "--add", "b/f"), 4, "would both be called f"),
        (("--add", "amd64"), 8, "Two different files"),
        (("--add", "1"), 8, "levels of folders"),
        (("--driver", "qxl"), 7, "There is no qxl driver for w10 amd64"),
        (("--drivers", "nowhere"), 4, "does not exist"),
    ],
)
def test_refusals(
    media: Run, drivers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, text: str,
) -> None:  # fmt: skip
    work = write_files(
        tmp_path / "work",
        {"a/f": b"1", "b/f": b"2", "amd64/w10/viostor/VIOSTOR.inf": b"x", "1/2/3/4/5/6/7/8": b"x"},
    )
    monkeypatch.chdir(work)
    image = tmp_path / "out" / "drivers.iso"
    image.parent.mkdir()
    refused = media("iso", "--drivers", drivers_dir, *W10, "-o", image, *arguments)
    assert refused.exit_code == code, refused.output
    assert text in refused.output
    assert "Traceback" not in refused.output
    assert list(image.parent.iterdir()) == []


def test_what_does_not_read_back_is_not_published(
    media: Run, drivers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_medium, "read_disc", lambda stream: {})
    image = tmp_path / "drivers.iso"
    refused = media("iso", "--drivers", drivers_dir, *W10, "-o", image)
    assert refused.exit_code == 10
    assert list(tmp_path.iterdir()) == []


def test_a_driver_of_a_year_that_no_disc_can_hold(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(drivers_dir / "viostor/w10/amd64", source)
    inf = source / "viostor.inf"
    text = re.sub(rb"(?im)^(DriverVer\s*=\s*)[0-9/]+", rb"\g<1>01/01/2200", inf.read_bytes())
    inf.write_bytes(text)
    image = tmp_path / "drivers.iso"
    made = media("iso", "--drivers", source, *W10, "-o", image)
    assert made.exit_code == 0, made.output
    assert "2107" in isoinfo(image, "-l")
