"""Signatures of catalogues and drivers: PKCS #7 as Windows Authenticode uses it.

The forms: RFC 2315 and RFC 5652; Microsoft, "Windows Authenticode Portable Executable Signature
Format". The ASN.1 is read by asn1crypto, the arithmetic is done by cryptography. signify, which
does more of it, rests on oscrypto, whose last release does not load with the OpenSSL of Debian 12.

Time stamps are seen, not verified: a certificate that has run out since is no objection here, as
it is none to Windows when the time stamp is good. Revocation is not looked up either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asn1crypto import cms, parser, x509

from offline_mig.drivers.signature_roots import CROSS_CERTIFIED, MICROSOFT_ROOTS, RootKey
from offline_mig.drivers.signer import SignerClass

#: Certificates of a chain, and in a signature. Real ones have up to four, and up to eight.
_LONGEST_CHAIN = 10
_MOST_CERTIFICATES = 100
#: Bytes. Catalogues of driver packages have some tens of thousands.
MAX_SIGNED_SIZE = 2 * 1024 * 1024
#: A tag or a part of an object identifier with hundreds of digits, in base 128: the time that
#: asn1crypto takes for one grows with the square of its length. No hash, key or name looks so.
_ENDLESS_NUMBER = re.compile(rb"[\x80-\xff]{256}")
_DIGESTS = ("sha1", "sha256", "sha384", "sha512")
#: szOID_RFC3161_counterSign and PKCS #9 countersignature, by asn1crypto's names.
#: szOID_ATTEST_WHQL_CRYPTO of wincrypt.h: the use of the certificate that attestation signs with.
_ATTESTED = "1.3.6.1.4.1.311.10.3.5.1"
_TIME_STAMPS = frozenset({"microsoft_time_stamp_token", "counter_signature"})


class SignatureError(Exception):
    """A signature that cannot be read, or that does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class TrustRoots:
    """What chains may end at: Microsoft's own keys, and those of the authorities it let sign.

    ``authorities`` are SHA-256 values of public keys (SubjectPublicKeyInfo), in hexadecimal.
    """

    microsoft: tuple[RootKey, ...] = MICROSOFT_ROOTS
    authorities: frozenset[str] = frozenset(CROSS_CERTIFIED.values())


WINDOWS_ROOTS = TrustRoots()


@dataclass(frozen=True, slots=True)
class CodeSignature:
    """A signature that holds, and whose it is.

    ``signer`` is the common name of the signer, ``chain`` those of the certificates above it up to
    where the chain ends. ``digest`` is the hash that was signed: sha1, sha256, ... ``attested``
    tells that Microsoft signed what its owner vouches for, and did not test it itself.
    """

    signer_class: SignerClass
    signer: str
    chain: tuple[str, ...]
    digest: str
    time_stamped: bool
    attested: bool = False


def read_signed(data: bytes, content_type: str) -> tuple[cms.SignedData, bytes]:
    """Return PKCS #7 signed data and its content, encoded.

    ``content_type`` is the OID that the content must have. Raises SignatureError.
    """
    if len(data) > MAX_SIGNED_SIZE:
        raise SignatureError(f"it has {len(data)} bytes, more than any signature")
    if _ENDLESS_NUMBER.search(data):
        raise SignatureError("it is damaged")
    try:
        info = cms.ContentInfo.load(data)
        if info["content_type"].native != "signed_data":
            raise SignatureError("it is no PKCS #7 signed data")
        signed = info["content"]
        content = signed["encap_content_info"]
        if content["content_type"].native != content_type:
            raise SignatureError(f"what is signed is of another kind ({content['content_type']})")
        # Under the tag [0] EXPLICIT.
        return signed, _contents(content["content"].dump())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignatureError("it is damaged") from error


def verify_signature(
    signed: cms.SignedData, content: bytes, roots: TrustRoots = WINDOWS_ROOTS
) -> CodeSignature:
    """Verify the first signature over ``content`` and find out whose it is.

    Raises SignatureError when it does not hold.
    """
    try:
        certificates = _certificates(signed)
        signers = signed["signer_infos"]
        if not signers:
            raise SignatureError("it has no signer")
        return _verified(signers[0], content, certificates, roots)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise SignatureError("its signature is damaged") from error


def _contents(encoded: bytes) -> bytes:
    """Return the contents of an ASN.1 value, without its header."""
    contents: bytes = parser.parse(encoded)[4]
    return contents


def _certificates(signed: cms.SignedData) -> tuple[x509.Certificate, ...]:
    found = signed["certificates"]
    if len(found) > _MOST_CERTIFICATES:
        raise SignatureError("it has more certificates than any signature")
    return tuple(choice.chosen for choice in found if choice.name == "certificate")


def _verified(
    signer: cms.SignerInfo,
    content: bytes,
    certificates: Sequence[x509.Certificate],
    roots: TrustRoots,
) -> CodeSignature:
    digest = signer["digest_algorithm"]["algorithm"].native
    if digest not in _DIGESTS:
        raise SignatureError(f"it is signed with {digest}, which is not known")
    leaf = _signing_certificate(signer, certificates)
    attributes = {
        attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]
    }
    if "message_digest" not in attributes:
        raise SignatureError("its signature says nothing about the content")
    # PKCS #7 hashes the contents without their header (RFC 2315, 9.3).
    if attributes["message_digest"][0].native != hashlib.new(digest, _contents(content)).digest():
        raise SignatureError("its content is not what was signed")
    # Signed as a SET OF, stored under the tag [0] (RFC 5652, 5.4).
    message = b"\x31" + signer["signed_attrs"].dump()[1:]
    if not _holds(leaf.public_key.dump(), signer["signature"].native, message, digest):
        raise SignatureError("its signature is not by the certificate that it names")
    chain = list(_chain(leaf, certificates))
    unsigned = signer["unsigned_attrs"] or ()
    extended = leaf.extended_key_usage_value
    uses = extended.native if extended is not None else ()
    return CodeSignature(
        signer_class=_class(chain, roots),
        signer=_name(leaf.subject),
        chain=tuple(_name(above.subject) for above in chain[1:]),
        digest=digest,
        time_stamped=any(attribute["type"].native in _TIME_STAMPS for attribute in unsigned),
        attested=_ATTESTED in uses,
    )


def _signing_certificate(
    signer: cms.SignerInfo, certificates: Sequence[x509.Certificate]
) -> x509.Certificate:
    named = signer["sid"].chosen
    if isinstance(named, cms.IssuerAndSerialNumber):
        for certificate in certificates:
            if (
                certificate.serial_number == named["serial_number"].native
                and certificate.issuer.dump() == named["issuer"].dump()
            ):
                return certificate
    raise SignatureError("the certificate of its signer is not there")


def _chain(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Yield the signer's certificate and those above it, as far as each signed the one below.

    Names are the same when their bytes are, as for Windows (CertCompareCertificateName); to
    compare them as RFC 5280 has it takes longer than all the rest.
    """
    current, seen = leaf, set[bytes]()
    while len(seen) < _LONGEST_CHAIN and current.sha256 not in seen:
        seen.add(current.sha256)
        yield current
        issuer = current.issuer.dump()
        above = next(
            (
                other
                for other in certificates
                if other.subject.dump() == issuer
                and other.sha256 not in seen
                and _issued(current, other.public_key.dump())
            ),
            None,
        )
        if above is None:
            return
        current = above


def _class(chain: Sequence[x509.Certificate], roots: TrustRoots) -> SignerClass:
    keys = {hashlib.sha256(link.public_key.dump()).hexdigest() for link in chain}
    if keys & roots.authorities:
        return SignerClass.VENDOR
    top = chain[-1]
    for root in roots.microsoft:
        if _name(top.issuer) == root.name and _issued(top, _public_key(root)):
            return SignerClass.MICROSOFT
    return SignerClass.SELF_SIGNED


def _public_key(root: RootKey) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = RSAPublicNumbers(root.exponent, root.modulus).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _issued(certificate: x509.Certificate, public_key: bytes) -> bool:
    digest = certificate.hash_algo
    message = certificate["tbs_certificate"].dump()
    return _holds(public_key, certificate.signature, message, digest)


def _holds(public_key: bytes, signature: bytes, message: bytes, digest: str) -> bool:
    """Tell whether ``signature`` is the key's over ``message``: RSA with PKCS #1 v1.5 only."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    algorithms: dict[str, Any] = {
        "sha1": hashes.SHA1,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
    }
    if digest not in algorithms:
        return False
    try:
        key = load_der_public_key(public_key)
        if not isinstance(key, RSAPublicKey):
            return False
        key.verify(signature, message, PKCS1v15(), algorithms[digest]())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _name(name: x509.Name) -> str:
    fields = name.native
    found = fields.get("common_name") or fields.get("organization_name") or ""
    return found if isinstance(found, str) else str(found[0])
