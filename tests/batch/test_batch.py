"""Batches of whole guests: what is converted, what is not and why, and what is left of a crash."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import catalogue
from fixtures.conversion_run import COMMAND, offline_mig, private_mounts
from fixtures.guests import GuestSpec
from fixtures.interruption import descendants, require_nothing_runs
from fixtures.many_guests import BROKEN, add_broken_guests, add_sound_guests
from fixtures.published_schemas import require_valid
from fixtures.result import tree_state
from offline_mig.batch.journal import journal_path, read_batch
from offline_mig.batch.record import BatchRecord, GuestState
from offline_mig.summary.folder import read_folder

pytestmark = pytest.mark.conversion

Exports = Callable[[int], Path]


def command(exports: Path, drivers: Path, output: Path, *more: str | Path) -> list[str]:
    engine = ("--allow-unsigned", "--engine", "userspace", "-j", "2")
    return list(map(str, ("batch", exports, "--drivers", drivers, "-o", output, *engine, *more)))


def left(output: Path) -> BatchRecord:
    found = read_batch(output)
    assert found is not None
    return found


def require_whole(output: Path, names: set[str]) -> None:
    """See that the output folder holds the results of these guests, sound, and nothing else."""
    batch = left(output)
    assert {g.name for g in batch.guests if g.state is GuestState.CONVERTED} == names
    expected = {"batch"}
    for guest in batch.guests:
        if guest.state is not GuestState.CONVERTED:
            assert guest.results == ()
            continue
        disk = output / f"{guest.name}.qcow2"
        assert set(guest.results) == {disk.name, f"{guest.name}.xml", f"{guest.name}.report.json"}
        assert guest.report == f"{guest.name}.report.json"
        assert guest.written == disk.stat().st_blocks * 512
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", disk], check=True)
        report = json.loads((output / guest.report).read_text())
        assert report["source"]["machine"]["source"] == str(guest.source)
        assert report["published"] == list(guest.results)
        assert dict(guest.seconds) == report["seconds"]
        expected |= set(guest.results)
    assert {path.name for path in output.iterdir()} == expected
    logs = {f"{guest.name}.log" for guest in batch.guests}
    assert {path.name for path in (output / "batch").iterdir()} == logs | {"journal.jsonl"}


@dataclass(frozen=True)
class Forty:
    """A folder of forty guests: the names of the sound ones, and those of BROKEN."""

    folder: Path
    sound: set[str]


@pytest.fixture
def forty(base_image: Callable[[GuestSpec], Path], tmp_path: Path, userspace: None) -> Forty:
    base_image(catalogue.XP)
    made = Forty(tmp_path / "exports", set())
    kinds = ((catalogue.XP, 20), (catalogue.WINDOWS_7, 5), (catalogue.WINDOWS_10, 5))
    for spec, count in kinds:
        names = [f"{spec.kind.value}-{number}" for number in range(count)]
        add_sound_guests(made.folder, spec, names)
        made.sound.update(names)
    add_broken_guests(made.folder)
    return made


def require_failed(output: Path) -> None:
    """See that the broken ones, and no others, failed for what is wrong with them."""
    failed = {g.name: g for g in left(output).guests if g.state is GuestState.FAILED}
    assert set(failed) == set(BROKEN)
    for name, broken in BROKEN.items():
        assert failed[name].exit_code == broken.exit_code, failed[name].message
        assert broken.reason in failed[name].message
        assert failed[name].remedy


def test_forty_guests_of_which_ten_are_broken(
    forty: Forty, drivers_dir: Path, tmp_path: Path
) -> None:
    exports, sound, output = forty.folder, forty.sound, tmp_path / "out"
    before = tree_state(exports)

    looked = offline_mig(
        "preflight", exports, "--drivers", drivers_dir, "--allow-unsigned", "-j", "2", "--json"
    )
    assert looked.returncode == 13, looked.stderr
    run = offline_mig(*command(exports, drivers_dir, output, "--json"))
    assert run.returncode == 13, run.stderr
    assert tree_state(exports) == before
    assert "Traceback" not in run.stderr

    require_whole(output, sound)
    require_failed(output)
    failed = {g.name: g for g in left(output).guests if g.state is GuestState.FAILED}
    rows = {row["name"]: row for row in json.loads(looked.stdout)["machines"]}
    assert set(rows) == sound | set(BROKEN)
    for name in BROKEN:
        guest, row = failed[name], rows[name]
        assert guest.exit_code == row["exit_code"]
        assert guest.log is not None
        assert guest.message in (output / guest.log).read_text()
        # What is said beforehand is what happens.
        assert (row["readiness"], row["message"]) == ("blocked", guest.message)
    for name in sound:
        assert rows[name]["readiness"] in ("ready", "ready with notes"), name
        assert rows[name]["needed"] > (output / f"{name}.qcow2").stat().st_blocks * 512

    events = [json.loads(line) for line in run.stdout.splitlines()]
    for event in events:
        require_valid("batch-event", event)
    assert [event["event"] for event in (events[0], events[-1])] == ["begun", "ended"]
    assert events[0]["standing"]["guests"]["waiting"] == 40
    assert events[-1]["exit_code"] == 13
    counted = events[-1]["standing"]["guests"]
    assert counted == {"waiting": 0, "started": 0, "converted": 30, "failed": 10, "abandoned": 0}
    guests = [event["guest"] for event in events if event["event"] == "guest"]
    ended = [guest["name"] for guest in guests if guest["ended"] is not None]
    assert sorted(ended) == sorted(sound | set(BROKEN))


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore Ctrl-C, the tests perhaps too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def published(output: Path) -> dict[str, tuple[int, int]]:
    """Return what tells each finished result from one that was made anew."""
    names = {path.name.removesuffix(".report.json") for path in output.glob("*.report.json")}
    states = {path.name: path.stat() for path in output.iterdir() if path.is_file()}
    return {
        name: (state.st_ino, state.st_mtime_ns)
        for name, state in states.items()
        if name.split(".")[0] in names
    }


def test_killed_at_twenty_random_moments_and_resumed(
    forty: Forty, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = forty.folder, tmp_path / "out"
    before = tree_state(folder)
    chance = random.Random(8)
    done: dict[str, tuple[int, int]] = {}
    longest = 2.5
    for number in range(20):
        resume = ["--resume"] if number else []
        with started(command(folder, drivers_dir, output, *resume)) as process:
            time.sleep(chance.uniform(0.3, longest))
            # Mostly the batch itself, else any of the processes that it started.
            below = descendants(process.pid)
            victim = chance.choice(below) if below and number % 4 == 3 else process.pid
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if victim != process.pid:
                time.sleep(chance.uniform(0, 1))
        require_nothing_runs(tmp_path)
        if output.exists():
            now = published(output)
            assert {name: now.get(name) for name in done} == done, "a guest was converted again"
            if now == done:
                # A slow host: let some be done, too.
                longest *= 1.2
            done = now
    assert done
    run = offline_mig(*command(folder, drivers_dir, output, "--resume"))
    assert run.returncode == 13, run.stderr
    now = published(output)
    assert {name: now[name] for name in done} == done
    require_whole(output, forty.sound)
    require_failed(output)
    assert tree_state(folder) == before
    again = offline_mig(*command(folder, drivers_dir, output, "--resume"))
    assert again.returncode == 13, again.stderr
    assert published(output) == now


def test_a_process_that_dies_is_tried_once_more(
    exports: Exports, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = exports(3), tmp_path / "out"
    with started(command(folder, drivers_dir, output)) as process:
        deadline = time.monotonic() + 30
        while not (workers := descendants(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "once more, after: The process at work on it ended by signal 9." in errors
    require_whole(output, {"xp-00", "xp-01", "xp-02"})
    assert sorted(guest.attempts for guest in left(output).guests) == [1, 1, 2]
    # Results whose guests nobody wrote down are known by what they say of themselves.
    before = published(output)
    journal = journal_path(output)
    journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    (output / "xp-01.report.json").unlink()
    run = offline_mig(*command(folder, drivers_dir, output, "--resume"))
    assert run.returncode == 13, run.stderr
    assert "already holds xp-01.qcow2" in run.stderr + run.stdout
    after = published(output)
    assert after == {name: state for name, state in before.items() if "xp-01" not in name}


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended without a word of {words!r}")


def test_ctrl_c_finishes_what_is_at_work(
    exports: Exports, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = exports(8), tmp_path / "out"
    with started(command(folder, drivers_dir, output)) as process:
        wait_for(process, "converted in")
        process.send_signal(signal.SIGINT)
        # Two that were begun together end together, and then there is none to be finished.
        wait_for(process, "at work")
        process.communicate(timeout=60)
    assert process.returncode == 130
    batch = left(output)
    done = {guest.name for guest in batch.guests if guest.state is GuestState.CONVERTED}
    assert 0 < len(done) < 8
    assert batch.count(GuestState.WAITING) == 8 - len(done)
    run = offline_mig(*command(folder, drivers_dir, output, "--resume"))
    assert run.returncode == 0, run.stderr
    require_whole(output, {f"xp-{number:02}" for number in range(8)})


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_abandoned_at_once(
    signals: tuple[signal.Signals, ...], exports: Exports, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = exports(6), tmp_path / "out"
    with started(command(folder, drivers_dir, output)) as process:
        wait_for(process, "converted in")
        # Both may have ended at once; then the next two begin.
        while not descendants(process.pid):
            time.sleep(0.01)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.1)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Abandoning" in errors
    require_nothing_runs(tmp_path)
    batch = left(output)
    assert batch.count(GuestState.STARTED) == 0
    done = {guest.name for guest in batch.guests if guest.state is GuestState.CONVERTED}
    assert {path.name for path in output.iterdir() if path.name.startswith(".")} == set()
    assert {path.stem for path in output.glob("*.qcow2")} == done


def test_disk_full_in_the_middle(exports: Exports, drivers_dir: Path, tmp_path: Path) -> None:
    """With room for two of four: those are converted, and the others once there is more room."""
    folder, output = exports(4), tmp_path / "out"
    output.mkdir()
    batch = " ".join([*COMMAND, *command(folder, drivers_dir, output)])
    script = f"""
        mount -t tmpfs -o size=148m none {output} || exit 99
        {batch} >{tmp_path}/first 2>&1; echo $?
        head -c 200m /dev/zero >{output}/filler 2>/dev/null
        {batch} --resume >{tmp_path}/second 2>&1; echo $?
        rm {output}/filler
        mount -o remount,size=400m {output}
        {batch} --resume >{tmp_path}/third 2>&1; echo $?
        cp -r {output} {tmp_path}/kept
    """
    run = subprocess.run(
        [*private_mounts(), "sh", "-c", script], capture_output=True, text=True, check=False
    )
    first, second, third = ((tmp_path / name).read_text() for name in ("first", "second", "third"))
    assert run.stdout.split() == ["13", "8", "0"], (run.stderr, first, second, third)
    assert "is too full" in first
    assert "2 converted, 2 failed" in first
    assert f"The disk with {output} is full" in second
    assert "4 converted" in third
    kept = left(tmp_path / "kept")
    # Those that were through were not touched again.
    assert sorted(guest.attempts for guest in kept.guests) == [1, 1, 1, 1]


def test_a_batch_that_was_done_before_comes_out_of_the_cache(
    exports: Exports, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = exports(3), tmp_path / "out"
    kept = command(folder, drivers_dir, output, "--cache", tmp_path / "kept")
    done = offline_mig(*kept)
    assert done.returncode == 0, done.stderr
    first = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    shutil.rmtree(output)
    # One guest is another by now.
    vmx = next((folder / "xp-01").glob("*.vmx"))
    vmx.write_text(vmx.read_text() + 'annotation = "changed"\n')

    done = offline_mig(*kept)
    assert done.returncode == 0, done.stderr
    second = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    assert set(second) == set(first)
    assert {name for name in first if second[name] != first[name]} == {
        name for name in first if name.startswith("xp-01")
    } - {"xp-01.xml"}
    for guest in left(output).guests:
        assert guest.log is not None
        reused = guest.name != "xp-01"
        assert ("came from the cache" in (output / guest.log).read_text()) == reused
        assert any("came from the cache" in note for note in guest.notes) == reused
        # The seconds of another time are no measure of this host.
        assert (guest.seconds == {}) == reused
    for result in read_folder(output):
        reused = result.name != "xp-01"
        assert (result.seconds == {}) == reused
        assert any("came from the cache" in note for note in result.notes) == reused


def test_a_cache_that_no_guest_could_use_ends_the_batch_before_it_begins(
    exports: Exports, drivers_dir: Path, tmp_path: Path
) -> None:
    folder, output = exports(1), tmp_path / "out"
    (tmp_path / "file").write_text("in the way")
    for options, reason in (
        (("--cache", tmp_path / "kept", "--define", "test:///default"), "not defined on libvirt"),
        (("--cache", output), "both the cache and the folder of the results"),
        (("--cache", folder), "of a source"),
        (("--cache", tmp_path / "file"), "cannot be used"),
    ):
        done = offline_mig(*command(folder, drivers_dir, output, *options))
        assert done.returncode == 8
        assert reason in done.stderr
        assert not output.exists()
    done = offline_mig(*command(folder, drivers_dir, output, "--cache-size", "3"))
    assert done.returncode == 2
    assert "--cache-size goes with --cache" in done.stderr
