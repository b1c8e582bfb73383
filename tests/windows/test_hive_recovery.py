"""Replaying logs into hives, judged by what Windows itself made of real ones."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.hive_bytes import BASE_BLOCK_SIZE, TIMESTAMP
from fixtures.hive_logs import (
    LATER,
    based,
    bins,
    bins_size,
    changed_pages,
    dirty_vector_log,
    entry_log,
    interrupted,
    log_entry,
    numbers,
    raw_entry,
    with_pages,
    with_values,
)
from fixtures.hives import build_hive
from offline_mig.windows.base_block import base_block_checksum
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.hive_log import HiveLog, NotReplayable, Obstacle
from offline_mig.windows.hive_recovery import AppliedLog, Replayed, needs_replay, replay
from offline_mig.windows.marvin32 import marvin32
from offline_mig.windows.registry import RegistryValue

#: A hive, and what three flushes make of it; the last ones do not fit into its bins.
STATES = [build_hive("SYSTEM", {r"Set\Services": {"a": RegistryValue.dword(1)}})]
for _number, _size in enumerate((4, 6000, 9000)):
    STATES.append(with_values(STATES[-1], {f"Flush{_number}": {"value": b"\x77" * _size}}))
BEFORE, FIRST, SECOND, LAST = STATES
#: The number of the first flush.
N = 40


def named(logs: Mapping[str, bytes]) -> list[HiveLog]:
    return [HiveLog(f"SYSTEM.{suffix}", data) for suffix, data in logs.items()]


def recovered(hive: bytes, logs: Mapping[str, bytes]) -> Replayed:
    result = replay(hive, named(logs))
    assert isinstance(result, Replayed), result
    return result


def refused(hive: bytes, logs: Mapping[str, bytes]) -> NotReplayable:
    result = replay(hive, named(logs))
    assert isinstance(result, NotReplayable), result
    return result


def require_clean(hive: bytes, tmp_path: Path) -> Hive:
    """Have hivex read every cell of a hive that must be clean."""
    path = tmp_path / "recovered"
    path.write_bytes(hive)
    opened = Hive(path, HiveName.SYSTEM)
    opened.require_readable()
    return opened


def entries(first: int = 0, last: int = 3) -> list[bytes]:
    """The flushes of Windows 8.1 and later, by their place among all three."""
    return [log_entry(STATES[at], STATES[at + 1], N + at) for at in range(first, last)]


DIRTY = based(BEFORE, N, N - 1)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        ("", 0x30ED35C100CD3C7D),
        ("AF", 0x48E73FC77D75DDC1),
        ("E70F", 0xB5F6E1FC485DBFF8),
        ("37F495", 0xF0B07C789B8CF7E8),
        ("8642DC59", 0x7008F2E87E9CF556),
        ("153FB79826", 0xE6C08C6DA2AFA997),
        ("AB427EA8D10FC7", 0xE11847E4F0678C41),
    ],
)
def test_marvin32_gives_what_microsoft_published(data: str, checksum: int) -> None:
    """Vectors of the .NET runtime's own tests."""
    seed = 0x004FB61A001BDBCC
    assert marvin32(bytes.fromhex(data), seed) == struct.pack("<Q", checksum)


@pytest.mark.parametrize("factor", [1, 2, 8])
@pytest.mark.parametrize(
    ("suffix", "kind", "number"),
    # Up to 2003 the log's number is one behind the hive's; since Vista they are the same.
    [("LOG", 2, N - 1), ("LOG", 1, N - 1), ("LOG1", 1, N), ("LOG2", 1, N)],
)
def test_dirty_pages_are_applied(
    suffix: str, kind: int, number: int, factor: int, tmp_path: Path
) -> None:
    hive = interrupted(BEFORE, LAST, N)
    assert needs_replay(hive)
    assert bins(hive) != bins(LAST)
    log = dirty_vector_log(BEFORE, LAST, number, kind=kind, factor=factor)
    result = recovered(hive, {suffix: log})
    assert bins(result.hive)[28:] == bins(LAST)[28:]
    assert result.applied == (AppliedLog(f"SYSTEM.{suffix}", number, number),)
    assert result.torn is None
    assert not result.base_recovered
    found = require_clean(result.hive, tmp_path)
    assert found.value("Flush2", "value") == RegistryValue(3, b"\x77" * 9000)
    assert not needs_replay(result.hive)
    # No log fits any longer, neither by number nor by time.
    assert min(numbers(result.hive)) > max(N, number)
    times = {struct.unpack_from("<Q", result.hive, at)[0] for at in (12, BASE_BLOCK_SIZE + 20)}
    assert len(times) == 1
    assert times.pop() > LATER


@pytest.mark.parametrize("order", [("LOG1", "LOG2"), ("LOG2", "LOG1")])
def test_entries_of_both_logs_are_applied_in_turn(order: Sequence[str], tmp_path: Path) -> None:
    early, late = order
    logs = {
        early: entry_log(BEFORE, N, entries(0, 2)),
        late: entry_log(SECOND, N + 2, entries(2, 3)),
        "LOG": b"left over from the installation image",
    }
    result = recovered(DIRTY, logs)
    assert bins(result.hive) == bins(LAST)
    assert result.applied == (
        AppliedLog(f"SYSTEM.{early}", N, N + 1),
        AppliedLog(f"SYSTEM.{late}", N + 2, N + 2),
    )
    require_clean(result.hive, tmp_path)
    # As Windows 10 does it: one more than the last entry.
    assert numbers(result.hive) == (N + 3, N + 3)


def test_hive_that_was_partly_written_is_made_whole() -> None:
    for half in (changed_pages(BEFORE, LAST)[::2], changed_pages(BEFORE, LAST)[1::2]):
        hive = based(with_pages(BEFORE, LAST, half), N, N - 1)
        assert bins(recovered(hive, {"LOG1": entry_log(BEFORE, N, entries())}).hive) == bins(LAST)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("locked", [False, True])
def test_only_the_flag_of_pending_transactions_is_taken_over(before: int, locked: bool) -> None:
    hive = DIRTY[:144] + struct.pack("<I", 2 | before) + DIRTY[148:]
    hive = based(hive, N, N - 1)
    log = entry_log(hive, N, [log_entry(BEFORE, FIRST, N, locked=locked)])
    result = recovered(hive, {"LOG1": log})
    assert struct.unpack_from("<I", result.hive, 144)[0] == 2 | locked


def test_remnants_of_earlier_use_are_left_alone() -> None:
    old = [log_entry(LAST, BEFORE, number) for number in (N - 3, N - 2)]
    logs = {
        "LOG1": entry_log(BEFORE, N, [*entries(0, 2), *old]),
        "LOG2": entry_log(BEFORE, N - 3, old),
    }
    result = recovered(DIRTY, logs)
    assert bins(result.hive) == bins(SECOND)
    assert result.torn is None


@pytest.mark.parametrize("where", [44, 200])
def test_last_entry_that_was_cut_off_is_left_out(where: int) -> None:
    """So does Windows ("Log entries", note 8); but what it was to bring is told."""
    whole = entry_log(BEFORE, N, entries())
    at = len(whole) - 512 - len(entries(2, 3)[0])
    cut = whole[: at + where] + bytes(len(whole) - at - where)
    result = recovered(DIRTY, {"LOG1": cut})
    assert bins(result.hive) == bins(SECOND)
    assert result.torn == N + 2
    # It must not fit the hive later, when somebody changes the checksum back.
    assert numbers(result.hive)[0] > N + 1


def test_entry_that_was_begun_anew_in_the_other_log() -> None:
    torn = garbled(entries(1, 2)[0], 200)
    logs = {
        "LOG1": entry_log(BEFORE, N, [*entries(0, 1), torn]),
        "LOG2": entry_log(FIRST, N + 1, entries(1, 3)),
    }
    result = recovered(DIRTY, logs)
    assert bins(result.hive) == bins(LAST)
    assert result.torn is None


def garbled(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


SECOND_ENTRY = 512 + len(entries(0, 1)[0])


@pytest.mark.parametrize(
    ("logs", "obstacle", "told"),
    [
        ({}, Obstacle.NO_LOG, "there is none"),
        ({"LOG1": b"", "LOG2": b""}, Obstacle.NO_LOG, "there is none"),
        ({"LOG1": b"\0" * 5000}, Obstacle.DAMAGED, "header of SYSTEM.LOG1"),
        # The header is of a flush that was never written.
        ({"LOG1": entry_log(BEFORE, N, [])}, Obstacle.DAMAGED, "no entry that is whole"),
        (
            {"LOG1": entry_log(BEFORE, N - 3, [log_entry(LAST, FIRST, N - 3)])},
            Obstacle.STALE,
            f"up to number {N - 3}",
        ),
        (
            {"LOG1": entry_log(build_hive("SOFTWARE", {}), N, entries())},
            Obstacle.FOREIGN,
            "'SOFTWARE'",
        ),
        # Windows would stop in the middle, and silently lose what comes after it.
        (
            {"LOG1": garbled(entry_log(BEFORE, N, entries()), SECOND_ENTRY + 100)},
            Obstacle.BROKEN_CHAIN,
            f"up to number {N + 2}, but number {N + 1}",
        ),
        (
            {"LOG1": garbled(entry_log(BEFORE, N, entries()), SECOND_ENTRY + 2)},
            Obstacle.BROKEN_CHAIN,
            f"number {N + 1} is missing or damaged",
        ),
        (
            {
                "LOG1": entry_log(BEFORE, N, entries(0, 1)),
                "LOG2": entry_log(SECOND, N + 2, entries(2, 3)),
            },
            Obstacle.BROKEN_CHAIN,
            f"number {N + 1} is missing",
        ),
        # The log with the newest entries is there, only its header is not.
        (
            {
                "LOG1": entry_log(BEFORE, N, entries(0, 1)),
                "LOG2": garbled(entry_log(FIRST, N + 1, entries(1, 3)), 70),
            },
            Obstacle.BROKEN_CHAIN,
            f"SYSTEM.LOG2 holds changes up to number {N + 2}",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([(8192, 512)], b"x" * 512, N, 8192)])},
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([(0, 4096)], b"x" * 9, N, 8192)])},
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([(0, 0)] * 9, b"", N, 8192)])},
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([(9, 512)], b"x" * 512, N, 8192)])},
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([], b"", N, 8192 + 512)])},
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        (
            {"LOG1": entry_log(BEFORE, N, [raw_entry([], b"", N, 0x7FFFF000)])},
            Obstacle.DAMAGED,
            "promises 2147479552 bytes",
        ),
        (
            {
                "LOG1": entry_log(
                    BEFORE, N, [raw_entry([(0, 512)], b"x" * 512, N, bins_size(BEFORE))]
                )
            },
            Obstacle.DAMAGED,
            "no sound bin at offset 0",
        ),
        (
            {"LOG1": entry_log(BEFORE, 2**32 - 1, [log_entry(BEFORE, LAST, 2**32 - 1)])},
            Obstacle.DAMAGED,
            "no real one",
        ),
    ],
)
def test_entries_that_cannot_be_replayed(
    logs: Mapping[str, bytes], obstacle: Obstacle, told: str
) -> None:
    found = refused(DIRTY, logs)
    assert found.obstacle is obstacle
    assert told in found.detail


OLD_DIRTY = interrupted(BEFORE, LAST, N)
OLD_LOG = dirty_vector_log(BEFORE, LAST, N)


@pytest.mark.parametrize(
    ("log", "obstacle", "told"),
    [
        (garbled(OLD_LOG, 30), Obstacle.DAMAGED, "header"),
        (based(OLD_LOG, N + 1, N, LATER, 1), Obstacle.DAMAGED, "header"),
        (garbled(OLD_LOG, 512), Obstacle.DAMAGED, "no bitmap"),
        (OLD_LOG[:514], Obstacle.DAMAGED, "no bitmap"),
        (OLD_LOG[:1024], Obstacle.DAMAGED, "cut off"),
        (OLD_LOG[:-5000], Obstacle.DAMAGED, "cut off"),
        (
            dirty_vector_log(BEFORE, LAST, N, factor=3),
            Obstacle.DAMAGED,
            "makes no sense",
        ),
        # Of the write before: Windows was interrupted before it could write the log's sectors.
        (dirty_vector_log(BEFORE, LAST, N, timestamp=TIMESTAMP), Obstacle.STALE, "another write"),
        (dirty_vector_log(BEFORE, LAST, N - 2), Obstacle.STALE, "older than the hive"),
        (
            dirty_vector_log(build_hive("SAM", {}), build_hive("SAM", {"a": {}}), N),
            Obstacle.FOREIGN,
            "'SAM'",
        ),
        (dirty_vector_log(BEFORE, FIRST, N), Obstacle.DAMAGED, "bytes of data"),
        (based(OLD_LOG, N, N, LATER, 9), Obstacle.STALE, "another write"),
    ],
)
def test_dirty_pages_that_cannot_be_replayed(log: bytes, obstacle: Obstacle, told: str) -> None:
    found = refused(OLD_DIRTY, {"LOG1": log, "LOG2": b""})
    assert found.obstacle is obstacle
    assert told in found.detail


def test_second_log_is_used_when_the_first_is_of_an_earlier_attempt() -> None:
    logs = {"LOG1": dirty_vector_log(BEFORE, FIRST, N - 1, timestamp=TIMESTAMP), "LOG2": OLD_LOG}
    result = recovered(OLD_DIRTY, logs)
    assert bins(result.hive)[28:] == bins(LAST)[28:]
    assert [log.name for log in result.applied] == ["SYSTEM.LOG2"]


def test_damaged_header_comes_out_of_a_log() -> None:
    """From the log with the latest entries only ("Multiple transaction log files")."""
    hive = garbled(based(SECOND, N + 2, N + 1), 30)
    assert needs_replay(hive)
    logs = {
        "LOG1": entry_log(BEFORE, N, entries(0, 2)),
        "LOG2": entry_log(SECOND, N + 2, entries(2, 3)),
    }
    result = recovered(hive, logs)
    assert result.base_recovered
    assert bins(result.hive) == bins(LAST)
    assert [log.first for log in result.applied] == [N + 2]
    assert struct.unpack_from("<I", result.hive, 28)[0] == 0


def test_damaged_header_and_dirty_pages() -> None:
    """The first bin keeps a copy of the time, by which the log is known to fit."""
    hive = bytearray(garbled(OLD_DIRTY, 30))
    assert refused(bytes(hive), {"LOG1": OLD_LOG}).obstacle is Obstacle.STALE
    struct.pack_into("<Q", hive, BASE_BLOCK_SIZE + 20, LATER)
    result = recovered(bytes(hive), {"LOG1": OLD_LOG})
    assert result.base_recovered
    assert bins(result.hive)[28:] == bins(LAST)[28:]


@pytest.mark.parametrize("size", [0, 3, 4096, 8191])
def test_hive_that_is_too_short(size: int) -> None:
    assert refused(DIRTY[:size], {"LOG1": entry_log(BEFORE, N, entries())})


@pytest.mark.parametrize("kind", ["entries", "pages"])
def test_logs_do_not_fit_any_longer_once_the_hive_was_edited(kind: str, tmp_path: Path) -> None:
    """Windows marks the hive dirty again with its next change; old logs must not come back."""
    logs = {"LOG1": entry_log(BEFORE, N, entries())} if kind == "entries" else {"LOG1": OLD_LOG}
    hive = DIRTY if kind == "entries" else OLD_DIRTY
    path = tmp_path / "hive"
    path.write_bytes(recovered(hive, logs).hive)
    edited = Hive(path, HiveName.SYSTEM, writable=True)
    edited.set_value(r"Set\Services", "b", RegistryValue.dword(2))
    edited.commit(path)
    data = path.read_bytes()
    assert not needs_replay(data)
    first, second = numbers(data)
    assert first == second > max(numbers(log)[0] for log in logs.values())
    again = based(data, first + 1, first, struct.unpack_from("<Q", data, 12)[0])
    assert refused(again, logs).obstacle is Obstacle.STALE
    # Not even where nothing is left of the header.
    if kind == "pages":
        assert refused(garbled(again, 30), logs).obstacle is Obstacle.STALE


def require_whole(result: Replayed | NotReplayable) -> None:
    """Whatever came out is a refusal, or a clean hive whose bins follow each other."""
    if isinstance(result, NotReplayable):
        return
    assert not needs_replay(result.hive)
    assert base_block_checksum(result.hive) == struct.unpack_from("<I", result.hive, 508)[0]
    content = bins(result.hive)
    at = 0
    while at < len(content):
        assert content[at : at + 4] == b"hbin"
        at += struct.unpack_from("<I", content, at + 8)[0]
    assert at == bins_size(result.hive)


@given(st.lists(st.binary(max_size=3000), max_size=3))
def test_arbitrary_logs(contents: list[bytes]) -> None:
    logs = [HiveLog(f"SYSTEM.LOG{number}", data) for number, data in enumerate(contents)]
    for hive in (DIRTY, OLD_DIRTY, garbled(DIRTY, 30)):
        assert isinstance(replay(hive, logs), NotReplayable)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        # Headers are a small part of a log, and the one that matters.
        at = draw(st.integers(0, 1100) | st.integers(0, len(data) - 4))
        struct.pack_into("<I", changed, at, draw(st.integers(0, 2**32 - 1) | st.integers(0, 9000)))
    return bytes(changed[: draw(st.just(len(data)) | st.integers(0, len(data)))])


def sound_header(data: bytes) -> bytes:
    """Return a log with the checksum of its header made right, as an attacker would."""
    if len(data) < 512:
        return data
    return data[:508] + struct.pack("<I", base_block_checksum(data)) + data[512:]


@settings(max_examples=200, deadline=None)
@given(mutated(entry_log(BEFORE, N, entries())), st.booleans())
def test_garbled_entries_give_a_state_that_once_was(log: bytes, mend: bool) -> None:
    """Their checksums see to it that nothing else ever comes out."""
    result = replay(DIRTY, named({"LOG1": sound_header(log) if mend else log}))
    require_whole(result)
    if isinstance(result, Replayed):
        assert bins(result.hive) in [bins(state) for state in STATES[1:]]


@settings(max_examples=200, deadline=None)
@given(mutated(OLD_LOG), st.booleans())
def test_garbled_dirty_pages_give_whole_bins(log: bytes, mend: bool) -> None:
    require_whole(replay(OLD_DIRTY, named({"LOG1": sound_header(log) if mend else log})))


@settings(max_examples=200, deadline=None)
@given(mutated(DIRTY), st.booleans())
def test_garbled_hives(hive: bytes, mend: bool) -> None:
    logs = {"LOG1": entry_log(BEFORE, N, entries()), "LOG2": OLD_LOG}
    require_whole(replay(sound_header(hive) if mend else hive, named(logs)))


Real = Callable[[str], bytes]


@pytest.fixture
def real(shared_data: Path) -> Real:
    def read(name: str) -> bytes:
        return lzma.decompress((shared_data / "hives" / f"{name}.xz").read_bytes())

    return read


@pytest.mark.data
def test_dirty_pages_as_windows_7_applied_them(real: Real, tmp_path: Path) -> None:
    folder = "format/OldDirtyHive_"
    result = recovered(real(f"{folder}OldDirtyHive"), {"LOG1": real(f"{folder}OldDirtyHive.LOG1")})
    theirs = real(f"{folder}RecoveredHive_Windows7")
    assert len(result.hive) == len(theirs)
    # Both times (in the header and in the first bin) are of the recovery; the name in the header is
    # the file's, which had been renamed.
    own = {*range(4, 20), *range(48, 112), *range(508, 512)}
    own |= set(range(BASE_BLOCK_SIZE + 20, BASE_BLOCK_SIZE + 28))
    differing = {
        at for at, (one, two) in enumerate(zip(result.hive, theirs, strict=True)) if one != two
    }
    # One byte is no part of the log: a key's "largest value name length", which was 24 in the log
    # ("New Value #1" in UTF-16) and had become too large when the value got a name of one letter.
    # Windows corrected that after loading, and wrote the hive once more: hence its number 7.
    corrected = 0x6BDC8
    assert differing - own == {corrected}
    assert (result.hive[corrected], theirs[corrected]) == (24, 2)
    assert numbers(theirs) == (7, 7)
    assert numbers(result.hive) == (6, 6)
    hive = require_clean(result.hive, tmp_path)
    path = tmp_path / "theirs"
    path.write_bytes(theirs)
    assert list(hive.walk()) == list(Hive(path, HiveName.SYSTEM).walk())


@pytest.mark.data
def test_entries_as_windows_10_applied_them(real: Real, tmp_path: Path) -> None:
    folder = "format/NewDirtyHive1_"
    logs = {suffix: real(f"{folder}NewDirtyHive.{suffix}") for suffix in ("LOG1", "LOG2")}
    result = recovered(real(f"{folder}NewDirtyHive"), logs)
    # To the last byte, header and all.
    assert result.hive == real(f"{folder}RecoveredHive_Windows10")
    require_clean(result.hive, tmp_path)


@pytest.mark.data
def test_system_hive_as_another_tool_recovered_it(real: Real, tmp_path: Path) -> None:
    source = "system/win10-1709-x64-dirty"
    hive = real(f"{source}.SYSTEM")
    logs = {suffix: real(f"{source}.SYSTEM.{suffix}") for suffix in ("LOG1", "LOG2")}
    result = recovered(hive, logs)
    assert [(log.first, log.last) for log in result.applied] == [(2107, 2110), (2111, 2130)]
    assert bins_size(result.hive) > bins_size(hive)
    # The other tool leaves the number at that of the last entry; Windows gives the next one.
    theirs = real(f"{source}.replayed-by-another-tool.SYSTEM")
    assert numbers(theirs) == (2130, 2130)
    assert numbers(result.hive) == (2131, 2131)
    assert result.hive[:4] + result.hive[12:] == theirs[:4] + theirs[12:]
    mine = require_clean(result.hive, tmp_path)
    assert sum(1 for _ in mine.walk()) > 30_000


@pytest.mark.data
def test_real_hives_that_nothing_can_be_done_for(real: Real) -> None:
    """The time in the first bin is not the log's: that write never got as far as the bins."""
    folder = "format/BadBaseBlockHive_"
    logs = {"LOG1": real(f"{folder}BadBaseBlockHive.LOG1")}
    assert refused(real(f"{folder}BadBaseBlockHive"), logs).obstacle is Obstacle.STALE
    other = {"LOG1": real("format/OldDirtyHive_OldDirtyHive.LOG1")}
    assert refused(real("format/TruncatedDirtyHive"), other).obstacle is Obstacle.FOREIGN
