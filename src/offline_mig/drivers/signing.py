"""Who signed a driver package, and whether the signature covers what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignerClass(StrEnum):
    """How far Windows trusts a package, the best first."""

    MICROSOFT = "Microsoft"
    #: A code-signing certificate that an authority gave to a vendor, such as Red Hat's.
    VENDOR = "vendor"
    #: Issued by nobody but its owner: trusted with test-signing on, and not otherwise.
    SELF_SIGNED = "self-signed"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Signing:
    """What the catalogue of a package says.

    ``signer`` is the subject's common name, "" without a signature. ``unlisted`` are the files of
    the package (the INF, drivers) whose hashes the catalogue lacks: they were changed after it was
    signed, or never belonged to it. ``windows`` are the versions that the catalogue is meant for,
    as it writes them (``2:6.1``, ``2:10.0``); empty when it names none.
    """

    signer_class: SignerClass
    signer: str = ""
    unlisted: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
