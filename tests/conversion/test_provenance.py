"""NAME.provenance.json, judged by in-toto's own bindings and by the files themselves."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from fixtures.conversion_run import require_engine
from fixtures.guests import BuildGuest, GuestKind, GuestSpec
from offline_mig.cli import main

pytestmark = pytest.mark.conversion


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_statement(guest: BuildGuest, drivers_iso: Path, tmp_path: Path) -> None:
    require_engine("userspace")
    built = guest(GuestSpec(GuestKind.WINDOWS_10))
    # A name that is no text, which a statement cannot hold as it is.
    medium = tmp_path / os.fsdecode(b"virtio-\xfc.iso")
    medium.symlink_to(drivers_iso)
    arguments = [
        "convert", built.vmx, "--drivers", medium, "--allow-unsigned", "-o", tmp_path / "out",
        "--engine", "userspace", "--provenance", "--target", "libvirt", "--target", "qemu",
    ]  # fmt: skip
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "out").glob("*.provenance.json")
    told = json.loads(file.read_text())

    parsed = json_format.Parse(json.dumps(told), statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    # Fields that the predicate does not know, or of another type, are refused.
    json_format.Parse(json.dumps(told["predicate"]), provenance_pb2.Provenance())

    # Every result but the statement itself is a subject, and is what it says.
    results = {path.name: sha256(path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in told["subject"]}
    assert subjects == {name: digest for name, digest in results.items() if name != file.name}

    inputs = {
        entry["name"]: entry["digest"]["sha256"]
        for entry in told["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    for path in (built.vmx, built.disk):
        assert inputs[path.name] == sha256(path.read_bytes())
    assert inputs["virtio-\\xfc.iso"] == sha256(drivers_iso.read_bytes())
    assert any(name.endswith(": viostor.sys") for name in inputs)

    report = json.loads(next((tmp_path / "out").glob("*.report.json")).read_text())
    plan = json.dumps(report["wanted"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (byproduct,) = told["predicate"]["runDetails"]["byproducts"]
    assert byproduct == {"name": "plan", "digest": {"sha256": sha256(plan.encode())}}
    assert told["predicate"]["runDetails"]["builder"]["version"] == report["tools"]
