"""What a guest is told about the drivers that it gets, and those that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.inf_texts import X86, windows
from fixtures.virtio_win import write_tree
from fixtures.virtio_win_infs import W7_X86, XP_X86
from offline_mig.conversion.driver_choice import ChosenDrivers, choose_drivers, open_sources


def choose(tree: Path, release: str) -> ChosenDrivers:
    return choose_drivers(open_sources([tree]), windows(release, X86), allow_unsigned=True)


@pytest.mark.parametrize("release", ["xp", "w7"])
def test_drivers_without_their_coinstaller_are_not_counted_on(tmp_path: Path, release: str) -> None:
    """XP has no driver framework in the box: the wizard for the device would fail, and stay."""
    tree = write_tree(tmp_path / "drivers", [XP_X86, W7_X86])
    whole = choose(tree, release)
    assert (whole.in_place.balloon, whole.in_place.serial) == (True, True)
    assert not any("not used" in note for note in whole.notes)

    for name in ("Balloon", "vioserial"):
        (tree / name / release / "x86/WdfCoInstaller01009.dll").unlink()
    chosen = choose(tree, release)

    assert (chosen.in_place.balloon, chosen.in_place.serial) == (False, False)
    assert chosen.in_place.network
    names = {driver.name for driver in chosen.drivers.others}
    assert names.isdisjoint({"balloon", "vioserial"})
    for driver, place, effect in (
        ("balloon", f"Balloon/{release}/x86/balloon.inf", "memory balloon stays without"),
        ("vioserial", f"vioserial/{release}/x86/vioser.inf", "have no channel"),
    ):
        assert any(effect in note for note in chosen.notes)
        (why,) = (note for note in chosen.notes if place in note)
        assert why.startswith(f"{driver} in drivers: ")
        assert "WdfCoInstaller01009.dll is not there, but its INF copies it" in why
        assert "untouched virtio-win" in why


def test_provider_of_random_numbers_that_is_missing_is_told(tmp_path: Path) -> None:
    """Not every driver is worth a note when nobody has it; a broken one always is."""
    tree = write_tree(tmp_path / "drivers", [W7_X86])
    (tree / "viorng/w7/x86/viorngum.dll").unlink()
    chosen = choose(tree, "w7")
    assert not chosen.in_place.rng
    assert any("viorngum.dll is not there" in note for note in chosen.notes)
