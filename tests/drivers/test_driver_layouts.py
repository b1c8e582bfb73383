"""Every layout that driver media have had: what is chosen from it, and what is said."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.inf_texts import AMD64, ARM64, X86, inf_text, windows
from fixtures.pe import MACHINE_AMD64, MACHINE_ARM64, MACHINE_I386, minimal_pe
from fixtures.rpm_packages import build_rpm
from offline_mig.drivers.inventory import list_packages
from offline_mig.drivers.media import DriverMedia, open_media
from offline_mig.drivers.selection import choose_package, no_driver_error
from offline_mig.windows.version import Architecture

MACHINES = {X86: MACHINE_I386, AMD64: MACHINE_AMD64, ARM64: MACHINE_ARM64}
#: The drivers that virtio-win had from the beginning: INF and service.
FIRST = {
    "viostor": ("viostor.inf", "viostor"),
    "netkvm": ("netkvm.inf", "netkvm"),
    "balloon": ("balloon.inf", "BALLOON"),
    "vioserial": ("vioser.inf", "VirtioSerial"),
}


def add(
    root: Path, place: str, driver: str = "viostor", *, nt: str = "", architecture: Architecture
) -> None:
    """Write a package of a driver, for that Windows NT and later."""
    name, service = FIRST.get(driver, (f"{driver}.inf", driver))
    folder = root / place
    folder.mkdir(parents=True, exist_ok=True)
    binary = name.replace(".inf", ".sys")
    catalogue = name.replace(".inf", ".cat")
    text = inf_text(
        service,
        decoration=f"NT{architecture}{nt}",
        binary=binary,
        catalogue=catalogue,
        version="62.1.104.1000",
    )
    (folder / name).write_text(text)
    (folder / binary).write_bytes(minimal_pe(MACHINES[architecture]))
    (folder / catalogue).write_bytes(b"catalogue")


def as_tree(root: Path, _: Path) -> Path:
    return root


def as_iso(*options: str) -> Callable[[Path, Path], Path]:
    def write(root: Path, target: Path) -> Path:
        iso = target / "drivers.iso"
        command = ["genisoimage", "-quiet", *options, "-o", iso, root]
        subprocess.run(command, check=True, capture_output=True)
        return iso

    return write


def as_rpm(root: Path, target: Path) -> Path:
    return build_rpm(root, target / "built")


FORMS = {
    "tree": as_tree,
    "Rock Ridge": as_iso("-iso-level", "4", "-r"),
    "Joliet": as_iso("-J"),
    "plain ISO 9660": as_iso("-iso-level", "3"),
    "RPM": as_rpm,
}

OLD = {
    # An ISO of 2010: all drivers of a Windows together.
    "XP/X86": ("", X86),
    "vista/x86": (".6.0", X86),
    "vista/amd64": (".6.0", AMD64),
    "WIN7/X86": (".6.1", X86),
    "WIN7/AMD64": (".6.1", AMD64),
}
BUILDS = {
    # Those of 2012 to 2014: the names of builds.
    "wxp/x86": ("", X86),
    "wnet/x86": (".5.2", X86),
    "wnet/amd64": (".5.2", AMD64),
    "wlh/x86": (".6.0", X86),
    "wlh/amd64": (".6.0", AMD64),
    "win7/x86": (".6.1", X86),
    "win7/amd64": (".6.1", AMD64),
    "win8/x86": (".6.2", X86),
    "win8/amd64": (".6.2", AMD64),
}
FLOPPY = {
    "i386/WinXP": ("", X86),
    "i386/Win2003": (".5.2", X86),
    "i386/Win2008": (".6.0", X86),
    "i386/Win7": (".6.1", X86),
    "amd64/Win2008R2": (".6.1", AMD64),
    "amd64/Win8.1": (".6.3", AMD64),
    "amd64/Win2012R2": (".6.3", AMD64),
    "amd64/Win10": (".10.0", AMD64),
    "amd64/Win2016": (".10.0", AMD64),
}
BY_OS = {
    f"drivers/by-os/{place}": kind
    for place, kind in {
        "i386/w7": (".6.1", X86),
        "amd64/2k12R2": (".6.3", AMD64),
        "amd64/w10": (".10.0", AMD64),
        "ARM64/w11": (".10.0", ARM64),
    }.items()
}


def plain(path: str) -> str:
    """Return a path without what an ISO 9660 image by itself has no letters for."""
    return re.sub("[^a-z0-9/]", "_", path.lower())


LAYOUTS = {"old": OLD, "builds": BUILDS, "floppy": FLOPPY, "by_os": BY_OS}


@pytest.fixture(scope="module")
def media_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], DriverMedia]:
    """Gives a medium with all four drivers in each place of a layout."""

    @functools.cache
    def make(layout: str, form: str) -> DriverMedia:
        folder = tmp_path_factory.mktemp("medium")
        for place, (nt, machine) in LAYOUTS[layout].items():
            for driver in FIRST:
                add(folder / "drivers", place, driver, nt=nt, architecture=machine)
        return open_media(FORMS[form](folder / "drivers", folder))

    return make


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("layout", "release", "architecture", "expected"),
    [
        ("old", "xp", X86, "XP/X86"),
        ("old", "xp", AMD64, None),
        ("old", "2k8", AMD64, "vista/amd64"),
        ("old", "w7", AMD64, "WIN7/AMD64"),
        ("old", "2k8R2", AMD64, "WIN7/AMD64"),
        ("old", "2k12", AMD64, "WIN7/AMD64"),
        ("old", "w10", AMD64, None),
        ("builds", "xp", X86, "wxp/x86"),
        ("builds", "xp", AMD64, "wnet/amd64"),
        ("builds", "2k3", X86, "wnet/x86"),
        ("builds", "vista", X86, "wlh/x86"),
        ("builds", "w8", AMD64, "win8/amd64"),
        ("builds", "2k12R2", AMD64, "win8/amd64"),
        ("floppy", "xp", X86, "i386/WinXP"),
        ("floppy", "2k3", X86, "i386/Win2003"),
        ("floppy", "w7", AMD64, "amd64/Win2008R2"),
        ("floppy", "w8.1", AMD64, "amd64/Win8.1"),
        ("floppy", "2k12R2", AMD64, "amd64/Win2012R2"),
        ("floppy", "2k19", AMD64, "amd64/Win2016"),
        ("floppy", "w10", X86, None),
        ("by_os", "w7", X86, "drivers/by-os/i386/w7"),
        ("by_os", "2k16", AMD64, "drivers/by-os/amd64/w10"),
        ("by_os", "w11", ARM64, "drivers/by-os/ARM64/w11"),
    ],
)
def test_all_drivers_of_a_windows_together(
    media_of: Callable[[str, str], DriverMedia],
    form: str,
    layout: str,
    release: str,
    architecture: Architecture,
    expected: str | None,
) -> None:
    media = media_of(layout, form)
    for driver, (inf_name, _) in FIRST.items():
        choice = choose_package([media], driver, windows(release, architecture))
        found = choice.location.partition(": ")[2]
        assert plain(found) == plain(f"{expected}/{inf_name}" if expected else "")
        assert expected or all(rejected.elsewhere for rejected in choice.considered)


def test_a_layout_without_the_windows_tells_what_it_has(tmp_path: Path) -> None:
    root = tmp_path / "drivers"
    for place, (nt, machine) in OLD.items():
        add(root, place, nt=nt, architecture=machine)
    media = [open_media(as_iso("-iso-level", "3")(root, tmp_path))]
    choice = choose_package(media, "viostor", windows("w10"))
    message = no_driver_error(choice, windows("w10"), media).message
    assert "has viostor for: vista amd64, vista x86, w7 amd64, w7 x86, xp x86" in message


def test_the_list_of_a_flat_layout(tmp_path: Path) -> None:
    root = tmp_path / "drivers"
    for driver in FIRST:
        add(root, "wlh/amd64", driver, nt=".6.0", architecture=AMD64)
    listed = list_packages([open_media(root)])
    assert [package.driver for package in listed] == ["balloon", "netkvm", "vioserial", "viostor"]
    assert {package.windows for package in listed} == {(("2k8", "amd64"),)}


def test_short_cuts_for_the_installer_of_windows(tmp_path: Path) -> None:
    """ISOs since 0.1.164 have the boot drivers of Windows 10 once more in amd64/<release>/."""
    root = tmp_path / "drivers"
    for place in ("viostor/w10/amd64", "amd64/w10", "viostor/w11/amd64", "amd64/w11"):
        add(root, place, nt=".10.0", architecture=AMD64)
    choice = choose_package([open_media(root)], "viostor", windows("w10"))
    assert choice.location == "drivers: viostor/w10/amd64/viostor.inf"


def test_installers_beside_the_drivers_are_no_matter(tmp_path: Path) -> None:
    """RHEL's ISO begins with Windows 7, and has MSI packages of others."""
    root = tmp_path / "drivers"
    add(root, "viostor/w7/amd64", nt=".6.1", architecture=AMD64)
    add(root, "viostor/2k8R2/amd64", nt=".6.1", architecture=AMD64)
    for name in ("qxl-wddm-dod/QxlWddmDod_x64.msi", "spice-vdagent/spice-vdagent-x64.msi"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"msi")
    media = open_media(as_iso("-iso-level", "4", "-r")(root, tmp_path))
    assert choose_package([media], "viostor", windows("2k8R2")).location.endswith(
        ": viostor/2k8R2/amd64/viostor.inf"
    )
    assert choose_package([media], "viostor", windows("2k3")).package is None


# --- a directory inside a tree: its own name and those above it -----------------------------


def given(path: Path, release: str) -> tuple[str, tuple[str, ...]]:
    choice = choose_package([open_media(path)], "viostor", windows(release))
    return choice.location, choice.notes


def notes_on_place(notes: tuple[str, ...]) -> list[str]:
    return [note for note in notes if "taken from a directory" in note]


@pytest.mark.parametrize("depth", range(4))
def test_a_path_into_a_tree(tmp_path: Path, depth: int) -> None:
    """The INF decides: the same package is chosen from wherever the path leads."""
    parts = ["viostor", "w10", "amd64"]
    add(tmp_path / "virtio-win", "/".join(parts), nt=".6.3", architecture=AMD64)
    path = tmp_path.joinpath("virtio-win", *parts[:depth])
    inside = "/".join([*parts[depth:], "viostor.inf"])
    location, notes = given(path, "w10")
    assert location == f"{path.name}: {inside}"
    assert notes_on_place(notes) == []
    # Only what lies inside says for which Windows a package is not: 8.1 is among the INF's.
    location, notes = given(path, "w8.1")
    if depth < 2:
        assert location == ""
    else:
        assert location == f"{path.name}: {inside}"
        assert notes_on_place(notes) == [
            "it was taken from a directory for w10, though its INF is for w8.1 as well"
        ]


def test_a_folder_that_is_named_after_a_guest(tmp_path: Path) -> None:
    add(tmp_path / "xp" / "x86" / "mine", "", nt=".6.1", architecture=AMD64)
    location, notes = given(tmp_path / "xp/x86/mine", "w7")
    assert location == "mine: viostor.inf"
    assert notes_on_place(notes) == [
        "it was taken from a directory for xp, though its INF is for w7 as well"
    ]
    assert given(tmp_path / "xp/x86/mine", "2k8")[0] == ""


def test_the_names_above_count_between_equals(tmp_path: Path) -> None:
    """Two packages by themselves: that from a directory for this Windows goes first."""
    media: list[DriverMedia] = []
    for place in ("vioscsi/w7/amd64", "viostor/w8/amd64", "viostor/w10/amd64"):
        add(tmp_path, place, nt=".6.1", architecture=AMD64)
        media.append(open_media(tmp_path / place))
    choice = choose_package(media, "viostor", windows("w8"))
    assert choice.package is not None
    chosen = next(source for source in media if source.above.endswith("w8/amd64"))
    again = choose_package([chosen], "viostor", windows("w8"))
    assert (choice.location, choice.notes) == (again.location, again.notes)
    assert notes_on_place(choice.notes) == []
    # A higher version goes before a name.
    inf = tmp_path / "viostor/w10/amd64/viostor.inf"
    inf.write_text(inf.read_text().replace("62.1.104.1000", "62.1.104.2000"))
    choice = choose_package([open_media(source.path) for source in media], "viostor", windows("w8"))
    assert choice.package is not None
    assert choice.package.driver_version_text == "62.1.104.2000"
