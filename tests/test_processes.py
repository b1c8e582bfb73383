"""Running programs: what they print, how long they may take, and how they are ended."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from offline_mig.errors import HostNotReadyError, ToolFailedError
from offline_mig.processes import ProgramFailedError, run


def test_both_outputs_are_heard_however_much_it_is() -> None:
    program = "import os; [os.write(n, b'%d' % n * 100000) for n in (1, 2, 1, 2)]"
    done = run([sys.executable, "-c", program], timeout=60)
    assert done.stdout == "1" * 200_000
    assert done.stderr == "2" * 200_000


@pytest.mark.parametrize("brief", [False, True])
def test_output_comes_in_pieces_while_it_runs(brief: bool) -> None:
    arrived: list[tuple[str, float]] = []
    run(
        ["/bin/sh", "-c", r"printf 'one\rtwo\n\nth'; sleep 0.5; printf 'ree\nend'"],
        on_output=lambda piece: arrived.append((piece, time.monotonic())),
        brief=brief,
    )
    assert [piece for piece, _ in arrived] == ["one", "two", "three", "end"]
    assert arrived[2][1] - arrived[1][1] > 0.3


@pytest.mark.parametrize("program", ["sleep 60", "exec >&- 2>&-; sleep 60"])
def test_a_program_that_takes_too_long_is_killed(program: str) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailedError, match=r"/bin/sh did not end within 0\.5 s"):
        run(["/bin/sh", "-c", f"{program} #once"], timeout=0.5)
    assert time.monotonic() - began < 10
    assert not _runs("#once")


@pytest.mark.parametrize(
    ("program", "grace", "code"),
    [
        ("sleep 60", 0, -15),
        ("trap 'exit 7' TERM; while :; do sleep 0.1; done", 20, 7),
        ("trap '' TERM; while :; do sleep 0.1; done", 0.5, -9),
        ("exec >&- 2>&-; sleep 60", 0, -15),
    ],
)
def test_a_program_is_stopped(program: str, grace: float, code: int) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.4, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(ProgramFailedError) as failed:
        run(["/bin/sh", "-c", program], stop=stop, grace=grace)
    assert failed.value.code in ({code, -9} if grace == 0 else {code})
    assert time.monotonic() - began < 10


def test_failures_say_what_was_printed() -> None:
    with pytest.raises(
        ProgramFailedError, match="failed with exit code 3: first; second"
    ) as failed:
        run(["/bin/sh", "-c", "echo first >&2; echo second >&2; exit 3"])
    assert failed.value.code == 3
    assert "echo first" in failed.value.remedy
    with pytest.raises(HostNotReadyError, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_an_error_of_who_listens_ends_the_program(tmp_path: Path) -> None:
    def hear(_piece: str) -> None:
        raise ValueError("heard")

    with pytest.raises(ValueError, match="heard"):
        run(["/bin/sh", "-c", f"echo word; exec sleep 60; #{tmp_path}\n"], on_output=hear)
    assert not _runs(str(tmp_path))


def test_a_program_dies_with_the_run() -> None:
    program = (
        "from offline_mig.processes import run\n"
        "run(['/bin/sh', '-c', 'echo begun >&2; exec sleep 61.25'], on_output=print)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        deadline = time.monotonic() + 30
        while not _runs("sleep\x0061.25") and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    deadline = time.monotonic() + 10
    while _runs("sleep\x0061.25") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs("sleep\x0061.25")


def _runs(words: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_text():
                return True
        except OSError:
            continue
    return False
