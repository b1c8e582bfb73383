"""What other programs import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import offline_mig
from offline_mig.errors import NoDriverError, SourceUnreadableError

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_name_is_there_and_documented() -> None:
    text = DOCUMENT.read_text()
    for name in offline_mig.__all__:
        assert getattr(offline_mig, name) is not None
        assert re.search(rf"`{name}\b", text), name


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(offline_mig.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(offline_mig.__all__)
    for name, module in seen.items():
        assert getattr(offline_mig, name) is getattr(import_module(str(module)), name)


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        offline_mig.nonsense  # noqa: B018


def test_importing_loads_nothing() -> None:
    """The worker of the userspace engine imports the package as well, and must be quick."""
    code = (
        "import sys; before = set(sys.modules); import offline_mig; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["offline_mig"]


def test_drivers_by_text_and_by_path(drivers_dir: Path) -> None:
    listed = offline_mig.list_drivers([str(drivers_dir)])
    assert listed == offline_mig.list_drivers([drivers_dir])
    assert {"viostor", "vioscsi"} <= {package.driver for package in listed}
    chosen = offline_mig.match_drivers([drivers_dir], "w10-19045-amd64", allow_unsigned=True)
    assert {driver.name for driver in chosen.drivers.boot} == {"viostor", "vioscsi"}


def test_what_was_considered_is_told_before_the_refusal(drivers_dir: Path) -> None:
    told: list[object] = []
    with pytest.raises(NoDriverError):
        offline_mig.match_drivers([drivers_dir], "w10-19045-amd64", considered=told.extend)
    assert told


def test_errors_are_those_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError) as caught:
        offline_mig.inspect(tmp_path / "nothing.vmx", engine="userspace")
    assert isinstance(caught.value, offline_mig.OfflineMigError)
    assert caught.value.exit_code == 4
    assert caught.value.remedy


def test_an_engine_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        offline_mig.inspect(tmp_path, engine="nonsense")
