"""The examples: sound by the published schemas of what takes them, and run on a small guest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from fixtures.conversion_run import require_engine
from fixtures.guests import BuildGuest, GuestKind, GuestSpec
from offline_mig.errors import HostNotReadyError
from offline_mig.guest.stopped_clock import stopped_clock

EXAMPLES = Path(__file__).parents[1] / "examples"
GITHUB = EXAMPLES / "github-actions.yml"
GITLAB = EXAMPLES / "gitlab-ci.yml"
PACKER = EXAMPLES / "packer"
ANSIBLE = EXAMPLES / "ansible" / "convert.yml"
PROGRAMS = Path(sys.executable).parent
STARTED = b"started"
Environment = dict[str, str]


def github_steps() -> list[str]:
    steps = yaml.safe_load(GITHUB.read_text())["jobs"]["convert"]["steps"]
    return [step["run"] for step in steps if "run" in step]


def gitlab_lines() -> list[str]:
    job = yaml.safe_load(GITLAB.read_text())["convert"]
    return [*job["script"], *job["after_script"]]


@pytest.fixture
def here(guest: BuildGuest, drivers_iso: Path, tmp_path: Path) -> Environment:
    """The environment of a pipeline that converts an XP, with the command on its PATH."""
    require_engine("userspace")
    try:
        stopped_clock(0)
    except HostNotReadyError as error:
        pytest.skip(error.message)
    return {
        **os.environ,
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "GUEST": str(guest(GuestSpec(GuestKind.XP)).vmx),
        "DRIVERS": str(drivers_iso),
        "OUTPUT": str(tmp_path / "out"),
        "CACHE": str(tmp_path / "cache"),
    }


def run(command: list[str | Path], here: Environment, folder: Path, *, code: int = 0) -> str:
    done = subprocess.run(
        command, env=here, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def start_guest(disk: str | Path) -> Path:
    """Change a disk as a guest does that runs from it."""
    with Path(disk).open("ab") as stream:
        stream.write(STARTED)
    return Path(disk)


def results(here: Environment) -> set[str]:
    return {"".join(path.suffixes) for path in Path(here["OUTPUT"]).iterdir()}


@pytest.mark.parametrize(
    ("file", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")]
)
def test_published_schemas(file: Path, schema: str) -> None:
    command = [PROGRAMS / "check-jsonschema", "--builtin-schema", schema, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        *(("bash", step) for step in github_steps()),
        ("bash", "\n".join(gitlab_lines())),
        ("sh", (PACKER / "convert.sh").read_text()),
    ],
)
def test_shell(shell: str, text: str) -> None:
    command = ["shellcheck", "--shell", shell, "--severity", "style", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_packer_is_understood() -> None:
    told = hcl2.loads((PACKER / "offline-mig.pkr.hcl").read_text())
    variables = {name.strip('"') for block in told["variable"] for name in block}
    assert variables == {"guest", "drivers", "output"}


def test_ansible_is_understood() -> None:
    run([PROGRAMS / "ansible-playbook", "--syntax-check", ANSIBLE], dict(os.environ), EXAMPLES)


@pytest.mark.conversion
def test_github(here: Environment, tmp_path: Path) -> None:
    # As a runner does it: https://docs.github.com/actions, "defaults.run.shell".
    shell: list[str | Path] = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    for step in github_steps():
        run([*shell, step], here, tmp_path)
    assert not json.loads((tmp_path / "result.json").read_text())["reused"]
    assert results(here) == {".qcow2", ".xml", ".report.json", ".provenance.json"}
    assert "1 of 1 guests converted" in (tmp_path / "summary.html").read_text()
    run([*shell, github_steps()[0]], here, tmp_path)
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["reused"]
    disk = start_guest(told["disks"][0])
    run([*shell, github_steps()[0]], here, tmp_path, code=8)
    assert disk.read_bytes().endswith(STARTED)


@pytest.mark.conversion
def test_gitlab(here: Environment, tmp_path: Path) -> None:
    command: list[str | Path] = ["bash", "-eo", "pipefail", "-c", "\n".join(gitlab_lines())]
    run(command, here, tmp_path)
    wanted: Any = yaml.safe_load(GITLAB.read_text())["convert"]["artifacts"]["paths"]
    assert all((tmp_path / name).is_file() for name in wanted)
    disk = start_guest(json.loads((tmp_path / "result.json").read_text())["disks"][0])
    run(command, here, tmp_path, code=8)
    assert disk.read_bytes().endswith(STARTED)


@pytest.mark.conversion
def test_packer(here: Environment, tmp_path: Path) -> None:
    """By Packer itself where it is installed, else the script that it would run."""
    program = shutil.which("packer")
    if program is None:
        run([PACKER / "convert.sh"], here, tmp_path)
    else:
        variables = {"guest": "GUEST", "drivers": "DRIVERS", "output": "OUTPUT"}
        chosen = [f"-var={name}={here[value]}" for name, value in variables.items()]
        quiet = {**here, "CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(tmp_path)}
        run([program, "build", *chosen, PACKER], quiet, tmp_path)
    assert results(here) == {".qcow2", ".xml", ".report.json", ".provenance.json"}


@pytest.mark.conversion
def test_ansible(here: Environment, tmp_path: Path) -> None:
    """A second time it changes nothing, which is what a playbook is for, in no case the guest."""
    variables = {
        "guest": here["GUEST"], "drivers": here["DRIVERS"],
        "output": here["OUTPUT"], "cache": here["CACHE"],
        # Which of a host's interpreters Ansible finds by itself is not what this is about.
        "ansible_python_interpreter": sys.executable,
    }  # fmt: skip
    command: list[str | Path] = [
        PROGRAMS / "ansible-playbook", "-i", "localhost,", "-c", "local", ANSIBLE,
        "-e", json.dumps(variables),
    ]  # fmt: skip
    settings = {**here, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    assert "changed=1 " in run(command, settings, tmp_path)
    assert "changed=0 " in run(command, settings, tmp_path)
    assert results(here) == {".qcow2", ".xml", ".report.json"}
    disk = start_guest(next(Path(here["OUTPUT"]).glob("*.qcow2")))
    # What ansible-playbook ends with when a host has failed; the code is that of the command.
    assert '"rc": 8' in run(command, settings, tmp_path, code=2)
    assert disk.read_bytes().endswith(STARTED)
