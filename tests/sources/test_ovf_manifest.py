"""Manifests in every spelling, and files that are not what they say."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from fixtures.ovf import manifest, pack
from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.machine_source import read_machine


@pytest.mark.parametrize(
    ("algorithm", "form"),
    [
        ("sha1", "SHA1({})= {}"),
        ("sha256", "SHA256({})= {}"),
        ("sha512", "SHA512({}) = {}"),
        ("sha256", "SHA-256 ({}) = {}"),
        ("sha256", "SHA2-256( ./{} )={}"),
        ("sha1", "sha1({})= {}\r"),
    ],
)
def test_manifests_in_every_spelling(ovf: Path, algorithm: str, form: str) -> None:
    files = [ovf, ovf.with_name("disk1.vmdk")]
    mf = ovf.with_name("box.mf")
    mf.write_text(manifest(files, algorithm, form))
    read_machine(ovf)
    good = mf.read_text()
    digest = hashlib.new(algorithm, files[1].read_bytes()).hexdigest()
    mf.write_text(good.replace(digest, digest[::-1]))
    with pytest.raises(SourceUnreadableError, match=r"disk1\.vmdk is not what box\.mf says") as e:
        read_machine(ovf)
    assert e.value.exit_code == 4
    mf.write_bytes(good.upper().replace("BOX.OVF", "box.ovf").replace(
        "DISK1.VMDK", "disk1.vmdk").encode("utf-16"))  # fmt: skip
    read_machine(ovf)


def test_lists_of_sha256sum_are_manifests_too(ovf: Path) -> None:
    listed = subprocess.run(
        ["sha256sum", "box.ovf", "disk1.vmdk"], cwd=ovf.parent, capture_output=True, check=True
    ).stdout
    ovf.with_name("box.mf").write_bytes(listed)
    read_machine(ovf)
    ovf.write_text(ovf.read_text() + "\n")
    with pytest.raises(SourceUnreadableError, match=r"box\.ovf is not what"):
        read_machine(ovf)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"no digest of box\.ovf"),
        ("hello", "cannot be understood"),
        ("SHA1(" + ") " * 100_000, "cannot be understood"),
        ("SHA256(box.ovf)= 12", "cannot be understood"),
        ("MD5(box.ovf)= d41d8cd98f00b204e9800998ecf8427e", "cannot be understood"),
        (f"SHA1(a)= {'0' * 40}\nSHA1(a)= {'1' * 40}", "two digests of a"),
    ],
)
def test_manifests_that_say_nothing_of_use(ovf: Path, text: str, words: str) -> None:
    ovf.with_name("box.mf").write_text(text)
    with pytest.raises(SourceUnreadableError, match=words) as caught:
        read_machine(ovf)
    assert "manifest" in caught.value.remedy


def test_every_disk_has_to_be_in_the_manifest(ova: Path, ovf: Path) -> None:
    ovf.with_name("box.mf").write_text(manifest([ovf]))
    with pytest.raises(SourceUnreadableError, match=r"no digest of disk1\.vmdk"):
        read_machine(ovf)
    files = [ovf, ovf.with_name("box.mf"), ovf.with_name("disk1.vmdk")]
    with pytest.raises(SourceUnreadableError, match=r"no digest of disk1\.vmdk"):
        read_machine(pack(ova, files))


def test_a_changed_byte_in_an_ova_is_noticed(ova: Path) -> None:
    window = read_machine(ova).disks[0].image.window
    assert window is not None
    with ova.open("r+b") as file:
        file.seek(window.offset + window.size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(SourceUnreadableError, match=r"disk1\.vmdk is not what box\.mf says"):
        read_machine(ova)


def test_without_a_manifest_nothing_is_compared_and_certificates_are_noted(ovf: Path) -> None:
    ovf.with_name("box.mf").unlink()
    ovf.with_name("box.cert").write_text("SHA256(box.mf)= 00\n")
    (note,) = read_machine(ovf).notes
    assert "box.cert) was not checked" in note
