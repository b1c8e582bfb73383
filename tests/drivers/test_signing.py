"""Whose a package is, whether that covers its files, and which Windows takes it for it."""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.code_signing import (
    Signer,
    authority,
    made_roots,
    microsoft,
    self_signed,
    signed_catalogue,
)
from fixtures.inf_texts import AMD64, X86, inf_text, windows
from fixtures.pe import MACHINE_AMD64, minimal_pe
from offline_mig.drivers.catalogue import CatalogueError, read_catalogue
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.drivers.signer import SignerClass, Signing
from offline_mig.drivers.signing import judge_signing, signing_notes, signing_problem
from offline_mig.windows.authenticode import authenticode_digest

INF = inf_text(decoration="NTamd64").encode()
DRIVER = minimal_pe(MACHINE_AMD64, imports=("storport.sys",))
FILES = {"viostor.inf": INF, "viostor.sys": DRIVER}
ROOTS = made_roots()


def package(catalogue: bytes | None = None, inf: bytes = INF, sys: bytes = DRIVER) -> DriverPackage:
    contents = {"viostor.sys": sys}
    if catalogue is not None:
        contents["viostor.cat"] = catalogue
    return read_package("viostor.inf", inf, windows("w10")).with_files(contents)


def judged(signer: Signer, **options: str) -> Signing:
    return judge_signing(package(signed_catalogue(signer, FILES, **options)), ROOTS)


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_signers_are_told_apart(digest: str) -> None:
    made = {
        SignerClass.MICROSOFT: microsoft().issue("Made PCA").issue("Publisher", with_issuer=True),
        SignerClass.VENDOR: authority().issue("Made CA").issue("Red Hat, Inc."),
        SignerClass.SELF_SIGNED: self_signed("Red Hat Inc."),
    }
    for signer_class, signer in made.items():
        signing = judged(signer, digest=digest, windows="2:6.1,2:10.0")
        assert (signing.signer_class, signing.digest) == (signer_class, digest)
        assert signing.unlisted == ()
        assert signing.windows == ("2:6.1", "2:10.0")


def test_the_root_itself_may_be_absent() -> None:
    """Catalogues of Microsoft's leave it out; its key alone is known."""
    middle = microsoft().issue("Made PCA", with_issuer=False)
    assert judged(middle.issue("Publisher")).signer_class is SignerClass.MICROSOFT


def test_a_name_proves_nothing() -> None:
    """Anybody can write Microsoft's name into a certificate."""
    forged = self_signed("Made Microsoft Root").issue("Made PCA").issue("Publisher")
    assert judged(forged).signer_class is SignerClass.SELF_SIGNED


def test_an_issuer_that_did_not_sign_is_no_issuer() -> None:
    stranger = self_signed("x").issue("Made CA")
    true = authority().issue("Made CA")
    below = stranger.issue("Red Hat, Inc.", with_issuer=False)
    borrowed = Signer(below.key, below.certificate, (true.certificate, *true.above))
    assert judged(borrowed).signer_class is SignerClass.SELF_SIGNED


def test_changed_files_are_not_listed() -> None:
    catalogue = signed_catalogue(authority().issue("vendor"), FILES)
    trimmed = package(catalogue, inf=INF + b"\n")
    assert judge_signing(trimmed, ROOTS).unlisted == ("viostor.inf",)
    other = package(catalogue, sys=minimal_pe(MACHINE_AMD64, imports=("ndis.sys",)))
    assert judge_signing(other, ROOTS).unlisted == ("viostor.sys",)


def test_checksum_and_signature_of_a_driver_do_not_count() -> None:
    """The Authenticode hash leaves out what signing changes."""
    header = int.from_bytes(DRIVER[0x3C:0x40], "little")
    at = header + 24 + 64
    changed = DRIVER[:at] + b"\1\2\3\4" + DRIVER[at + 4 :]
    catalogue = signed_catalogue(authority().issue("vendor"), FILES)
    assert judge_signing(package(catalogue, sys=changed), ROOTS).unlisted == ()


def test_every_single_byte_counts() -> None:
    """Of a signed catalogue that was changed anywhere, nothing is believed."""
    catalogue = signed_catalogue(authority().issue("vendor"), FILES)
    whole = read_catalogue(catalogue, ROOTS)
    for at in range(0, len(catalogue), 7):
        changed = catalogue[:at] + bytes((catalogue[at] ^ 0x10,)) + catalogue[at + 1 :]
        try:
            read = read_catalogue(changed, ROOTS)
        except CatalogueError:
            continue
        trusted = read.signature is not None and (
            read.signature.signer_class is not SignerClass.SELF_SIGNED
        )
        # What is outside the signature, such as the name of the digest, may be changed unseen.
        assert not trusted or read.members == whole.members, at


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | st.just(b""))
def test_arbitrary_catalogues_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(CatalogueError):
        read_catalogue(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_catalogues_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(signed_catalogue(_SIGNER, FILES))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    with suppress(CatalogueError):
        read_catalogue(bytes(whole[: data.draw(st.integers(0, len(whole)))]), ROOTS)


_SIGNER = authority().issue("vendor")


def test_without_a_catalogue() -> None:
    signing = judge_signing(package(), ROOTS)
    assert (signing.signer_class, signing.problem) == (SignerClass.UNSIGNED, "it has no catalogue")
    damaged = judge_signing(package(b"catalogue"), ROOTS)
    assert damaged.signer_class is SignerClass.UNSIGNED
    assert damaged.problem == "its catalogue viostor.cat cannot be read: it is damaged"


@pytest.mark.parametrize(
    ("release", "signing", "expected"),
    [
        ("w10", Signing(SignerClass.UNSIGNED, problem="it has no catalogue"), "not signed"),
        ("w10", Signing(SignerClass.SELF_SIGNED, "Red Hat Inc."), "no authority vouches for"),
        ("w10", Signing(SignerClass.MICROSOFT, unlisted=("viostor.sys",)), "not what was signed"),
        ("w8.1", Signing(SignerClass.MICROSOFT, windows=("2:10.0",)), "Windows 10 and later only"),
        ("w8.1", Signing(SignerClass.MICROSOFT, windows=("2:6.1", "2:10.0")), None),
        ("w8.1", Signing(SignerClass.VENDOR, windows=("2:6.4",)), None),
        ("w7", Signing(SignerClass.VENDOR), None),
        ("2k8", Signing(SignerClass.SELF_SIGNED, "x"), "no authority"),
        ("xp", Signing(SignerClass.UNSIGNED), None),
        ("2k3", Signing(SignerClass.SELF_SIGNED), None),
        (
            "w10",
            Signing(
                SignerClass.UNSIGNED,
                unlisted=("viostor.sys",),
                embedded=(("viostor.sys", SignerClass.VENDOR),),
            ),
            None,
        ),
        (
            "w10",
            Signing(
                SignerClass.MICROSOFT,
                unlisted=("viostor.sys",),
                embedded=(("viostor.sys", SignerClass.SELF_SIGNED),),
            ),
            "not what was signed",
        ),
    ],
)
def test_what_a_windows_makes_of_it(release: str, signing: Signing, expected: str | None) -> None:
    problem = signing_problem(signing, windows(release))
    assert (problem is None) == (expected is None)
    assert expected is None or expected in str(problem)
    if release != "xp":
        assert signing_problem(signing, windows(release, X86)) is None


def test_what_is_told_of_accepted_ones() -> None:
    signing = Signing(SignerClass.VENDOR, "Red Hat, Inc.", "sha256")
    assert "KB3033929" in " ".join(signing_notes(signing, windows("w7")))
    assert signing_notes(signing, windows("w8")) == ()
    assert signing_notes(signing, windows("w7", X86)) == ()
    changed = Signing(SignerClass.MICROSOFT, digest="sha256", unlisted=("viostor.inf",))
    assert "changed after it was signed" in " ".join(signing_notes(changed, windows("w10")))


@pytest.fixture(scope="module")
def signed_driver(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A driver signed by osslsigncode, with a made authority."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    folder = tmp_path_factory.mktemp("signed")
    signer = authority().issue("vendor")
    key, chain = folder / "key.pem", folder / "chain.pem"
    key.write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificates = (signer.certificate, *signer.above)
    chain.write_bytes(b"".join(link.public_bytes(Encoding.PEM) for link in certificates))
    (folder / "in.sys").write_bytes(DRIVER)
    subprocess.run(
        ["osslsigncode", "sign", "-h", "sha256", "-certs", chain, "-key", key,
         "-in", folder / "in.sys", "-out", folder / "out.sys"],
        check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "out.sys").read_bytes()


def test_drivers_with_a_signature_of_their_own(signed_driver: bytes) -> None:
    """osslsigncode is the oracle for the hash and for the form of the signature."""
    assert authenticode_digest(signed_driver, "sha256") == authenticode_digest(DRIVER, "sha256")
    signing = judge_signing(package(sys=signed_driver), ROOTS)
    assert signing.embedded == (("viostor.sys", SignerClass.VENDOR),)
    assert signing_problem(signing, windows("w10")) is None
    changed = bytearray(signed_driver)
    changed[0x220] ^= 1
    assert judge_signing(package(sys=bytes(changed)), ROOTS).embedded == ()
    assert judge_signing(package(sys=signed_driver)).embedded == (
        ("viostor.sys", SignerClass.SELF_SIGNED),
    )


@pytest.mark.data
def test_published_catalogues_and_osslsigncode(shared_data: Path) -> None:
    """Signer and digest as osslsigncode finds them; the classes as the packages' makers say."""
    classes: Counter[tuple[str, SignerClass]] = Counter()
    for path in sorted((shared_data / "drivers").rglob("*.cat")):
        catalogue = read_catalogue(path.read_bytes())
        signature = catalogue.signature
        assert signature is not None, (path, catalogue.problem)
        shown = subprocess.run(
            ["osslsigncode", "verify", "-in", path], capture_output=True, text=True, check=False
        ).stdout
        assert f"Message digest algorithm: {signature.digest.upper()}" in shown, path
        subject = shown.partition("Subject: ")[2].splitlines()[0]
        assert f"CN={signature.signer}" in subject, path
        assert catalogue.members
        source = path.relative_to(shared_data / "drivers").parts[0]
        classes[source, signature.signer_class] += 1
    assert {key for key in classes if key[0] == "virtio-win-build-240"} == {
        ("virtio-win-build-240", SignerClass.SELF_SIGNED)
    }
    assert {key for key in classes if key[0] == "virtio-win-0.1.217-w10"} == {
        ("virtio-win-0.1.217-w10", SignerClass.MICROSOFT)
    }
    assert classes["virtio-win-0.1.185", SignerClass.VENDOR] == 60
    assert not any(signer_class is SignerClass.UNSIGNED for _, signer_class in classes)


@pytest.mark.data
def test_published_infs_are_what_was_signed(shared_data: Path) -> None:
    """Those of 0.1.185 are; of 0.1.217, half were trimmed on their way here."""
    judged_infs: Counter[tuple[str, bool]] = Counter()
    for source in ("virtio-win-0.1.185", "virtio-win-0.1.217-w10"):
        for path in sorted((shared_data / "drivers" / source).rglob("*.inf")):
            read = read_package(path.name, path.read_bytes(), windows("w10", AMD64))
            catalogue = path.with_name(read.catalog_name.lower())
            if not catalogue.exists():
                continue
            made = read.with_files({read.catalog_name: catalogue.read_bytes()})
            judged_infs[source, path.name in judge_signing(made).unlisted] += 1
    assert judged_infs["virtio-win-0.1.185", True] == 0
    assert judged_infs["virtio-win-0.1.217-w10", False] > 0
    assert judged_infs["virtio-win-0.1.217-w10", True] > 0
