"""Guests with a dirty hive converted by the command: nothing that waited in its logs is lost."""

from __future__ import annotations

import base64
import lzma
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.catalogue import (
    REAL_WINDOWS_10_DIRTY,
    WINDOWS_7_PENDING_LOGS,
    WINDOWS_10_PENDING_LOGS,
    XP_PENDING_LOGS,
)
from fixtures.conversion_run import Case, Converted
from fixtures.guest_spec import GuestKind
from fixtures.hive_logs import numbers
from fixtures.result import hivexget, reglookup
from fixtures.windows_tree import system_volume
from offline_mig.windows.hive_recovery import needs_replay

pytestmark = pytest.mark.conversion

_CASES = [
    pytest.param(Case(XP_PENDING_LOGS), id="xp-userspace"),
    pytest.param(Case(WINDOWS_7_PENDING_LOGS), id="w7-userspace"),
    pytest.param(Case(WINDOWS_10_PENDING_LOGS), id="w10-userspace"),
    pytest.param(Case(XP_PENDING_LOGS, "guestfs"), id="xp-guestfs", marks=pytest.mark.appliance),
    pytest.param(
        Case(WINDOWS_10_PENDING_LOGS, "guestfs"), id="w10-guestfs", marks=pytest.mark.appliance
    ),
]
Convert = Callable[[Case], Converted]


@pytest.mark.parametrize("case", _CASES)
def test_what_waited_in_the_logs_is_in_the_result(converted: Convert, case: Case) -> None:
    done = converted(case)
    source = {f"/{path}": data for path, data in system_volume(case.spec).items()}
    xp = case.spec.kind is GuestKind.XP
    config = "/WINDOWS/system32/config" if xp else "/Windows/System32/config"
    path = f"{config}/{'system' if xp else 'SYSTEM'}"
    hive = done.volume.hive(path)

    zone = r"ControlSet001\Control\TimeZoneInformation"
    assert hivexget(hive, zone, "RealTimeIsUniversal") == "1"
    large = {path.casefold(): value for path, value in reglookup(hive).items()}
    assert large["/controlset001/services/pending/large"].startswith("BINARY,%00%01")
    assert hivexget(hive, r"ControlSet001\Services\viostor", "Start") == "0"
    # Planning saw it as well.
    clock = ET.parse(done.domain).getroot().find("clock")
    assert clock is not None
    assert clock.get("offset") == "utc"

    data = hive.read_bytes()
    assert not needs_replay(data)
    logs = {name: content for name, content in source.items() if name.startswith(f"{path}.")}
    assert logs
    for name, content in logs.items():
        assert done.volume.cat(name) == content
        if content[:4] == b"regf":
            assert numbers(data)[0] > numbers(content)[0]

    (note,) = (note for note in done.report["notes"] if "replayed" in note)
    assert "hive SYSTEM" in note
    (change,) = (entry for entry in done.report["journal"] if entry["change"] == "replay-logs")
    assert zlib.decompress(base64.b64decode(change["before"]["zlib"])) == source[path]


@pytest.mark.data
def test_real_dirty_windows_10(converted: Convert, shared_data: Path) -> None:
    """Beside what was edited, the hive is that which another tool made of it."""
    done = converted(Case(REAL_WINDOWS_10_DIRTY))
    hive = done.volume.hive("/Windows/System32/config/SYSTEM")
    packed = shared_data / "hives/system/win10-1709-x64-dirty.replayed-by-another-tool.SYSTEM.xz"
    theirs = done.volume.scratch / "theirs"
    theirs.write_bytes(lzma.decompress(packed.read_bytes()))
    expected, found = reglookup(theirs), reglookup(hive)
    changes = [entry for entry in done.report["journal"] if entry.get("hive") == "SYSTEM"]
    edited = {
        f"/{entry['key']}/{entry['name']}".replace("\\", "/").casefold()
        for entry in changes
        if entry["change"] == "set-value"
    }
    deleted = tuple(
        f"/{entry['key']}".replace("\\", "/").casefold()
        for entry in changes
        if entry["change"] == "delete-key"
    )
    assert edited
    kept = {
        path: value
        for path, value in expected.items()
        if path.casefold() not in edited and not path.casefold().startswith(deleted)
    }
    assert len(expected) - len(kept) < 50
    assert {path: found[path] for path in kept} == kept
    assert struct.unpack_from("<I", hive.read_bytes(), 4)[0] > 2131
