"""KVM that is there and does not work: found out in time, told once, remembered for this boot."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from offline_mig.guest import acceleration, guestfs_engine
from offline_mig.guest.acceleration import Acceleration, find_acceleration, remember_told
from offline_mig.guest.engine import OpenedDisk
from offline_mig.guest.guestfs_engine import GuestfsEngine
from offline_mig.machine import DiskFormat

#: Stands in for qemu: what asks for KVM behaves as told, all else is the real program.
_WRAPPER = r"""#!/bin/sh
case "$*" in
*-version*|*-help*|*query-*|*qmp*stdio*|*-device\ \?*) ;;
*accel=kvm*) {behaviour} ;;
esac
exec qemu-system-x86_64 "$@"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of its own: an openable /dev/kvm, an empty memory, a qemu to be set."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(acceleration, "_KVM", device)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIBGUESTFS_BACKEND_SETTINGS", raising=False)
    return tmp_path


def set_qemu(host: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str) -> None:
    program = host / "qemu"
    program.write_text(_WRAPPER.format(behaviour=behaviour))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LIBGUESTFS_HV", str(program))


@pytest.mark.appliance
def test_hanging_kvm_is_given_up(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_qemu(host, monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(acceleration, "KVM_TIME_LIMIT", 4)
    start = time.monotonic()
    found = find_acceleration()
    assert time.monotonic() - start < 10
    assert not found.kvm
    assert found.fresh
    assert "no appliance came up on it in 4 s" in found.reason


@pytest.mark.appliance
def test_aborting_kvm_is_given_up_and_remembered(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_qemu(host, monkeypatch, "echo 'failed to set MSR 0x10a' >&2; exit 134")
    first = find_acceleration()
    assert (first.kvm, first.fresh) == (False, True)
    # From now on qemu is not tried again: a hanging one would be noticed.
    set_qemu(host, monkeypatch, "exec sleep 1000")
    second = find_acceleration()
    assert (second.kvm, second.fresh, second.reason) == (False, True, first.reason)
    remember_told(second)
    assert not find_acceleration().fresh
    memory = host / "cache" / "offline-mig" / "acceleration.json"
    assert f"delete {memory} to have it tried again" in first.reason


def test_memory_of_another_boot_does_not_count(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = host / "cache" / "offline-mig" / "acceleration.json"
    memory.parent.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    stored = {"boot": boot, "kvm": True, "reason": "", "tried": True, "told": True}
    memory.write_text(json.dumps(stored))
    assert find_acceleration().kvm
    monkeypatch.setattr(acceleration, "_try_kvm", lambda: Acceleration(kvm=False, reason="tried"))
    for other in (json.dumps(stored | {"boot": "another"}), "nonsense", "[]", '{"kvm": true}'):
        memory.write_text(other)
        assert find_acceleration().reason == "tried"


def test_host_without_kvm_is_not_tried(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_qemu(host, monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(acceleration, "_KVM", host / "absent")
    assert find_acceleration().reason == "this host has no /dev/kvm"


def test_what_keeps_kvm_from_being_tried_is_told_once_a_boot(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_KVM", host / "absent")
    assert find_acceleration().fresh
    # As long as nobody was told, it is news.
    assert find_acceleration().fresh
    remember_told(find_acceleration())
    assert not find_acceleration().fresh
    # Another reason is news again, and none of it keeps KVM from being tried once it is there.
    monkeypatch.setattr(acceleration, "_KVM", host / "kvm")
    monkeypatch.setattr(acceleration.os, "access", lambda *_: False)
    found = find_acceleration()
    assert found.fresh
    assert "group kvm" in found.reason
    remember_told(found)
    monkeypatch.setattr(acceleration.os, "access", lambda *_: True)
    monkeypatch.setattr(acceleration, "_try_kvm", lambda: Acceleration(kvm=True, tried=True))
    assert find_acceleration().kvm


@pytest.mark.appliance
def test_kvm_that_hangs_later_is_given_up(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It worked when it was tried, and was remembered."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory = host / "cache" / "offline-mig" / "acceleration.json"
    memory.parent.mkdir(parents=True)
    stored = {"boot": boot, "kvm": True, "reason": "", "tried": True, "told": False}
    memory.write_text(json.dumps(stored))
    # It keeps the arguments by which a hanging qemu is recognised.
    set_qemu(host, monkeypatch, "exec python3 -c 'import time; time.sleep(1000)' \"$@\"")
    monkeypatch.setattr(guestfs_engine, "LAUNCH_TIME_LIMIT", 3)
    image = host / "empty.raw"
    with image.open("wb") as stream:
        stream.truncate(1024 * 1024)
    disks = (OpenedDisk(image, DiskFormat.RAW),)
    for expected in (1, 0):
        with GuestfsEngine().open(disks, writable=False) as opened:
            assert opened.size(0) == 1024 * 1024
            assert len(opened.notes) == expected
            assert all("no appliance came up on it in 3 s" in note for note in opened.notes)
    assert not find_acceleration().kvm
