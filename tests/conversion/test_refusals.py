"""Guests that must not be edited: each in its own words, all seen in one appliance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures import real_hives
from fixtures.catalogue import (
    REAL_WINDOWS_10_DIRTY,
    WINDOWS_7_PENDING_LOGS,
    WINDOWS_10_PENDING_LOGS,
    XP_PENDING_LOGS,
)
from fixtures.conversion_run import offline_mig, require_engine
from fixtures.guests import GuestKind, GuestSpec, Hiberfil, RealHives, Variant, build_guest
from fixtures.one_disk import OneDisk
from fixtures.result import tree_state
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.examination import examined_volume
from offline_mig.errors import GuestRefusedError
from offline_mig.guest.engine import OpenedDisk
from offline_mig.machine import DiskFormat
from offline_mig.surgery.system_volume import (
    SystemVolume,
    find_system_volume,
    read_layout,
    require_clean,
)

pytestmark = pytest.mark.conversion

_GUESTFS = pytest.param("guestfs", marks=pytest.mark.appliance)


def variant(kind: GuestKind, **chosen: object) -> GuestSpec:
    return GuestSpec(kind, Variant(**chosen))  # type: ignore[arg-type]


#: What each guest is refused for, and what the user is told to do.
REFUSED: dict[str, tuple[GuestSpec, str, str]] = {
    "hibernated-w10": (
        variant(GuestKind.WINDOWS_10, hiberfil=Hiberfil.HIBERNATED),
        "The guest is hibernated: hiberfil.sys on volume 1:3",
        "powercfg /h off",
    ),
    "fast-startup-w10": (
        variant(GuestKind.WINDOWS_10, hiberfil=Hiberfil.FAST_STARTUP),
        "The guest was shut down with fast startup: hiberfil.sys on volume 1:3",
        "--discard-hibernation",
    ),
    "hibernated-xp": (
        variant(GuestKind.XP, hiberfil=Hiberfil.HIBERNATED),
        "The guest is hibernated: hiberfil.sys on volume 1:1",
        "powercfg /h off",
    ),
    "dirty-volume": (variant(GuestKind.WINDOWS_10, dirty_volume=True), "marked dirty", "chkdsk"),
    "bitlocker": (variant(GuestKind.WINDOWS_10, bitlocker=True), "BitLocker", "manage-bde -off"),
    "dynamic-disk": (variant(GuestKind.XP, dynamic_disk=True), "dynamic disk", "basic disk"),
    "no-windows": (variant(GuestKind.XP, without_windows=True), "No Windows was found", "disks"),
    "two-windows": (variant(GuestKind.XP, two_windows=True), "several Windows", "--system-part"),
    "nt4": (variant(GuestKind.XP, nt4=True), "NT 4.0", "Only Windows 2000 and later"),
    "dirty-hive": (variant(GuestKind.WINDOWS_7, dirty_hive=True), "there is none", "Start the"),
    "damaged-hive": (variant(GuestKind.WINDOWS_7, damaged_hive=True), "is damaged", "backup"),
    "real-nt4": (variant(GuestKind.XP, real_hives=RealHives.NT4), "NT 4.0", "Windows 2000"),
    "real-corrupt": (
        variant(GuestKind.XP, real_hives=RealHives.XP_CORRUPT), "SYSTEM is damaged", "backup"
    ),
}  # fmt: skip
#: Guests that look alike but are fine.
FINE = {
    "resumed": variant(GuestKind.WINDOWS_10, hiberfil=Hiberfil.RESUMED),
    "control-set-2": variant(GuestKind.XP, current_control_set=2),
    "pending-xp": XP_PENDING_LOGS,
    "pending-w7": WINDOWS_7_PENDING_LOGS,
    "pending-w10": WINDOWS_10_PENDING_LOGS,
    "real-dirty": REAL_WINDOWS_10_DIRTY,
}


@pytest.fixture(scope="module", params=["userspace", _GUESTFS])
def opened(
    request: pytest.FixtureRequest, base_image: Callable[[GuestSpec], Path]
) -> Iterator[Callable[[str], OneDisk]]:
    """All guests above, opened read-only at once."""
    require_engine(request.param)
    specs = {name: spec for name, (spec, _, _) in REFUSED.items()} | FINE
    if real_hives.data_folder() is None:
        specs = {name: spec for name, spec in specs.items() if spec.variant.real_hives is None}
    images = tuple(OpenedDisk(base_image(spec), DiskFormat.RAW) for spec in specs.values())
    with choose_engine(EngineChoice(request.param)).open(images, writable=False) as disks:
        numbers = {name: number for number, name in enumerate(specs)}

        def get(name: str) -> OneDisk:
            if name not in numbers:
                pytest.skip("no shared data")
            return OneDisk(disks, numbers[name])

        yield get


def look(disks: OneDisk, system_partition: str | None = None) -> SystemVolume:
    volume = find_system_volume(disks, read_layout(disks, 1), system_partition)
    require_clean(disks, volume)
    with examined_volume(disks, volume):
        return volume


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_reason_and_remedy(opened: Callable[[str], OneDisk], name: str) -> None:
    _, reason, remedy = REFUSED[name]
    with pytest.raises(GuestRefusedError) as refusal:
        look(opened(name))
    assert reason in refusal.value.message
    assert remedy in refusal.value.remedy


@pytest.mark.parametrize("name", FINE)
def test_lookalikes_are_accepted(opened: Callable[[str], OneDisk], name: str) -> None:
    assert look(opened(name)).root.lower() == "/windows"


def test_one_of_several_windows_can_be_chosen(opened: Callable[[str], OneDisk]) -> None:
    disks = opened("two-windows")
    with pytest.raises(GuestRefusedError) as refusal:
        look(disks)
    named = refusal.value.message.split(": ", 1)[1]
    assert "1:1" in named
    assert "1:2" in named
    assert look(disks, "1:2").name == "1:2"
    with pytest.raises(GuestRefusedError, match="no Windows on partition 1:7"):
        look(disks, "1:7")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("hibernated-w10", "userspace"),
        ("bitlocker", "userspace"),
        pytest.param("damaged-hive", "guestfs", marks=pytest.mark.appliance),
    ],
)
def test_command_leaves_nothing_behind(
    name: str, engine: str, drivers_dir: Path, tmp_path: Path
) -> None:
    require_engine(engine)
    spec, reason, remedy = REFUSED[name]
    guest = build_guest(spec.kind, tmp_path / "source", variant=spec.variant)
    before = tree_state(guest.folder)
    run = offline_mig(
        "convert",
        guest.vmx,
        "--drivers",
        drivers_dir,
        "--allow-unsigned",
        "-o",
        tmp_path / "out",
        "--engine",
        engine,
    )
    assert run.returncode == GuestRefusedError.exit_code
    assert reason in run.stderr
    assert remedy in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
    assert tree_state(guest.folder) == before
