"""Plan files: everything that convert takes can stand in one, and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from fixtures.published_schemas import require_valid
from offline_mig.api import batches
from offline_mig.batch.plan_file import (
    BatchPlan,
    PlannedGuest,
    chosen_options,
    plan_schema,
    read_plan,
    write_plan,
)
from offline_mig.cli import main
from offline_mig.conversion.named_options import named_engine, named_options
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.result_cache import ResultCache
from offline_mig.errors import OutputRefusedError, PlanFileError
from offline_mig.targets.devices import DiskBus, MachineType
from offline_mig.targets.options import TargetKind

#: What a batch decides itself, and what is no choice about a guest.
_NOT_IN_PLANS = {"source", "output", "dry-run", "cache", "cache-size", "quiet", "json"}
#: A value for each option that is not its default.
CHOSEN: dict[str, Any] = {
    "drivers": ["/d/virtio-win.iso"],
    "agent": ["/d/agent.msi"],
    "format": "raw",
    "target": ["proxmox", "qemu"],
    "define": "qemu:///system",
    "allow-unsigned": True,
    "keep-vmware-tools": True,
    "undoable": True,
    "discard-hibernation": True,
    "xml": "/d/domain.xml",
    "os-like": "w10-amd64",
    "allow-outside": ["/d/store"],
    "rebuild-descriptor": True,
    "overwrite": True,
    "trim": False,
    "checksum": True,
    "provenance": True,
    "reproducible": True,
    "system-partition": "1:2",
    "engine": "userspace",
    "machine": "pc",
    "bus": "virtio-scsi",
    "cpu": "EPYC-Rome",
    "network": ["bridge=br0", "network=lan"],
    "network-map": ["VM Network=network=lan"],
    "ip": ["00:50:56:01:02:03=192.0.2.10/24,192.0.2.1,192.0.2.2"],
    "graphics": "vnc",
    "video": "virtio",
    "resolution": "1280x1024",
    "tpm": True,
}


def options_of_convert() -> dict[str, click.Parameter]:
    convert = main.get_command(click.Context(main), "convert")
    assert convert is not None
    named = {}
    for parameter in convert.params:
        names = [name[2:] for name in parameter.opts if name.startswith("--")]
        named[names[0] if names else parameter.name or ""] = parameter
    return named


def plan(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def test_every_option_of_convert_can_stand_in_a_plan() -> None:
    schema = plan_schema()
    options = set(options_of_convert()) - _NOT_IN_PLANS
    guest = schema["properties"]["guest"]["items"]["properties"]
    assert set(guest) == options | {"source", "skip"}
    assert set(schema["properties"]["options"]["properties"]) == options - {"name"}


def test_choices_are_those_of_the_command_line() -> None:
    definitions = plan_schema()["$defs"]
    for name, parameter in options_of_convert().items():
        if isinstance(parameter.type, click.Choice):
            allowed = definitions[name].get("enum") or definitions[name]["items"]["enum"]
            assert allowed == list(parameter.type.choices), name


def test_every_option_reaches_the_conversion() -> None:
    assert set(CHOSEN) == set(plan_schema()["properties"]["options"]["properties"])
    jsonschema.validate({"version": 1, "options": CHOSEN}, plan_schema())
    plain = named_options(Path("/out"), {})
    for name, value in CHOSEN.items():
        if name != "engine":
            assert named_options(Path("/out"), {name: value}) != plain, name
    assert named_engine(CHOSEN) != named_engine({})
    chosen = named_options(Path("/out"), CHOSEN)
    assert chosen.drivers == (Path("/d/virtio-win.iso"),)
    assert chosen.targets == (TargetKind.PROXMOX, TargetKind.QEMU, TargetKind.LIBVIRT)
    assert chosen.target.machine_type is MachineType.PC
    assert chosen.target.disk_bus is DiskBus.VIRTIO_SCSI
    assert chosen.target.resolution == (1280, 1024)
    assert plain == ConvertOptions(Path("/out"), ())


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    text = """
        version = 1
        output = "out"
        jobs = 3
        [options]
        drivers = ["virtio-win.iso", "/srv/drivers"]
        [[guest]]
        source = "a/a.vmx"
        agent = ["agent.msi"]
        [[guest]]
        source = "/b.ova"
        name = "other"
        skip = true
    """
    found = read_plan(plan(tmp_path, text))
    assert found == BatchPlan(
        (
            PlannedGuest(tmp_path / "a/a.vmx", None, {"agent": [str(tmp_path / "agent.msi")]}),
            PlannedGuest(Path("/b.ova"), "other", {}, skip=True),
        ),
        tmp_path / "out",
        3,
        {"drivers": [str(tmp_path / "virtio-win.iso"), "/srv/drivers"]},
    )


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("version = 1\njbos = 2", "unknown key 'jbos'", "Did you mean 'jobs'?"),
        (
            'version = 1\n[[guest]]\nsource = "a.vmx"\n[[guest]]\nsource = "b.vmx"\ndriver = []',
            "guest number 2 (b.vmx) has the unknown key 'driver'",
            "'drivers'",
        ),
        ("version = 1\n[options]\nzzz = 1", "options has the unknown key 'zzz'", "Known are: dri"),
        ("jobs = 2", "'version' is a required property", "docs/batch.md"),
        ("version = 2", "1 was expected", "docs/batch.md"),
        ("version = 1\njobs = 0", "jobs: 0 is less than the minimum", "docs/batch.md"),
        ("version = 1\n[options]\nbus = 'ide'", "options bus: 'ide' is not one of", "--help"),
        ("version = 1\n[options]\ntrim = 'yes'", "'yes' is not of type 'boolean'", "--help"),
        ("version = 1\n[options]\nresolution = 'wide'", "'wide' does not match", "--help"),
        (
            "version = 1\n[options]\nip = ['00:11:22:33:44:55=10.0.0.999/24']",
            "options: ",
            "--help",
        ),
        (
            "version = 1\n[[guest]]\nsource='a'\nip = ['00:11:22:33:44:55=10.0.0.999/24']",
            "guest number 1 (a): ",
            "--help",
        ),
        ("version = 1\n[[guest]]\nname = 'x'", "'source' is a required property", "docs"),
        ("version = 1\n[[guest]]\nsource = ''", "guest number 1 source", "docs"),
        ("version = 1\nversion = 1", "is no TOML file: Cannot overwrite a value", "Mend"),
        (
            "version = 1\n[[guest]]\nsource = 'a'\n[[guest]]\nsource = 'a'",
            "/a twice",
            "every guest once",
        ),
        (
            "version = 1\n[[guest]]\nsource='a'\nname='N'\n[[guest]]\nsource='b'\nname='n'",
            "n twice",
            "every guest once",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, message: str, remedy: str
) -> None:
    with pytest.raises(PlanFileError) as refused:
        read_plan(plan(tmp_path, text))
    assert message in refused.value.message
    assert remedy in refused.value.remedy
    assert str(tmp_path / "plan.toml") in refused.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_unsigned": True}, "unknown key 'allow_unsigned'"),
        ({"drivers": "x.iso"}, "'x.iso' is not of type 'array'"),
        ({"ip": ["00:11:22:33:44:55=10.0.0.999/24"]}, "What was asked for: "),
    ],
)
def test_options_of_a_caller_are_looked_at_alike(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanFileError, match="What was asked for") as refused:
        batches.convert_many(tmp_path, tmp_path / "out", options=options)
    assert message in refused.value.message
    assert not (tmp_path / "out").exists()


def test_options_of_a_caller_may_be_paths_and_tuples(tmp_path: Path) -> None:
    found = chosen_options({"drivers": (Path("x.iso"),), "xml": tmp_path / "a.xml"})
    assert found == {"drivers": [str(Path("x.iso").absolute())], "xml": str(tmp_path / "a.xml")}


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match="No such file"):
        read_plan(tmp_path / "plan.toml")


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    remark = "blocked\nthe name \x1b[31m is hostile"
    guests = (
        PlannedGuest(Path('/exports/a "quoted" ü.vmx'), "a\\b", {"trim": False}, remark=remark),
        PlannedGuest(Path("/exports/b.vmx"), skip=True),
    )
    given = {"drivers": ["/d.iso"], "target": ["qemu"]}
    wanted = BatchPlan(guests, Path("/out"), 2, given, ResultCache.of_size(Path("/kept"), 3))
    path = tmp_path / "plan.toml"
    write_plan(wanted, path)
    text = path.read_text()
    jsonschema.validate(tomllib.loads(text), plan_schema())
    assert "# blocked\n# the name \\x1b[31m is hostile\n" in text
    found = read_plan(path)
    assert found.guests == (
        PlannedGuest(guests[0].source, "a\\b", {"trim": False}),
        PlannedGuest(guests[1].source, skip=True),
    )
    assert (found.output, found.jobs, found.given) == (wanted.output, 2, wanted.given)
    assert found.cache is not None
    assert (found.cache.folder, found.cache.limit) == (Path("/kept"), 3 * 1024**3)
    with pytest.raises(OutputRefusedError, match="File exists"):
        write_plan(wanted, path)


@pytest.mark.parametrize(("name", "reason"), [("plan.toml", "File exists"), ("no/plan", "folder")])
def test_what_cannot_be_written_is_told_before_anything_is_looked_at(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.toml").write_text("version = 1\n")
    (tmp_path / "disk.vmdk").write_bytes(b"KDMV" + bytes(4096))
    monkeypatch.setattr(batches, "described_plan", lambda *_: pytest.fail("it was looked at"))
    with pytest.raises(OutputRefusedError, match=reason):
        batches.write_plan(tmp_path, tmp_path / name)
    assert (tmp_path / "plan.toml").read_text() == "version = 1\n"


def test_what_was_written_is_told_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exports, written = tmp_path / "exports", tmp_path / "plan.toml"
    exports.mkdir()
    (exports / "disk.vmdk").write_bytes(b"KDMV" + bytes(4096))
    done = CliRunner().invoke(
        main,
        ["batch", str(exports), "--write-plan", str(written), "--engine", "userspace", "--json"],
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    require_valid("write-plan", told)
    assert (told["plan"], told["machines"]) == (str(written), 1)
    assert len(read_plan(written).guests) == 1


def test_the_documented_plan_is_sound(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(read_plan(plan(tmp_path, example)).guests) == 3
