"""Inputs that scripts/fuzz came upon, made smaller: each is read or refused, for ever after.

Together they reach what fuzzing reached; none holds anything of a published file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.fuzz_targets import WINDOWS, changed_iso, fuzz_targets
from offline_mig.drivers.catalogue import read_catalogue
from offline_mig.drivers.media import open_media
from offline_mig.drivers.package import read_package
from offline_mig.windows.authenticode import authenticode_digest
from offline_mig.windows.pe import pe_architecture

CORPUS = Path(__file__).parents[1] / "fuzz_corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    fuzz_targets(tmp_path)[path.parent.name].run(path.read_bytes())


def test_every_target_has_inputs(tmp_path: Path) -> None:
    assert {path.parent.name for path in INPUTS} == set(fuzz_targets(tmp_path))
    assert sum(path.stat().st_size for path in INPUTS) < 128 * 1024


def test_seeds_are_accepted(tmp_path: Path) -> None:
    """Of seeds that are refused at once, nothing is found."""
    targets = fuzz_targets(tmp_path)
    for inf in targets["inf"].seeds():
        assert any(read_package("x.inf", inf, version).models for version in WINDOWS)
    for catalogue in targets["catalogue"].seeds():
        assert read_catalogue(catalogue).members
    for image in targets["pe"].seeds():
        assert pe_architecture(image) and authenticode_digest(image, "sha256")
    unchanged = tmp_path / "unchanged.iso"
    unchanged.write_bytes(changed_iso(b""))
    assert len(open_media(unchanged).files) == 3
