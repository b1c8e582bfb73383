"""How many guests at once, where the user does not say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offline_mig.batch.discovery import FoundMachine
from offline_mig.batch.host_limits import HostLimits, host_limits, jobs_of
from offline_mig.batch.plan_guests import GuestWork
from offline_mig.conversion.engines import EngineChoice


@pytest.mark.parametrize(
    ("limits", "jobs"),
    [
        (HostLimits(processors=8, memory=30, disks=None), 8),
        (HostLimits(processors=8, memory=3, disks=None), 3),
        (HostLimits(processors=8, memory=30, disks=1), 1),
        (HostLimits(processors=1, memory=0, disks=None), 1),
    ],
)
def test_the_scarcest_decides(limits: HostLimits, jobs: int) -> None:
    assert limits.jobs == jobs


@pytest.mark.parametrize(
    ("asked", "guests", "jobs"), [(5, 9, 5), (5, 2, 2), (5, 0, 1), (None, 1, 1)]
)
def test_never_more_at_once_than_there_are(
    asked: int | None, guests: int, jobs: int, tmp_path: Path
) -> None:
    works = [
        GuestWork(
            str(number),
            FoundMachine(tmp_path / f"{number}.vmx", str(number), ()),
            {"engine": "userspace"},
            0,
            "",
        )
        for number in range(guests)
    ]
    assert jobs_of(asked, [tmp_path], works) == jobs


def test_this_host(tmp_path: Path) -> None:
    places = [tmp_path / "not" / "there", Path("/proc")]
    by_programs = host_limits(places, [EngineChoice.USERSPACE])
    by_appliance = host_limits(places, [EngineChoice.USERSPACE, EngineChoice.GUESTFS])
    assert by_programs.processors == len(os.sched_getaffinity(0))
    # An appliance takes several times the memory of confined programs.
    assert by_appliance.memory < by_programs.memory or by_programs.memory == 1
    assert by_programs.disks in (None, 1)
