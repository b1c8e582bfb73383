"""Windows Installer databases, held against what msitools' msiinfo and msiextract see in them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.agents import AMD64, X86, qemu_files, qemu_wxs, spice_pair, spice_wxs, write_msi
from offline_mig.windows.cabinet import extract_members
from offline_mig.windows.installer_database import InstallerDatabase, InstallerDatabaseError


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("installers")
    return {
        "spice": write_msi(folder / "spice.msi", spice_wxs(), spice_pair(AMD64), AMD64),
        "qemu": write_msi(
            folder / "qemu.msi", qemu_wxs("ProgramFilesFolder"), qemu_files(X86), X86
        ),
    }


def exported(path: Path, table: str) -> list[list[str]]:
    """Return the rows of a table as msiinfo prints them."""
    done = subprocess.run(["msiinfo", "export", path, table], check=True, capture_output=True)
    lines = done.stdout.decode().split("\r\n")[3:]
    return [line.split("\t") for line in lines if line]


@pytest.mark.parametrize("name", ["spice", "qemu"])
def test_tables_are_those_that_msiinfo_sees(installers: dict[str, Path], name: str) -> None:
    path = installers[name]
    database = InstallerDatabase(path.read_bytes())
    listed = subprocess.run(["msiinfo", "tables", path], check=True, capture_output=True, text=True)
    # Two are made up by msiinfo itself.
    assert set(database.tables) == set(listed.stdout.split()) - {
        "_SummaryInformation",
        "_ForceCodepage",
    }
    for table in database.tables:
        rows = [
            ["" if value is None else str(value) for value in row.values()]
            for row in database.rows(table)
        ]
        assert sorted(rows) == sorted(exported(path, table)), table


def test_cabinet_has_the_files_that_msiextract_gets(
    installers: dict[str, Path], tmp_path: Path
) -> None:
    database = InstallerDatabase(installers["qemu"].read_bytes())
    keys = {str(row["File"]): str(row["FileName"]) for row in database.rows("File")}
    found = extract_members(database.stream("agent.cab"), keys)
    subprocess.run(["msiextract", "-C", tmp_path, installers["qemu"]], check=True, stdout=-3)
    extracted = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {keys[key].rpartition("|")[2]: data for key, data in found.items()} == extracted


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"MZ" + data[2:], id="no-compound-file"),
        pytest.param(lambda data: data[:600], id="cut-short"),
        pytest.param(lambda data: data[:512] + bytes(len(data) - 512), id="header-only"),
    ],
)
def test_what_is_no_database_is_refused(
    installers: dict[str, Path], spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(InstallerDatabaseError):
        InstallerDatabase(spoil(installers["spice"].read_bytes()))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_ends_in_anything_else(
    installers: dict[str, Path], data: st.DataObject
) -> None:
    content = bytearray(installers["spice"].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        database = InstallerDatabase(bytes(content))
        for table in database.tables:
            database.rows(table)
    except InstallerDatabaseError as error:
        assert str(error)
