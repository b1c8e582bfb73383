"""What a host's crew gives each of its guests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offline_mig.batch.crew import local_crew
from offline_mig.batch.orders import Order, Task

#: Has a guest's process write down which processors it may use, and wait until all others have.
TELLING = """
import os, sys, time

folder, others = os.environ["TOLD"], int(os.environ["OTHERS"])
with open(os.path.join(folder, str(os.getpid())), "x") as stream:
    stream.write(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
until = time.monotonic() + 30
while len(os.listdir(folder)) < others and time.monotonic() < until:
    time.sleep(0.01)
"""
PROCESSORS = os.sched_getaffinity(0)


@pytest.mark.skipif(len(PROCESSORS) == 1, reason="there is only one processor to share")
@pytest.mark.parametrize("size", [1, len(PROCESSORS), len(PROCESSORS) + 1])
def test_as_many_guests_as_processors_have_one_each(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    (tmp_path / "sitecustomize.py").write_text(TELLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TOLD", str(told))
    monkeypatch.setenv("OTHERS", str(size))
    missing, output = str(tmp_path / "vm.vmx"), str(tmp_path / "out")
    order = Order(Task.LOOK, "vm", missing, {"engine": "userspace"}, output)
    with local_crew(size) as crew:
        for future in [crew.submit(order, lambda _: None) for _ in range(size)]:
            future.result(60)
    shares = [{int(number) for number in path.read_text().split()} for path in told.iterdir()]
    assert len(shares) == size
    if size == len(PROCESSORS):
        assert sorted(shares, key=min) == [{number} for number in sorted(PROCESSORS)]
    else:
        assert all(share == PROCESSORS for share in shares)
    assert os.sched_getaffinity(0) == PROCESSORS
