"""KVM that is there and does not work: found out in time, told once, remembered for this boot."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from offline_mig.guest import acceleration
from offline_mig.guest.acceleration import find_acceleration

pytestmark = pytest.mark.appliance

#: Stands in for qemu: what asks for KVM behaves as told, all else is the real program.
_WRAPPER = """#!/bin/sh
case "$*" in
*-version*|*-help*|*query-*|*qmp*stdio*) ;;
*kvm*) {behaviour} ;;
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


def test_hanging_kvm_is_given_up(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_qemu(host, monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(acceleration, "KVM_TIME_LIMIT", 4)
    start = time.monotonic()
    found = find_acceleration()
    assert time.monotonic() - start < 10
    assert not found.kvm
    assert found.fresh
    assert "no appliance came up on it in 4 s" in found.reason


def test_aborting_kvm_is_given_up_and_remembered(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_qemu(host, monkeypatch, "echo 'failed to set MSR 0x10a' >&2; exit 134")
    first = find_acceleration()
    assert (first.kvm, first.fresh) == (False, True)
    # From now on qemu is not tried again: a hanging one would be noticed.
    set_qemu(host, monkeypatch, "exec sleep 1000")
    second = find_acceleration()
    assert (second.kvm, second.fresh, second.reason) == (False, False, first.reason)


def test_memory_of_another_boot_does_not_count(host: Path) -> None:
    memory = host / "cache" / "offline-mig" / "acceleration.json"
    memory.parent.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory.write_text(json.dumps({"boot": boot, "kvm": True, "reason": ""}))
    assert find_acceleration().kvm
    memory.write_text(json.dumps({"boot": "another", "kvm": True, "reason": ""}))
    assert find_acceleration().fresh
    memory.write_text("nonsense")
    assert find_acceleration().kvm in (True, False)


def test_host_without_kvm_is_not_tried(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_qemu(host, monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(acceleration, "_KVM", host / "absent")
    assert find_acceleration().reason == "this host has no /dev/kvm"
    assert not (Path(os.environ["XDG_CACHE_HOME"]) / "offline-mig").exists()
