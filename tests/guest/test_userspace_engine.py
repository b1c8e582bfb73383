"""The userspace engine on NTFS volumes, judged by ntfscat, ntfssecaudit and qemu-img."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.fat_volumes import make_fat
from fixtures.guests import GuestKind, GuestSpec, Hiberfil, Variant, VmdkKind
from fixtures.ntfs_volumes import MIB, make_volume, open_journal, require_sound, volume_state
from fixtures.users import User
from fixtures.vmware import write_vmdk
from offline_mig.errors import GuestRefusedError, OfflineMigError, ToolFailedError
from offline_mig.guest import refusal
from offline_mig.guest.confined_volume import ConfinedVolume
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.filesystem import GuestFilesystem, UnreadableFileError
from offline_mig.guest.partition_table import Partition, read_partition_table
from offline_mig.guest.userspace_engine import (
    UserspaceDisks,
    UserspaceEngine,
    userspace_problems,
)
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
from offline_mig.sources.disk_image import open_disk_image

pytestmark = pytest.mark.usefixtures("userspace")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty NTFS volume as a whole disk."""
    return make_volume(tmp_path / "volume.raw")


def whole(image: Path) -> Partition:
    return Partition(0, 0, image.stat().st_size, "volume")


def raw(image: Path) -> OpenedDisk:
    return OpenedDisk(image, DiskFormat.RAW)


@contextmanager
def mounted(image: Path, *, writable: bool = True) -> Iterator[ConfinedVolume]:
    with (
        UserspaceEngine().open((raw(image),), writable=writable) as disks,
        disks.mount(0, whole(image), writable=writable) as files,
    ):
        yield files


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def cat(image: Path, path: str) -> bytes:
    return subprocess.run(["ntfscat", "-f", image, path], check=True, capture_output=True).stdout


@pytest.mark.parametrize("size", [0, 1, 700, 4096, MIB, MIB + 1, 5 * MIB + 17])
def test_written_files_are_there_for_others(volume: Path, size: int) -> None:
    data = noise(size)
    with mounted(volume) as files:
        files.make_directory("/Windows")
        files.write("/Windows/new.bin", data)
        assert files.read("/windows/NEW.BIN") == data
    assert cat(volume, "/Windows/new.bin") == data
    require_sound(volume)
    with mounted(volume, writable=False) as files:
        assert files.read("/Windows/new.bin") == data
        (entry,) = files.list_directory("/Windows")
        assert (entry.name, entry.is_directory, entry.size) == ("new.bin", False, size)


@pytest.mark.parametrize(("before", "after"), [(10, 3 * MIB), (3 * MIB, 10), (2 * MIB, 2 * MIB)])
def test_replaced_files_stay_the_same_files(volume: Path, before: int, after: int) -> None:
    with mounted(volume) as files:
        files.write("/file", noise(before))
    was = volume_state(volume)["/file"]
    number = record_number(volume, "/file")
    with mounted(volume) as files:
        files.write("/FILE", noise(after, seed=2))
    now = volume_state(volume)
    assert list(now) == ["/file"]
    assert cat(volume, "/file") == noise(after, seed=2)
    assert (now["/file"].information, now["/file"].security) == (was.information, was.security)
    assert record_number(volume, "/file") == number
    require_sound(volume)


def record_number(image: Path, path: str) -> str:
    told = subprocess.run(
        ["ntfsinfo", "-f", "-F", path, image], check=True, capture_output=True, text=True
    ).stdout
    return next(line for line in told.splitlines() if "inode" in line.lower())


def test_names_are_found_without_regard_to_case(volume: Path) -> None:
    names = ["Übergröße.txt", "ΑΩ", "日本語", "a b.c", "straße", "x" * 255]
    with mounted(volume) as files:
        files.make_directory("/Dir")
        for name in names:
            files.write(f"/Dir/{name}", name.encode())
    listed = subprocess.run(
        ["ntfsls", "-f", "-p", "/Dir", volume],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    ).stdout
    assert set(listed.split("\n")) - {"", ".", ".."} == set(names)
    with mounted(volume, writable=False) as files:
        for name in names:
            assert files.resolve(f"//dir/{name.lower()}/") == f"/Dir/{name}"
            # No letter may become two: Windows tells these names apart.
            assert files.resolve("/DIR/STRASSE") is None
        assert [entry.name for entry in files.list_directory("/dir")] == sorted(names)


def test_what_is_not_there(volume: Path) -> None:
    with mounted(volume) as files:
        files.write("/file", b"x")
        files.make_directory("/dir")
        files.make_directory("/dir/below")
        assert files.resolve("/none") is None
        assert not files.exists("/file/below")
        assert files.resolve("/") == "/"
        for missing in (
            lambda: files.read("/none"),
            lambda: files.list_directory("/none"),
            lambda: files.write("/none/file", b""),
            lambda: files.make_directory("/none/dir"),
            lambda: files.delete("/none"),
        ):
            with pytest.raises(FileNotFoundError):
                missing()
        for refused, reason in (
            (lambda: files.read("/DIR"), "/dir cannot be used: it is a directory"),
            (lambda: files.list_directory("/FILE"), "/file cannot be used: it is a file"),
            (lambda: files.make_directory("/file/dir"), "/file cannot be used: it is a file"),
        ):
            with pytest.raises(UnreadableFileError, match=reason):
                refused()
        for refused, reason in (
            (lambda: files.make_directory("/DIR"), "File exists"),
            (lambda: files.delete("/dir"), "Directory not empty"),
            (lambda: files.write(f"/{'x' * 256}", b""), "File name too long"),
        ):
            with pytest.raises(ToolFailedError, match=reason):
                refused()
        files.delete("/dir/below")
        files.delete("/dir")
        files.delete("/FILE")
        assert files.list_directory("/") == ()
    require_sound(volume)


def test_metadata_files_are_out_of_reach(volume: Path) -> None:
    with mounted(volume) as files:
        assert files.resolve("/$MFT") is None
        assert files.list_directory("/") == ()


def test_a_full_volume_is_told(tmp_path: Path) -> None:
    volume = make_volume(tmp_path / "small.raw", 8 * MIB)
    with (
        pytest.raises(ToolFailedError, match="could not write /big: No space left"),
        mounted(volume) as files,
    ):
        assert files.free_space() < 8 * MIB
        files.write("/big", noise(9 * MIB))


def test_reading_changes_nothing(volume: Path) -> None:
    with mounted(volume) as files:
        files.write("/file", noise(MIB))
    before = sha256(volume)
    with UserspaceEngine().open((raw(volume),), writable=False) as disks:
        with disks.mount(0, whole(volume), writable=False) as files:
            files.read("/file")
            with pytest.raises(ToolFailedError, match="Read-only"):
                files.write("/file", b"changed")
        with (
            pytest.raises(ToolFailedError, match="cannot open"),
            disks.mount(0, whole(volume), writable=True),
        ):
            pass
    assert sha256(volume) == before


def test_looking_at_an_overlay_changes_nothing_in_it(volume: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(overlay, volume, DiskFormat.RAW)
    disk = OpenedDisk(overlay, DiskFormat.QCOW2, (volume,))
    with (
        UserspaceEngine().open((disk,), writable=True) as disks,
        disks.mount(0, whole(volume), writable=False) as files,
        pytest.raises(ToolFailedError),
    ):
        files.write("/file", b"changed")
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "qcow2", "-F", "raw", overlay, volume], check=False
    )
    assert compared.returncode == 0


def test_sectors_of_several_disks(tmp_path: Path) -> None:
    images = []
    for number in range(3):
        image = tmp_path / f"disk{number}.raw"
        image.write_bytes(noise(3 * MIB + 512 * number, seed=number))
        images.append(image)
    with UserspaceEngine().open(tuple(map(raw, images)), writable=False) as disks:
        for number, image in enumerate(images):
            data = image.read_bytes()
            assert disks.size(number) == len(data)
            assert disks.read(number, 0, len(data)) == data
            assert disks.read(number, 511, 1026) == data[511:1537]
            assert disks.read(number, len(data) - 10, 100) == data[-10:]
            assert disks.read(number, len(data) + 10, 100) == b""
            with (
                pytest.raises(GuestRefusedError, match=f"volume {number + 1}:0 cannot be mounted"),
                disks.mount(number, whole(image), writable=False),
            ):
                pass


@pytest.mark.parametrize("kind", VmdkKind)
def test_every_kind_of_vmdk_with_all_its_files(
    volume: Path, tmp_path: Path, kind: VmdkKind
) -> None:
    with mounted(volume) as files:
        files.write("/file", noise(3 * MIB))
    machine = tmp_path / "a machine, with 'odd' letters"
    machine.mkdir()
    image = open_disk_image(write_vmdk(volume, machine / "disk one.vmdk", kind))
    disk = OpenedDisk(image.path, image.format, image.files)
    with (
        UserspaceEngine().open((disk,), writable=False) as disks,
        disks.mount(0, whole(volume), writable=False) as files,
    ):
        assert files.read("/file") == noise(3 * MIB)


def test_missing_and_foreign_images(tmp_path: Path, volume: Path) -> None:
    def opening(disk: OpenedDisk) -> None:
        with UserspaceEngine().open((disk,), writable=disk.format is DiskFormat.QCOW2):
            pass

    with pytest.raises(
        ToolFailedError, match=r"cannot open .*volume\.raw as qcow2: .*not in qcow2"
    ):
        opening(OpenedDisk(volume, DiskFormat.QCOW2))
    with pytest.raises(OfflineMigError, match=r"none\.raw"):
        opening(raw(tmp_path / "none.raw"))
    overlay = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(overlay, volume, DiskFormat.RAW)
    # A backing file that was not named is not there, whatever the image says.
    with pytest.raises(ToolFailedError, match="Could not open backing file"):
        opening(OpenedDisk(overlay, DiskFormat.QCOW2))


def test_an_image_in_use_is_not_opened(volume: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(overlay, volume, DiskFormat.RAW)
    disks = (OpenedDisk(overlay, DiskFormat.QCOW2, (volume,)),)
    with (
        UserspaceEngine().open(disks, writable=True),
        pytest.raises(ToolFailedError, match="lock"),
        UserspaceEngine().open(disks, writable=True),
    ):
        pass


def test_open_journal_is_refused_for_writing_only(volume: Path) -> None:
    open_journal(volume)
    judged = subprocess.run(
        ["ntfs-3g.probe", "--readwrite", volume], check=False, capture_output=True
    )
    assert judged.returncode == 15
    before = sha256(volume)
    with pytest.raises(GuestRefusedError) as refused, mounted(volume):
        pass
    assert refused.value.message == refusal.read_only("1:0").message
    assert refused.value.remedy == refusal.read_only("1:0").remedy
    with mounted(volume, writable=False) as files:
        assert files.list_directory("/") == ()
    assert sha256(volume) == before


def test_hibernated_guest_is_refused_for_writing_only(
    base_image: Callable[[GuestSpec], Path], tmp_path: Path
) -> None:
    spec = GuestSpec(GuestKind.XP, Variant(hiberfil=Hiberfil.HIBERNATED))
    overlay = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(overlay, base_image(spec), DiskFormat.RAW)
    disk = OpenedDisk(overlay, DiskFormat.QCOW2, (base_image(spec),))
    with UserspaceEngine().open((disk,), writable=True) as disks:
        partition = only_partition(disks)
        with disks.mount(0, partition, writable=False) as files:
            assert files.read_part("/HIBERFIL.SYS", 0, 4) == b"hibr"
        with pytest.raises(GuestRefusedError) as refused, disks.mount(0, partition, writable=True):
            pass
    assert refused.value.message == refusal.read_only("1:1").message


def only_partition(disks: UserspaceDisks) -> Partition:
    (partition,) = read_partition_table(
        lambda offset, size: disks.read(0, offset, size), disks.size(0)
    ).partitions
    return partition


@pytest.mark.parametrize("seed", range(24))
def test_damaged_volumes_do_no_harm(volume: Path, seed: int) -> None:
    """Whatever is in the metadata: an error in our words or a sound answer, and soon."""
    with mounted(volume) as files:
        for number in range(40):
            files.make_directory(f"/directory {number}")
            files.write(f"/directory {number}/file", noise(10 * number))
    chance = random.Random(seed)
    data = bytearray(volume.read_bytes())
    table = int.from_bytes(data[48:56], "little") * 4096
    for _ in range(chance.choice((3, 30, 300))):
        # Inside of records, where the library looks closest.
        at = table + chance.randrange(0, 140 * 1024)
        if at % 512 < 510:
            data[at] = chance.randrange(256)
    volume.write_bytes(data)
    before = time.monotonic()
    try:
        with mounted(volume) as files:
            walk(files, "/")
            files.write("/new", noise(100_000))
    except (OfflineMigError, FileNotFoundError):
        pass
    assert time.monotonic() - before < 20


def walk(files: GuestFilesystem, path: str) -> None:
    for entry in files.list_directory(path)[:50]:
        below = f"{path.rstrip('/')}/{entry.name}"
        if not entry.is_directory:
            files.read_part(below, 0, 4096)
        elif below.count("/") < 4:
            walk(files, below)


_HOLD = """
import signal, sys, time
from pathlib import Path
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.partition_table import Partition, read_partition_table
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.machine import DiskFormat
# What runs in the background of a shell inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
overlay, base = map(Path, sys.argv[1:3])
disk = OpenedDisk(overlay, DiskFormat.QCOW2, (base,))
with UserspaceEngine().open((disk,), writable=True) as disks:
    with disks.mount(0, Partition(0, 0, disks.size(0), "volume"), writable=True) as files:
        files.write("/file", bytes(range(256)) * 4096)
        print("holding", flush=True)
        time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def overlay(user: User, volume: Path) -> tuple[Path, Path]:
    """An overlay over a volume, both in the user's folder and the user's own."""
    base = Path(shutil.copy(volume, user.folder / "base.raw"))
    base.chmod(0o600)
    target = user.folder / "overlay.qcow2"
    qemu_img.create_overlay(target, base, DiskFormat.RAW)
    owner = user.folder.stat().st_uid
    for path in (base, target):
        os.chown(path, owner, owner)
    return target, base


def test_works_for_root_and_for_others(user: User, overlay: tuple[Path, Path]) -> None:
    assert user.run(_HOLD, *overlay, "0") == "holding\n"
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", overlay[0]], check=True)
    copied = user.folder / "copied.raw"
    subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay[0], copied], check=True
    )
    assert cat(copied, "/file") == bytes(range(256)) * 4096


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_run_that_ends_early(
    user: User, overlay: tuple[Path, Path], sent: signal.Signals
) -> None:
    process = user.start(_HOLD, *overlay, "60")
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n", process.communicate()
    children = descendants(process.pid)
    assert len(children) >= 4, children
    process.send_signal(sent)
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while (left := [pid for pid in children if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left
    # Its TMPDIR; in /tmp other runs may be at work.
    assert not list(user.folder.glob("offline-mig*"))
    # The image is not locked any more, nor is anything mounted.
    qemu_img.info(overlay[0], DiskFormat.QCOW2)
    assert str(user.folder) not in Path("/proc/mounts").read_text()


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_nothing_is_left_after_a_good_end_or_an_error(volume: Path) -> None:
    before = open_files()
    with mounted(volume) as files:
        files.write("/file", b"x")
    with pytest.raises(ZeroDivisionError), mounted(volume) as files:
        assert files.read("/file") == b"x"
        raise ZeroDivisionError
    assert descendants(os.getpid()) == []
    assert open_files() == before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_worker_that_dies_is_told(volume: Path) -> None:
    with (
        pytest.raises(ToolFailedError, match="volume 1:0 ended before its time"),
        mounted(volume) as files,
    ):
        (worker,) = [pid for pid in descendants(os.getpid()) if runs(pid, "python")]
        os.kill(worker, signal.SIGKILL)
        files.read("/file")


def test_a_daemon_that_dies_is_told(volume: Path) -> None:
    with (
        pytest.raises(ToolFailedError, match="qemu-storage-daemon"),
        UserspaceEngine().open((raw(volume),), writable=False) as disks,
    ):
        (daemon,) = [pid for pid in descendants(os.getpid()) if runs(pid, "qemu-storage-daemon")]
        os.kill(daemon, signal.SIGKILL)
        disks.read(0, 0, 512)


def runs(pid: int, program: str) -> bool:
    # The kernel keeps 15 letters.
    return Path(f"/proc/{pid}/comm").read_text().startswith(program[:15])


@pytest.mark.parametrize("kind", ["ntfs", "fat"])
def test_a_full_disk_under_the_overlay_is_told(volume: Path, tmp_path: Path, kind: str) -> None:
    if kind == "fat":
        make_fat(volume, 32)
    folder = tmp_path / "tiny"
    folder.mkdir()
    program = f"""
from pathlib import Path
from offline_mig.errors import OutputRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.partition_table import Partition, read_partition_table
from offline_mig.guest.userspace_engine import UserspaceEngine
from offline_mig.images import qemu_img
from offline_mig.machine import DiskFormat
overlay, base = Path({str(folder)!r}, "overlay.qcow2"), Path({str(volume)!r})
qemu_img.create_overlay(overlay, base, DiskFormat.RAW)
disk = OpenedDisk(overlay, DiskFormat.QCOW2, (base,))
try:
    with UserspaceEngine().open((disk,), writable=True) as disks:
        with disks.mount(0, Partition(0, 0, disks.size(0), "volume"), writable=True) as files:
            files.write("/big", bytes(range(256)) * 4096 * 12)
except OutputRefusedError as error:
    print(error.message)
"""
    script = 'mount -t tmpfs -o size=6m none "$1" && exec "$2" -c "$3"'
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", folder, sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"The disk with {folder} filled up during the operation.\n"


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    problems = " ".join(userspace_problems())
    for word in ("bwrap", "bubblewrap", "qemu-storage-daemon", "qemu-system-common", "Fedora"):
        assert word in problems


def test_a_host_without_namespaces_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (problem,) = userspace_problems()
    assert "No sandbox can be made on this host: No permissions to create" in problem
    assert "--engine guestfs" in problem
