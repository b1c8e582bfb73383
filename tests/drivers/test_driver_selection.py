"""Which package a Windows gets, and what is said when it gets none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.inf_texts import AMD64, ARM64, X86, inf_text, windows
from fixtures.pe import MACHINE_AMD64, MACHINE_ARM64, MACHINE_I386, minimal_pe
from fixtures.published_drivers import write_published_tree
from offline_mig.drivers.layout import older_releases, own_releases, place_of
from offline_mig.drivers.media import DriverMedia, open_media
from offline_mig.drivers.selection import (
    Choice,
    Rejected,
    choose_optional,
    choose_package,
    no_driver_error,
)
from offline_mig.errors import NoDriverError
from offline_mig.windows.version import Architecture, WindowsVersion

_MACHINES = {X86: MACHINE_I386, AMD64: MACHINE_AMD64, ARM64: MACHINE_ARM64}


class Tree:
    """A driver directory in the making."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def add(
        self,
        place: str,
        service: str = "viostor",
        *,
        inf: str = "",
        machine: int | None = None,
        catalogue: bool = True,
        **options: str,
    ) -> Tree:
        """Add a package that fits the directory it lies in, where nothing else is said."""
        directory = self.root / place
        directory.mkdir(parents=True, exist_ok=True)
        architecture = place_of(f"{place}/x").architecture or AMD64
        options.setdefault("decoration", f"NT{architecture}")
        binary = options.get("binary", f"{service}.sys")
        text = inf_text(service, **options)
        (directory / (inf or f"{service}.inf")).write_text(text)
        (directory / binary).write_bytes(minimal_pe(machine or _MACHINES[architecture]))
        if catalogue:
            (directory / f"{service}.cat").write_bytes(b"catalogue")
        return self

    @property
    def media(self) -> DriverMedia:
        return open_media(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "virtio-win")


def chosen(
    tree: Tree, release: str, architecture: Architecture = AMD64, driver: str = "viostor"
) -> str:
    choice = choose_package([tree.media], driver, windows(release, architecture))
    assert (choice.package is None) == (choice.location == "")
    return choice.location.removeprefix("virtio-win: ").rpartition("/")[0]


@pytest.mark.parametrize(
    ("path", "release", "architecture"),
    [
        ("viostor/w10/amd64/viostor.inf", "w10", AMD64),
        ("NetKVM/2k12R2/amd64/netkvm.inf", "2k12R2", AMD64),
        ("viostor/w8.1/x86/viostor.inf", "w8.1", X86),
        ("viostor/w11/ARM64/viostor.inf", "w11", ARM64),
        ("amd64/2k25/viostor.inf", "2k25", AMD64),
        ("drivers/by-os/i386/xp/viostor.inf", "xp", X86),
        ("i386/WinXP/viostor.inf", "xp", X86),
        ("amd64/Win2008R2/viostor.inf", "2k8R2", AMD64),
        ("Wnet/amd64/viostor.inf", "2k3", AMD64),
        ("Wlh/x86/viostor.inf", "2k8", X86),
        ("Win8.1/amd64/viostor.inf", "w8.1", AMD64),
        ("w10/x86/viostor/w7/amd64/viostor.inf", "w7", AMD64),
        ("viostor/viostor.inf", None, None),
        ("w10/viostor.inf", "w10", None),
        ("w10.inf", None, None),
    ],
)
def test_places(path: str, release: str | None, architecture: Architecture | None) -> None:
    place = place_of(path)
    assert (place.release, place.architecture) == (release, architecture)


@pytest.mark.parametrize(
    ("release", "architecture", "expected"),
    [
        ("xp", X86, ("xp",)),
        ("xp", AMD64, ("xp", "2k3")),
        ("2k3", X86, ("2k3",)),
        ("2k3", AMD64, ("2k3", "xp")),
        ("vista", X86, ("vista", "2k8")),
        ("2k8R2", AMD64, ("2k8R2", "w7")),
        ("w11", AMD64, ("w11", "2k25")),
        ("2k22", AMD64, ("2k22", "2k19", "2k16", "w10")),
    ],
)
def test_releases_of_one_build(
    release: str, architecture: Architecture, expected: tuple[str, ...]
) -> None:
    assert own_releases(windows(release, architecture)) == expected


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("xp", ()),
        ("2k3", ()),
        ("2k8", ()),
        ("2k12R2", ("2k12", "w8", "2k8R2", "w7")),
        ("w11", ("w10", "2k22", "2k19", "2k16")),
    ],
)
def test_builds_for_an_older_windows(release: str, expected: tuple[str, ...]) -> None:
    assert older_releases(windows(release)) == expected


def test_unknown_release_has_no_fall_backs() -> None:
    old = WindowsVersion(5, 0, 2195, X86)
    assert (own_releases(old), older_releases(old)) == (("2k",), ())


def test_own_directory_and_processor(tree: Tree) -> None:
    for release in ("w7", "w10", "2k22"):
        for architecture in ("x86", "amd64"):
            tree.add(f"viostor/{release}/{architecture}")
    tree.add("viostor/w10/ARM64")
    assert chosen(tree, "w10") == "viostor/w10/amd64"
    assert chosen(tree, "w10", X86) == "viostor/w10/x86"
    assert chosen(tree, "w10", ARM64) == "viostor/w10/ARM64"
    assert chosen(tree, "2k22") == "viostor/2k22/amd64"
    assert chosen(tree, "xp") == ""
    assert chosen(tree, "w7", ARM64) == ""


def test_package_has_its_files(tree: Tree) -> None:
    tree.add("viostor/w10/amd64", catalogue=False, more_files="extra.dll")
    (tree.root / "viostor/w10/amd64/EXTRA.dll").write_bytes(b"library")
    (tree.root / "viostor/w10/amd64/VIOSTOR.CAT").write_bytes(b"catalogue")
    (tree.root / "viostor/w10/amd64/viostor.pdb").write_bytes(b"symbols")
    choice = choose_package([tree.media], "VioStor", windows("w10"))
    assert choice.location == "virtio-win: viostor/w10/amd64/viostor.inf"
    assert choice.considered == ()
    package = choice.package
    assert package is not None
    assert sorted(package.files) == [
        "extra.dll",
        "viostor.cat",
        "viostor.inf",
        "viostor.sys",
    ]
    assert package.files["viostor.sys"] == minimal_pe(MACHINE_AMD64)
    assert package.files["viostor.cat"] == b"catalogue"
    assert package.catalogue_present
    assert package.missing_files == ()


def test_fall_back_when_the_exact_directory_is_missing(tree: Tree) -> None:
    tree.add("viostor/w10/amd64", decoration="NTamd64.10.0").add("viostor/2k19/amd64")
    assert chosen(tree, "w11") == "viostor/w10/amd64"
    assert chosen(tree, "2k25") == "viostor/2k19/amd64"
    assert chosen(tree, "2k16") == "viostor/w10/amd64"
    assert chosen(tree, "w8.1") == ""


def test_fall_back_needs_the_decoration(tree: Tree) -> None:
    tree.add("viostor/w11/amd64", decoration="NTamd64.10.0...26100")
    choice = choose_package([tree.media], "viostor", windows("w11"))
    assert choice.package is None
    assert [rejected.reason for rejected in choice.considered] == [
        "its INF is for NTamd64.10.0...26100, not for NTamd64.10.0 build 22631"
    ]
    assert chosen(tree, "2k25") == "viostor/w11/amd64"


def test_xp_x64_takes_the_server_build(tree: Tree) -> None:
    tree.add("viostor/xp/x86", decoration="NTx86.5.1")
    tree.add("viostor/2k3/amd64", decoration="NTamd64.5.2")
    assert chosen(tree, "xp", AMD64) == "viostor/2k3/amd64"
    assert chosen(tree, "xp", X86) == "viostor/xp/x86"
    assert chosen(tree, "2k3", X86) == ""
    tree.add("viostor/xp/amd64", decoration="NTamd64.5.2")
    assert chosen(tree, "xp", AMD64) == "viostor/xp/amd64"


def test_highest_version_of_several(tree: Tree, tmp_path: Path) -> None:
    tree.add("viostor/w10/amd64", version="100.90.104.21700")
    tree.add("amd64/w10", version="100.101.104.28500")
    tree.add("viostor/w11/amd64", version="100.105.0.0")
    other = Tree(tmp_path / "other").add("viostor/w10/amd64", version="100.95.104.24000")
    choice = choose_package([other.media, tree.media], "viostor", windows("w10"))
    assert choice.location == "virtio-win: amd64/w10/viostor.inf"
    better = "virtio-win: amd64/w10/viostor.inf fits better"
    assert [r for r in choice.considered if not r.elsewhere] == [
        Rejected("other: viostor/w10/amd64/viostor.inf", better),
        Rejected("virtio-win: viostor/w10/amd64/viostor.inf", better),
    ]


def test_exact_directory_goes_before_a_higher_version(tree: Tree, tmp_path: Path) -> None:
    tree.add("viostor/w10/amd64", version="100.101.104.28500")
    other = Tree(tmp_path / "other").add("viostor/w11/amd64", version="100.90.104.21700")
    choice = choose_package([tree.media, other.media], "viostor", windows("w11"))
    assert choice.location.startswith("other")


def test_of_equals_the_one_with_a_catalogue_then_the_first(tree: Tree, tmp_path: Path) -> None:
    tree.add("viostor/w10/amd64", catalogue=False)
    other = Tree(tmp_path / "other").add("viostor/w10/amd64")
    again = Tree(tmp_path / "again").add("viostor/w10/amd64")
    media = [tree.media, other.media, again.media]
    choice = choose_package(media, "viostor", windows("w10"))
    assert choice.location.startswith("other")
    alone = choose_package(media[:1], "viostor", windows("w10"))
    assert alone.package is not None
    assert not alone.package.catalogue_present


def reasons(tree: Tree, release: str = "w10") -> list[str]:
    choice = choose_package([tree.media], "viostor", windows(release))
    assert choice.package is None
    return [rejected.reason for rejected in choice.considered]


def test_missing_driver_file(tree: Tree) -> None:
    tree.add("viostor/w10/amd64")
    (tree.root / "viostor/w10/amd64/viostor.sys").unlink()
    assert reasons(tree) == ["viostor.sys is not there, but its INF copies it"]


#: A co-installer as the KMDF drivers of virtio-win for XP to 8 have one.
COINSTALLER = """
[inst.CoInstallers]
CopyFiles = CoInstallerFiles

[CoInstallerFiles]
WdfCoInstaller01009.dll
"""


@pytest.mark.parametrize("release", ["xp", "w7", "w10"])
def test_missing_coinstaller(tree: Tree, release: str) -> None:
    """Windows takes a package whole or not at all: its device would get no driver."""
    tree.add(f"viostor/{release}/amd64", extra=COINSTALLER)
    assert reasons(tree, release) == ["WdfCoInstaller01009.dll is not there, but its INF copies it"]
    (tree.root / f"viostor/{release}/amd64/wdfcoinstaller01009.dll").write_bytes(b"library")
    choice = choose_package([tree.media], "viostor", windows(release))
    assert choice.package is not None
    assert "wdfcoinstaller01009.dll" in choice.package.files


def test_next_best_when_a_file_of_the_best_is_missing(tree: Tree, tmp_path: Path) -> None:
    tree.add("viostor/w10/amd64", version="100.101.104.28500", more_files="extra.dll")
    other = Tree(tmp_path / "other").add("viostor/w10/amd64", version="100.90.104.21700")
    choice = choose_package([tree.media, other.media], "viostor", windows("w10"))
    assert choice.location == "other: viostor/w10/amd64/viostor.inf"
    (rejected,) = choice.considered
    assert rejected.reason == "extra.dll is not there, but its INF copies it"


def test_of_equals_the_one_where_people_look(tree: Tree, tmp_path: Path) -> None:
    """An ISO has the boot drivers twice; a folder of the driver's name is the one to show."""
    tree.add("amd64/w10").add("viostor/w10/amd64")
    assert chosen(tree, "w10") == "viostor/w10/amd64"
    tree.add("vioserial/w10/amd64", "VirtioSerial", inf="vioser.inf", binary="vioser.sys")
    tree.add("amd64/w10", "VirtioSerial", inf="vioser.inf", binary="vioser.sys")
    assert chosen(tree, "w10", driver="vioserial") == "vioserial/w10/amd64"
    newer = Tree(tmp_path / "newer").add("amd64/w10", version="100.101.104.28500")
    choice = choose_package([tree.media, newer.media], "viostor", windows("w10"))
    assert choice.location == "newer: amd64/w10/viostor.inf"


@pytest.mark.parametrize("machine", [MACHINE_I386, MACHINE_ARM64])
def test_driver_for_another_processor(tree: Tree, machine: int) -> None:
    tree.add("viostor/w10/amd64", machine=machine)
    (reason,) = reasons(tree)
    assert reason.startswith("viostor.sys is for ")


def test_driver_that_is_no_driver(tree: Tree) -> None:
    tree.add("viostor/w10/amd64")
    (tree.root / "viostor/w10/amd64/viostor.sys").write_bytes(b"<html>404</html>")
    assert reasons(tree) == ["viostor.sys is no Windows driver file"]


def test_next_best_when_the_best_is_broken(tree: Tree) -> None:
    tree.add("viostor/w10/amd64").add("viostor/2k16/amd64").add("viostor/2k22/amd64")
    (tree.root / "viostor/w10/amd64/viostor.sys").write_bytes(b"")
    (tree.root / "viostor/2k16/amd64/viostor.inf").write_bytes(b"nonsense")
    choice = choose_package([tree.media], "viostor", windows("w10"))
    assert choice.location == "virtio-win: viostor/2k22/amd64/viostor.inf"
    assert {rejected.reason for rejected in choice.considered} == {
        "viostor.inf, line 1: there is text before the first section",
        "viostor.sys is no Windows driver file",
    }


def test_broken_and_huge_infs(tree: Tree) -> None:
    tree.add("viostor/w10/amd64").add("viostor/2k16/amd64")
    (tree.root / "viostor/w10/amd64/viostor.inf").write_bytes(b"[")
    (tree.root / "viostor/2k16/amd64/viostor.inf").write_bytes(b";" * 2_000_000)
    assert reasons(tree) == [
        "it is larger than 1048576 bytes, which no INF is",
        "viostor.inf, line 1: a section name has no closing bracket",
    ]


def test_a_package_by_itself_is_judged_by_its_inf(tree: Tree) -> None:
    """The user gives the folder of one package, or a copy of it under any name."""
    tree.add("viostor", decoration="NTamd64.6.1", version="61.1.104.1000")
    assert chosen(tree, "w7") == chosen(tree, "w10") == "viostor"
    assert reasons(tree, "2k8") == [
        "its INF is for NTamd64.6.1, not for NTamd64.6.0 build 6002",
    ]
    tree.add("viostor/w7/amd64", version="61.1.104.1000")
    assert chosen(tree, "w7") == "viostor/w7/amd64"
    tree.add("again", version="61.1.104.2000")
    assert chosen(tree, "w7") == "again"


def test_a_package_by_itself_for_another_processor(tree: Tree) -> None:
    tree.add("viostor", decoration="NTamd64.6.1", machine=MACHINE_I386)
    (reason,) = reasons(tree, "w7")
    assert reason == "viostor.sys is for x86"


def test_builds_for_xp_serve_xp_alone(tree: Tree) -> None:
    """By its INF the SCSIPORT build of XP would fit every later Windows on x86."""
    tree.add("viostor", decoration="NTx86.5.1")
    image = minimal_pe(MACHINE_I386, imports=("scsiport.sys",))
    (tree.root / "viostor/viostor.sys").write_bytes(image)
    assert chosen(tree, "xp", X86) == "viostor"
    choice = choose_package([tree.media], "viostor", windows("w7", X86))
    assert [rejected.reason for rejected in choice.considered] == [
        "viostor.sys is a build for Windows XP"
    ]


def test_an_older_build_is_taken_for_want_of_a_better_one(tree: Tree) -> None:
    tree.add("viostor/w7/amd64", version="61.9.104.9900")
    choice = choose_package([tree.media], "viostor", windows("w8.1"))
    assert choice.location == "virtio-win: viostor/w7/amd64/viostor.inf"
    assert choice.notes == ("it is the build for w7, for want of a better one",)
    tree.add("viostor/w8/amd64", version="62.1.104.1000")
    assert chosen(tree, "w8.1") == "viostor/w8/amd64"
    tree.add("viostor/2k12R2/amd64", version="62.1.104.1000")
    choice = choose_package([tree.media], "viostor", windows("w8.1"))
    assert choice.location == "virtio-win: viostor/2k12R2/amd64/viostor.inf"
    assert choice.notes == ()


#: A framework as the KMDF drivers of virtio-win ask for it.
FRAMEWORK = """
[inst.Wdf]
KmdfService = viostor, Wdf

[Wdf]
KmdfLibraryVersion = 1.15
"""


def test_a_framework_that_the_guest_lacks(tree: Tree) -> None:
    tree.add("viostor", extra=FRAMEWORK)
    assert chosen(tree, "w10") == "viostor"
    (reason,) = reasons(tree, "w8.1")
    assert reason == (
        "it needs the driver framework KMDF 1.15, this Windows brings 1.13, and the package has "
        "no co-installer for it"
    )
    tree.add("viostor", extra=FRAMEWORK + COINSTALLER.replace("01009", "01015"))
    (tree.root / "viostor/WdfCoInstaller01015.dll").write_bytes(b"library")
    assert chosen(tree, "w8.1") == "viostor"


def test_builds_with_known_faults(tree: Tree) -> None:
    tree.add("viostor/w8.1/amd64", version="63.93.104.24000")
    (reason,) = reasons(tree, "w8.1")
    assert reason.startswith("builds for Windows 8 and 8.1 are signed for tests only")
    assert "virtio-win-pkg-scripts issues 61" in reason
    tree.add("vioscsi/w10/amd64", "vioscsi", version="100.90.104.21700")
    choice = choose_package([tree.media], "vioscsi", windows("w10"))
    assert choice.package is not None
    assert any("event 129" in note for note in choice.notes)
    # A lower version without the fault is better.
    tree.add("vioscsi/2k16/amd64", "vioscsi", version="100.81.104.17400")
    assert chosen(tree, "w10", driver="vioscsi") == "vioscsi/2k16/amd64"


def test_driver_file_that_vanishes(tree: Tree) -> None:
    media = tree.add("viostor/w10/amd64").media
    (tree.root / "viostor/w10/amd64/viostor.sys").unlink()
    choice = choose_package([media], "viostor", windows("w10"))
    (rejected,) = choice.considered
    assert "viostor.sys cannot be read" in rejected.reason


def test_driver_by_its_service(tree: Tree) -> None:
    tree.add("w10/amd64", inf="oem12.inf").add("x/w10/amd64", "other", inf="oem13.inf")
    choice = choose_package([tree.media], "viostor", windows("w10"))
    assert choice.location == "virtio-win: w10/amd64/oem12.inf"
    assert choose_package([tree.media], "netkvm", windows("w10")).considered == ()
    serial = tree.add("vioserial/w10/amd64", "VirtioSerial", inf="vioser.inf", binary="vioser.sys")
    location = choose_package([serial.media], "vioserial", windows("w10")).location
    assert location == "virtio-win: vioserial/w10/amd64/vioser.inf"


def test_mention_of_a_service_is_not_enough(tree: Tree) -> None:
    extra = "[Notes]\nlike = viostor\n"
    tree.add("x/w10/amd64", "other", inf="other.inf", extra=extra)
    assert choose_package([tree.media], "viostor", windows("w10")) == Choice(
        "viostor", None, "", ()
    )


def test_optional_drivers(tree: Tree) -> None:
    for name, service, inf in (
        ("NetKVM", "netkvm", "netkvm.inf"),
        ("Balloon", "BALLOON", "balloon.inf"),
        ("vioserial", "VirtioSerial", "vioser.inf"),
        ("viorng", "VirtRng", "viorng.inf"),
        ("vioinput", "VirtioInput", "vioinput.inf"),
        ("pvpanic", "PVPanic", "pvpanic.inf"),
        ("pvpanic", "PVPanic", "pvpanic-pci.inf"),
        ("fwcfg", "FwCfg", "fwcfg.inf"),
        ("qemufwcfg", "FwCfg", "qemufwcfg.inf"),
        ("sriov", "netkvm", "vioprot.inf"),
        ("viogpudo", "VioGpuDod", "viogpudo.inf"),
        ("viofs", "VirtioFsDrv", "viofs.inf"),
        ("viostor", "viostor", "viostor.inf"),
        ("vioscsi", "vioscsi", "vioscsi.inf"),
        ("qxl", "qxl", "qxl.inf"),
        ("qxldod", "QxlDod", "qxldod.inf"),
    ):
        for release in ("xp/x86", "w7/amd64", "w10/amd64"):
            tree.add(f"{name}/{release}", service, inf=inf)
    drivers = ["netkvm", "balloon", "vioserial", "viorng", "vioinput"]
    drivers += ["pvpanic", "pvpanic-pci", "fwcfg"]
    for release, architecture, display in (
        ("xp", X86, "qxl"),
        ("2k8R2", AMD64, "qxl"),
        ("w10", AMD64, "qxldod"),
        ("w11", AMD64, "qxldod"),
        ("2k25", AMD64, "qxldod"),
    ):
        choices = choose_optional([tree.media], windows(release, architecture))
        assert [choice.driver for choice in choices] == [*drivers, display]
        assert all(choice.package for choice in choices)
        infs = [choice.location.rpartition("/")[2] for choice in choices]
        assert infs[2] == "vioser.inf"
        assert infs[5:8] == ["pvpanic.inf", "pvpanic-pci.inf", "fwcfg.inf"]
    instead = choose_optional([tree.media], windows("w10"), virtio_gpu=True)
    assert [choice.driver for choice in instead if choice.package] == [*drivers, "viogpudo"]
    none = choose_optional([tree.media], windows("2k3"))
    assert [choice.driver for choice in none if choice.package is not None] == []


def test_error_says_what_was_looked_for_and_what_is_there(tree: Tree) -> None:
    tree.add("viostor/w7/amd64").add("viostor/w7/x86").add("viostor/w10/amd64")
    (tree.root / "viostor/w10/amd64/viostor.sys").write_bytes(b"")
    media = [tree.media]
    target = WindowsVersion(10, 0, 22631, AMD64, product_name="Windows 11 Pro")
    error = no_driver_error(choose_package(media, "viostor", target), target, media)
    assert isinstance(error, NoDriverError)
    assert error.message == (
        "There is no viostor driver for Windows 11 Pro (w11 amd64, build 22631) in virtio-win. "
        "It has viostor for: w10 amd64, w7 amd64, w7 x86. "
        "Not usable: virtio-win: viostor/w10/amd64/viostor.inf: "
        "viostor.sys is no Windows driver file."
    )
    assert error.remedy == (
        "Give a virtio-win ISO or RPM, or a driver directory that has viostor/w11/amd64 "
        "(or 2k25 for w11)."
    )


def test_error_without_any_package(tree: Tree) -> None:
    tree.add("viostor/xp/x86")
    media = [tree.media]
    target = windows("xp", X86)
    error = no_driver_error(choose_package(media, "vioscsi", target), target, media)
    assert error.message == (
        "There is no vioscsi driver for xp x86 (build 2600) in virtio-win. "
        "It has no vioscsi.inf at all."
    )
    assert error.remedy == (
        "Give a virtio-win ISO or RPM, or a driver directory that has vioscsi/xp/x86."
    )
    nothing = no_driver_error(Choice("viostor", None, "", ()), target, [])
    assert "no driver source was given" in nothing.message


@pytest.mark.parametrize("form", ["drivers_dir", "drivers_iso"])
@pytest.mark.parametrize(
    ("release", "architecture", "driver", "place"),
    [
        ("xp", X86, "viostor", "viostor/xp/x86"),
        ("w7", X86, "vioscsi", "vioscsi/w7/x86"),
        ("2k8R2", AMD64, "viostor", "viostor/w7/amd64"),
        ("w10", AMD64, "vioserial", "vioserial/w10/amd64"),
        ("2k22", AMD64, "netkvm", "NetKVM/2k22/amd64"),
        ("w11", AMD64, "balloon", "Balloon/w10/amd64"),
        ("2k25", AMD64, "qxldod", "qxldod/w10/amd64"),
    ],
)
def test_made_media(
    form: str,
    release: str,
    architecture: Architecture,
    driver: str,
    place: str,
    request: pytest.FixtureRequest,
) -> None:
    media = open_media(request.getfixturevalue(form))
    choice = choose_package([media], driver, windows(release, architecture))
    assert choice.package is not None
    assert f": {place}/" in choice.location
    assert choice.package.catalogue_present
    assert choice.package.missing_files == ()


@pytest.mark.data
def test_published_infs_with_made_drivers(shared_data: Path, tree: Tree) -> None:
    """The layouts as published; the drivers themselves are not in the shared data."""
    write_published_tree(shared_data / "drivers", tree.root)
    media = [tree.media]

    def location(driver: str, release: str, architecture: Architecture = AMD64) -> str:
        choice = choose_package(media, driver, windows(release, architecture))
        return choice.location.removeprefix("virtio-win: ")

    assert location("viostor", "w11") == "virtio-win-0.1.285-w11/viostor/w11/amd64/viostor.inf"
    assert location("viostor", "2k25") == "virtio-win-0.1.285-w11/viostor/w11/amd64/viostor.inf"
    assert location("viostor", "2k19") == "virtio-win-0.1.217-w10/viostor/w10/amd64/viostor.inf"
    assert location("viostor", "xp", X86) == "virtio-win-0.1.185/viostor/xp/x86/viostor.inf"
    # Build 240 for Windows 8 is signed for tests only.
    assert location("netkvm", "2k12") == "virtio-win-0.1.185/NetKVM/2k8R2/amd64/netkvm.inf"
    assert location("vioserial", "vista", X86) == "virtio-win-0.1.185/vioserial/2k8/x86/vioser.inf"
    assert location("qxl", "xp", X86) == "virtio-win-0.1.185/qxl/xp/x86/qxl.inf"
    assert location("qxldod", "2k22") == "virtio-win-0.1.185/qxldod/2k19/amd64/qxldod.inf"
    assert location("qxldod", "w11") == "virtio-win-0.1.185/qxldod/w10/amd64/qxldod.inf"
    assert location("viorng", "w8.1") == "virtio-win-0.1.185/viorng/w7/amd64/viorng.inf"
    assert location("vioscsi", "xp", X86) == ""
    optional = choose_optional(media, windows("w8"))
    drivers = [choice.driver for choice in optional if choice.package is not None]
    assert drivers == [
        *("netkvm", "balloon", "vioserial", "viorng", "vioinput", "pvpanic", "qxldod"),
    ]
