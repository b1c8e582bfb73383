"""The house itself: layers, documentation and command line tell the same story."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from fixtures import schema_files
from offline_mig import errors
from offline_mig.cli import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "offline_mig"
#: From the ground up; a package imports only what is below it, or beside it on the ground floor.
FLOORS = {
    "windows": 1,
    "guest": 1,
    "images": 1,
    "drivers": 1,
    "agents": 1,
    "sources": 2,
    "surgery": 2,
    "targets": 2,
    "setup_media": 2,
    "diagnosis": 3,
    "conversion": 4,
    "batch": 5,
    "summary": 6,
    "api": 7,
    "cli": 8,
}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("offline_mig.")}


@pytest.mark.parametrize("package", FLOORS)
def test_layers_point_one_way(package: str) -> None:
    for path in (PACKAGE / package).rglob("*.py"):
        for name in imports(path):
            part = name.split(".")[1]
            if part == package or part not in FLOORS:
                continue
            above_ground = FLOORS[package] > 1
            limit = FLOORS[package] - 1 if above_ground else 1
            assert FLOORS[part] <= limit, f"{path.relative_to(ROOT)} imports {name}"


def test_ground_floor_rests_on_nothing() -> None:
    for path in PACKAGE.glob("*.py"):
        # The two doors: the command, and what programs import.
        if path.name in ("__main__.py", "__init__.py"):
            continue
        for name in imports(path):
            assert name.split(".")[1] not in FLOORS, f"{path.name} imports {name}"


def test_the_map_names_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert named == packages == set(FLOORS)


def examples() -> list[str]:
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```\w*\n(.*?)```", document.read_text(), re.DOTALL):
            found += [line for line in block.splitlines() if line.startswith("offline-mig ")]
    return found


@pytest.mark.parametrize("line", examples())
def test_documented_commands_are_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    if isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    context = click.Context(command, info_name=name)
    command.make_parser(context).parse_args(list(arguments))


@pytest.mark.parametrize("name", schema_files.FORMS)
def test_schemas_say_what_the_code_says(name: str) -> None:
    file = schema_files.FOLDER / f"{name}.json"
    assert file.read_text() == schema_files.schema_file(name), (
        "run scripts/schemas; a field that goes or changes its meaning needs a new version"
    )


def test_every_schema_has_a_form() -> None:
    assert {path.stem for path in schema_files.FOLDER.glob("*.json")} == set(schema_files.FORMS)


def test_documented_scripts_are_there() -> None:
    for name in set(re.findall(r"\bscripts/\w+", (ROOT / "README.md").read_text())):
        assert (ROOT / name).stat().st_mode & 0o111, name


def test_exit_codes_are_documented() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.OfflineMigError)
    ]
    codes = {str(cls.exit_code) for cls in classes}
    documented = set(re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    helped = set(re.findall(r"^\s+(\d+)  ", main.epilog or "", re.MULTILINE))
    assert codes <= documented
    assert documented == helped
    assert len({cls.exit_code for cls in classes}) == len(classes)


def test_every_option_of_convert_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    convert = main.get_command(click.Context(main), "convert")
    assert convert is not None
    for parameter in convert.params:
        if isinstance(parameter, click.Option):
            assert any(option in text for option in (*parameter.opts, *parameter.secondary_opts)), (
                parameter.name
            )


@pytest.mark.parametrize("name", ["floppy", "iso"])
def test_every_option_of_media_is_documented(name: str) -> None:
    media = main.get_command(click.Context(main), "media")
    assert isinstance(media, click.Group)
    for document in ("README.md", "docs/media.md"):
        text = (ROOT / document).read_text()
        for parameter in media.commands[name].params:
            named = any(f"`{option}" in text for option in parameter.opts)
            assert named, (document, parameter.name)
