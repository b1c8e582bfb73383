"""Whole images edited in place and undone: byte for byte, in every format, refused when in use."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, offline_mig, private_mounts, require_engine
from fixtures.disk_layout import SYSTEM_VOLUME_OFFSET
from fixtures.guest_files import files_of
from fixtures.guests import GuestKind, GuestSpec
from fixtures.ntfs_volumes import FileState, cut_out, require_sound, volume_state
from fixtures.reparse_points import WOF, reparse, set_reparse_point
from fixtures.result import SystemVolume, hivexget, system_volume
from fixtures.running_guest import running_guest, starts
from fixtures.small_edit import ADDED, DELETED_FILE, REPLACED, deletions, edit
from offline_mig.cli.screen import Screen
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.in_place import (
    InPlaceOptions,
    OpenedGuest,
    PlannedEdit,
    edit_in_place,
)
from offline_mig.errors import OfflineMigError, OutputRefusedError, SourceUnreadableError
from offline_mig.guest.filesystem import UnreadableFileError
from offline_mig.machine import DiskFormat
from offline_mig.surgery.plan import Plan
from offline_mig.windows.hive import HiveName

pytestmark = pytest.mark.conversion

MakeImage = Callable[..., Path]


@pytest.fixture
def image(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> MakeImage:
    """Makes an image of a guest in a format, in a folder with nothing else."""
    require_engine("userspace")

    def make(
        kind: GuestKind = GuestKind.XP, image_format: str = "qcow2", options: str = ""
    ) -> Path:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        path = folder / f"guest.{image_format}"
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", image_format,
             *(["-o", options] if options else []), base_image(GuestSpec(kind)), path],
            check=True,
        )  # fmt: skip
        return path

    return make


def volume_of(image: Path, scratch: Path) -> SystemVolume:
    scratch.mkdir(exist_ok=True)
    return system_volume(image, image.suffix.removeprefix("."), scratch)


def contents(image: Path) -> dict[str, str]:
    """Return the hash of every file."""
    image_format = DiskFormat(image.suffix.removeprefix("."))
    return files_of(image, image_format)


def state_of(image: Path, scratch: Path) -> dict[str, FileState]:
    """Return every file with its content, attributes and access rights."""
    volume = volume_of(image, scratch).volume
    require_sound(volume)
    return volume_state(volume)


def names(image: Path) -> set[str]:
    return {path.name for path in image.parent.iterdir()}


def undo(image: Path, journal: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return offline_mig("undo", image, "--journal", journal, "--engine", "userspace", *more)


@pytest.mark.parametrize("kind", list(GuestKind))
def test_edit_and_undo_byte_for_byte(kind: GuestKind, image: MakeImage, tmp_path: Path) -> None:
    path = image(kind)
    before = state_of(path, tmp_path / "before")
    result = edit(path)
    assert result.journal is not None
    between = state_of(path, tmp_path / "between")
    drivers = result.facts.drivers_directory.casefold()
    changed = {name.casefold() for name in between if between[name] != before.get(name)}
    assert {f"{drivers}/{REPLACED}", f"{drivers}/{ADDED}", f"{drivers}/new folder"} < changed
    assert len(changed) == 5
    # In place: what Windows says of a file stays.
    for name in before:
        assert between[name].security == before[name].security
        assert between[name].information == before[name].information
    done = undo(path, result.journal, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_alone"] == []
    assert state_of(path, tmp_path / "after") == before
    assert names(path) == {path.name, result.journal.name}


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("raw", ""),
        ("qcow2", "compat=0.10"),
        ("vdi", ""),
        ("vhdx", ""),
        ("vpc", ""),
        ("vmdk", "subformat=monolithicSparse"),
        ("vmdk", "subformat=monolithicFlat"),
        ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ],
)
def test_every_format_that_is_read(
    image_format: str, options: str, image: MakeImage, tmp_path: Path
) -> None:
    path = image(image_format=image_format, options=options)
    files = names(path)
    before = contents(path)
    result = edit(path)
    assert result.journal is not None
    system = volume_of(path, tmp_path / "between").hive(result.facts.hive_files[HiveName.SYSTEM])
    key = rf"{result.facts.control_sets.current}\Services\added\sub"
    assert hivexget(system, key, "Start") == "0"
    assert names(path) == {*files, result.journal.name}
    assert undo(path, result.journal).returncode == 0
    assert contents(path) == before


def test_image_on_top_of_another(image: MakeImage, tmp_path: Path) -> None:
    base = image().rename(tmp_path / "images" / "base.qcow2")
    digest = hashlib.sha256(base.read_bytes()).hexdigest()
    top = base.with_name("top.qcow2")
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.name, "-F", "qcow2", top],
        check=True, cwd=top.parent,
    )  # fmt: skip
    before = contents(top)
    result = edit(top)
    assert result.journal is not None
    assert contents(top) != before
    assert hashlib.sha256(base.read_bytes()).hexdigest() == digest
    # What others are based on is not to be changed.
    with pytest.raises(OutputRefusedError, match="is based on"):
        edit(base)
    assert undo(top, result.journal).returncode == 0
    assert contents(top) == before


def test_link_stays_a_link(image: MakeImage, tmp_path: Path) -> None:
    path = image()
    link = tmp_path / "elsewhere.qcow2"
    link.symlink_to(path)
    result = edit(link)
    assert result.journal is not None
    assert result.journal.parent == path.parent
    assert link.is_symlink()
    assert undo(link, result.journal).returncode == 0


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="no qemu-system-x86_64")
def test_running_guest_is_refused(image_format: str, image: MakeImage, tmp_path: Path) -> None:
    path = image(image_format=image_format)
    journal = edit(path).journal
    assert journal is not None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with running_guest(path, image_format):
        for arguments in (
            ["undo", path, "--journal", journal],
            ["undo", path, "--journal", journal, "--dry-run"],
            ["inspect", path],
        ):
            run = offline_mig(*arguments, "--engine", "userspace")
            assert run.returncode == 4, run.stderr
            assert "is in use" in run.stderr
        with pytest.raises(SourceUnreadableError, match="in use"):
            edit(path)
    assert names(path) == {path.name, journal.name}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_overlay_for_a_try_out_boot(image: MakeImage, tmp_path: Path) -> None:
    path = image()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = edit(path, commit=False)
    assert result.overlay is not None
    assert result.journal is not None
    assert result.commit_command is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert names(path) == {path.name, result.overlay.name, result.journal.name}
    assert starts(result.overlay, "qcow2")[0]
    # As long as somebody may boot it, its ground must not move.
    with pytest.raises(OutputRefusedError, match="is based on"):
        edit(path)
    subprocess.run(result.commit_command, shell=True, check=True)
    assert names(path) == {path.name, result.journal.name}
    assert undo(path, result.journal).returncode == 0


def test_editing_twice_changes_nothing_and_writes_no_journal(image: MakeImage) -> None:
    path = image()
    first = edit(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    second = edit(path)
    assert (len(second.pending), second.journal) == (0, None)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert first.journal is not None
    assert names(path) == {path.name, first.journal.name}


def test_dry_runs_change_nothing(image: MakeImage) -> None:
    path = image(image_format="raw")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rehearsal = edit(path, dry_run=True)
    assert len(rehearsal.pending) == 9
    assert rehearsal.journal is None
    assert names(path) == {path.name}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    journal = edit(path).journal
    assert journal is not None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    run = undo(path, journal, "--dry-run", "--json")
    assert json.loads(run.stdout)["whole_hives"] == ["SOFTWARE", "SYSTEM"]
    assert "Would put back" in undo(path, journal, "--dry-run").stdout
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_dry_run_refuses_to_delete_what_cannot_come_back(image: MakeImage, tmp_path: Path) -> None:
    """A program that Windows has compressed (CompactOS) cannot be read, and so not be kept."""
    path = image(image_format="raw")
    offset = SYSTEM_VOLUME_OFFSET[GuestKind.XP]
    size = path.stat().st_size - offset
    volume = cut_out(path, "raw", offset, size, tmp_path / "volume.raw")
    wof = reparse(WOF, struct.pack("<IIII", 1, 2, 1, 0))
    set_reparse_point(volume, f"/WINDOWS/{DELETED_FILE.lower()}", wof)
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(volume.read_bytes())

    def plan(guest: OpenedGuest) -> PlannedEdit:
        return PlannedEdit(Plan((deletions(guest.facts),)))

    chosen = choose_engine(EngineChoice("userspace"))
    options = InPlaceOptions(dry_run=True)
    with pytest.raises(UnreadableFileError, match=r"(?i)explorer"):
        edit_in_place(path, chosen, plan, options, Screen(quiet=True))


def test_journals_are_never_replaced(image: MakeImage, tmp_path: Path) -> None:
    path = image()
    first = edit(path).journal
    assert first is not None
    content = first.read_bytes()
    assert undo(path, first).returncode == 0
    with pytest.raises(OutputRefusedError, match="exists already"):
        edit(path, journal=first)
    second = edit(path).journal
    assert second is not None
    assert (first.name, second.name) == ("guest.qcow2.journal.json", "guest.qcow2.journal-2.json")
    assert first.read_bytes() == content
    assert undo(path, second).returncode == 0
    chosen = tmp_path / "kept elsewhere.json"
    assert edit(path, journal=chosen).journal == chosen
    # Pieces of a registry are nobody else's business.
    assert chosen.stat().st_mode & 0o777 == 0o600
    assert names(path) == {path.name, first.name, second.name}


def test_undo_of_another_image_is_refused(
    image: MakeImage, base_image: Callable[[GuestSpec], Path], tmp_path: Path
) -> None:
    path = image()
    journal = edit(path).journal
    assert journal is not None
    other = tmp_path / "other.qcow2"
    for kind in (GuestKind.WINDOWS_7, GuestKind.XP):
        source = base_image(GuestSpec(kind))
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", source, other], check=True)
        if kind is GuestKind.XP:
            # The same disk but for the serial number of its volume.
            at = SYSTEM_VOLUME_OFFSET[kind] + 72
            command = ["-c", f"write -P 5 {at} 8"]
            subprocess.run(["qemu-io", "-f", "qcow2", *command, other], check=True)
        digest = hashlib.sha256(other.read_bytes()).hexdigest()
        run = undo(other, journal)
        assert run.returncode == 6
        assert "The journal is of another image" in run.stderr
        assert hashlib.sha256(other.read_bytes()).hexdigest() == digest


def test_undo_knows_a_copy_again_that_was_moved_and_converted(
    image: MakeImage, tmp_path: Path
) -> None:
    path = image()
    before = contents(path)
    journal = edit(path).journal
    assert journal is not None
    moved = tmp_path / "moved.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, moved], check=True)
    assert undo(moved, journal).returncode == 0
    assert contents(moved) == before


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "offline-mig/journal/1"}'])
def test_damaged_journal(content: bytes, image: MakeImage) -> None:
    path = image()
    journal = path.with_name("journal.json")
    journal.write_bytes(content)
    run = undo(path, journal)
    assert run.returncode == 4
    assert "Traceback" not in run.stderr
    assert "What to do:" in run.stderr
    assert undo(path, path.with_name("none")).returncode == 4
    assert undo(path, path.parent).returncode == 4


def test_what_cannot_be_written_in_place(image: MakeImage, tmp_path: Path) -> None:
    path = image(image_format="vmdk", options="subformat=streamOptimized")
    with pytest.raises(OutputRefusedError, match="not written in place") as refused:
        edit(path)
    assert "qemu-img convert" in refused.value.remedy
    for strange in (Path("/dev/null"), tmp_path, tmp_path / "missing.qcow2"):
        with pytest.raises(OfflineMigError) as other:
            edit(strange)
        assert other.value.remedy


def test_read_only_folder(image: MakeImage) -> None:
    path = image()
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    run = subprocess.run(
        [*private_mounts(), "sh", "-c", script, "sh", path.parent, *COMMAND, "recover", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 8
    assert "cannot be written" in run.stderr


def test_image_without_its_name_is_explained(image: MakeImage) -> None:
    path = image(image_format="raw")
    base = path.rename(path.with_name(".guest.raw.offline-mig-base"))
    for arguments in (["inspect", path], ["undo", path, "--journal", path, "--dry-run"]):
        run = offline_mig(*arguments)
        assert run.returncode == 4, run.stderr
    assert "offline-mig recover" in offline_mig("inspect", path).stderr
    run = offline_mig("recover", path)
    assert (run.returncode, base.exists(), path.exists()) == (0, False, True)
    assert shlex.quote(str(path)) in run.stdout
    again = offline_mig("recover", path, "--json")
    assert json.loads(again.stdout)["carried_through"] is False


def test_rehearsal_beside_a_run_or_what_was_left_of_one(image: MakeImage) -> None:
    path = image(image_format="raw")
    overlay = path.with_name(".guest.raw.offline-mig-overlay")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", path, overlay]
    subprocess.run(command, check=True)
    for arguments in (["repair", path, "--dry-run"], ["undo", path, "--journal", path]):
        run = offline_mig(*arguments)
        assert "qemu-img commit" not in run.stderr
    refused = offline_mig("repair", path, "--dry-run")
    assert refused.returncode == 8
    assert f"offline-mig recover {path}" in refused.stderr
    assert offline_mig("recover", path).returncode == 0
    assert not overlay.exists()


@pytest.mark.appliance
def test_with_the_appliance(image: MakeImage, tmp_path: Path) -> None:
    path = image(image_format="raw")
    before = contents(path)
    journal = edit(path, engine="guestfs").journal
    assert journal is not None
    run = offline_mig("undo", path, "--journal", journal, "--engine", "guestfs")
    assert run.returncode == 0, run.stderr
    assert contents(path) == before
    assert names(path) == {path.name, journal.name}
