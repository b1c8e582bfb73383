"""A host without a memory of earlier runs, and a batch of small guests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import catalogue
from fixtures.guests import GuestSpec
from fixtures.many_guests import add_sound_guests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test's own host."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def exports(
    tmp_path: Path, base_image: Callable[[GuestSpec], Path], userspace: None
) -> Callable[[int], Path]:
    """Gives a folder with so many sound guests in it."""

    def make(count: int) -> Path:
        base_image(catalogue.XP)
        folder = tmp_path / "exports"
        add_sound_guests(folder, catalogue.XP, [f"xp-{number:02}" for number in range(count)])
        return folder

    return make
