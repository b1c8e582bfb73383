"""``drivers list`` and ``drivers match``, as users run them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.bytes_read import BytesRead
from fixtures.published_drivers import write_published_tree
from fixtures.rpm_packages import build_rpm
from offline_mig.cli import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["drivers", *map(str, arguments)])


@pytest.mark.parametrize("form", ["drivers_dir", "drivers_iso"])
def test_the_list_has_every_package_once(form: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(form)
    listed = run("list", source)
    assert listed.exit_code == 0, listed.output
    rows = [line.split() for line in listed.output.splitlines()]
    assert rows[0] == ["driver", "version", "date", "signer", "Windows"]
    (seven,) = (row for row in rows if row[:2] == ["viostor", "61.81.104.17600"])
    assert seven[2:] == ["2020-01-08", "unsigned", "w7", "(x86", "amd64)"]

    as_json = run("list", source, "--json")
    record = json.loads(as_json.output)
    assert record["schema"] == "offline-mig/drivers-list/1"
    infs = sorted(package["path"].lower() for package in record["packages"])
    folder: Path = request.getfixturevalue("drivers_dir")
    assert infs == sorted(
        path.relative_to(folder).as_posix().lower()
        for path in folder.rglob("*")
        if path.suffix.lower() == ".inf"
    )


def test_match_tells_what_a_windows_gets_and_why(drivers_dir: Path) -> None:
    found = run("match", drivers_dir, "--windows", "w7-x86")
    assert found.exit_code == 0, found.output
    assert "viostor/w7/x86/viostor.inf" in found.output
    assert "for other Windows or processors" in found.output
    record = json.loads(run("match", drivers_dir, "--windows", "w7-x86", "--json").output)
    chosen = {choice["driver"]: choice for choice in record["drivers"]}
    assert chosen["viostor"]["package"]["version"] == "61.81.104.17600"
    assert chosen["qxldod" if "qxldod" in chosen else "qxl"]["package"] is not None
    assert record["windows"]["release"] == "w7"


def test_match_refuses_what_windows_would_not_load(drivers_dir: Path) -> None:
    refused = run("match", drivers_dir, "--windows", "w10-19045-amd64")
    assert refused.exit_code == 7
    assert "it is not signed" in refused.output
    assert "--allow-unsigned" in refused.output
    through = run("match", drivers_dir, "--windows", "w10-19045-amd64", "--allow-unsigned")
    assert through.exit_code == 0
    assert "was let through by --allow-unsigned" in through.output


def test_match_of_one_packages_own_folder(drivers_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(drivers_dir / "viostor/w7/x86", tmp_path / "given")
    found = run("match", tmp_path / "given", "--windows", "w7-x86")
    assert found.exit_code == 0, found.output
    assert "given: viostor.inf" in found.output
    assert "No netkvm for w7 was found" in found.output


@pytest.mark.parametrize("form", ["by-driver", "image"])
def test_a_package_tells_the_same_as_what_is_in_it(
    drivers_dir: Path, drivers_iso: Path, tmp_path: Path, form: str
) -> None:
    top = tmp_path / "root/usr/share/virtio-win"
    if form == "image":
        top.mkdir(parents=True)
        shutil.copy(drivers_iso, top / "virtio-win.iso")
    else:
        shutil.copytree(drivers_dir, top / "drivers/by-driver")
    package = build_rpm(tmp_path / "root", tmp_path / "built")
    assert run("list", package).output == run("list", drivers_dir).output
    found = run("match", package, "--windows", "w7-amd64", "--allow-unsigned")
    assert found.exit_code == 0, found.output
    inside = (
        " (virtio-win.iso): " if form == "image" else ": usr/share/virtio-win/drivers/by-driver/"
    )
    assert f"{package.name}{inside}viostor/w7/amd64/viostor.inf" in found.output


def test_copies_of_a_package_are_told_in_one_line(drivers_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "given"
    for place in ("viostor/w7/x86", "x86/w7"):
        shutil.copytree(drivers_dir / "viostor/w7/x86", source / place)
    found = run("match", source, "--windows", "w7-x86").output
    assert "given: viostor/w7/x86/viostor.inf\n" in found
    assert "the same in x86/w7\n" in found
    assert "fits better" not in found
    record = json.loads(run("match", source, "--windows", "w7-x86", "--json").output)
    (passed,) = record["drivers"][0]["passed_over"]
    assert passed["same"]
    assert passed["location"] == "given: x86/w7/viostor.inf"


def test_match_shows_what_is_there_before_it_refuses(drivers_dir: Path, tmp_path: Path) -> None:
    """A source may be for other drivers than those of disks, such as QXL's own package."""
    shutil.copytree(drivers_dir / "qxl/w7/x86", tmp_path / "qxl/w7/x86")
    refused = run("match", tmp_path / "qxl", "--windows", "w7-x86")
    assert refused.exit_code == 7
    assert "qxl: w7/x86/qxl.inf" in refused.output
    assert "There is no viostor driver for w7 x86 (build 7601) in qxl" in refused.output
    as_json = run("match", tmp_path / "qxl", "--windows", "w7-x86", "--json")
    assert json.loads(as_json.stdout)["exit_code"] == as_json.exit_code == 7


def test_list_marks_packages_that_lack_files(drivers_dir: Path, tmp_path: Path) -> None:
    for release in ("w7", "xp"):
        shutil.copytree(drivers_dir / f"viostor/{release}/x86", tmp_path / f"given/{release}/x86")
    assert "!" not in run("list", tmp_path / "given").output
    (tmp_path / "given/w7/x86/viostor.sys").unlink()
    lines = run("list", tmp_path / "given").output.splitlines()
    assert [line.split()[3] for line in lines[1:3]] == ["unsigned", "unsigned!"]
    assert lines[-1].startswith("! Files that the INF copies are not there")
    record = json.loads(run("list", tmp_path / "given", "--json").output)
    assert [package["missing"] for package in record["packages"]] == [["viostor.sys"], []]


def test_a_folder_with_nothing_but_an_image_names_it(drivers_iso: Path, tmp_path: Path) -> None:
    """As /usr/share/virtio-win is where the package of RHEL is installed."""
    shutil.copy(drivers_iso, tmp_path / "virtio-win.iso")
    refused = run("list", tmp_path)
    assert refused.exit_code == 4
    assert f"Give {tmp_path}/virtio-win.iso, which lies there." in refused.output


@pytest.mark.parametrize("form", ["-r", "-J"])
def test_an_iso_is_read_where_drivers_lie(drivers_dir: Path, tmp_path: Path, form: str) -> None:
    """Nine tenths of a published ISO are symbols and installers, which nobody needs here."""
    source = tmp_path / "source"
    shutil.copytree(drivers_dir, source)
    for folder in [path.parent for path in source.rglob("*.inf")]:
        (folder / "driver.pdb").write_bytes(bytes(1_000_000))
    (source / "virtio-win-guest-tools.exe").write_bytes(bytes(30_000_000))
    image = tmp_path / "virtio-win.iso"
    command = ["genisoimage", "-quiet", form, "-o", image, source]
    subprocess.run(command, check=True, capture_output=True)
    assert image.stat().st_size > 60_000_000
    for command in (["list"], ["match", "--windows", "w7-x86"]):
        run(*command, drivers_dir)  # What is imported on the way is read before.
        read = BytesRead()
        assert run(*command, image).exit_code == 0
        # libarchive reads 64 KiB at a time, which is more than most of these files have.
        assert read.so_far() < image.stat().st_size / 10


@pytest.mark.parametrize(
    ("windows", "code", "text"),
    [
        ("w12-amd64", 2, "such as xp-x86"),
        ("w11-arm64", 6, "ARM64"),
    ],
)
def test_windows_without_drivers(drivers_dir: Path, windows: str, code: int, text: str) -> None:
    refused = run("match", drivers_dir, "--windows", windows)
    assert refused.exit_code == code
    assert text in refused.output
    assert "Traceback" not in refused.output


def test_sources_that_are_none(tmp_path: Path) -> None:
    for command in (("list", tmp_path), ("match", tmp_path, "--windows", "w7-x86")):
        refused = run(*command)
        assert refused.exit_code == 4
        assert "no driver packages" in refused.output


@pytest.mark.data
def test_published_packages_match_as_the_golden_table_says(
    shared_data: Path, tmp_path: Path
) -> None:
    """Every Windows: package, version, signer and ids, reviewed by hand.

    The drivers themselves are made, so that on 64-bit Windows nothing is trusted and all is let
    through: what the table shows there is the choice by INF, build and catalogue. Windows 8 to
    2012 R2 have builds for 7, since build 240 for 8 is signed for tests only; Windows 10 has parts
    of that build, with --allow-unsigned alone, for want of others. Delete the table to write it
    anew, and read the difference.
    """
    source = write_published_tree(shared_data / "drivers", tmp_path / "virtio-win")
    lines = []
    for windows in WINDOWS:
        found = run("match", source, "--windows", windows, "--allow-unsigned", "--json")
        assert found.exit_code == 0, found.output
        for choice in json.loads(found.output)["drivers"]:
            package = choice["package"]
            if package is None:
                lines.append(f"{windows:18} {choice['driver']:12} -")
                continue
            place = choice["location"].partition(": ")[2]
            signer = package["signing"]["signer_class"]
            lines.append(
                f"{windows:18} {choice['driver']:12} {package['version']:18} {signer:12} {place}"
            )
    golden = Path(__file__).with_name("golden") / "published_packages.txt"
    text = "\n".join(lines) + "\n"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
        pytest.fail(f"{golden.name} was made anew: review it, and run again")
    assert text == golden.read_text()


WINDOWS = (
    "xp-x86",
    "xp-amd64",
    "2k3-x86",
    "2k3-amd64",
    "vista-x86",
    "vista-amd64",
    "2k8-x86",
    "2k8-amd64",
    "w7-x86",
    "w7-amd64",
    "2k8R2-amd64",
    "w8-x86",
    "w8-amd64",
    "2k12-amd64",
    "w8.1-x86",
    "w8.1-amd64",
    "2k12R2-amd64",
    "w10-10240-x86",
    "w10-10240-amd64",
    "w10-19045-amd64",
    "2k16-amd64",
    "2k19-amd64",
    "2k22-amd64",
    "w11-22000-amd64",
    "w11-22631-amd64",
    "w11-26100-amd64",
    "2k25-amd64",
)
