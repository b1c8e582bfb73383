"""INF files as another implementation of SetupAPI reads and installs them: Wine's.

What it does otherwise than Windows is listed where it is taken out of the comparison.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fixtures import txtsetup
from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.inf_texts import inf_text, windows
from fixtures.memory_volume import MemoryVolume
from fixtures.virtio_win import ALL_RELEASES, driver_files, drivers_of
from fixtures.windows_tree import system_volume
from fixtures.wine import Wine, windows_path
from fixtures.wine_installation import Installed, installed
from fixtures.wine_setupapi import WINDOWS_DIRECTORY, Answer, Tree, WineSetupApi
from offline_mig.drivers.addreg import InfRegistryValue
from offline_mig.drivers.copyfiles import CopyFile
from offline_mig.drivers.directories import directory_path
from offline_mig.drivers.inf import InfError, InfFile, InfLine, parse_inf
from offline_mig.drivers.layout import place_of
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.setup_media.contents import MediumDriver
from offline_mig.setup_media.floppy import floppy_contents
from offline_mig.surgery.changes import CreateKey, SetValue, WriteFile
from offline_mig.surgery.driver_install import PlacedDriver, install_changes
from offline_mig.surgery.facts import GuestFacts, examine
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture

#: Windows that take what a package says as it is, without a driver store.
_OLD = frozenset({"xp", "2k3", "vista", "2k8", "w7", "2k8R2"})


@pytest.fixture(scope="module")
def wine(running_wine: Wine) -> WineSetupApi:
    return WineSetupApi(running_wine)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> GuestFacts:
    """A Windows 7 that knows none of the drivers."""
    volume = MemoryVolume(system_volume(GuestSpec(GuestKind.WINDOWS_7), None), 1024**3)
    return examine(volume, "/Windows", tmp_path_factory.mktemp("hives"))


# --- syntax -----------------------------------------------------------------------------------


def as_wine_has_it(inf: InfFile) -> dict[str, list[tuple[str | None, ...]]]:
    """Return the lines of an INF in the form that SetupAPI has for them, key first."""
    return _comparable(
        (section, _as_setupapi(inf, line))
        for section, lines in inf.sections.items()
        for line in lines
    ) | {section.strip(): [] for section, lines in inf.sections.items() if not lines}


def _as_setupapi(inf: InfFile, line: InfLine) -> tuple[str | None, ...]:
    key = line.raw_key
    if key is None and len(line.fields) == 1:
        key = line.raw_fields[0]  # To SetupAPI, a single value is its own key.
    directory = partial(directory_path, windows_directory=WINDOWS_DIRECTORY)
    return tuple(
        None if text is None else _as_ansi(inf.expanded(text, directory))
        for text in (key, *line.raw_fields)
    )


def _as_ansi(text: str) -> str:
    """Read what was kept byte by byte in the code page of an American Windows."""
    return "".join(
        bytes((ord(char),)).decode("cp1252", "ignore") or char if ord(char) < 0x100 else char
        for char in text
    )


def wines_lines(answer: Answer) -> dict[str, list[tuple[str | None, ...]]]:
    assert answer.error == 0
    empty = {str(name).strip().lower(): list[tuple[str | None, ...]]() for (name,)
             in answer.texts("section")}  # fmt: skip
    return empty | _comparable(
        (str(section).lower(), tuple(map(_with_driver_store, line)))
        for section, *line in answer.texts("line")
    )


def _with_driver_store(text: str | None) -> str | None:
    """Put the identifier of the driver store, which Wine does not know, back into its place."""
    return text and text.replace(f"{WINDOWS_DIRECTORY}\\system32\\unknown", "%13%")


def _comparable(
    lines: Iterable[tuple[str, tuple[str | None, ...]]],
) -> dict[str, list[tuple[str | None, ...]]]:
    found: dict[str, list[tuple[str | None, ...]]] = {}
    for section, (key, *fields) in lines:
        # Wine takes "key =" for a line with one empty field, and a line of nothing but a
        # backslash for one, too; nobody who asks for the text of a field sees the difference.
        # It also keeps blanks around the names of sections, which Windows' own INF files have.
        kept = found.setdefault(section.strip(), [])
        if (key or "") or any(fields):
            kept.append((key or "", *(fields or [""])))
    return found


@pytest.mark.data
def test_every_line_of_published_infs(wine: WineSetupApi, shared_data: Path) -> None:
    paths = sorted((shared_data / "drivers").rglob("*.inf"))
    answers = wine.ask([("lines", windows_path(path)) for path in paths])
    compared = 0
    for path, answer in zip(paths, answers, strict=True):
        read = as_wine_has_it(parse_inf(path.read_bytes(), path.name))
        assert read == wines_lines(answer), path
        compared += sum(map(len, read.values()))
    assert compared > 7000


def test_txtsetup_oem_is_read_the_same(wine: WineSetupApi, tmp_path: Path) -> None:
    """It has the syntax of an INF, but for its [Version]."""
    values = '\n[ServiceReg]\nHKR, "A b", "C, d", 0, "e # f"\n'
    packages = []
    for release in ("xp", "2k3"):
        version = windows(release, Architecture.X86)
        text = inf_text(decoration="NTx86", extra=values).encode()
        read = read_package("viostor.inf", text, version)
        whole = read.with_files(dict.fromkeys(read.source_paths, b"x"))
        packages.append(MediumDriver("viostor", version, whole))
    made = floppy_contents(packages).files["txtsetup.oem"]
    path = tmp_path / "txtsetup.inf"
    path.write_bytes(b'[Version]\r\nSignature="$Windows NT$"\r\n' + made)
    (answer,) = wine.ask([("lines", windows_path(path))])
    assert answer.error == 0
    found: dict[str, txtsetup.Lines] = {}
    for section, key, *fields in answer.texts("line"):
        line = (str(key).lower(), [str(field) for field in fields])
        found.setdefault(str(section).lower(), []).append(line)
    del found["version"]
    assert found == txtsetup.sections(made.decode())
    assert len(found) == 8


#: What INF syntax is made of. Blanks behind a backslash are left out: there Wine keeps them, or
#: loses the backslash.
_PARTS = (
    "a", "b", "Key", "%t%", "%u%", "%%", "%", "%t", "%10%", "=", ",", ";", '"', '""', " ",
    "\t", "\\",
    "\\\n", "\n", "\r\n", "[s]", "[S2]", "[", "]", "x y", "..", ".",
)  # fmt: skip


def test_made_up_syntax(wine: WineSetupApi, tmp_path: Path) -> None:
    chance = random.Random(1995)
    texts = []
    while len(texts) < 1500:
        body = "".join(chance.choice(_PARTS) for _ in range(chance.randint(1, 30)))
        if not re.search(r"\\[ \t]", body):
            start = "[Version]\nSignature=$CHICAGO$\n[s]\n"
            texts.append(f'{start}{body}\n[Strings]\nt = "one%10%"\nu = two words ; c\n')
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.inf").write_bytes(text.encode())
    answers = wine.ask(
        [("lines", windows_path(tmp_path / f"{number}.inf")) for number in range(len(texts))]
    )
    for text, answer in zip(texts, answers, strict=True):
        try:
            inf = parse_inf(text.encode(), "x.inf")
        except InfError:
            assert answer.error, text
        else:
            assert as_wine_has_it(inf) == wines_lines(answer), text


# --- installation -----------------------------------------------------------------------------


def made_packages(folder: Path) -> Iterator[tuple[Path, DriverPackage]]:
    for release in ALL_RELEASES:
        if release.folder not in _OLD:
            continue
        for driver in drivers_of(release):
            below = folder / release.folder / release.architecture.value / driver.value
            below.mkdir(parents=True)
            for name, content in driver_files(driver, release).items():
                (below / name).write_bytes(content)
                if name.endswith(".inf"):
                    inf = below / name
            yield inf, _package(inf, release.folder, release.architecture)


def published_packages(folder: Path) -> Iterator[tuple[Path, DriverPackage]]:
    for path in sorted(folder.rglob("*.inf")):
        place = place_of(path.relative_to(folder).as_posix())
        if place.release in _OLD:
            assert place.architecture is not None
            yield path, _package(path, place.release, place.architecture)


def _package(path: Path, release: str, architecture: Architecture) -> DriverPackage:
    return read_package(
        path.name,
        path.read_bytes(),
        windows(release, architecture),
        windows_directory=WINDOWS_DIRECTORY,
    )


def require_same(result: Installed, facts: GuestFacts) -> None:
    """Compare what is planned, and what was read, with what Wine did."""
    package = result.package
    planned = planned_registry(facts, package)
    for service in package.services:
        key = rf"Services\{service.name}"
        assert without_wines_own(result.services[service.name]) == below(planned, key), (
            result.path, service.name,
        )  # fmt: skip
        assert (service.name in result.event_logs) == (service.event_log is not None)
        if service.event_log is not None:
            log = rf"Services\EventLog\{service.event_log.log}\{service.event_log.source}"
            assert result.event_logs[service.name] == below(planned, log), result.path
    for install in package.installs:
        # This Windows is an amd64 one; of x86 sections it cannot say.
        if "amd64" in "".join(package.decorations).lower():
            assert result.actual[install.name].lower() == install.effective_section.lower()
        for part, entries in (
            ("", install.software_registry),
            (".HW", install.hardware_registry),
            (".SoftwareSettings", install.software_settings),
            (".CoInstallers", install.coinstaller_registry),
        ):
            section = install.effective_section + part
            assert result.sections.get(section, {"": {}}) == relative_tree(entries), (
                result.path, section,
            )  # fmt: skip
        for part, files in (("", install.copy_files), (".CoInstallers", install.coinstaller_files)):
            section = install.effective_section + part
            assert sorted(result.copied.get(section, [])) == sorted(
                copied_paths(files, result.source)
            ), result.path
        # The lines for other keys than the device's own: the old drivers have none.
        assert all(entry.root == "HKR" for entry in install.software_registry)
    require_same_files(result, facts)


def planned_registry(facts: GuestFacts, package: DriverPackage) -> Tree:
    """Return what is planned, by key below the control set."""
    control_set = facts.control_sets.bootable[0]
    tree: Tree = {}
    for change in install_changes(facts, PlacedDriver("x", package, "x"), None, "x"):
        if isinstance(change, SetValue | CreateKey) and change.key.startswith(control_set):
            values = tree.setdefault(change.key.removeprefix(control_set + "\\"), {})
            if isinstance(change, SetValue):
                values[change.name] = change.value
    return tree


def below(tree: Tree, key: str) -> Tree:
    """Return the keys below one, itself as "", with the keys that lead to them."""
    found: Tree = {"": dict(tree.get(key, {}))}
    for name, values in tree.items():
        if name.startswith(f"{key}\\"):
            _put(found, name.removeprefix(f"{key}\\"), values)
    return found


def _put(tree: Tree, key: str, values: dict[str, RegistryValue]) -> None:
    """Add values to a key, which may be there in another letter case already."""
    path = ""
    for part in key.split("\\"):
        wanted = f"{path}\\{part}" if path else part
        path = next((known for known in tree if known.lower() == wanted.lower()), wanted)
        tree.setdefault(path, {})
    for name, value in values.items():
        known = next((old for old in tree[path] if old.lower() == name.lower()), name)
        tree[path][known] = value


def relative_tree(entries: Iterable[InfRegistryValue]) -> Tree:
    """Return what the HKR lines of a section leave behind in an empty key."""
    tree: Tree = {"": {}}
    for entry in entries:
        if entry.root == "HKR" and not entry.delete:
            values = {} if entry.value is None else {entry.name or "": entry.value}
            if entry.subkey:
                _put(tree, entry.subkey, values)
            else:
                tree[""] |= values
    return tree


def without_wines_own(tree: Tree) -> Tree:
    """Return a service's key as Windows would have it.

    Wine's service manager writes two values that Windows gives to services alone, which are no
    drivers. Wherever a driver lies below the Windows directory, it writes a full path as plain
    text; what is planned is relative to that directory and expandable, as in Windows' own keys.
    """
    own = dict(tree[""])
    assert own.pop("ObjectName") == RegistryValue.sz("LocalSystem")
    assert own.pop("PreshutdownTimeout").as_int() == 180000
    image = own["ImagePath"]
    assert image.type == RegistryType.SZ
    path = image.as_text() or ""
    assert path.startswith(f"{WINDOWS_DIRECTORY}\\")
    own["ImagePath"] = RegistryValue.expand_sz(path.removeprefix(f"{WINDOWS_DIRECTORY}\\"))
    return tree | {"": own}


def copied_paths(files: Iterable[CopyFile], source: Path) -> Iterator[tuple[str, str]]:
    for file in files:
        target = file.path.below_windows
        assert target is not None
        yield (
            windows_path(source / file.source_path),
            f"{WINDOWS_DIRECTORY}\\{target}",
        )


def require_same_files(result: Installed, facts: GuestFacts) -> None:
    """Compare the files that are planned to be written."""
    contents = dict.fromkeys(result.package.source_paths, b"made")
    driver = PlacedDriver("x", result.package.with_files(contents), "x")
    planned = {
        change.path.removeprefix(f"{facts.root}/").replace("/", "\\").lower()
        for change in install_changes(facts, driver, None, "x")
        if isinstance(change, WriteFile)
    }
    assert {
        target.removeprefix(f"{WINDOWS_DIRECTORY}\\").lower()
        for copied in result.copied.values()
        for _, target in copied
    } == planned


def test_made_packages_install_alike(wine: WineSetupApi, facts: GuestFacts, tmp_path: Path) -> None:
    results = installed(wine, made_packages(tmp_path / "infs"), tmp_path / "files")
    assert len(results) > 15
    for result in results:
        require_same(result, facts)


@pytest.mark.data
def test_published_packages_install_alike(
    wine: WineSetupApi, facts: GuestFacts, shared_data: Path, tmp_path: Path
) -> None:
    results = installed(wine, published_packages(shared_data / "drivers"), tmp_path)
    assert len(results) > 60
    for result in results:
        require_same(result, facts)
