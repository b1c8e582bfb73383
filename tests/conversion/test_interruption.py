"""Runs that are killed, interrupted or run out of space: the source stays, nothing looks done."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.conversion_run import COMMAND, offline_mig, private_mounts, require_engine
from fixtures.guests import BuiltGuest, GuestKind, GuestSpec, build_guest
from fixtures.result import left_over_processes, tree_state

pytestmark = pytest.mark.conversion

#: The engines, and how long after the beginning of a step each is well into it, in seconds.
ENGINES = [("userspace", 0.0), pytest.param("guestfs", 0.3, marks=pytest.mark.appliance)]


@pytest.fixture
def guest(base_image: Callable[[GuestSpec], Path], tmp_path: Path) -> BuiltGuest:
    base_image(GuestSpec(GuestKind.XP))
    return build_guest(GuestKind.XP, tmp_path / "source")


def stopped_at(
    step: str,
    sent: signal.Signals,
    guest: BuiltGuest,
    drivers: Path,
    output: Path,
    engine: str,
    delay: float,
) -> subprocess.CompletedProcess[str]:
    """Start a conversion and send it a signal as soon as it says that ``step`` begins."""
    process = subprocess.Popen(
        [
            *COMMAND,
            "convert",
            guest.vmx,
            "--drivers",
            drivers,
            "-o",
            output,
            "--engine",
            engine,
            "--allow-unsigned",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore Ctrl-C, the tests perhaps too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith(step):
            break
    else:
        pytest.fail(f"the run ended before {step!r}: {seen}")
    time.sleep(delay)
    process.send_signal(sent)
    rest_out, rest_err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, rest_out, seen + rest_err)


def wait_for_no_processes(folder: Path) -> list[str]:
    deadline = time.monotonic() + 10
    while (found := left_over_processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def visible(output: Path) -> list[str]:
    return [path.name for path in output.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(("engine", "delay"), ENGINES)
def test_killed_at_every_step_and_then_done(
    engine: str, delay: float, guest: BuiltGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    require_engine(engine)
    output = tmp_path / "out"
    before = tree_state(guest.folder)
    for step in ("Opening the guest", "Planning", "Operating"):
        stopped_at(step, signal.SIGKILL, guest, drivers_dir, output, engine, delay)
        assert visible(output) == [], step
        assert tree_state(guest.folder) == before
        assert wait_for_no_processes(tmp_path) == []
    run = offline_mig(
        "convert", guest.vmx, "--drivers", drivers_dir, "-o", output, "--engine", engine
    )
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in output.iterdir()) == [
        "Old Box.qcow2",
        "Old Box.report.json",
        "Old Box.xml",
    ]
    assert tree_state(guest.folder) == before


@pytest.mark.parametrize("step", ["Copying", "Verifying"])
def test_killed_while_results_are_made(
    step: str, guest: BuiltGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    require_engine("userspace")
    output = tmp_path / "out"
    before = tree_state(guest.folder)
    stopped_at(step, signal.SIGKILL, guest, drivers_dir, output, "userspace", 0)
    assert tree_state(guest.folder) == before
    assert wait_for_no_processes(tmp_path) == []
    # A run that was quicker than the signal has published everything; else nothing is visible,
    # or what is visible is whole and the report, which comes last, is not among it.
    names = visible(output)
    for disk in output.glob("*.qcow2"):
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", disk], check=True)
    assert "Old Box.report.json" not in names or len(names) == 3
    again = offline_mig("convert", guest.vmx, "--drivers", drivers_dir, "-o", output, "--overwrite")
    assert again.returncode == 0, again.stderr
    assert len(list(output.iterdir())) == 3


@pytest.mark.parametrize(("engine", "delay"), ENGINES)
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_run_cleans_up(
    sent: signal.Signals,
    engine: str,
    delay: float,
    guest: BuiltGuest,
    drivers_dir: Path,
    tmp_path: Path,
) -> None:
    require_engine(engine)
    output = tmp_path / "out"
    run = stopped_at("Planning", sent, guest, drivers_dir, output, engine, delay)
    assert run.returncode == 130
    assert "Interrupted; nothing was left half done." in run.stderr
    assert "Traceback" not in run.stderr
    assert not output.exists()
    assert wait_for_no_processes(tmp_path) == []


#: Engines and seconds after a step began: while the appliance starts, while it works.
_AT_A_TERMINAL = [
    ("userspace", "Planning", 0.0),
    ("userspace", "Opening the guest", 0.0),
    *(
        pytest.param("guestfs", step, delay, marks=pytest.mark.appliance)
        for step, delay in (("Opening the guest", 1.0), ("Planning", 0.0), ("Planning", 0.7))
    ),
]


@pytest.mark.parametrize(("engine", "step", "delay"), _AT_A_TERMINAL)
def test_ctrl_c_in_a_terminal(
    engine: str, step: str, delay: float, guest: BuiltGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    """A terminal sends SIGINT to the whole process group, and so to qemu as well."""
    require_engine(engine)
    output = tmp_path / "out"
    terminal, its = pty.openpty()
    command = ["convert", guest.vmx, "--drivers", drivers_dir, "-o", output, "--engine", engine]

    def control_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*COMMAND, *command],
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=control_terminal,
    )
    os.close(its)
    seen = _read_until(terminal, step.encode())
    time.sleep(delay)
    os.write(terminal, b"\x03")
    seen += _read_until(terminal, None)
    os.close(terminal)
    code = process.wait(timeout=60)
    assert (code, b"Interrupted; nothing was left half done." in seen) == (130, True), seen.decode()
    assert b"Traceback" not in seen
    assert not output.exists()
    assert wait_for_no_processes(tmp_path) == []


def _read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Read what appears in a terminal until ``wanted``, or until nothing has it open."""
    seen = b""
    while wanted is None or wanted not in seen:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            piece = b""
        if not piece:
            assert wanted is None, seen.decode()
            break
        seen += piece
    return seen


@pytest.mark.appliance
def test_second_run_on_the_same_guest_is_refused(
    guest: BuiltGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = subprocess.Popen(
        [*COMMAND, "convert", guest.vmx, "--drivers", drivers_dir, "-o", output],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("Opening"):
                break
        second = offline_mig("convert", guest.vmx, "--drivers", drivers_dir, "-o", output)
        assert second.returncode == 8
        assert "Another run is converting Old Box" in second.stderr
    finally:
        first.terminate()
        first.communicate(timeout=60)


@pytest.mark.appliance
def test_source_folder_may_be_read_only(
    guest: BuiltGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    script = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && '
        '! touch "$1/probe" 2>/dev/null && shift && exec "$@"'
    )
    output = tmp_path / "out"
    convert = [*COMMAND, "convert", guest.vmx, "--drivers", drivers_dir, "-o", output]
    run = subprocess.run(
        [*private_mounts(), "sh", "-c", script, "sh", guest.folder, *convert],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (output / "Old Box.xml").exists()


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A folder on which a tiny file system can be mounted."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return folder


def in_tiny_file_system(folder: Path, size: str, program: str) -> str:
    script = 'mount -t tmpfs -o size="$2" none "$1" && exec "$3" -c "$4"'
    python = COMMAND[0]
    run = subprocess.run(
        [*private_mounts(), "sh", "-c", script, "sh", folder, size, python, program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_disk_that_fills_up_while_copying(guest: BuiltGuest, full_disk: Path) -> None:
    program = f"""
from pathlib import Path
from offline_mig.errors import OutputRefusedError
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
overlay = Path({str(full_disk)!r}, "overlay.qcow2")
qemu_img.create_overlay(overlay, Path({str(guest.disk)!r}), DiskFormat.VMDK)
try:
    qemu_img.convert(overlay, overlay.with_name("Old Box.qcow2"), DiskFormat.QCOW2)
except OutputRefusedError as error:
    print(error.message)
"""
    assert "filled up while Old Box.qcow2 was written" in in_tiny_file_system(
        full_disk, "4m", program
    )


@pytest.mark.appliance
def test_disk_that_fills_up_while_operating(guest: BuiltGuest, full_disk: Path) -> None:
    """qemu pauses a machine whose image cannot grow; the run must not wait for ever."""
    program = f"""
from pathlib import Path
from offline_mig.errors import OutputRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.partition_table import read_partition_table
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
overlay = Path({str(full_disk)!r}, "overlay.qcow2")
qemu_img.create_overlay(overlay, Path({str(guest.disk)!r}), DiskFormat.VMDK)
disk = OpenedDisk(overlay, DiskFormat.QCOW2)
try:
    with GuestfsEngine().open((disk,), writable=True) as disks:
        table = read_partition_table(lambda at, size: disks.read(0, at, size), disks.size(0))
        with disks.mount(0, table.partitions[0], writable=True) as volume:
            volume.write("/big", bytes(range(256)) * 4 * 1024 * 24)
except OutputRefusedError as error:
    print(error.message)
"""
    assert "filled up during the operation" in in_tiny_file_system(full_disk, "8m", program)
