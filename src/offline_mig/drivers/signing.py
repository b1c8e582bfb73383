"""Who signed a driver package, whether that covers what is in it, and what Windows makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from offline_mig.drivers.signer import SignerClass, Signing
from offline_mig.windows.authenticode import authenticode_digest, embedded_signature
from offline_mig.windows.version import Architecture, WindowsVersion

if TYPE_CHECKING:
    from offline_mig.drivers.code_signature import CodeSignature, TrustRoots
    from offline_mig.drivers.package import DriverPackage

#: Windows Vista on amd64 was the first to refuse kernel drivers without a signature (Microsoft,
#: "Driver Signing Policy").
_FIRST_STRICT = (6, 0)
#: The hashes that catalogues list files by.
_DIGESTS = ("sha1", "sha256")
#: Before Windows 8 a kernel does not know SHA-256, unless it was taught (Microsoft advisory
#: 3033929 for Windows 7 and 2008 R2; KB4474419 for these, Vista and 2008).
_FIRST_SHA256 = (6, 2)
_CHANGED = "{} is not what was signed"
#: Windows 10 1607 (Microsoft, "Driver signing policy"): earlier ones take cross-signed drivers
#: with Secure Boot as well.
_FIRST_WITHOUT_CROSS_SIGNED = 14393


def judge_signing(package: DriverPackage, roots: TrustRoots | None = None) -> Signing:
    """Judge the signature of a package with its files, by its catalogue and its drivers' own.

    ``roots`` are what chains may end at; those of Windows itself if not given.
    """
    # These take as long to import as the rest of the program together.
    from offline_mig.drivers.catalogue import CatalogueError, read_catalogue
    from offline_mig.drivers.code_signature import WINDOWS_ROOTS

    roots = roots or WINDOWS_ROOTS
    drivers = {name: data for name, data in package.files.items() if name.endswith(".sys")}
    embedded = tuple(
        (name, signature.signer_class)
        for name, data in sorted(drivers.items())
        if (signature := _own_signature(data, roots)) is not None
    )
    if not package.catalogue_present:
        problem = "it has no catalogue" if package.catalog_name else "its INF names no catalogue"
        return Signing(
            SignerClass.UNSIGNED, unlisted=tuple(drivers), embedded=embedded, problem=problem
        )
    try:
        catalogue = read_catalogue(package.files[package.catalog_name.lower()], roots)
    except CatalogueError as error:
        problem = f"its catalogue {package.catalog_name} cannot be read: {error}"
        return Signing(
            SignerClass.UNSIGNED, unlisted=tuple(drivers), embedded=embedded, problem=problem
        )
    windows = tuple(
        dict.fromkeys(version for member in catalogue.members for version in member.windows)
    )
    unlisted = []
    # Catalogues of before Windows 8 hold SHA-1 values.
    if not catalogue.lists(*(hashlib.new(name, package.inf).digest() for name in _DIGESTS)):
        unlisted.append(package.inf_name.lower())
    for name, data in drivers.items():
        digests = [authenticode_digest(data, algorithm) for algorithm in _DIGESTS]
        if not catalogue.lists(*(digest for digest in digests if digest is not None)):
            unlisted.append(name)
    signature = catalogue.signature
    if signature is None:
        problem = f"the signature of {package.catalog_name} does not hold: {catalogue.problem}"
        return Signing(
            SignerClass.UNSIGNED,
            unlisted=tuple(unlisted),
            embedded=embedded,
            windows=windows,
            problem=problem,
        )
    return Signing(
        signature.signer_class,
        signature.signer,
        signature.digest,
        tuple(unlisted),
        embedded,
        windows,
        attested=signature.attested,
    )


def judge_driver(
    name: str, image: bytes, catalogues: Iterable[bytes], roots: TrustRoots | None = None
) -> Signing:
    """Judge a driver that is in place, by its own signature and the ``catalogues`` beside it.

    The first catalogue that lists it counts; one that cannot be read is passed over.
    """
    from offline_mig.drivers.catalogue import CatalogueError, read_catalogue
    from offline_mig.drivers.code_signature import WINDOWS_ROOTS

    roots = roots or WINDOWS_ROOTS
    own = _own_signature(image, roots)
    embedded = () if own is None else ((name, own.signer_class),)
    digests = [authenticode_digest(image, algorithm) for algorithm in _DIGESTS]
    for content in catalogues:
        try:
            catalogue = read_catalogue(content, roots)
        except CatalogueError:
            continue
        signature = catalogue.signature
        if signature is None or not catalogue.lists(*(d for d in digests if d is not None)):
            continue
        windows = tuple(dict.fromkeys(v for member in catalogue.members for v in member.windows))
        return Signing(
            signature.signer_class,
            signature.signer,
            signature.digest,
            embedded=embedded,
            windows=windows,
            attested=signature.attested,
        )
    return Signing(
        SignerClass.UNSIGNED,
        unlisted=(name,),
        embedded=embedded,
        problem="it has no signature of its own, and no catalogue lists it",
    )


def signing_problem(
    signing: Signing, windows: WindowsVersion, *, test_signing: bool = False
) -> str | None:
    """Return why ``windows`` would not load the drivers of a package; None when it would.

    With ``test_signing`` on it takes anybody's signature, but still none that is not there
    (Microsoft, "The TESTSIGNING boot configuration option").

    Only Windows Vista and later on 64-bit processors insist on signatures; a 32-bit one and
    Windows XP load what they are given. A signature by Microsoft for later versions only does not
    count on earlier ones: those signed by attestation are trusted by Windows 10 and later
    (Microsoft, "Attestation sign Windows drivers").
    """
    if windows.architecture is Architecture.X86 or windows.nt < _FIRST_STRICT:
        return None
    names = dict(signing.embedded)
    covered = names and not signing.unsigned_drivers
    if test_signing:
        signed = {name for name in signing.unlisted if name in names}
        covered = bool(names) and signed.issuperset(signing.unsigned_drivers)
    if signing.signer_class is SignerClass.UNSIGNED and not covered:
        return f"it is not signed: {signing.problem}"
    if test_signing:
        return (
            None
            if covered or not signing.unsigned_drivers
            else _CHANGED.format(", ".join(signing.unsigned_drivers))
        )
    if signing.signer_class is SignerClass.SELF_SIGNED and not _all_trusted(names):
        return (
            f'it is signed by "{signing.signer}", whom no authority vouches for; Windows trusts '
            "that with test-signing on only"
        )
    if signing.unsigned_drivers:
        return _CHANGED.format(", ".join(signing.unsigned_drivers))
    first = min((version for version in map(_nt, signing.windows) if version), default=(0, 0))
    if signing.signer_class is SignerClass.MICROSOFT and first >= (10, 0) > windows.nt:
        return "Microsoft signed it for Windows 10 and later only"
    return None


def secure_boot_problem(signing: Signing, windows: WindowsVersion) -> str | None:
    """Return why ``windows`` would refuse drivers under Secure Boot that it takes without it.

    Microsoft, "Driver signing policy": from Windows 10 1607 on cross-signed drivers are refused
    then.
    """
    if windows.build < _FIRST_WITHOUT_CROSS_SIGNED:
        return None
    classes = (signing.signer_class, *(signer_class for _, signer_class in signing.embedded))
    if SignerClass.MICROSOFT in classes:
        return None
    return "Secure Boot is on, under which only Microsoft's signature counts"


def signing_notes(signing: Signing, windows: WindowsVersion) -> tuple[str, ...]:
    """Return what to know of a signature that ``windows`` accepts, or may accept."""
    notes = []
    strict = windows.architecture is not Architecture.X86 and windows.nt >= _FIRST_STRICT
    if strict and windows.nt < _FIRST_SHA256 and signing.digest not in ("", "sha1"):
        notes.append(
            "it is signed with SHA-256, which this Windows knows with update KB3033929 (Windows 7 "
            "and 2008 R2) or KB4474419 (also Vista and 2008) only"
        )
    infs = [name for name in signing.unlisted if name.endswith(".inf")]
    if infs and signing.signer_class is not SignerClass.UNSIGNED:
        notes.append(
            f"{infs[0]} was changed after it was signed, so Windows may ask before it installs it"
        )
    return tuple(notes)


def _all_trusted(embedded: dict[str, SignerClass]) -> bool:
    good = (SignerClass.MICROSOFT, SignerClass.VENDOR)
    return bool(embedded) and all(signer_class in good for signer_class in embedded.values())


def _nt(text: str) -> tuple[int, int] | None:
    # 2:6.1, where 2 is VER_PLATFORM_WIN32_NT; 2:10.0; older ones also 2:5.1 to 2:6.0X64.
    platform, _, version = text.partition(":")
    major, _, minor = version.partition(".")
    if platform != "2" or not (major.isdecimal() and minor[:1].isdecimal()):
        return None
    return int(major), int(minor[:1])


def _own_signature(image: bytes, roots: TrustRoots) -> CodeSignature | None:
    """Return the signature in a driver, None when there is none that holds."""
    from asn1crypto import core

    from offline_mig.drivers.code_signature import SignatureError, read_signed, verify_signature

    encoded = embedded_signature(image)
    if encoded is None:
        return None
    try:
        # SPC_INDIRECT_DATA_OBJID of wintrust.h: what was hashed how, then the DigestInfo.
        signed, content = read_signed(encoded, "1.3.6.1.4.1.311.2.1.4")
        signature = verify_signature(signed, content, roots)
        digest = core.Sequence.load(content)[1][1].native
    except (SignatureError, ValueError, TypeError, KeyError, IndexError):
        return None
    return signature if digest == authenticode_digest(image, signature.digest) else None
