"""Guests converted once by the real command, looked at by many tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.conversion_run import Case, Converted, offline_mig, require_engine
from fixtures.guests import GuestSpec, build_guest
from fixtures.result import system_volume, tree_state


@pytest.fixture(scope="session")
def converted(
    tmp_path_factory: pytest.TempPathFactory,
    drivers_iso: Path,
    base_image: Callable[[GuestSpec], Path],
) -> Callable[[Case], Converted]:
    """Gives the converted guest of a case, converting it when it is first asked for."""
    done: dict[Case, Converted] = {}

    def get(case: Case) -> Converted:
        spec = case.spec
        require_engine(case.engine)
        if spec.variant.real_hives is not None and real_hives.data_folder() is None:
            pytest.skip("no shared data")
        if case not in done:
            base_image(spec)
            folder = tmp_path_factory.mktemp(spec.kind.value)
            guest = build_guest(spec.kind, folder / "source", variant=spec.variant)
            before = tree_state(guest.folder)
            output = folder / "out"
            run = offline_mig(
                "convert",
                guest.vmx,
                "--drivers",
                drivers_iso,
                "--allow-unsigned",
                "-o",
                output,
                "--json",
                "--checksum",
                "--engine",
                case.engine,
            )
            assert run.returncode == 0, run.stderr
            printed = json.loads(run.stdout)
            scratch = folder / "scratch"
            scratch.mkdir()
            volume = system_volume(Path(printed["disks"][0]), "qcow2", scratch)
            done[case] = Converted(case, guest, output, printed, before, volume)
        return done[case]

    return get
