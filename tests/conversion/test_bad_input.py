"""What a user can get wrong: one sentence, a documented exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, offline_mig, private_mounts, require_engine
from fixtures.guests import GuestKind, GuestSpec, VmdkKind, build_guest
from fixtures.result import tree_state

pytestmark = pytest.mark.conversion


@pytest.fixture
def source(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> Path:
    """A split XP guest, to be damaged."""
    base_image(GuestSpec(GuestKind.XP))
    return build_guest(GuestKind.XP, tmp_path / "source", vmdk_kind=VmdkKind.SPLIT_SPARSE).vmx


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def missing(vmx: Path) -> Path:
    return vmx.with_name("absent.vmx")


def missing_extent(vmx: Path) -> Path:
    next(vmx.parent.glob("*-s001.vmdk")).unlink()
    return vmx


def truncated_extent(vmx: Path) -> Path:
    extent = next(vmx.parent.glob("*-s001.vmdk"))
    os.truncate(extent, extent.stat().st_size // 2)
    return vmx


def text_file(vmx: Path) -> Path:
    path = vmx.with_name("letter.vmdk")
    path.write_text("Dear reader,\n\nthis is no disk.\n")
    return path


def no_disk(vmx: Path) -> Path:
    lines = vmx.read_text().splitlines()
    vmx.write_text("\n".join(line for line in lines if not line.startswith("scsi0:0")) + "\n")
    return vmx


def absent_disk(vmx: Path) -> Path:
    edit(vmx, "Old Box.vmdk", "Other.vmdk")
    return vmx


def empty_file(vmx: Path) -> Path:
    path = vmx.with_name("empty.vmdk")
    path.touch()
    return path


def outside_by_vmx(vmx: Path) -> Path:
    edit(vmx, '"Old Box.vmdk"', '"../secret.vmdk"')
    return vmx


def outside_by_descriptor(vmx: Path) -> Path:
    edit(vmx.with_suffix(".vmdk"), '"Old Box-s001.vmdk"', '"/etc/passwd"')
    return vmx


def device_by_descriptor(vmx: Path) -> Path:
    edit(vmx.with_suffix(".vmdk"), '"Old Box-s001.vmdk"', '"/dev/mem"')
    return vmx


def remote_by_descriptor(vmx: Path) -> Path:
    edit(vmx.with_suffix(".vmdk"), '"Old Box-s001.vmdk"', '"nbd://host/disk"')
    return vmx


def outside_by_backing(vmx: Path) -> Path:
    (vmx.parent.parent / "secret.raw").write_bytes(b"\0" * 1024 * 1024)
    path = vmx.with_name("overlay.qcow2")
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "../secret.raw", "-F", "raw", path],
        check=True,
    )
    return path


def outside_by_data_file(vmx: Path) -> Path:
    path = vmx.with_name("external.qcow2")
    data = vmx.parent.parent / "data.raw"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={data}", path, "1M"],
        check=True,
    )
    return path


@pytest.mark.parametrize(
    ("damage", "code", "told"),
    [
        (missing, 4, "absent.vmx"),
        (missing_extent, 4, "-s001.vmdk"),
        (truncated_extent, 4, "-s001.vmdk"),
        (text_file, 4, "letter.vmdk"),
        (no_disk, 4, "disk"),
        (absent_disk, 4, "Other.vmdk"),
        (empty_file, 4, "empty"),
        (outside_by_vmx, 5, "secret.vmdk"),
        (outside_by_descriptor, 5, "/etc/passwd"),
        (device_by_descriptor, 5, "/dev/mem"),
        (remote_by_descriptor, 5, "nbd:"),
        (outside_by_backing, 5, "secret.raw"),
        (outside_by_data_file, 5, "data"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_source(
    source: Path,
    damage: Callable[[Path], Path],
    code: int,
    told: str,
    drivers_dir: Path,
    tmp_path: Path,
) -> None:
    given = damage(source)
    before = tree_state(source.parent)
    output = tmp_path / "out"
    run = offline_mig("convert", given, "--drivers", drivers_dir, "--allow-unsigned", "-o", output)
    assert run.returncode == code, run.stderr
    assert told in run.stderr
    assert run.stderr.splitlines()[-1].startswith("What to do: ")
    assert "Traceback" not in run.stderr
    assert not output.exists()
    assert tree_state(source.parent) == before


def no_iso(folder: Path) -> Path:
    path = folder / "virtio-win.iso"
    path.write_bytes(b"This is no ISO image.\n" * 4000)
    return path


def no_media(folder: Path) -> Path:
    return folder / "absent.iso"


@pytest.mark.parametrize("make", [no_iso, no_media])
def test_bad_drivers(source: Path, make: Callable[[Path], Path], tmp_path: Path) -> None:
    drivers = make(tmp_path)
    run = offline_mig("convert", source, "--drivers", drivers, "-o", tmp_path / "out")
    assert run.returncode == 4
    assert drivers.name in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_earlier_results_are_not_replaced(source: Path, drivers_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "Old Box.xml").write_text("precious")
    run = offline_mig("convert", source, "--drivers", drivers_dir, "--allow-unsigned", "-o", output)
    assert run.returncode == 8
    assert "already holds Old Box.xml" in run.stderr
    assert "--overwrite" in run.stderr
    assert (output / "Old Box.xml").read_text() == "precious"


def test_output_that_is_a_file(source: Path, drivers_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("precious")
    run = offline_mig("convert", source, "--drivers", drivers_dir, "--allow-unsigned", "-o", output)
    assert run.returncode == 8
    assert "Traceback" not in run.stderr
    assert output.read_text() == "precious"


def test_full_output_is_told_before_the_work(
    source: Path, drivers_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    script = 'mount -t tmpfs -o size=8m none "$1" && shift && exec "$@"'
    convert = [
        *COMMAND,
        "convert",
        source,
        "--drivers",
        drivers_dir,
        "--allow-unsigned",
        "-o",
        output,
    ]
    run = subprocess.run(
        [*private_mounts(), "sh", "-c", script, "sh", output, *convert],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 8, run.stderr
    assert "too full" in run.stderr
    assert "Free some space" in run.stderr


def test_errors_come_as_json_too(tmp_path: Path) -> None:
    run = offline_mig("inspect", tmp_path / "absent.vmx", "--json")
    assert run.returncode == 4
    told = json.loads(run.stdout)
    assert told["exit_code"] == 4
    assert "absent.vmx" in told["error"]
    assert told["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("convert",),
        ("convert", "x.vmx", "--drivers", "d"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--resolution", "big"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--network", "br0"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--network-map", "LAN=br0"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--cpu", "a,b"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--resolution", "²x²"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--format", "vhd"),
        ("convert", "x.vmx", "--drivers", "d", "-o", "out", "--name", " "),
        ("convert", "x.vmx", "--drivers", "", "-o", "out"),
        ("inspect", ""),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    run = offline_mig(*arguments)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_wrong_usage_comes_as_json_too() -> None:
    run = offline_mig("convert", "x.vmx", "--drivers", "d", "--json")
    assert run.returncode == 2
    assert json.loads(run.stdout)["exit_code"] == 2


@pytest.mark.parametrize("link", ["plain", "hard", "folder"])
def test_result_never_replaces_the_source(
    source: Path, drivers_dir: Path, tmp_path: Path, link: str
) -> None:
    folder = tmp_path / "kvm"
    folder.mkdir()
    disk = folder / "box.qcow2"
    base = source.with_suffix(".vmdk")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", base, disk], check=True)
    given, output = disk, folder
    if link == "hard":
        output = tmp_path / "other"
        output.mkdir()
        (output / "box.qcow2").hardlink_to(disk)
    elif link == "folder":
        output = tmp_path / "link"
        output.symlink_to(folder)
    before = tree_state(folder)
    run = offline_mig(
        "convert", given, "--drivers", drivers_dir, "--allow-unsigned", "-o", output, "--overwrite"
    )
    assert run.returncode == 8
    assert "would replace" in run.stderr
    assert tree_state(folder) == before


@pytest.mark.parametrize("what", ["link", "file"])
def test_workspace_is_never_another_s_folder(
    source: Path, drivers_dir: Path, tmp_path: Path, what: str
) -> None:
    output, victim = tmp_path / "out", tmp_path / "victim"
    output.mkdir()
    victim.mkdir()
    (victim / "precious").write_text("precious")
    hidden = output / ".Old Box.offline-mig"
    if what == "link":
        hidden.symlink_to(victim)
    else:
        hidden.write_text("precious")
    run = offline_mig("convert", source, "--drivers", drivers_dir, "--allow-unsigned", "-o", output)
    assert run.returncode == 8
    assert "is in the way" in run.stderr
    assert (victim / "precious").read_text() == "precious"
    assert os.path.lexists(hidden)


def test_folder_in_the_place_of_a_result(source: Path, drivers_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "Old Box.xml").mkdir(parents=True)
    run = offline_mig(
        "convert", source, "--drivers", drivers_dir, "--allow-unsigned", "-o", output, "--overwrite"
    )
    assert run.returncode == 8
    assert "is no plain file" in run.stderr
    assert [path.name for path in output.iterdir()] == ["Old Box.xml"]


def test_refused_run_leaves_no_new_folder(source: Path, drivers_dir: Path, tmp_path: Path) -> None:
    require_engine("userspace")
    os.truncate(source.with_suffix(".vmdk"), 0)
    run = offline_mig(
        "convert",
        source,
        "--drivers",
        drivers_dir,
        "--allow-unsigned",
        "-o",
        tmp_path / "a" / "b" / "c",
    )
    assert run.returncode == 4
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["a:b", "nbd:x", "json:{x", "with, comma", "Ärger ☃", "-dash"])
def test_odd_names_are_only_names(
    source: Path, drivers_dir: Path, tmp_path: Path, name: str
) -> None:
    """qemu takes what stands before a colon for a protocol, unless the path is absolute."""
    require_engine("userspace")
    chosen = ["-o", f"./{name}", f"--name={name}", "--engine", "userspace", "--json"]
    run = subprocess.run(
        [*COMMAND, "convert", source, "--drivers", drivers_dir, "--allow-unsigned", *chosen],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    assert all(Path(path).is_file() for path in printed["disks"])
    assert Path(printed["domain"]).parent == tmp_path / name
    assert Path(printed["domain"]).stem == name.lstrip("-")


def test_names_that_are_not_text(source: Path, drivers_dir: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff")
    run = offline_mig("convert", source, "--drivers", drivers_dir, "--allow-unsigned", "-o", odd)
    assert run.returncode == 8
    assert "not valid UTF-8" in run.stderr
    nameless = source.with_name(os.fsdecode(b"odd\xff.vmx"))
    lines = source.read_text().splitlines()
    nameless.write_text("\n".join(x for x in lines if not x.startswith("displayName")) + "\n")
    run = offline_mig(
        "convert", nameless, "--drivers", drivers_dir, "--allow-unsigned", "-o", tmp_path / "out"
    )
    assert run.returncode == 4
    assert "not valid UTF-8" in run.stderr
