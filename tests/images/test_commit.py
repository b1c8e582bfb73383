"""An overlay becomes part of its image, and whatever cuts that off leaves the old or the new disk.

What a power failure leaves is made with qemu-img and the names that ``edit_files`` describes.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from fixtures.conversion_run import private_mounts
from fixtures.edited_image import IDENTITY, KINDS, EditedImage, disk_hash, run_qemu
from fixtures.running_guest import running_guest
from offline_mig.errors import OutputRefusedError, SourceUnreadableError, ToolFailedError
from offline_mig.images import qemu_img
from offline_mig.images.commit import commit_edit, recover
from offline_mig.images.edit_files import EditFiles, claimed
from offline_mig.machine import DiskFormat

BenchOf: TypeAlias = Callable[[str], EditedImage]


@pytest.fixture(params=list(KINDS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> EditedImage:
    folder = tmp_path / "images"
    folder.mkdir()
    return EditedImage(folder, request.param)


@pytest.fixture
def bench_of(tmp_path: Path) -> BenchOf:
    folder = tmp_path / "images"
    folder.mkdir()
    return lambda name: EditedImage(folder, name)


def test_changes_come_into_the_image(bench: EditedImage) -> None:
    inode, mode = bench.image.stat().st_ino, bench.image.stat().st_mode
    released = []
    with bench.claim() as claim:
        bench.make_overlay()
        commit_edit(bench.files, bench.format, claim, lambda: released.append(bench.listed()))
    assert bench.listed() == bench.names
    assert bench.seen() == bench.new
    # The file is the same: with its other names, owner, labels.
    assert (bench.image.stat().st_ino, bench.image.stat().st_mode) == (inode, mode)
    # Others are let in only when the image cannot be found any more, or is the new one.
    assert bench.files.base.name in released[0]


def test_name_stands_for_a_whole_disk_at_any_time(bench_of: BenchOf) -> None:
    bench = bench_of("disk.qcow2")
    seen = []
    with bench.claim() as claim:
        bench.make_overlay()
        commit_edit(bench.files, bench.format, claim, lambda: seen.append(bench.seen()))
    assert seen == [bench.new]


def test_cut_off_before_the_change_counts(bench: EditedImage) -> None:
    journal = bench.folder / "journal.json"
    with bench.claim(journal):
        bench.make_overlay()
        journal.write_text(f'{{"schema": "offline-mig/journal/1", "identity": "{IDENTITY}"')
        (bench.folder / f".journal.json.{IDENTITY}").write_text("half")
    assert bench.listed() > bench.names
    bench.require_done(bench.old)


def test_cut_off_between_link_and_rename(bench_of: BenchOf) -> None:
    bench = bench_of("disk.qcow2")
    with bench.claim():
        bench.make_overlay()
        bench.files.base.hardlink_to(bench.image)
        qemu_img.rebase_onto_name(bench.files.overlay, f"./{bench.files.base.name}", bench.format)
    bench.require_done(bench.old)


#: A qcow2 image is treated as the others are where there are no links.
_ASIDE = [
    *((name, kind is DiskFormat.QCOW2) for name, (kind, _) in KINDS.items()),
    ("disk.qcow2", False),
]


@pytest.mark.parametrize(("name", "linked"), _ASIDE)
@pytest.mark.parametrize("written", ["nothing", "half", "all"])
def test_cut_off_while_the_change_is_written(
    bench_of: BenchOf, name: str, written: str, linked: bool
) -> None:
    bench = bench_of(name)
    with bench.set_aside(linked=linked) as overlay:
        if written == "half":
            bench.io(bench.format, bench.files.base, "write -P 7 1M 1M", "write -P 99 5M 128k")
        elif written != "nothing":
            run_qemu("qemu-img", "commit", "-q", "-d", "-f", "qcow2", overlay)
        if linked:
            # A guest that is started now finds the new disk, whatever is written below.
            assert disk_hash(bench.image, DiskFormat.QCOW2) == bench.new
    bench.require_done(bench.new)
    bench.require_done(bench.new)


def test_cut_off_when_only_the_name_is_missing(bench: EditedImage) -> None:
    with bench.set_aside(linked=False) as overlay:
        run_qemu("qemu-img", "commit", "-q", "-d", "-f", "qcow2", overlay)
        overlay.unlink()
    bench.require_done(bench.new)


def test_guest_that_ran_on_the_stand_in_loses_nothing(bench_of: BenchOf) -> None:
    bench = bench_of("disk.qcow2")
    with bench.set_aside(linked=True) as overlay:
        bench.io(DiskFormat.QCOW2, overlay, "write -P 11 3M 1M")
        expected = disk_hash(overlay, DiskFormat.QCOW2)
    assert expected != bench.new
    bench.require_done(expected)


def test_folder_that_was_moved_meanwhile(bench_of: BenchOf) -> None:
    bench = bench_of("disk.qcow2")
    with bench.set_aside(linked=True):
        pass
    expected = bench.new
    moved = bench.folder.rename(bench.folder.with_name("elsewhere"))
    files = EditFiles(moved / bench.image.name)
    with claimed(files) as claim:
        assert recover(files, claim)
    assert disk_hash(files.image, DiskFormat.QCOW2) == expected


def test_another_image_under_the_name_is_not_touched(bench: EditedImage) -> None:
    with bench.set_aside(linked=False):
        pass
    bench.image.write_bytes(b"restored from a backup")
    before = {path.name: path.read_bytes() for path in bench.folder.iterdir()}
    with (
        pytest.raises(OutputRefusedError, match="does not hold the changes"),
        claimed(bench.files) as claim,
    ):
        recover(bench.files, claim)
    assert {path.name: path.read_bytes() for path in bench.folder.iterdir()} == before


@pytest.mark.parametrize("planted", ["base", "overlay", "backing"])
def test_planted_files_lead_nowhere(bench_of: BenchOf, planted: str) -> None:
    """A folder from elsewhere may have such names in it from the beginning."""
    bench = bench_of("disk.raw")
    victim = bench.folder.parent / "victim.raw"
    victim.write_bytes(bytes(8 * 1024 * 1024))
    with bench.set_aside(linked=False):
        pass
    if planted == "backing":
        qemu_img.rebase_onto_name(bench.files.overlay, str(victim), bench.format)
    elif planted == "base":
        bench.files.base.unlink()
        bench.files.base.symlink_to(victim)
    else:
        bench.files.overlay.rename(bench.folder / "other")
        bench.files.overlay.symlink_to(bench.folder / "other")
    with (
        pytest.raises(OutputRefusedError, match="does not hold the changes"),
        claimed(bench.files) as claim,
    ):
        recover(bench.files, claim)
    assert not victim.read_bytes().strip(b"\0")


@pytest.mark.parametrize(
    "content",
    [
        "",
        IDENTITY,
        '{"schema": "offline-mig/journal/1", "identity": "0"}',
        f'"identity": "{IDENTITY}"',
    ],
)
def test_only_the_journal_of_the_edit_goes(bench_of: BenchOf, content: str) -> None:
    bench = bench_of("disk.qcow2")
    journal = bench.folder / "journal.json"
    journal.write_text(content)
    with bench.claim(journal):
        bench.make_overlay()
    bench.names.add(journal.name)
    bench.require_done(bench.old)
    assert journal.read_text() == content


@pytest.mark.parametrize("state", [b"", b"\0" * 100, b"{", b"[]", b'{"identity": 1, "journal": 2}'])
def test_damaged_state(bench_of: BenchOf, state: bytes) -> None:
    bench = bench_of("disk.raw")
    with bench.claim():
        bench.make_overlay()
    bench.files.state.write_bytes(state)
    bench.require_done(bench.old)


def test_damaged_state_of_a_change_that_counts(bench_of: BenchOf) -> None:
    bench = bench_of("disk.raw")
    with bench.set_aside(linked=False):
        pass
    bench.files.state.write_bytes(b"rubbish")
    with (
        pytest.raises(SourceUnreadableError, match="is no record of an edit") as refused,
        claimed(bench.files) as claim,
    ):
        recover(bench.files, claim)
    assert bench.files.base.name in refused.value.remedy


def test_claim_is_exclusive(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offline_mig.images.edit_files._PATIENCE", 0.1)
    bench = bench_of("disk.raw")
    with (
        claimed(bench.files),
        pytest.raises(OutputRefusedError, match="Another run is editing"),
        claimed(bench.files),
    ):
        pytest.fail("claimed twice")
    assert bench.listed() == bench.names


def test_claim_of_a_run_that_ends_meanwhile(bench_of: BenchOf) -> None:
    bench = bench_of("disk.raw")
    other = subprocess.Popen(
        ["flock", "-x", bench.files.state, "sleep", "0.4"], stdout=subprocess.DEVNULL
    )
    while not bench.files.state.exists():
        pass
    with claimed(bench.files) as claim:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other.wait()
    assert bench.listed() == bench.names


def test_state_file_is_no_way_out_of_the_folder(bench_of: BenchOf) -> None:
    bench = bench_of("disk.raw")
    victim = bench.folder.parent / "victim"
    victim.write_text("precious")
    bench.files.state.symlink_to(victim)
    with pytest.raises(OutputRefusedError, match="cannot be edited"), claimed(bench.files):
        pytest.fail("a link was followed")
    assert victim.read_text() == "precious"


def test_state_file_that_is_a_pipe(bench_of: BenchOf) -> None:
    bench = bench_of("disk.raw")
    os.mkfifo(bench.files.state)
    with pytest.raises(OutputRefusedError, match="is no plain file"), claimed(bench.files):
        pytest.fail("a pipe was taken")


def test_state_that_somebody_removed(bench: EditedImage) -> None:
    with bench.set_aside(linked=False):
        pass
    bench.files.state.unlink()
    bench.require_done(bench.new)


def test_machine_started_on_the_stand_in(bench_of: BenchOf) -> None:
    """The commit fails, everybody has the new disk, and it is carried through later."""
    bench = bench_of("disk.qcow2")
    with bench.set_aside(linked=True):
        pass
    with (
        running_guest(bench.image, "qcow2"),
        pytest.raises(ToolFailedError, match="has them already"),
        claimed(bench.files) as claim,
    ):
        recover(bench.files, claim)
    bench.require_done(bench.new)


def in_tiny_file_system(folder: Path, program: str) -> str:
    """Run a program with ``folder`` a file system of 24 MiB, which ``fill`` leaves little of."""
    start = f"""
import shutil
from pathlib import Path
from fixtures.edited_image import EditedImage
from offline_mig.errors import OutputRefusedError
from offline_mig.images.commit import commit_edit, recover
from offline_mig.images.edit_files import claimed
folder = Path({str(folder)!r})
filler = folder.joinpath("filler")
def fill(left):
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - left))
"""
    script = 'mount -t tmpfs -o size=24m none "$1" && exec "$2" -c "$3"'
    done = subprocess.run(
        [*private_mounts(), "sh", "-c", script, "sh", folder, sys.executable, start + program],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_too_full_for_the_commit(tmp_path: Path, name: str) -> None:
    program = f"""
bench = EditedImage(folder, {name!r})
with bench.claim() as claim:
    bench.make_overlay()
    fill(1024 * 1024)
    try:
        commit_edit(bench.files, bench.format, claim, lambda: None)
    except OutputRefusedError as error:
        print(error.message)
filler.unlink()
bench.require_done(bench.old)
"""
    assert "is too full" in in_tiny_file_system(tmp_path, program)


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_filled_up_during_the_commit(tmp_path: Path, name: str) -> None:
    program = f"""
bench = EditedImage(folder, {name!r})
with bench.set_aside(linked=bench.files.image.suffix == ".qcow2"):
    pass
fill(256 * 1024)
try:
    with claimed(bench.files) as claim:
        recover(bench.files, claim)
except OutputRefusedError as error:
    print(error.message, error.remedy)
filler.unlink()
bench.require_done(bench.new)
"""
    told = in_tiny_file_system(tmp_path, program)
    assert "could not yet be written into" in told
    assert "the disk is full" in told
    assert "offline-mig recover" in told
