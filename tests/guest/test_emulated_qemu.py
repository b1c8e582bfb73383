"""The quicker start of an emulated appliance, and what happens where it does not work."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.interruption import descendants
from offline_mig.guest.appliance import load_binding
from offline_mig.guest.emulated_qemu import quick_qemu, refuse_quick_qemu
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.guest.kernel_image import unpacked_kernel
from offline_mig.machine import DiskFormat

KERNEL = b"\x7fELF" + random.Random(1).randbytes(300_000)


def bz_image(payload: bytes, *, setup_sectors: int = 3, version: int = 0x20F) -> bytes:
    """A boot image as Documentation/arch/x86/boot.rst describes it."""
    image = bytearray((setup_sectors + 1) * 512 + 700)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, version)
    struct.pack_into("<II", image, 0x248, 700, len(payload))
    return bytes(image) + payload + bytes(1000)


def size_of(kernel: bytes) -> bytes:
    return struct.pack("<I", len(kernel))


PACKED = {
    "xz": lzma.compress(KERNEL, check=lzma.CHECK_CRC32) + size_of(KERNEL),
    "gzip": gzip.compress(KERNEL),
}


@pytest.mark.parametrize("payload", PACKED.values(), ids=PACKED)
def test_a_kernel_is_unpacked(payload: bytes) -> None:
    assert unpacked_kernel(bz_image(payload)) == KERNEL


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_zstd_too(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(KERNEL)
    packed = subprocess.run(
        ["zstd", "-q", "-22", "--ultra", "-c", tmp_path / "kernel"], capture_output=True, check=True
    ).stdout
    assert unpacked_kernel(bz_image(packed + size_of(KERNEL))) == KERNEL


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\x7fELF" + bytes(5000),
        bz_image(PACKED["xz"], version=0x207),
        bz_image(PACKED["xz"])[:-200_000],
        bz_image(PACKED["xz"][:-4] + size_of(KERNEL[:-1])),
        bz_image(PACKED["xz"][:-4] + size_of(KERNEL + b" ")),
        bz_image(PACKED["xz"][:-4] + b"\xff\xff\xff\xff"),
        bz_image(PACKED["xz"][:1000] + bytes(1000) + PACKED["xz"][2000:]),
        bz_image(lzma.compress(b"no" + KERNEL) + size_of(b"no" + KERNEL)),
        bz_image(b"unknown packer" + KERNEL),
    ],
    ids=[
        "nothing", "no image", "old", "cut", "larger", "smaller", "huge", "damaged", "no ELF",
        "unknown",
    ],
)  # fmt: skip
def test_what_is_no_kernel_is_not_unpacked(image: bytes) -> None:
    assert unpacked_kernel(image) is None


class Host:
    """A host with an appliance that was built, and a qemu that says what it is started with."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache" / "offline-mig" / "appliance"
        self.kernel = folder / f".guestfs-{folder.stat().st_uid}" / "appliance.d" / "kernel"
        self.kernel.parent.mkdir(parents=True)
        self.kernel.write_bytes(bz_image(PACKED["xz"]))
        self.qemu = folder / "bin dir" / "qemu-system-x86_64"
        self.qemu.parent.mkdir()
        self.qemu.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        self.qemu.chmod(0o755)
        self.handle: Any = load_binding().GuestFS(python_return_dict=True)
        self.handle.set_cachedir(str(folder))
        self.handle.set_hv(str(self.qemu))

    def started(self, *arguments: str | Path) -> list[str]:
        program = quick_qemu(self.handle)
        assert program is not None
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Host(tmp_path)


def test_the_appliance_gets_its_kernel_unpacked(host: Host) -> None:
    given = ["-cpu", "max", "-kernel", str(host.kernel), "-append", "two words"]
    *same, cpu, model, option, kernel = host.started(*given)
    assert same == given
    assert (cpu, model, option) == ("-cpu", "qemu64", "-kernel")
    assert Path(kernel).read_bytes() == KERNEL
    # What libguestfs asks of it before.
    assert host.started("-display", "none", "-help") == ["-display", "none", "-help"]


def test_another_kernel_is_started_as_it_is(host: Host) -> None:
    newer = host.kernel.with_name("newer")
    newer.write_bytes(bz_image(PACKED["gzip"]))
    assert host.started("-kernel", newer)[2:] == ["-cpu", "qemu64"]
    # Once it is the appliance's, it takes the place of the old one.
    written = quick_qemu(host.handle)
    newer.rename(host.kernel)
    assert "-kernel" in host.started("-kernel", host.kernel)[2:]
    assert quick_qemu(host.handle) == written
    assert len(list(host.cache.glob("vmlinux-*"))) == 1


def test_the_script_is_written_once(host: Host) -> None:
    first = quick_qemu(host.handle)
    assert first is not None
    state = first.stat()
    assert quick_qemu(host.handle) == first
    assert first.stat().st_mtime_ns == state.st_mtime_ns
    assert first.stat().st_mode & 0o777 == 0o700


def test_a_kernel_that_was_refused_is_not_tried_again(host: Host) -> None:
    assert quick_qemu(host.handle) is not None
    refuse_quick_qemu(host.handle)
    assert quick_qemu(host.handle) is None
    host.kernel.write_bytes(bz_image(PACKED["gzip"]))
    assert quick_qemu(host.handle) is not None


def test_nothing_is_started_that_others_could_write(host: Host) -> None:
    host.cache.mkdir(parents=True)
    host.cache.chmod(0o777)
    assert quick_qemu(host.handle) is None
    host.cache.chmod(0o755)
    assert quick_qemu(host.handle) is not None


def test_where_there_is_none(host: Host) -> None:
    host.kernel.write_bytes(bz_image(b"unknown packer"))
    assert quick_qemu(host.handle) is None
    host.kernel.unlink()
    assert quick_qemu(host.handle) is None
    host.kernel.write_bytes(bz_image(PACKED["gzip"]))
    assert quick_qemu(host.handle) is not None
    host.handle.set_hv("/usr/bin/qemu-kvm")
    assert quick_qemu(host.handle) is None


@pytest.mark.appliance
def test_an_appliance_comes_up_by_it_and_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = tmp_path / "disk.raw"
    image.write_bytes(b"first sector".ljust(1024 * 1024, b"\0"))

    def command() -> str:
        commands = (Path(f"/proc/{pid}/cmdline").read_text() for pid in descendants(os.getpid()))
        return next(text for text in commands if "qemu-system-x86_64\0" in text.split(" ")[0])

    disks = (OpenedDisk(image, DiskFormat.RAW),)
    handle = load_binding().GuestFS(python_return_dict=True)
    built = Path(handle.get_cachedir(), f".guestfs-{os.geteuid()}", "appliance.d", "kernel")
    if not built.exists():
        # The first launch of all builds it.
        with GuestfsEngine().open(disks, writable=False):
            pass
    if unpacked_kernel(built.read_bytes()) is None:
        pytest.skip("the kernel of this appliance is packed in another way")
    with GuestfsEngine().open(disks, writable=False) as opened:
        assert opened.read(0, 0, 12) == b"first sector"
        unpacked = next((tmp_path / "offline-mig" / "appliance").glob("vmlinux-*"))
        assert f"-kernel\0{unpacked}" in command()
    unpacked.write_bytes(b"nothing that qemu could start")
    with GuestfsEngine().open(disks, writable=False) as opened:
        assert opened.read(0, 0, 12) == b"first sector"
        assert "qemu64" not in command()
    assert (unpacked.parent / "refused").exists()
