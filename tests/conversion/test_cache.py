"""convert --cache: what has not changed is not converted anew, and what has is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fixtures.conversion_run import require_engine
from fixtures.guests import BuildGuest, BuiltGuest, GuestKind, GuestSpec
from fixtures.published_schemas import require_valid
from fixtures.result import tree_state
from fixtures.running_guest import running_guest
from offline_mig.cli import main
from offline_mig.conversion.content_hash import ContentHashes
from offline_mig.conversion.result_cache import ResultCache
from offline_mig.errors import OutputRefusedError, SourceUnreadableError

Run = Callable[..., Any]
MIB = 1024 * 1024


@pytest.fixture
def run(drivers_dir: Path, tmp_path: Path) -> Run:
    """Converts with a cache and gives what --json printed; ``code`` is the exit code."""
    require_engine("userspace")
    drivers = tmp_path / "drivers"
    shutil.copytree(drivers_dir, drivers)

    def convert(guest: BuiltGuest, *options: str | Path, code: int = 0) -> Any:
        arguments = [
            "convert", guest.vmx, "--drivers", drivers, "--allow-unsigned", "--engine",
            "userspace", "--cache", tmp_path / "cache", "-o", tmp_path / "out", "--json", *options,
        ]  # fmt: skip
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    return convert


def entries(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "entries").iterdir())


@pytest.mark.conversion
def test_what_has_not_changed_is_not_converted_anew(
    run: Run, guest: BuildGuest, tmp_path: Path
) -> None:
    built = guest(GuestSpec(GuestKind.XP))
    first = run(built)
    assert not first["reused"]
    before = tree_state(tmp_path / "out")

    # Where the results still lie, nothing is written.
    again = run(built)
    require_valid("convert", again)
    assert again == {**first, "reused": True}
    assert tree_state(tmp_path / "out") == before

    # Where they are gone, they come back.
    shutil.rmtree(tmp_path / "out")
    assert run(built, "--checksum", code=0)["reused"] is False, "the report has hashes by now"
    shutil.rmtree(tmp_path / "out")
    assert run(built)["reused"]
    found = {name: state[0::2] for name, state in tree_state(tmp_path / "out").items()}
    assert found == {name: state[0::2] for name, state in before.items()}
    assert len(entries(tmp_path)) == 2

    # A guest that was started since is not overwritten unasked.
    disk = Path(first["disks"][0])
    with disk.open("ab") as stream:
        stream.write(b"started")
    assert run(built, code=8)["exit_code"] == 8
    assert disk.read_bytes().endswith(b"started")
    assert run(built, "--overwrite")["reused"]
    assert not disk.read_bytes().endswith(b"started")


@pytest.mark.conversion
def test_what_has_changed_is(run: Run, guest: BuildGuest, tmp_path: Path) -> None:
    built = guest(GuestSpec(GuestKind.XP))
    first = run(built)
    vmx = built.vmx.read_text()
    built.vmx.write_text(vmx.replace("memsize", "MemSize"))
    assert not run(built, "--overwrite")["reused"]
    built.vmx.write_text(vmx)
    assert run(built, "--overwrite")["reused"]
    catalogue = next((tmp_path / "drivers").rglob("viostor.inf"))
    with catalogue.open("ab") as stream:
        stream.write(b"\r\n")
    assert not run(built, "--overwrite")["reused"]
    # An entry that is damaged is none.
    for entry in entries(tmp_path):
        (entry / "entry.json").write_text("{")
    assert not run(built, "--overwrite")["reused"]
    assert len(first["disks"]) == 1


@pytest.mark.conversion
def test_what_has_changed_in_the_cache_does_not_pass_a_checksum(
    run: Run, guest: BuildGuest, tmp_path: Path
) -> None:
    built = guest(GuestSpec(GuestKind.XP))
    run(built, "--checksum")
    shutil.rmtree(tmp_path / "out")
    (disk,) = (tmp_path / "cache").rglob("*.qcow2")
    content = bytearray(disk.read_bytes())
    content[-1] ^= 1
    disk.write_bytes(content)
    told = run(built, "--checksum", code=10)
    assert disk.name in told["error"]
    assert str(disk.parent) in told["remedy"]
    assert not (tmp_path / "out").exists()


def test_old_entries_go_first(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache", 5 * MIB)
    cache.prepare()
    result = tmp_path / "guest.report.json"
    result.write_bytes(os.urandom(2 * MIB))
    for number, key in enumerate(("a", "b")):
        cache.store(key, [result])
        os.utime(tmp_path / "cache" / "entries" / key / "entry.json", (number, number))
    with cache.found("a") as entry:
        assert entry is not None
    cache.store("c", [result])
    assert {entry.name for entry in entries(tmp_path)} == {"a", "c"}


def test_an_entry_in_use_stays(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache", 3 * MIB)
    cache.prepare()
    result = tmp_path / "guest.report.json"
    result.write_bytes(os.urandom(2 * MIB))
    cache.store("a", [result])
    with cache.found("a") as entry:
        cache.store("b", [result])
        assert entry is not None
        assert (entry.folder / result.name).read_bytes() == result.read_bytes()


def test_what_is_stored_twice_is_stored_once(tmp_path: Path) -> None:
    """As by two runs at a time, one of which is taking the entry out already."""
    cache = ResultCache(tmp_path / "cache", 3 * MIB)
    cache.prepare()
    result = tmp_path / "guest.report.json"
    result.write_bytes(b"first")
    assert cache.store("a", [result])
    with cache.found("a") as entry:
        result.write_bytes(b"second")
        assert cache.store("a", [result])
        assert entry is not None
        assert (entry.folder / result.name).read_bytes() == b"first"
    assert [entry.name for entry in entries(tmp_path)] == ["a"]


def test_what_is_more_than_the_cache_may_hold_is_not_kept(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache", MIB)
    cache.prepare()
    result = tmp_path / "guest.report.json"
    result.write_bytes(os.urandom(2 * MIB))
    assert not cache.store("a", [result])
    assert entries(tmp_path) == []


def test_holes_stay_holes_and_scripts_programs(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache", MIB)
    cache.prepare()
    disk, script = tmp_path / "guest.raw", tmp_path / "guest.qemu.sh"
    disk.write_bytes(b"x")
    os.truncate(disk, 64 * MIB)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    cache.store("a", [disk, script])
    with cache.found("a") as entry:
        assert entry is not None
        assert (entry.folder / disk.name).stat().st_blocks * 512 < MIB
        assert (entry.folder / script.name).stat().st_mode & 0o777 == 0o755
        assert entry.files[disk.name] == hashlib.sha256(disk.read_bytes()).hexdigest()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Path]]:
    """A disk, a pipe and a report; the disk is written to once the pipe is read, after it."""
    disk, pipe = tmp_path / "guest.qcow2", tmp_path / "guest.xml"
    report = tmp_path / "guest.report.json"
    for path in (disk, report):
        path.write_bytes(b"as it was made")
        os.utime(path, (1, 1))
    os.mkfifo(pipe)

    def start() -> None:
        with pipe.open("wb") as stream:
            disk.write_bytes(b"as it was started")
            stream.write(b"<domain/>")

    guest = threading.Thread(target=start, daemon=True)
    guest.start()
    yield [disk, pipe, report]
    guest.join(5)


def test_a_disk_that_is_written_to_while_it_is_copied_is_not_kept(
    made: list[Path], tmp_path: Path
) -> None:
    cache = ResultCache(tmp_path / "cache", MIB)
    cache.prepare()
    with pytest.raises(OutputRefusedError, match="has changed since it was made"):
        cache.store("a", made, disks=1)
    assert entries(tmp_path) == []


def test_what_is_noted_of_an_entry_is_what_it_holds(made: list[Path], tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache", MIB)
    cache.prepare()
    assert cache.store("a", made)
    with cache.found("a") as entry:
        assert entry is not None
        assert (entry.folder / made[0].name).read_bytes() == b"as it was made"
        for name, sha256 in entry.files.items():
            assert hashlib.sha256((entry.folder / name).read_bytes()).hexdigest() == sha256


def test_a_disk_that_was_written_to_or_is_in_use_is_not_kept(tmp_path: Path) -> None:
    """Who waits for the report may have started the guest before anything was copied."""
    cache = ResultCache(tmp_path / "cache", MIB)
    cache.prepare()
    disk, report = tmp_path / "guest.qcow2", tmp_path / "guest.report.json"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    report.write_bytes(b"{}")
    with running_guest(disk, "qcow2"), pytest.raises(SourceUnreadableError):
        cache.store("a", [disk, report], disks=1)
    os.utime(report, (1, 1))
    with pytest.raises(OutputRefusedError, match="has changed since it was made"):
        cache.store("a", [disk, report], disks=1)
    assert entries(tmp_path) == []
    os.utime(disk, (1, 1))
    assert cache.store("a", [disk, report], disks=1)


def test_a_cache_that_can_take_no_hash_does_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"in the way")
    # Not of this moment: a new file's hash would not be kept anyway.
    old = Path(sys.executable).resolve()
    hashes = ContentHashes(tmp_path / "cache" / "hashes")
    assert hashes.of_file(old) == hashlib.sha256(old.read_bytes()).hexdigest()


def test_hashes_are_kept_until_a_file_changes(tmp_path: Path) -> None:
    hashes = ContentHashes(tmp_path / "hashes")
    file = tmp_path / "disk"
    file.write_bytes(b"a" * 2 * MIB)
    true = hashlib.sha256(file.read_bytes()).hexdigest()
    # Changed a moment ago: another change might leave no trace in the times.
    assert hashes.of_file(file) == true
    assert not (tmp_path / "hashes").exists()
    kept = tmp_path / "hashes"
    kept.mkdir()
    name = hashlib.sha256(os.fsencode(file)).hexdigest()
    status = file.stat()
    state = [
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    ]  # fmt: skip
    (kept / f"{name}.json").write_text(json.dumps({"state": state, "sha256": "kept"}))
    assert hashes.of_file(file) == "kept"
    # The time of modification can be set back, that of the inode cannot.
    content = b"b" + file.read_bytes()[1:]
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hashes.of_file(file) == hashlib.sha256(content).hexdigest()
    (kept / f"{name}.json").write_text("[]")
    assert hashes.of_file(file) == hashlib.sha256(content).hexdigest()


def test_a_tree_is_its_names_and_contents(tmp_path: Path) -> None:
    hashes = ContentHashes(tmp_path / "hashes")
    tree = tmp_path / "drivers"
    (tree / "viostor").mkdir(parents=True)
    (tree / "viostor" / "a.inf").write_bytes(b"1")
    first = hashes.of_tree(tree)
    (tree / "viostor" / "a.inf").rename(tree / "viostor" / "b.inf")
    renamed = hashes.of_tree(tree)
    (tree / "viostor" / "b.inf").write_bytes(b"2")
    assert len({first, renamed, hashes.of_tree(tree)}) == 3
