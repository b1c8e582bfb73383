"""Which volumes stay mounted, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from offline_mig.guest.partition_table import Partition
from offline_mig.guest.readable_volumes import ReadableVolumes

_ONE, _TWO = (Partition(number, number * 1024, 1024, "volume") for number in (1, 2))


class _Mounts:
    """Mounts by name, and what became of them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    @contextmanager
    def mounting(self, disk: int, partition: Partition) -> Iterator[str]:
        name = f"{disk}:{partition.number}"
        self.done.append(f"mount {name}")
        try:
            yield name
        except BaseException:
            self.done.append(f"kill {name}")
            raise
        self.done.append(f"unmount {name}")


def test_a_volume_stays_until_the_end() -> None:
    mounts = _Mounts()
    with ReadableVolumes(mounts.mounting) as readable:
        for _ in range(3):
            with readable.using(0, _ONE) as one, readable.using(0, _TWO) as two:
                assert (one, two) == ("0:1", "0:2")
        assert mounts.done == ["mount 0:1", "mount 0:2"]
    assert sorted(mounts.done[2:]) == ["unmount 0:1", "unmount 0:2"]


def test_what_is_written_to_is_mounted_anew_once_nobody_reads_it() -> None:
    mounts = _Mounts()
    with ReadableVolumes(mounts.mounting) as readable:
        with readable.using(1, _ONE):
            pass
        with readable.using(0, _ONE), readable.using(0, _TWO):
            pass
        with readable.using(0, _TWO):
            readable.release(0)
        assert mounts.done[3:] == ["unmount 0:1"]
        with readable.using(0, _ONE), readable.using(0, _TWO), readable.using(1, _ONE):
            pass
        assert mounts.done[4:] == ["mount 0:1"]


def test_a_volume_is_given_up_after_a_failure() -> None:
    mounts = _Mounts()
    with ReadableVolumes(mounts.mounting) as readable:
        with pytest.raises(OSError, match="lost"), readable.using(0, _ONE):
            raise OSError("lost")
        assert mounts.done == ["mount 0:1", "kill 0:1"]
        with readable.using(0, _ONE):
            pass
        assert mounts.done[2:] == ["mount 0:1"]
    with (
        pytest.raises(OSError, match="lost"),
        ReadableVolumes(mounts.mounting) as readable,
        readable.using(0, _TWO),
    ):
        raise OSError("lost")
    assert mounts.done[-1] == "kill 0:2"
